"""Traces of chunks: fetch, decode, count (score within), store, announce, commit.

All is noted by wrappers that are put around a worker's parts when tracing is on; when it is off
there are none. Of a chunk that was drawn the steps are gathered, and told when Kafka has its
offset.
"""

import random
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Final, Protocol

from faust.types import TP

from streams.app.worker.lane import Announcer, AnyDecoded, Trade
from streams.core.partition_state import Outcome
from streams.core.records.chunks import DeadRecord, RawChunk
from streams.edges.errors import SettingsError
from streams.edges.kafka.report_lot import Lot
from streams.edges.kafka.source_guard import GuardedStore, SourceGuard
from streams.edges.logs.output import worker_name_of
from streams.edges.metrics.progress import WorkerProgress
from streams.edges.metrics.worker import Metrics, Stage
from streams.edges.settings.list import Settings
from streams.edges.settings.specs import url_without_password
from streams.edges.store import Fence, Place, Store, Write
from streams.edges.traces.steps import Attributes, Step
from streams.edges.transport.contract import TransportOptions

CHUNKS_WAITING_MAX: Final = 64
"""Of a partition: Kafka may take no commit for long."""


class Sink(Protocol):
    """Where finished traces go: see ``edges/traces/exporter.py``."""

    def start(self) -> None:
        """Begin to send."""

    def stop(self) -> None:
        """Send what waits, and end."""

    def tell(self, root: Step, steps: Sequence[Step]) -> None:
        """Take one trace."""


@dataclass(slots=True)
class _Chunk:
    began_ns: int
    next_offset: int
    attributes: Attributes
    steps: list[Step]
    score: Step | None = None
    score_ns: int = 0
    is_stored: bool = False


_TAKEN: ContextVar[_Chunk | None] = ContextVar("surgewatch_taken", default=None)
"""The chunk that this task takes, if it was drawn."""
_WRITTEN: ContextVar[Sequence[_Chunk]] = ContextVar("surgewatch_written", default=())
"""The chunks of the last write of this task."""


class Tracing:
    """Gathers the steps of chunks that were drawn: ``share`` of them."""

    def __init__(
        self, sink: Sink, share: float, chance: Callable[[], float] = random.random
    ) -> None:
        self.share = share
        self._sink = sink
        self._chance = chance
        self._chunks: defaultdict[tuple[str, int], deque[_Chunk]] = defaultdict(
            lambda: deque(maxlen=CHUNKS_WAITING_MAX)
        )

    def fetched(self, tp: TP, raw: RawChunk, began_ns: int) -> None:
        """Draw lots for a chunk that Kafka gave; ``began_ns`` is when it was asked for."""
        if self._chance() >= self.share:
            return
        attributes: Attributes = {
            "messaging.system": "kafka",
            "messaging.destination.name": tp.topic,
            "messaging.destination.partition.id": tp.partition,
            "messaging.batch.message_count": len(raw.values),
            "surgewatch.first_offset": raw.offsets[0] if len(raw.offsets) else raw.next_offset,
            "surgewatch.next_offset": raw.next_offset,
        }
        fetch = Step("fetch", began_ns, time.time_ns())
        self._chunks[tp].append(_Chunk(began_ns, raw.next_offset, attributes, [fetch]))

    def trades(self, trades: Mapping[str, Trade]) -> dict[str, Trade]:
        """The same, with each chunk's decoding noted."""
        return {topic: self._trade(trade) for topic, trade in trades.items()}

    def parts(
        self, store: Store, guard: SourceGuard, announcer: Announcer
    ) -> tuple[GuardedStore, Announcer]:
        """The guarded store and the announcer, with what they do noted."""
        traced = TracedStore(store, guard)
        traced.tracing = self
        return traced, TracedAnnouncer(announcer, self)

    def options(self, options: TransportOptions) -> TransportOptions:
        """The same, with fetches and commits noted."""
        return replace(options, fetched=self.fetched, committed=self.committed)

    def _trade(self, trade: Trade) -> Trade:
        decode = trade.decode

        def decode_and_note(raw: RawChunk) -> AnyDecoded:
            chunk = self._of(raw)
            _TAKEN.set(chunk)
            began_ns = time.time_ns()
            decoded = decode(raw)
            if chunk is not None:
                spent = {"surgewatch.dead_letters": len(decoded.dead)}
                chunk.steps.append(Step("decode", began_ns, time.time_ns(), {**spent}))
            return decoded

        return Trade(decode_and_note, trade.build, trade.decode_again or decode)

    def counted(self, began_ns: int) -> None:
        """Note that this task's chunk was counted."""
        if (chunk := _TAKEN.get()) is None:
            return
        chunk.steps.append(Step("count", began_ns, time.time_ns()))
        if chunk.score is not None:
            chunk.score.attributes["surgewatch.busy_seconds"] = chunk.score_ns / 1e9
            chunk.steps.append(chunk.score)

    def scored(self, began_ns: int) -> None:
        """Note that this task's chunk was scored, in part: one step from the first to the last."""
        if (chunk := _TAKEN.get()) is None:
            return
        now_ns = time.time_ns()
        if chunk.score is None:
            chunk.score = Step("score", began_ns, now_ns, {}, "count")
        chunk.score.ended_ns = now_ns
        chunk.score_ns += now_ns - began_ns

    def came_to(self, outcome: Outcome) -> None:
        """Note what came of this task's chunk."""
        if (chunk := _TAKEN.get()) is not None:
            chunk.attributes["surgewatch.counted"] = outcome.counted
            chunk.attributes["surgewatch.surges"] = len(outcome.surges)

    def stored(self, place: Place, next_offset: int, began_ns: int) -> None:
        """Note that all before an offset is stored."""
        now_ns, written = time.time_ns(), []
        for chunk in self._chunks[place.topic, place.partition]:
            if not chunk.is_stored and chunk.next_offset <= next_offset:
                chunk.is_stored = True
                chunk.steps.append(Step("store", began_ns, now_ns))
                written.append(chunk)
        _WRITTEN.set(written)

    def announced(self, began_ns: int, messages: int) -> None:
        """Note that what came of this task's write was announced."""
        now_ns = time.time_ns()
        for chunk in _WRITTEN.get():
            told = {"surgewatch.lots": messages}
            chunk.steps.append(Step("announce", began_ns, now_ns, {**told}))

    def committed(self, offsets: Mapping[TP, int], began_ns: int) -> None:
        """Tell of chunks whose offset Kafka has: their way is over."""
        now_ns = time.time_ns()
        for tp, offset in offsets.items():
            chunks = self._chunks[tp]
            while chunks and chunks[0].is_stored and chunks[0].next_offset <= offset:
                chunk = chunks.popleft()
                steps = [*chunk.steps, Step("commit", began_ns, now_ns)]
                whole = Step("chunk", chunk.began_ns, now_ns, chunk.attributes)
                self._sink.tell(whole, steps)

    def forget(self) -> None:
        """Leave chunks whose partitions are dealt anew: who has them then reads them again."""
        self._chunks.clear()

    def _of(self, raw: RawChunk) -> _Chunk | None:
        chunks = self._chunks.get((raw.topic, raw.partition), ())
        return next((one for one in chunks if one.next_offset == raw.next_offset), None)


