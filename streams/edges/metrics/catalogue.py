"""Every metric of a worker: name, type, unit, labels and meaning, and nothing else.

``worker.py`` makes its objects from these, ``docs/metrics.md`` is written from them, and rules
and dashboards are held against them.
"""

from typing import Final, Literal, get_args

from streams.core.records.chunks import Reason
from streams.edges.metrics.catalogue_running import RUNNING
from streams.edges.metrics.catalogue_surges import SURGE_METRICS
from streams.edges.metrics.process import PROCESS_METRICS
from streams.edges.metrics.specs import PREFIX, Label, MetricSpec, series_bound_of

Stage = Literal["fetch", "decode", "count", "score", "store", "idle"]
Server = Literal["redis", "kafka"]
Result = Literal["counted", "late", "repeated", "dead"]
KafkaOperation = Literal["connect", "fetch", "commit", "produce"]
RedisOperation = Literal["connect", "read", "write"]
Trouble = Literal[
    "partitions_changed",
    "topic_replaced",
    "topic_gone",
    "records_gone",
    "ids_gone",
    "counts_gone",
    "read_back",
    "other_fleet",
    "other_kafka",
    "redis_evicts",
    "clock_jump",
    "clock_wrong",
    "other_partition",
]

_TOPIC: Final = Label("topic", "input topic: of follows, comments or wave reports")
_PARTITION: Final = Label("partition", "its number; only partitions that this worker has")


def _topics(name: str, unit: Literal["records", "keys"], meaning: str) -> MetricSpec:
    return MetricSpec(f"{PREFIX}{name}_total", "counter", unit, meaning, (_TOPIC,), "topic")


def _held(name: str, unit: Literal["records", "keys"], meaning: str) -> MetricSpec:
    return MetricSpec(PREFIX + name, "gauge", unit, meaning, (_TOPIC,), "topic")


RECORDS: Final = MetricSpec(
    f"{PREFIX}records_total",
    "counter",
    "records",
    "Records read, by what became of them.",
    (
        _TOPIC,
        Label("result", "counted; late: older than 24 hours; repeated; dead", get_args(Result)),
    ),
    "topic",
)
LATE: Final = _topics("late_records", "records", "Records older than the 24 hours.")
REREAD: Final = _topics(
    "reread_records",
    "records",
    "Records read once more after a rebalance, for their event ids or to be held again.",
)
BEYOND_LATENESS: Final = _topics(
    "beyond_lateness_records", "records", "Records later than the allowed lateness."
)
RELEASED_EARLY: Final = _topics(
    "released_early_records", "records", "Held records counted before their time, for want of room."
)
MISSED: Final = _topics(
    "records_missed", "records", "Offsets that Kafka deleted before they were counted."
)
IDS_GONE: Final = _topics(
    "event_ids_gone", "records", "Records deleted before their event ids were learnt again."
)
FORGOTTEN: Final = _topics(
    "repeats_forgotten", "records", "Event ids let go too early, for want of room."
)
LET_GO: Final = _topics("keys_let_go", "keys", "Keys let go from memory, least recently met first.")
READ_BACK: Final = _topics(
    "keys_read_back", "keys", "Keys read back from the store when they came again."
)
HELD: Final = _held(
    "held_records", "records", "Records read that wait for late ones, not counted yet."
)
CREATORS: Final = _held("creators_known", "keys", "Creators with state in memory.")
IDS_REMEMBERED: Final = _held(
    "event_ids_remembered", "records", "Event ids in memory, by which repeats are known."
)
LEFT_OUT: Final = _held(
    "keys_left_out", "keys", "Keys let go or left out whose place in Redis is known."
)
DEAD: Final = MetricSpec(
    f"{PREFIX}dead_letters_total",
    "counter",
    "records",
    "Records that cannot be used, put into dead letters.",
    (Label("reason", "why, as the dead letter says", tuple(reason.value for reason in Reason)),),
)

LAG_RECORDS: Final = MetricSpec(
    f"{PREFIX}lag_records",
    "gauge",
    "records",
    "Records in Kafka whose state is not stored yet.",
    (_TOPIC, _PARTITION),
    "partition",
)
LAG_SECONDS: Final = MetricSpec(
    f"{PREFIX}lag_seconds",
    "gauge",
    "seconds",
    "Clock minus the latest event time read, while records wait to be stored, else 0; what "
    "allowed_lateness_ms holds back does not count. Computed at each scrape, so it grows while the "
    "worker stands still.",
    (_TOPIC, _PARTITION),
    "partition",
)
WATERMARK: Final = MetricSpec(
    f"{PREFIX}watermark_timestamp_seconds",
    "gauge",
    "seconds",
    "Event time of what was counted; none before the first record.",
    (_TOPIC, _PARTITION),
    "partition",
)
PROGRESS: Final = MetricSpec(
    f"{PREFIX}last_progress_timestamp_seconds",
    "gauge",
    "seconds",
    "When something was stored last, or read once more; the worker's start before that. Without "
    "new records it is at most 5 seconds old, except where no partition ever had one.",
)
STAGE_SECONDS: Final = MetricSpec(
    f"{PREFIX}stage_seconds_total",
    "counter",
    "seconds",
    "Wall time of the worker's loop by stage: all stages together are one second a second. score "
    "is within count but not counted twice; store packs what changed; what is between is idle, or "
    "fetch while records wait: waits for Kafka and Redis, sending and receiving.",
    (Label("stage", "what the loop does", get_args(Stage)),),
)
SERVER_WAIT: Final = MetricSpec(
    f"{PREFIX}server_wait_seconds_total",
    "counter",
    "seconds",
    "Time that writes to Redis and announcements to Kafka took, while other stages went on.",
    (Label("server", "who was waited for", get_args(Server)),),
)
GC_PAUSE: Final = MetricSpec(
    f"{PREFIX}gc_pause_seconds",
    "histogram",
    "seconds",
    "How long the garbage collector stopped the worker, each time.",
    buckets=(0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0),
)
EVENT_TO_STORED: Final = MetricSpec(
    f"{PREFIX}event_to_stored_seconds",
    "histogram",
    "seconds",
    "From the time of a counted record, plus allowed_lateness_ms, to when its count was stored and "
    "what came of it was told; never below 0. Records that come late are in it.",
    buckets=(1, 2.5, 5, 10, 30, 60, 300, 3600, 86400),
)
EVENT_TO_SURGE: Final = MetricSpec(
    f"{PREFIX}event_to_surge_seconds",
    "histogram",
    "seconds",
    "From the time of the record that told of a surge to its announcement, with what "
    "allowed_lateness_ms adds; not of what late records amend. In OpenMetrics each bucket names a "
    "surge_id.",
    buckets=(0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 21600, 86400),
)
STORE_WRITE: Final = MetricSpec(
    f"{PREFIX}store_write_seconds",
    "histogram",
    "seconds",
    "Time of one atomic write to Redis.",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5),
)
STORE_BYTES: Final = MetricSpec(
    f"{PREFIX}store_bytes_total", "counter", "bytes", "Bytes of state sent to Redis."
)

