"""Dashboard *Detector health*: does it tell as much as asked, in time, of all that came."""

from typing import Final

from grafana_foundation_sdk.models import units

from deploy.grafana.alert_limits import limit_of
from deploy.grafana.frame import Board, Section
from deploy.grafana.panels import cells, graph, number, rows
from deploy.grafana.queries import Query, Scope, Where
from deploy.grafana.surges_now import (
    ASKED_WORDS,
    BAR_WORDS,
    OPENED,
    asked_and_seen,
    pages_asked_and_seen,
    share_of_alarm_bar,
)
from streams.edges.metrics.catalogue import (
    BAD_INPUT,
    BEYOND_LATENESS,
    CLOCK_OFF,
    CREATORS,
    DEAD,
    EVENT_TO_STORED,
    FORGOTTEN,
    HELD,
    IDS_GONE,
    IDS_REMEMBERED,
    LATE,
    LEFT_OUT,
    LET_GO,
    MISSED,
    OUTBOX,
    READ_BACK,
    RECORDS,
    RECOUNTS,
    RELEASED_EARLY,
    REREAD,
)
from streams.edges.metrics.catalogue_running import BUILD, SETTINGS
from streams.edges.metrics.catalogue_surges import SURGES, SURGES_FORGOTTEN

SCOPE: Final = Scope(("job", "kind"))
WINDOWS: Final = ("5m", "1h", "6h", "3d")
"""Of which the share of late records is drawn; the rules have more."""
_LATE_WORDS: Final = (
    "Share of the records that were stored and told later than 10 s after their time. "
    "The service level allows 0.1 % over 30 days."
)


def _late(window: str) -> Query:
    name = f"job:surgewatch_events_late:ratio_rate{window}"
    return SCOPE.recorded(name, units.PercentUnit).named(f"{{{{job}}}} {window}")