class TracedProgress(WorkerProgress):
    """A worker's progress that notes the steps of chunks."""

    tracing: Tracing

    @contextmanager
    def stage(self, name: Stage) -> Iterator[None]:
        """See Progress."""
        began_ns = time.time_ns()
        with super().stage(name):
            yield
        if name == "count":
            self.tracing.counted(began_ns)
        elif name == "score":
            self.tracing.scored(began_ns)

    def took(self, chunk: RawChunk, outcome: Outcome, dead: Sequence[DeadRecord]) -> None:
        """See Progress."""
        super().took(chunk, outcome, dead)
        self.tracing.came_to(outcome)

    def owns(self, places: Sequence[tuple[str, int]]) -> None:
        """See Progress."""
        super().owns(places)
        self.tracing.forget()


class TracedStore(GuardedStore):
    """A store that notes its writes."""

    tracing: Tracing

    async def write(self, place: Place, fence: Fence, write: Write) -> int:
        """See Store."""
        began_ns = time.time_ns()
        size = await super().write(place, fence, write)
        self.tracing.stored(place, write.next_offset, began_ns)
        return size


class TracedAnnouncer:
    """An announcer that notes what it sent."""

    def __init__(self, announcer: Announcer, tracing: Tracing) -> None:
        self._announcer = announcer
        self._tracing = tracing

    async def announce(self, lots: Sequence[Lot]) -> None:
        """See Announcer."""
        began_ns = time.time_ns()
        await self._announcer.announce(lots)
        self._tracing.announced(began_ns, len(lots))

    async def bury(self, dead: list[DeadRecord]) -> None:
        """See Announcer."""
        await self._announcer.bury(dead)


def sink_of(settings: Settings, metrics: Metrics) -> Sink:
    """What sends traces where the settings want them. Raises SettingsError without the extra."""
    assert settings.traces_endpoint is not None, "only where tracing is on"
    shown = url_without_password(settings.traces_endpoint)
    try:
        from streams.edges.traces.exporter import Traces  # noqa: PLC0415 an extra, and slow to import
    except ImportError as error:
        msg = (
            f"traces_endpoint = {shown}: sending traces needs packages that are not installed "
            f"({error.name}): pip install 'surgewatch[traces]'"
        )
        raise SettingsError(msg) from error
    worker = worker_name_of(settings)
    return Traces(settings.traces_endpoint, shown, worker, metrics.add_spans)
