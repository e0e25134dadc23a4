"""The metrics of one worker: objects made from the catalogue, and one method for each thing told.

Nothing here costs a record anything: the worker calls these methods once a chunk.
"""

import platform
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    ProcessCollector,
    disable_created_metrics,
)

from streams.core.records.chunks import Reason
from streams.core.records.texts import Ints
from streams.core.reports.surging import Asked, Surging
from streams.core.surges.surge import Kind, State, Surge, Trigger
from streams.edges.metrics import catalogue
from streams.edges.metrics import catalogue_running as running
from streams.edges.metrics import catalogue_surges as surge_specs
from streams.edges.metrics.catalogue import (
    KafkaOperation,
    RedisOperation,
    Server,
    Stage,
    Trouble,
)
from streams.edges.metrics.certificates import Certificates
from streams.edges.metrics.collectors import Delays, Factors, FirstMet, Newest, Place, Places
from streams.edges.metrics.gc_pauses import GcPauses
from streams.edges.metrics.specs import MetricSpec
from streams.edges.tls.certificates import FilesState

__all__ = [
    "Build",
    "KafkaOperation",
    "Metrics",
    "Place",
    "RedisOperation",
    "Server",
    "Stage",
    "Trouble",
]


@dataclass(frozen=True, slots=True)
class Build:
    """What runs: the version, the detector by its name in the settings, and their digest."""

    version: str
    detector: str
    settings_hash: str = ""


