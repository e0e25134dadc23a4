"""Metrics of surges and waves: what was told, what is open, whom it concerns."""

from typing import Final, get_args

from streams.core.surges.surge import Kind, Severity, State, Trigger
from streams.core.waves.incident import LIFTED_MAX
from streams.core.waves.report import REPORTED
from streams.edges.metrics.specs import PREFIX, Label, MetricSpec

LANGS_MAX: Final = 32
"""Languages told apart in metrics: the first that are met; what comes beyond is OTHER_LANG."""
COHORTS_MAX: Final = 64
"""The same of cohorts."""
OTHER_LANG: Final = "other"
NEWEST_MAX: Final = 20
"""Newest surges of a kind that a worker names."""
NEW_SECONDS: Final = 900
"""So long a surge is new: its alert goes on, and it makes no room for others."""

_KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
_SURGES: Final[tuple[tuple[Kind, Trigger, State], ...]] = (
    *(
        (kind, trigger, state)
        for kind in ("followers", "comments")
        for trigger in get_args(Trigger)
        for state in get_args(State)
    ),
    *(("mix", "model", state) for state in ("opened", "closed")),  # no more is said of it
    *(("wave", "model", state) for state in ("opened", "grown", "closed")),  # amended by nothing
)

SURGES: Final = MetricSpec(
    f"{PREFIX}surges_total",
    "counter",
    "surges",
    "Surge announcements.",
    (
        Label("kind", "what surges", _KINDS),
        Label("trigger", "rule or model", get_args(Trigger)),
        Label("state", "what is said of the surge", get_args(State)),
    ),
    series=_SURGES,
)
OPEN_SERIES: Final[tuple[tuple[Kind, Severity], ...]] = (
    ("followers", "notice"),
    ("followers", "page"),
    ("comments", "notice"),
    ("comments", "page"),
    ("mix", "notice"),
    ("wave", "page"),
)
OPEN: Final = MetricSpec(
    f"{PREFIX}surges_open",
    "gauge",
    "surges",
    "Surges that are open now in the partitions of this worker.",
    (
        Label("kind", "what surges", _KINDS),
        Label("severity", "the highest that was told of it", get_args(Severity)),
    ),
    series=OPEN_SERIES,
)
PAGES: Final = MetricSpec(
    f"{PREFIX}pages_total",
    "counter",
    "surges",
    "Surges of creators and posts that became pages, as they opened or later: each once, when "
    "Kafka has it. One whose worker ends just before that is in none.",
    (
        Label("kind", "what surges", ("followers", "comments")),
        Label("trigger", "what told it", ("rule", "model")),
    ),
)
NEWEST: Final = MetricSpec(
    f"{PREFIX}newest_surge_timestamp_seconds",
    "gauge",
    "seconds",
    f"When each of the newest surges that matter was told: of creators and posts as it became a "
    f"page, of waves as it opened; {NEWEST_MAX} of each kind, and no more than that in "
    f"{NEW_SECONDS // 60} minutes. Of a partition that was taken over: what is open and so new, by "
    "event time.",
    (
        Label("kind", "what surges", ("followers", "comments", "wave")),
        Label("surge_id", "by which it stands in the topic of surges"),
    ),
    most=3 * NEWEST_MAX,
)
NOTICES_OPEN: Final = MetricSpec(
    f"{PREFIX}notices_open",
    "gauge",
    "surges",
    "Those of them that are notices, by the cohort whose audience surges; a shift of languages by "
    f"its language. The first {COHORTS_MAX} cohorts that were met, else {OTHER_LANG}.",
    (
        Label("kind", "what surges"),
        Label("lang", "the cohort's language"),
        Label("region", "the cohort's region; empty for kind mix"),
    ),
    most=len([one for one in OPEN_SERIES if one[1] == "notice"]) * (COHORTS_MAX + 1),
)
SURGES_FORGOTTEN: Final = MetricSpec(
    f"{PREFIX}surges_forgotten_total",
    "counter",
    "surges",
    "Closed surges forgotten within their 24 hours, for want of room.",
)
ALARMS_ASKED: Final = MetricSpec(
    f"{PREFIX}false_alarms_asked_total",
    "counter",
    "surges",
    "False alarms that the budget allows: budget_notices_per_creator_day times the creators (and "
    "posts) known, over the event time that passed. To be held against "
    'surgewatch_surges_total{trigger="model",state="opened"}, which has true ones too. Of kind mix '
    "a loose bound: only those with 60 comments in a day can be told.",
    (Label("kind", "of which surges", ("followers", "comments", "mix")),),
)
PAGES_ASKED: Final = MetricSpec(
    f"{PREFIX}false_pages_asked_total",
    "counter",
    "surges",
    "The same by budget_pages_per_creator_day. To be held against "
    'surgewatch_pages_total{trigger="model"}.',
    (Label("kind", "of which surges", ("followers", "comments")),),
)
WAVE_FACTOR: Final = MetricSpec(
    f"{PREFIX}wave_factor",
    "gauge",
    "ratio",
    "While a wave is open: how many times what is usual a cohort that it lifts had in the last "
    "closed bucket; told by the one worker that adds up the fleet's series.",
    (
        Label("series", "of which events", tuple(REPORTED)),
        Label("lang", "the cohort's language"),
        Label("region", "the cohort's region"),
    ),
    most=len(REPORTED) * LIFTED_MAX,
)
MODERATION_SURGES: Final = MetricSpec(
    f"{PREFIX}moderation_surges_total",
    "counter",
    "surges",
    "Surges that opened on a post, or of a language's share, by the language that has to be read: "
    "most of the post's comments are in it, or its share rose.",
    (Label("lang", f"the first {LANGS_MAX} that were met, else {OTHER_LANG}"),),
    most=LANGS_MAX + 1,
)
MODERATION_COMMENTS: Final = MetricSpec(
    f"{PREFIX}moderation_comments_total",
    "counter",
    "events",
    "Comments that these surges were of when they opened, by language: a post's shares of it.",
    (Label("lang", f"the first {LANGS_MAX} that were met, else {OTHER_LANG}"),),
    most=LANGS_MAX + 1,
)

SURGE_METRICS: Final = (
    *(SURGES, OPEN, PAGES, NEWEST, NOTICES_OPEN, SURGES_FORGOTTEN, ALARMS_ASKED),
    *(PAGES_ASKED, WAVE_FACTOR),
    *(MODERATION_SURGES, MODERATION_COMMENTS),
)
