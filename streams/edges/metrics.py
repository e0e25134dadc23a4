"""Every metric of Surgewatch: one file, base units, short label lists, series that start at 0.

Nothing here costs a record anything: the worker calls these methods once a chunk.
"""

import platform
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, get_args

import numpy as np
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.core import GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from streams.core.events import Reason
from streams.core.surges import Kind, State, Trigger

Stage = Literal["fetch", "decode", "count", "score", "store", "announce", "idle"]
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

PREFIX: Final = "surgewatch"
EVENT_TO_SURGE_SECONDS: Final = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 21600, 86400)
STORE_WRITE_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5)


@dataclass(frozen=True, slots=True)
class Build:
    """What runs: the version, and the detector by its name in the settings."""

    version: str
    detector: str


@dataclass(frozen=True, slots=True)
class Place:
    """How far one partition is: records behind, and the watermark (None: no record yet)."""

    lag_records: int
    watermark_ms: int | None


class Metrics:
    """Metrics of one worker in one registry.

    ``topics`` are the input topics; ``now_ms`` is the clock that the lag in seconds is taken
    from, when it is asked for: the lag of a worker that stands still grows.
    """

    def __init__(
        self,
        registry: CollectorRegistry,
        topics: Iterable[str],
        build: Build,
        now_ms: Callable[[], int],
    ) -> None:
        # A second series for each counter, which nobody reads. The function has no types.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = registry
        self._make_counters(registry, tuple(topics))
        self._make_gauges(registry, tuple(topics))
        info = Info("build", "What runs.", namespace=PREFIX, registry=registry)
        info.info(
            {
                "version": build.version,
                "python": platform.python_version(),
                "detector": build.detector,
            }
        )
        self._places = _Places(now_ms)
        registry.register(self._places)
        self._event_to_surge = _Delays(
            "event_to_surge_seconds",
            "From the time of the record that opened a surge to its announcement.",
            EVENT_TO_SURGE_SECONDS,
        )
        registry.register(self._event_to_surge)
        ProcessCollector(registry=registry)

    def _make_counters(self, registry: CollectorRegistry, topics: tuple[str, ...]) -> None:
        def counter(name: str, text: str, **labels: Iterable[str]) -> Counter:
            made = Counter(name, text, tuple(labels), namespace=PREFIX, registry=registry)
            for values in _products(labels):
                made.labels(**values)
            return made

        self._records = counter(
            "records", "Records read, by result.", topic=topics, result=get_args(Result)
        )
        self._late = counter("late_records", "Records older than the 24 hours.", topic=topics)
        self._reread = counter(
            "reread_records",
            "Records read once more after a rebalance, for their event ids or to be held again.",
            topic=topics,
        )
        self._let_go = counter(
            "keys_let_go", "Keys let go from memory, least recently met first.", topic=topics
        )
        self._read_back = counter(
            "keys_read_back", "Keys read back from the store when they came again.", topic=topics
        )
        self._forgotten = counter(
            "repeats_forgotten", "Event ids let go too early, for want of room.", topic=topics
        )
        self._beyond = counter(
            "beyond_lateness_records", "Records later than the allowed lateness.", topic=topics
        )
        self._early = counter(
            "released_early_records",
            "Held records counted before their time, for want of room.",
            topic=topics,
        )
        self._dead = counter("dead_letters", "Records that cannot be used.", reason=list(Reason))
        self._surges = counter(
            "surges",
            "Surge announcements.",
            kind=[kind for kind in get_args(Kind) if kind not in {"mix", "wave"}],
            trigger=get_args(Trigger),
            state=get_args(State),
        )
        for state in ("opened", "closed"):  # by the model alone, and no more is said of it
            self._surges.labels("mix", "model", state)
        for state in ("opened", "grown", "closed"):  # a wave is amended by nothing
            self._surges.labels("wave", "model", state)
        self._stages = counter(
            "stage_seconds",
            "Wall time of each stage; store and announce wait while others go on.",
            stage=get_args(Stage),
        )
        self._kafka = counter("kafka_errors", "Errors.", operation=get_args(KafkaOperation))
        self._redis = counter("redis_errors", "Errors.", operation=get_args(RedisOperation))
        self._troubles = counter(
            "bad_input", "What Kafka, Redis or the clock did wrong.", kind=get_args(Trouble)
        )
        self._missed = counter(
            "records_missed", "Offsets that Kafka deleted before they were counted.", topic=topics
        )
        self._ids_gone = counter(
            "event_ids_gone", "Records deleted before their ids were learnt again.", topic=topics
        )
        self._surges_forgotten = counter(
            "surges_forgotten", "Closed surges forgotten within their 24 hours, for want of room."
        )
        self._rebalances = counter("rebalances", "Times that partitions were dealt anew.")
        self._recounts = counter(
            "recounts", "Partitions found torn in Redis, dropped and counted anew from Kafka."
        )
        self._store_bytes = counter("store_bytes", "Bytes of state sent to Redis.")

    def _make_gauges(self, registry: CollectorRegistry, topics: tuple[str, ...]) -> None:
        def gauge(name: str, text: str, labels: tuple[str, ...] = ()) -> Gauge:
            return Gauge(name, text, labels, namespace=PREFIX, registry=registry)

        self._owned = gauge("partitions_owned", "Partitions that this worker reads.")
        self._outbox = gauge("outbox_pending", "Stored surges that are not announced yet.")
        self._creators = gauge("creators_known", "Creators with state in memory.", ("topic",))
        self._remembered = gauge(
            "event_ids_remembered", "Event ids in memory, by which repeats are known.", ("topic",)
        )
        self._left_out = gauge(
            "keys_left_out", "Keys let go or left out whose place in Redis is known.", ("topic",)
        )
        self._held = gauge(
            "held_records", "Records read that wait for late ones, not counted yet.", ("topic",)
        )
        for topic in topics:
            self._held.labels(topic)
            self._creators.labels(topic)
            self._remembered.labels(topic)
            self._left_out.labels(topic)
        self._redis_used = gauge(
            "redis_memory_used_bytes", "Memory that the fullest Redis server uses."
        )
        self._redis_max = gauge("redis_memory_max_bytes", "Its maxmemory; 0: it has no limit.")
        self._clock_off = gauge(
            "clock_off_seconds", "Wall clock minus the time that records are judged by."
        )
        self._store_write = Histogram(
            "store_write_seconds",
            "Time of one atomic write to Redis.",
            namespace=PREFIX,
            registry=registry,
            buckets=STORE_WRITE_SECONDS,
        )

    def add_records(
        self,
        topic: str,
        *,
        counted: int,
        late: int = 0,
        repeated: int = 0,
        dead: Mapping[Reason, int] | None = None,
    ) -> None:
        """Tell what became of the records of one chunk; each is in one of the four."""
        self._records.labels(topic, "counted").inc(counted)
        if repeated:
            self._records.labels(topic, "repeated").inc(repeated)
        if late:
            self._records.labels(topic, "late").inc(late)
            self._late.labels(topic).inc(late)
        for reason, count in (dead or {}).items():
            self._records.labels(topic, "dead").inc(count)
            self._dead.labels(reason.value).inc(count)

    def add_reread(self, topic: str, records: int) -> None:
        """Tell records that were read once more for their event ids."""
        self._reread.labels(topic).inc(records)

    def add_let_go(self, topic: str, keys: int) -> None:
        """Tell keys that were let go from memory."""
        self._let_go.labels(topic).inc(keys)

    def add_read_back(self, topic: str, keys: int) -> None:
        """Tell keys that were read back from the store."""
        self._read_back.labels(topic).inc(keys)

    def add_forgotten(self, topic: str, event_ids: int) -> None:
        """Tell event ids that were let go before their time."""
        self._forgotten.labels(topic).inc(event_ids)

    def set_held(self, topic: str, records: int, late: int, early: int) -> None:
        """Tell how many records wait for late ones, and how many did not wait as they should."""
        self._held.labels(topic).set(records)
        self._beyond.labels(topic).inc(late)
        self._early.labels(topic).inc(early)

    def add_stage(self, stage: Stage, seconds: float) -> None:
        """Tell the wall time of one stage of one chunk."""
        self._stages.labels(stage).inc(seconds)

    def set_place(self, topic: str, partition: int, place: Place) -> None:
        """Tell how far a partition is; its series stand until ``give_up``."""
        self._places.places[topic, partition] = place

    def give_up(self, topic: str, partition: int) -> None:
        """Forget a partition that another worker reads now; its series vanish."""
        self._places.places.pop((topic, partition), None)

    def add_surges(self, kind: Kind, trigger: Trigger, state: State, count: int) -> None:
        """Tell so many announcements."""
        self._surges.labels(kind, trigger, state).inc(count)

    def observe_event_to_surge(self, seconds: Sequence[float]) -> None:
        """Tell how long after their records (event time) surges were announced; below 0 is 0."""
        self._event_to_surge.add(seconds)

    def observe_store_write(self, seconds: float, sent_bytes: int) -> None:
        """Tell one write to Redis: how long it took and how much was sent."""
        self._store_write.observe(seconds)
        self._store_bytes.inc(sent_bytes)

    def add_kafka_error(self, operation: KafkaOperation) -> None:
        """Tell one failed call to Kafka."""
        self._kafka.labels(operation).inc()

    def add_redis_error(self, operation: RedisOperation) -> None:
        """Tell one failed call to Redis."""
        self._redis.labels(operation).inc()

    def add_trouble(self, kind: Trouble) -> None:
        """Tell of bad input; most kinds end the worker."""
        self._troubles.labels(kind).inc()

    def add_missed(self, topic: str, count: int) -> None:
        """Tell that so many offsets were deleted before they were counted."""
        self._missed.labels(topic).inc(count)

    def add_ids_gone(self, topic: str, count: int) -> None:
        """Tell that so many records were deleted before their event ids were learnt again."""
        self._ids_gone.labels(topic).inc(count)

    def add_forgotten_surges(self, count: int) -> None:
        """Tell that so many closed surges were forgotten too early."""
        self._surges_forgotten.inc(count)

    def set_redis_memory(self, used_bytes: int, max_bytes: int) -> None:
        """Tell how full the fullest Redis server is."""
        self._redis_used.set(used_bytes)
        self._redis_max.set(max_bytes)

    def set_clock_off(self, seconds: float) -> None:
        """Tell how far the wall clock is ahead of the time that is believed."""
        self._clock_off.set(seconds)

    def add_rebalance(self, partitions_owned: int) -> None:
        """Tell that partitions were dealt anew, and how many this worker has now."""
        self._rebalances.inc()
        self._owned.set(partitions_owned)

    def add_recount(self) -> None:
        """Tell that a partition is dropped and counted anew."""
        self._recounts.inc()

    def set_known(self, topic: str, creators: int, event_ids: int, left_out: int) -> None:
        """Tell creators in memory, event ids remembered, and keys known to be in the store."""
        self._creators.labels(topic).set(creators)
        self._remembered.labels(topic).set(event_ids)
        self._left_out.labels(topic).set(left_out)

    def set_outbox_pending(self, count: int) -> None:
        """Tell how many stored surges wait for their announcement."""
        self._outbox.set(count)