_OVERVIEW: Final = Section(
    "Overview",
    [
        number(
            "Surges opened in a day",
            SCOPE.increase(SURGES, "1d", where=OPENED),
            limit=limit_of("SurgewatchSilentWithTraffic", is_least=True),
            description="Surges that opened in the last day. None with more than a million records "
            "a day is no good sign.",
        ),
        number(
            "Records counted in a day",
            SCOPE.increase(RECORDS, "1d", where=Where({"result": "counted"})),
            description="Records that were counted in the last day.",
        ),
        number(
            "Of what makes the false alarms' alert",
            share_of_alarm_bar(SCOPE).largest(),
            limit=limit_of("SurgewatchFalseAlarmsOverBudget", 1.0),
            description=BAR_WORDS,
        ),
        number(
            "Told late, of an hour's records",
            _late("1h").largest(),
            limit=limit_of("SurgewatchFreshnessBurnsFast"),
            description=_LATE_WORDS,
            none="no records",
        ),
        number(
            "Different settings",
            Query(
                f"count (count by (hash) ({SCOPE.series(SETTINGS)}))", units.Short, "", (SETTINGS,)
            ),
            limit=limit_of("SurgewatchSettingsDiffer"),
            description="Digests of settings among the workers; of a fleet there must be one.",
        ),
        number(
            "A clock is off",
            Query(f"max (abs({SCOPE.series(CLOCK_OFF)}))", units.Seconds, "", (CLOCK_OFF,)),
            limit=limit_of("SurgewatchClockOff"),
        ),
    ],
)
_ALARMS: Final = Section(
    "Alarms",
    [
        graph(
            "False alarms asked against surges seen, of a day",
            asked_and_seen(SCOPE),
            description=ASKED_WORDS,
        ),
        graph(
            "False pages asked against pages seen, of a week",
            pages_asked_and_seen(SCOPE),
            description="Of the week before each point: false pages that the budget of pages "
            "allows, and surges by the model that became pages, nearly all of them true: by "
            "default one false page a day and million creators and posts is asked for.",
        ),
        graph(
            "Opened in an hour, by the rule and by the model",
            [SCOPE.increase(SURGES, "1h", "trigger", "kind", where=OPENED)],
            description="Surges that opened in the hour before each point.",
        ),
        graph(
            "All that was announced in an hour",
            [SCOPE.increase(SURGES, "1h", "state")],
            description="Surges that opened, grew, closed, or were amended by late records.",
        ),
        rows(
            "What runs",
            Query(
                f"count by (version, python, detector) ({SCOPE.series(BUILD)})",
                units.Short,
                "",
                (BUILD,),
            ),
            {
                "version": "version",
                "python": "Python",
                "detector": "detector",
                "Value": "workers",
            },
            description="Versions and detectors of the workers; a fleet should have one of each.",
        ),
    ],
)
_FRESHNESS: Final = Section(
    "Freshness",
    [
        graph(
            "Told later than 10 s",
            [_late(window) for window in WINDOWS],
            limit=limit_of("SurgewatchFreshnessBurnsFast"),
            description=_LATE_WORDS,
        ),
        cells("From event to stored", SCOPE.buckets(EVENT_TO_STORED)),
        graph("Not announced yet", [SCOPE.total(OUTBOX, "instance")]),
    ],
)
_INPUT: Final = Section(
    "What is not counted, or not rightly",
    [
        graph("Dead letters", [SCOPE.rate(DEAD, "reason")], stacked=True),
        graph(
            "Dead letters, of all records",
            [
                SCOPE.rate(RECORDS, "topic", where=Where({"result": "dead"})).share_of(
                    SCOPE.rate(RECORDS, "topic")
                )
            ],
            limit=limit_of("SurgewatchDeadLettersHigh"),
            description="Share of a topic's records that cannot be used and are in dead letters.",
        ),
        graph(
            "Late records",
            [
                SCOPE.rate(LATE, "topic").named("older than a day: {{topic}}"),
                SCOPE.rate(BEYOND_LATENESS, "topic").named("beyond lateness: {{topic}}"),
                SCOPE.rate(RELEASED_EARLY, "topic").named("released early: {{topic}}"),
            ],
        ),
        graph(
            "Lost or forgotten in an hour",
            [
                SCOPE.grown(MISSED, "1h").named("records missed"),
                SCOPE.grown(IDS_GONE, "1h").named("event ids gone"),
                SCOPE.grown(FORGOTTEN, "1h").named("repeats forgotten"),
                SCOPE.grown(SURGES_FORGOTTEN, "1h").named("surges forgotten"),
            ],
            limit=limit_of("SurgewatchRecordsMissed"),
        ),
        graph(
            "Bad input in 10 minutes",
            [SCOPE.grown(BAD_INPUT, "10m", "kind").named("{{kind}}")],
            limit=limit_of("SurgewatchBadInput"),
        ),
        graph(
            "Read or counted once more, in an hour",
            [
                SCOPE.increase(REREAD, "1h", "topic").named("records read again: {{topic}}"),
                SCOPE.increase(RECOUNTS, "1h").named("partitions counted anew"),
            ],
        ),
    ],
)
_MEMORY: Final = Section(
    "What it remembers",
    [
        graph(
            "In memory",
            [
                SCOPE.total(CREATORS, "topic").named("creators: {{topic}}"),
                SCOPE.total(IDS_REMEMBERED, "topic").named("event ids: {{topic}}"),
                SCOPE.total(HELD, "topic").named("records that wait: {{topic}}"),
                SCOPE.total(LEFT_OUT, "topic").named("keys left in Redis: {{topic}}"),
            ],
        ),
        graph(
            "Keys let go and read back",
            [
                SCOPE.rate(LET_GO, "topic").named("let go: {{topic}}"),
                SCOPE.rate(READ_BACK, "topic").named("read back: {{topic}}"),
            ],
        ),
    ],
)

BOARD: Final = Board(
    "surgewatch-detector",
    "Surgewatch: detector health",
    "Whether as much is told as was asked for, in time, and of all that came in.",
    SCOPE,
    [_OVERVIEW, _ALARMS, _FRESHNESS, _INPUT, _MEMORY],
)
