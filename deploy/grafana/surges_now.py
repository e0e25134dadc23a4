"""Dashboard *Surges now*: for operations and those who moderate. No creator is named in metrics."""

from typing import Final

from grafana_foundation_sdk.models import units

from deploy.grafana.alert_limits import limit_of
from deploy.grafana.frame import Board, Section
from deploy.grafana.panels import bars, graph, lines, number, rows
from deploy.grafana.queries import Query, Scope, Where
from streams.edges.metrics.catalogue import EVENT_TO_SURGE, LAG_SECONDS
from streams.edges.metrics.catalogue_surges import (
    ALARMS_ASKED,
    MODERATION_COMMENTS,
    MODERATION_SURGES,
    NEWEST,
    NEWEST_MAX,
    NOTICES_OPEN,
    OPEN,
    PAGES,
    PAGES_ASKED,
    SURGES,
    WAVE_FACTOR,
)

SCOPE: Final = Scope(("job", "kind", "lang"), boxes=("surge_id",))
OPENED: Final = Where({"state": "opened"})
BY_MODEL: Final = Where({"trigger": "model"})
JUDGED: Final = Where({"trigger": "model", "state": "opened", "kind": "followers|comments|mix"})
"""Surges that the budget of false alarms is for."""
LANGS_SHOWN: Final = 10
COHORTS_SHOWN: Final = 10
BAR_WORDS: Final = (
    "Surges by the model in the last day, as a share of what makes the alert: ten times the false "
    "alarms that the budget allows, and 20 more. Near 1 too many are told, or what is usual has "
    "changed."
)
ASKED_WORDS: Final = (
    "Of the day before each point: false alarms that the budget of notices allows, and surges that "
    "the model told, of which some are true. Far more seen than asked: too many are false, or "
    "much happens."
)


def share_of_alarm_bar(scope: Scope) -> Query:
    """Surges by the model in a day over the bar of SurgewatchFalseAlarmsOverBudget, by kind."""
    seen = scope.increase(SURGES, "1d", "kind", where=JUDGED)
    asked = scope.increase(ALARMS_ASKED, "1d", "kind")
    bar = Query(f"10 * {asked.expr} + 20", asked.unit, specs=asked.specs)
    return seen.share_of(bar)


def asked_and_seen(scope: Scope) -> list[Query]:
    """False alarms asked for and surges by the model, of the last day, by kind."""
    return [
        scope.increase(ALARMS_ASKED, "1d", "kind").named("asked: {{kind}}"),
        scope.increase(SURGES, "1d", "kind", where=JUDGED).named("seen: {{kind}}"),
    ]


def pages_asked_and_seen(scope: Scope) -> list[Query]:
    """False pages asked for and pages by the model, of the last week, by kind."""
    return [
        scope.increase(PAGES_ASKED, "7d", "kind").named("asked: {{kind}}"),
        scope.increase(PAGES, "7d", "kind", where=BY_MODEL).named("seen: {{kind}}"),
    ]


def delays_of_surges(scope: Scope) -> list[Query]:
    """From event to surge: below what a half, 95 % and 99 % are, and the newest surges as dots."""
    half, most, nearly_all = (scope.quantile(share, EVENT_TO_SURGE) for share in (0.5, 0.95, 0.99))
    return [half.with_exemplars(), most, nearly_all]