class _Places(Collector):
    """Lag and watermark of each partition, computed when they are asked for."""

    def __init__(self, now_ms: Callable[[], int]) -> None:
        self.places: dict[tuple[str, int], Place] = {}
        self._now_ms = now_ms

    def collect(self) -> Iterator[Metric]:
        labels = ("topic", "partition")
        records = GaugeMetricFamily(
            f"{PREFIX}_lag_records",
            "Records in Kafka whose state is not stored yet.",
            labels=labels,
        )
        seconds = GaugeMetricFamily(
            f"{PREFIX}_lag_seconds", "Clock minus watermark while behind, else 0.", labels=labels
        )
        watermark = GaugeMetricFamily(
            f"{PREFIX}_watermark_timestamp_seconds", "Event time reached.", labels=labels
        )
        now_ms = self._now_ms()
        for (topic, partition), place in sorted(self.places.copy().items()):
            values = (topic, str(partition))
            records.add_metric(values, place.lag_records)
            behind_ms = 0
            if place.watermark_ms is not None:
                watermark.add_metric(values, place.watermark_ms / 1000)
                behind_ms = max(0, now_ms - place.watermark_ms) if place.lag_records else 0
            seconds.add_metric(values, behind_ms / 1000)
        yield from (records, seconds, watermark)