class Metrics:
    """Metrics of one worker in one registry.

    ``topics`` are the input topics; ``now_ms`` is the clock that the lag in seconds is taken
    from, when it is asked for: the lag of a worker that stands still grows. ``certificates``: those
    in use, as they are when asked for.
    """

    def __init__(
        self,
        registry: CollectorRegistry,
        topics: Iterable[str],
        build: Build,
        now_ms: Callable[[], int],
        certificates: Callable[[], Iterable[FilesState]] = tuple,
    ) -> None:
        # A second series for each counter, which nobody reads. The function has no types.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = registry
        self._topics = tuple(topics)
        self._now_ms = now_ms
        self._make_counters()
        self._make_gauges()
        self._make_infos(build)
        self._places = Places(now_ms)
        self._factors = Factors(surge_specs.WAVE_FACTOR)
        self._notices = Factors(surge_specs.NOTICES_OPEN)
        limits = surge_specs.NEWEST_MAX, surge_specs.NEW_SECONDS * 1000
        self._newest = Newest(surge_specs.NEWEST, *limits)
        self._event_to_surge = Delays(catalogue.EVENT_TO_SURGE)
        self._event_to_stored = Delays(catalogue.EVENT_TO_STORED)
        self.gc_pauses = GcPauses()
        for one in (
            *(self._places, self._factors, self._notices, self._newest),
            *(self._event_to_surge, self._event_to_stored, self.gc_pauses),
            Certificates(certificates),
        ):
            registry.register(one)
        other = surge_specs.OTHER_LANG
        self._langs = FirstMet(surge_specs.LANGS_MAX, other)
        self._cohorts = FirstMet(surge_specs.COHORTS_MAX, (other, other))
        ProcessCollector(registry=registry)

    def _counter(self, spec: MetricSpec) -> Counter:
        made = Counter(spec.family, spec.meaning, spec.label_names, registry=self.registry)
        for values in spec.series_known(self._topics):
            made.labels(**values)
        return made

    def _gauge(self, spec: MetricSpec) -> Gauge:
        made = Gauge(spec.family, spec.meaning, spec.label_names, registry=self.registry)
        for values in spec.series_known(self._topics):
            made.labels(**values)
        return made

    def _make_counters(self) -> None:
        self._records = self._counter(catalogue.RECORDS)
        self._late = self._counter(catalogue.LATE)
        self._reread = self._counter(catalogue.REREAD)
        self._let_go = self._counter(catalogue.LET_GO)
        self._read_back = self._counter(catalogue.READ_BACK)
        self._forgotten = self._counter(catalogue.FORGOTTEN)
        self._beyond = self._counter(catalogue.BEYOND_LATENESS)
        self._early = self._counter(catalogue.RELEASED_EARLY)
        self._dead = self._counter(catalogue.DEAD)
        self._surges = self._counter(surge_specs.SURGES)
        self._pages = self._counter(surge_specs.PAGES)
        self._asked = self._counter(surge_specs.ALARMS_ASKED)
        self._asked_pages = self._counter(surge_specs.PAGES_ASKED)
        self._moderation_surges = self._counter(surge_specs.MODERATION_SURGES)
        self._moderation_comments = self._counter(surge_specs.MODERATION_COMMENTS)
        self._stages = self._counter(catalogue.STAGE_SECONDS)
        self._waits = self._counter(catalogue.SERVER_WAIT)
        self._kafka = self._counter(catalogue.KAFKA_ERRORS)
        self._redis = self._counter(catalogue.REDIS_ERRORS)
        self._troubles = self._counter(catalogue.BAD_INPUT)
        self._missed = self._counter(catalogue.MISSED)
        self._ids_gone = self._counter(catalogue.IDS_GONE)
        self._surges_forgotten = self._counter(surge_specs.SURGES_FORGOTTEN)
        self._rebalances = self._counter(catalogue.REBALANCES)
        self._recounts = self._counter(catalogue.RECOUNTS)
        self._store_bytes = self._counter(catalogue.STORE_BYTES)
        self._suppressed = self._counter(running.LINES_SUPPRESSED)
        self._reloads = self._counter(running.RELOADS)
        self._lines_lost = self._counter(running.LINES_LOST)
        self._spans = self._counter(running.SPANS)

    def _make_gauges(self) -> None:
        self._partitions = self._gauge(catalogue.PARTITIONS)
        self._owned = self._gauge(catalogue.OWNED)
        self._outbox = self._gauge(catalogue.OUTBOX)
        self._open = self._gauge(surge_specs.OPEN)
        self._creators = self._gauge(catalogue.CREATORS)
        self._remembered = self._gauge(catalogue.IDS_REMEMBERED)
        self._left_out = self._gauge(catalogue.LEFT_OUT)
        self._held = self._gauge(catalogue.HELD)
        self._redis_used = self._gauge(catalogue.REDIS_USED)
        self._redis_max = self._gauge(catalogue.REDIS_MAX)
        self._memory_limit = self._gauge(catalogue.MEMORY_LIMIT)
        self._memory_allocated = self._gauge(running.MEMORY_ALLOCATED)
        self._clock_off = self._gauge(catalogue.CLOCK_OFF)
        self._progress = self._gauge(catalogue.PROGRESS)
        self._progress.set(time.time())
        spec = catalogue.STORE_WRITE
        self._store_write = Histogram(
            spec.family, spec.meaning, registry=self.registry, buckets=spec.buckets
        )

    def _make_infos(self, build: Build) -> None:
        runs = {
            "version": build.version,
            "python": platform.python_version(),
            "detector": build.detector,
        }
        for spec, values in (
            (running.BUILD, runs),
            (running.SETTINGS, {"hash": build.settings_hash}),
        ):
            made = Info(spec.family, spec.meaning, registry=self.registry)
            made.info(values)
        self._settings = made

    def reloaded(self, result: running.ReloadResult) -> None:
        """Tell that the settings were read again."""
        self._reloads.labels(result).inc()

    def add_spans(self, result: running.SpanResult, spans: int) -> None:
        """Tell what became of spans; from any thread."""
        self._spans.labels(result).inc(spans)

    def set_settings_hash(self, settings_hash: str) -> None:
        """Tell the digest of the settings in force."""
        self._settings.info({"hash": settings_hash})

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

    def add_wait(self, server: Server, seconds: float) -> None:
        """Tell how long a server took for a write or an announcement."""
        self._waits.labels(server).inc(seconds)

    def set_place(self, topic: str, partition: int, place: Place) -> None:
        """Tell how far a partition is; its series stand until ``give_up``."""
        self._places.places[topic, partition] = place

    def give_up(self, topic: str, partition: int) -> None:
        """Forget a partition that another worker reads now; its series vanish."""
        self._places.places.pop((topic, partition), None)

    def add_surges(self, kind: Kind, trigger: Trigger, state: State, count: int) -> None:
        """Tell so many announcements."""
        self._surges.labels(kind, trigger, state).inc(count)

    def observe_event_to_surge(self, seconds: Sequence[float], surge_ids: Sequence[str]) -> None:
        """Tell how long after their records (event time) surges were announced; below 0 is 0."""
        if seconds:
            self._event_to_surge.add(seconds, surge_ids)

    def observe_event_to_stored(self, at_ms: Ints, now_ms: int) -> None:
        """Tell that the counts of records due at these times are stored and told now."""
        self._event_to_stored.add_ages(at_ms, now_ms)

    def add_moderation(self, opened: Sequence[Surge]) -> None:
        """Tell surges that opened and have comments to be read."""
        for surge in opened:
            if surge.mix is not None:
                langs = [(surge.mix.lang, 1.0)]
            else:
                langs = [(one.lang, one.share) for one in surge.langs or []] or [("und", 1.0)]
            self._moderation_surges.labels(self._langs.name_of(langs[0][0])).inc()
            for lang, share in langs:
                comments = self._moderation_comments.labels(self._langs.name_of(lang))
                comments.inc(share * surge.observed)

    def add_pages(self, kind: Kind, trigger: Trigger, surge_ids: Sequence[str]) -> None:
        """Tell surges that became pages."""
        self._pages.labels(kind, trigger).inc(len(surge_ids))
        self._tell_newest(kind, surge_ids)

    def add_waves(self, surge_ids: Sequence[str]) -> None:
        """Tell waves that opened."""
        self._tell_newest("wave", surge_ids)

    def add_found(self, kind: Kind, surge_id: str, at_ms: int) -> None:
        """Tell a page or wave, if it is new: who had it before may have ended untold."""
        now_ms = self._now_ms()
        if at_ms > now_ms - surge_specs.NEW_SECONDS * 1000:
            self._newest.add(kind, [surge_id], min(at_ms, now_ms), now_ms)

    def _tell_newest(self, kind: Kind, surge_ids: Sequence[str]) -> None:
        now_ms = self._now_ms()
        self._newest.add(kind, surge_ids, now_ms, now_ms)

    def add_asked(self, asked: Asked) -> None:
        """Tell so many false alarms that budgets allow for what was counted meanwhile."""
        for counter, of in ((self._asked, asked.alarms), (self._asked_pages, asked.pages)):
            for kind, count in of.items():
                counter.labels(kind).inc(count)

    def set_surging(self, surging: Surging) -> None:
        """Tell what is open now; cohorts of which nothing is any more vanish."""
        for kind, severity in surge_specs.OPEN_SERIES:
            self._open.labels(kind, severity).set(surging.open[kind, severity])
        self._factors.factors = {
            (series, part.lang or "", part.region or ""): part.factor
            for series, parts in surging.wave_parts.items()
            for part in parts
        }
        notices: dict[tuple[str, ...], float] = defaultdict(float)
        for (kind, audience), count in surging.notices.items():
            notices[kind, *self._cohorts.name_of(audience)] += count
        self._notices.factors = notices

    def progressed(self) -> None:
        """Tell that something was stored, or read once more, just now."""
        self._progress.set(time.time())

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

    def set_partitions(self, count: int) -> None:
        """Tell how many partitions all workers together have to read."""
        self._partitions.set(count)

    def set_memory_limit(self, limit_bytes: int) -> None:
        """Tell how much memory this worker may have; 0: there is no limit."""
        self._memory_limit.set(limit_bytes)

    def set_memory_allocated(self, allocated_bytes: int) -> None:
        """Tell how much memory is in use of what the C library gave out."""
        self._memory_allocated.set(allocated_bytes)

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

    def add_lines_lost(self, lines: int) -> None:
        """Tell that so many lines of the log could not be written."""
        self._lines_lost.inc(lines)

    def add_suppressed(self, lines: int) -> None:
        """Tell that so many lines of the log were held back."""
        self._suppressed.inc(lines)

    def set_known(self, topic: str, creators: int, event_ids: int, left_out: int) -> None:
        """Tell creators in memory, event ids remembered, and keys known to be in the store."""
        self._creators.labels(topic).set(creators)
        self._remembered.labels(topic).set(event_ids)
        self._left_out.labels(topic).set(left_out)

    def set_outbox_pending(self, count: int) -> None:
        """Tell how many stored surges wait for their announcement."""
        self._outbox.set(count)
