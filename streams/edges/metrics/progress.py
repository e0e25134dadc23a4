"""What the pipeline tells of itself while it works: to metrics and to health."""

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Protocol

from streams.core.partition_state import Outcome
from streams.core.records.chunks import DeadRecord, RawChunk, Reason
from streams.core.records.texts import Ints
from streams.core.reports.surging import Asked, Pages, Surging
from streams.core.surges.surge import Kind, Surge
from streams.edges.errors import RedisUnreachable, UnreachableError
from streams.edges.metrics.worker import (
    KafkaOperation,
    Metrics,
    Place,
    RedisOperation,
    Server,
    Stage,
)
from streams.edges.process.health import Health


class Progress(Protocol):
    """Hears of each chunk and write; every call is cheap and never raises."""

    def stage(self, name: Stage) -> AbstractContextManager[object]:
        """Time spent within is this stage's, less what an inner stage takes."""

    def waited(self, server: Server, seconds: float) -> None:
        """So long a server was waited for, while other stages may have gone on."""

    def owns(self, places: Sequence[tuple[str, int]]) -> None:
        """These partitions were dealt to us, no others; their state is not loaded yet."""

    def loaded(self) -> None:
        """The state of all our partitions is loaded."""

    def took(self, chunk: RawChunk, outcome: Outcome, dead: Sequence[DeadRecord]) -> None:
        """A chunk was counted."""

    def stands(
        self,
        places: Mapping[tuple[str, int], Place],
        keys: Mapping[str, int],
        event_ids: Mapping[str, int],
        left_out: Mapping[str, int],
    ) -> None:
        """How far each partition is; keys, event ids and left-out keys known. Once a second."""

    def surging(self, surging: Surging, outbox: int) -> None:
        """What is open now, and how much waits to be announced. Once a second."""

    def paged(self, pages: Pages) -> None:
        """Kafka has the word of surges that became pages."""

    def found_open(self, pages: Iterable[tuple[Kind, str, int]]) -> None:
        """These are open in a partition that was taken over: kind, surge_id, since when."""

    def asked(self, asked: Asked) -> None:
        """So many false alarms do budgets allow for what was counted since the last call."""

    def told_of(self, at_ms: Sequence[Ints]) -> None:
        """Counts of records due at these times are stored, and what came of them was told."""

    def forgot(self, topic: str, event_ids: int) -> None:
        """So many event ids were let go before their time."""

    def forgot_surges(self, count: int) -> None:
        """So many closed surges were forgotten for want of room."""

    def held(self, topic: str, records: int, late: int, early: int) -> None:
        """So many are held back; since the last call so many came too late, or went too early."""

    def announced(self, surges: Sequence[Surge]) -> None:
        """Kafka has these surges."""

    def stored(self, seconds: float, sent_bytes: int) -> None:
        """A write was done."""

    def let_go(self, topic: str, keys: int) -> None:
        """So many keys were let go from memory."""

    def read_back(self, topic: str, keys: int) -> None:
        """So many keys were read back from the store."""

    def reread(self, topic: str, records: int) -> None:
        """So many records were read once more, not to be counted, but to learn their event ids."""

    def recounts(self) -> None:
        """A partition is dropped, and counted anew from Kafka."""

    def redis_failed(self, operation: RedisOperation, error: RedisUnreachable) -> None:
        """Redis did not answer, or refused; it will be asked again."""

    def kafka_failed(self, operation: KafkaOperation) -> None:
        """Kafka did not answer; it will be asked again."""