class _Delays(Collector):
    """A histogram that takes many values at once: a Histogram's ``observe`` costs 2 µs each."""

    def __init__(self, name: str, text: str, bounds: Sequence[float]) -> None:
        self._name, self._text = f"{PREFIX}_{name}", text
        self._bounds = np.array([*bounds, np.inf])
        self._told = (np.zeros(len(self._bounds), dtype=np.int64), 0.0)

    def add(self, seconds: Sequence[float]) -> None:
        """Take values; one below 0 is 0, one on a bound belongs to it."""
        held = np.maximum(np.array(seconds, dtype=np.float64), 0.0)
        places = np.searchsorted(self._bounds, held)
        counts, total = self._told
        more = np.bincount(places, minlength=len(counts))
        self._told = (counts + more, total + float(held.sum()))  # at once: another thread collects

    def collect(self) -> Iterator[Metric]:
        counts, total = self._told
        names = map(floatToGoString, self._bounds.tolist())
        buckets = list(zip(names, np.cumsum(counts).tolist(), strict=True))
        yield HistogramMetricFamily(self._name, self._text, buckets=buckets, sum_value=total)


def _products(labels: Mapping[str, Iterable[str]]) -> Iterator[dict[str, str]]:
    """Yield every combination of label values; none for a metric without labels."""
    names = tuple(labels)
    if not names:
        return
    combinations: list[dict[str, str]] = [{}]
    for name in names:
        values = [str(value) for value in labels[name]]
        combinations = [{**c, name: value} for c in combinations for value in values]
    yield from combinations