_OVERVIEW: Final = Section(
    "Overview",
    [
        number(
            "Pages open",
            SCOPE.total(OPEN, where=Where({"severity": "page"}, {"kind": "wave"})),
            limit=limit_of("SurgewatchCreatorSurge"),
            description="Open surges of creators and posts that matter: the rule was reached, or "
            "the model finds them rarer than the budget of pages.",
        ),
        number(
            "Notices open",
            SCOPE.total(OPEN, where=Where({"severity": "notice"})),
            limit=limit_of("SurgewatchCreatorSurgeNotice"),
            description="Open surges by the model, and shifts of languages, as rare as the budget "
            "of notices asks.",
        ),
        number(
            "Waves open",
            SCOPE.total(OPEN, where=Where({"kind": "wave"})),
            limit=limit_of("SurgewatchWaveOpen"),
            description="Open waves: what lifts many creators of a language, a region or all at "
            "once. Surges of those whom they lift are not told.",
        ),
        number(
            "Opened in a day",
            SCOPE.increase(SURGES, "1d", where=OPENED),
            description="Surges that opened in the last day, of all kinds.",
        ),
        number(
            "From event to surge, 95 % of an hour's",
            SCOPE.quantile(0.95, EVENT_TO_SURGE, "1h"),
            description="Below what 95 % of the times are from the record that told of a surge to "
            "its announcement, of the last hour's surges.",
            none="no surge in an hour",
        ),
        number(
            "Counts are behind",
            SCOPE.most(LAG_SECONDS),
            limit=limit_of("SurgewatchDataDelayed"),
            description="What is open may be older than it looks: so far are counts behind the "
            "clock where they are furthest; 0 when no record waits.",
        ),
    ],
)
_SURGES: Final = Section(
    "Surges",
    [
        graph(
            "Open surges",
            [SCOPE.total(OPEN, "kind", "severity")],
            stacked=True,
            description="Surges that are open, of all workers, by what surges and the highest "
            "severity that was told.",
        ),
        graph(
            "Opened in an hour",
            [SCOPE.increase(SURGES, "1h", "kind", "trigger", where=OPENED)],
            description="Surges that opened in the hour before each point, by what surges and "
            "whether the rule or the model told of it first.",
        ),
        graph(
            "Newest surges: from event to surge",
            delays_of_surges(SCOPE),
            description="Each dot is a surge that was just announced, as far up as it came after "
            "its event: pointing at it shows its surge_id, by which it stands in the topic of "
            "surges. Lines: below what half, 95 % and 99 % of them are.",
        ),
        bars(
            "Open notices, by whose audience",
            SCOPE.total(NOTICES_OPEN, "kind", "lang", "region").top(COHORTS_SHOWN),
            description="Open surges that are notices, by the language and region of those who "
            "follow or comment; the ten cohorts with the most. Many in one cohort may be a wave.",
            none="no notice is open",
        ),
        rows(
            "Newest surges that matter",
            SCOPE.since(NEWEST, "kind", "surge_id").least(NEWEST_MAX),
            {"Value": "told, ago", "kind": "kind", "surge_id": "surge_id"},
            description="The last twenty pages and waves that the workers know to be told. "
            "`surgewatch surges --id SURGE_ID` tells all of one.",
            none="none since the workers started, or none with this surge_id",
        ),
        graph(
            "Became pages in an hour",
            [SCOPE.increase(PAGES, "1h", "kind")],
            description="Surges of creators and posts that became pages in the hour before each "
            "point: each called somebody.",
        ),
        lines(
            "Whose they are",
            SCOPE.lines("surge_page", "kind", "surge_id"),
            {
                "at": "told at",
                "kind": "kind",
                "state": "state",
                "creator_id": "creator",
                "post_id": "post",
                "observed": "events",
                "hours": "in hours",
                "trigger": "by",
                "surge_id": "surge_id",
            },
            numbers=("observed", "hours"),
            description="Pages that workers told in their logs (log_format json), where a Loki has "
            "those: whose surge it is, and how many events in how many hours it was told by. All "
            "surges, and all of each, stand in the topic of surges.",
            none="no surge that matters, or no logs",
        ),
    ],
)
_WAVES: Final = Section(
    "Waves",
    [
        graph(
            "Wave factor",
            [SCOPE.most(WAVE_FACTOR, "series", "lang", "region")],
            description="While a wave is open: how many times what is usual each cohort that it "
            "lifts had in the last five minutes.",
        ),
        rows(
            "Lifted now",
            SCOPE.most(WAVE_FACTOR, "series", "lang", "region"),
            {
                "series": "events",
                "lang": "language",
                "region": "region",
                "Value": "times what is usual",
            },
            description="Cohorts that an open wave lifts, by language and region; an empty one is "
            "all of them.",
            none="no wave is open",
        ),
    ],
)
_MODERATION: Final = Section(
    "To moderate, by language",
    [
        bars(
            "Comments in an hour",
            SCOPE.grown(MODERATION_COMMENTS, "1h", "lang").top(LANGS_SHOWN),
            description="Comments of the surges of posts, and of languages' shares, that opened in "
            "the last hour, by language; the ten with the most.",
            none="no post surged",
        ),
        graph(
            "Comments over time",
            [SCOPE.grown(MODERATION_COMMENTS, "1h", "lang").top(LANGS_SHOWN)],
            description="Comments of the surges that opened in the hour before each point, by "
            "language; the ten with the most.",
        ),
        bars(
            "Surges in 15 minutes",
            SCOPE.grown(MODERATION_SURGES, "15m", "lang").top(LANGS_SHOWN),
            limit=limit_of("SurgewatchModerationLoad"),
            description="Surges of posts, and of languages' shares, that opened in the last 15 "
            "minutes, by the language that has to be read; the ten with the most.",
            none="no post surged",
        ),
        rows(
            "Alerts that fire",
            Query(
                'sum by (alertname, severity, kind) (ALERTS{alertname=~"Surgewatch.*",'
                'alertstate="firing",alertname!="SurgewatchDeadMansSwitch"})',
                units.Short,
            ),
            {"alertname": "alert", "severity": "severity", "kind": "kind"},
            description="Alerts of Surgewatch that fire now; each name leads to its runbook.",
            none="none fires",
        ),
    ],
)
_TRUST: Final = Section(
    "False alarms",
    [
        graph("Asked against seen, of a day", asked_and_seen(SCOPE), description=ASKED_WORDS),
        bars(
            "Share of what makes the alert",
            share_of_alarm_bar(SCOPE),
            limit=limit_of("SurgewatchFalseAlarmsOverBudget", 1.0),
            description=BAR_WORDS,
        ),
    ],
)

BOARD: Final = Board(
    "surgewatch-now",
    "Surgewatch: surges now",
    "What surges now, which waves lift whom, what has to be moderated, and how far to trust it.",
    SCOPE,
    [_OVERVIEW, _SURGES, _WAVES, _MODERATION, _TRUST],
    has_logs=True,
)