class Silence:
    """Progress that nobody hears."""

    def stage(self, name: Stage) -> AbstractContextManager[object]:
        """See Progress."""
        return nullcontext()

    def waited(self, server: Server, seconds: float) -> None:
        """See Progress."""

    def owns(self, places: Sequence[tuple[str, int]]) -> None:
        """See Progress."""

    def loaded(self) -> None:
        """See Progress."""

    def took(self, chunk: RawChunk, outcome: Outcome, dead: Sequence[DeadRecord]) -> None:
        """See Progress."""

    def stands(
        self,
        places: Mapping[tuple[str, int], Place],
        keys: Mapping[str, int],
        event_ids: Mapping[str, int],
        left_out: Mapping[str, int],
    ) -> None:
        """See Progress."""

    def surging(self, surging: Surging, outbox: int) -> None:
        """See Progress."""

    def paged(self, pages: Pages) -> None:
        """See Progress."""

    def found_open(self, pages: Iterable[tuple[Kind, str, int]]) -> None:
        """See Progress."""

    def asked(self, asked: Asked) -> None:
        """See Progress."""

    def told_of(self, at_ms: Sequence[Ints]) -> None:
        """See Progress."""

    def forgot(self, topic: str, event_ids: int) -> None:
        """See Progress."""

    def forgot_surges(self, count: int) -> None:
        """See Progress."""

    def held(self, topic: str, records: int, late: int, early: int) -> None:
        """See Progress."""

    def announced(self, surges: Sequence[Surge]) -> None:
        """See Progress."""

    def stored(self, seconds: float, sent_bytes: int) -> None:
        """See Progress."""

    def let_go(self, topic: str, keys: int) -> None:
        """See Progress."""

    def read_back(self, topic: str, keys: int) -> None:
        """See Progress."""

    def reread(self, topic: str, records: int) -> None:
        """See Progress."""

    def recounts(self) -> None:
        """See Progress."""

    def redis_failed(self, operation: RedisOperation, error: RedisUnreachable) -> None:
        """See Progress."""

    def kafka_failed(self, operation: KafkaOperation) -> None:
        """See Progress."""