OUTBOX: Final = MetricSpec(
    f"{PREFIX}outbox_pending",
    "gauge",
    "none",
    "Messages of surges and wave reports that are stored but not announced yet.",
)

KAFKA_ERRORS: Final = MetricSpec(
    f"{PREFIX}kafka_errors_total",
    "counter",
    "events",
    "Calls to Kafka that failed; they are tried again. connect: also checks at the start; produce: "
    "announcing; a commit that fails only makes lag tools wrong, the store has the offsets.",
    (Label("operation", "what was tried", get_args(KafkaOperation)),),
)
REDIS_ERRORS: Final = MetricSpec(
    f"{PREFIX}redis_errors_total",
    "counter",
    "events",
    "Calls to Redis that failed; they are tried again. connect: also checks at the start and every "
    "check_interval_ms.",
    (Label("operation", "what was tried", get_args(RedisOperation)),),
)
BAD_INPUT: Final = MetricSpec(
    f"{PREFIX}bad_input_total",
    "counter",
    "events",
    "What Kafka, Redis or the clock did wrong; most kinds end the worker.",
    (Label("kind", "see the README, Bad input", get_args(Trouble)),),
)
REBALANCES: Final = MetricSpec(
    f"{PREFIX}rebalances_total", "counter", "events", "Times that partitions were dealt anew."
)
RECOUNTS: Final = MetricSpec(
    f"{PREFIX}recounts_total",
    "counter",
    "events",
    "Partitions found torn in Redis, dropped and counted anew from Kafka.",
)
PARTITIONS: Final = MetricSpec(
    f"{PREFIX}partitions",
    "gauge",
    "none",
    "Partitions that all workers together have to read: of follows, comments and wave reports.",
)
OWNED: Final = MetricSpec(
    f"{PREFIX}partitions_owned", "gauge", "none", "Partitions that this worker reads."
)
REDIS_USED: Final = MetricSpec(
    f"{PREFIX}redis_memory_used_bytes",
    "gauge",
    "bytes",
    "Memory that the fullest Redis server uses.",
)
REDIS_MAX: Final = MetricSpec(
    f"{PREFIX}redis_memory_max_bytes", "gauge", "bytes", "Its maxmemory; 0: it has no limit."
)
MEMORY_LIMIT: Final = MetricSpec(
    f"{PREFIX}memory_limit_bytes",
    "gauge",
    "bytes",
    "Memory that this worker's control group allows it, as it started; 0: there is no limit.",
)
CLOCK_OFF: Final = MetricSpec(
    f"{PREFIX}clock_off_seconds",
    "gauge",
    "seconds",
    "Wall clock minus the time that records are judged by; 0 while they agree.",
)
CATALOGUE: Final[tuple[MetricSpec, ...]] = (
    *(RECORDS, LATE, DEAD, MISSED, LAG_RECORDS, LAG_SECONDS, WATERMARK, PROGRESS),
    *(REREAD, IDS_GONE, FORGOTTEN, IDS_REMEMBERED, HELD, BEYOND_LATENESS, RELEASED_EARLY),
    *(
        STAGE_SECONDS,
        SERVER_WAIT,
        GC_PAUSE,
        EVENT_TO_STORED,
        EVENT_TO_SURGE,
        STORE_WRITE,
        STORE_BYTES,
    ),
    *(*SURGE_METRICS, OUTBOX),
    *(CREATORS, LET_GO, READ_BACK, LEFT_OUT),
    *(KAFKA_ERRORS, REDIS_ERRORS, BAD_INPUT, REBALANCES, RECOUNTS, PARTITIONS, OWNED),
    *(REDIS_USED, REDIS_MAX, MEMORY_LIMIT, CLOCK_OFF, *RUNNING),
    *PROCESS_METRICS,
)
"""All of them, in the order of the document."""

BY_NAME: Final = {spec.name: spec for spec in CATALOGUE}

SERIES_BOUND: Final = series_bound_of(CATALOGUE)
"""Most series of a worker, however many creators there are."""