class WorkerProgress:
    """Progress of a worker: its metrics, and the health that exporter and watchdog ask."""

    def __init__(self, metrics: Metrics, health: Health) -> None:
        self.metrics = metrics
        self._health = health
        self._check_failed = False
        self._places: set[tuple[str, int]] = set()
        self._inner_seconds = 0.0
        self._behind = False
        self._depth = 0
        self._resting_since = time.perf_counter()

    @contextmanager
    def stage(self, name: Stage) -> Iterator[None]:
        """See Progress. No stage waits, so what is between them is idle, or fetch if behind."""
        began, outer = time.perf_counter(), self._inner_seconds
        if not self._depth:
            self._add_rest(began)
        self._depth += 1
        self._inner_seconds = 0.0
        try:
            yield
        finally:
            self._depth -= 1
            self._resting_since = time.perf_counter()
            whole = self._resting_since - began
            self.metrics.add_stage(name, whole - self._inner_seconds)
            self._inner_seconds = outer + whole if self._depth else 0.0

    def waited(self, server: Server, seconds: float) -> None:
        """See Progress."""
        self.metrics.add_wait(server, seconds)

    def _add_rest(self, now: float) -> None:
        rest: Stage = "fetch" if self._behind else "idle"
        self.metrics.add_stage(rest, max(0.0, now - self._resting_since))
        self._resting_since = now

    def owns(self, places: Sequence[tuple[str, int]]) -> None:
        """See Progress."""
        for topic, partition in self._places - set(places):
            self.metrics.give_up(topic, partition)
        self._places = set(places)
        self.metrics.add_rebalance(len(places))
        self._health.assigned(time.monotonic(), len(places))

    def loaded(self) -> None:
        """See Progress."""
        self._health.loaded()
        self._health.reached_redis()

    def took(self, chunk: RawChunk, outcome: Outcome, dead: Sequence[DeadRecord]) -> None:
        """See Progress."""
        reasons: dict[Reason, int] = {}
        for one in dead:
            reasons[one.reason] = reasons.get(one.reason, 0) + 1
        self.metrics.add_records(
            chunk.topic,
            counted=outcome.counted,
            late=outcome.late,
            dead=reasons,
            repeated=outcome.repeated,
        )
        kinds = Counter((one.kind, one.trigger, one.state) for one in outcome.surges)
        for (kind, trigger, state), count in kinds.items():
            self.metrics.add_surges(kind, trigger, state, count)
        opened = [
            one
            for one in outcome.surges
            if one.state == "opened" and (one.kind == "mix" or one.post_id is not None)
        ]
        self.metrics.add_moderation(opened)
        self._behind = chunk.end_offset > chunk.next_offset

    def surging(self, surging: Surging, outbox: int) -> None:
        """See Progress."""
        self.metrics.set_surging(surging)
        self.metrics.set_outbox_pending(outbox)

    def paged(self, pages: Pages) -> None:
        """See Progress."""
        for (kind, trigger), surge_ids in pages.items():
            self.metrics.add_pages(kind, trigger, surge_ids)

    def found_open(self, pages: Iterable[tuple[Kind, str, int]]) -> None:
        """See Progress."""
        for kind, surge_id, at_ms in pages:
            self.metrics.add_found(kind, surge_id, at_ms)

    def asked(self, asked: Asked) -> None:
        """See Progress."""
        self.metrics.add_asked(asked)

    def told_of(self, at_ms: Sequence[Ints]) -> None:
        """See Progress."""
        now_ms = time.time_ns() // 1_000_000
        for times in at_ms:
            self.metrics.observe_event_to_stored(times, now_ms)

    def forgot(self, topic: str, event_ids: int) -> None:
        """See Progress."""
        if event_ids:
            self.metrics.add_forgotten(topic, event_ids)

    def forgot_surges(self, count: int) -> None:
        """See Progress."""
        self.metrics.add_forgotten_surges(count)

    def held(self, topic: str, records: int, late: int, early: int) -> None:
        """See Progress."""
        self.metrics.set_held(topic, records, late, early)

    def stands(
        self,
        places: Mapping[tuple[str, int], Place],
        keys: Mapping[str, int],
        event_ids: Mapping[str, int],
        left_out: Mapping[str, int],
    ) -> None:
        """See Progress."""
        now = time.monotonic()
        for (topic, partition), place in places.items():
            self.metrics.set_place(topic, partition, place)
        for topic, count in keys.items():
            self.metrics.set_known(topic, count, event_ids[topic], left_out[topic])
        self._add_rest(time.perf_counter())
        self._health.beat(now)
        self._health.found_lag(now, sum(place.lag_records for place in places.values()))

    def announced(self, surges: Sequence[Surge]) -> None:
        """See Progress."""
        now_ms = time.time_ns() // 1_000_000
        # what amends a surge came late: no record waited so long for its announcement
        timely = [surge for surge in surges if surge.state != "amended"]
        waited = [(now_ms - surge.at_ms) / 1000 for surge in timely]
        self.metrics.observe_event_to_surge(waited, [surge.surge_id for surge in timely])
        waves = [one.surge_id for one in surges if one.kind == "wave" and one.state == "opened"]
        if waves:
            self.metrics.add_waves(waves)

    def stored(self, seconds: float, sent_bytes: int) -> None:
        """See Progress."""
        now = time.monotonic()
        self.metrics.observe_store_write(seconds, sent_bytes)
        self.waited("redis", seconds)
        self.metrics.progressed()
        self._health.reached_redis()
        self._health.progressed(now, self._health.signs.lag_records or 0)

    def let_go(self, topic: str, keys: int) -> None:
        """See Progress."""
        if keys:
            self.metrics.add_let_go(topic, keys)

    def read_back(self, topic: str, keys: int) -> None:
        """See Progress."""
        if keys:
            self.metrics.add_read_back(topic, keys)

    def reread(self, topic: str, records: int) -> None:
        """See Progress."""
        self.metrics.add_reread(topic, records)
        self.metrics.progressed()
        self._health.progressed(time.monotonic(), self._health.signs.lag_records or 0)

    def recounts(self) -> None:
        """See Progress."""
        self.metrics.add_recount()

    def redis_failed(self, operation: RedisOperation, error: RedisUnreachable) -> None:
        """See Progress."""
        self.metrics.add_redis_error(operation)
        self._health.failed_redis(error.brief)

    def kafka_failed(self, operation: KafkaOperation) -> None:
        """See Progress."""
        self.metrics.add_kafka_error(operation)

    def check_failed(self, error: UnreachableError) -> None:
        """A server did not answer a check, at the start or while running."""
        if isinstance(error, RedisUnreachable):
            self._check_failed = True
            self.redis_failed("connect", error)
        else:
            self.kafka_failed("connect")

    def redis_checked(self) -> None:
        """Redis answered a check. What a write has met is not over by that."""
        if self._check_failed:
            self._check_failed = False
            self._health.reached_redis()
