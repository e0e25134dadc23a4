"""The way of an event: chunk, decode, count and score, store, announce, ack.

A lane is one partition's way. Chunks of a lane are taken in order; what they changed is written
together a few times a second, with the offset, in one atomic step; after it the surges are
announced and the chunks acked. While one write is on its way the next chunks are taken.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, TypeVar, cast

from faust.types import TP

from streams.app.worker.asking import UNREADABLE, cannot_be_read, patiently
from streams.app.worker.lane import Announcer, Lane, PipelinePolicy, Trade
from streams.app.worker.loading import Loading
from streams.app.worker.rereading import Rereading, from_future_in
from streams.app.worker.room import forget_gone, keys_known, let_go
from streams.app.worker.standing import tell_standing
from streams.app.worker.surge_lines import tell_surges
from streams.core.records.chunks import CommentChunk, DeadRecord, FollowChunk, RawChunk
from streams.core.records.dead_letter_limit import DeadLetterCount
from streams.core.records.hold import Ready
from streams.core.records.repeats import Moment
from streams.core.records.texts import Ints
from streams.core.reports.surging import take_paged
from streams.edges.logs.lines import logger_of, placed
from streams.edges.metrics.progress import Progress
from streams.edges.metrics.worker import RedisOperation
from streams.edges.store import (
    FencedOff,
    OtherWriter,
    StateLost,
    Store,
    Write,
)

AHEAD_FLUSHES: Final = 2
"""Chunks are taken until so many flushes' worth of records wait for the store, as one write."""
_LEAVING_SECONDS_MAX: Final = 0.005
"""What a write is given to leave: a socket holds 200 KB of its megabyte, the rest goes at turns
of the loop, which counting a chunk keeps for 20 ms and more. The store would wait meanwhile."""
_FENCED_SECONDS_MAX: Final = 30.0

Answer = TypeVar("Answer")
Ask = Callable[[], Awaitable[Answer]]

log = logger_of(__name__)


class Pipeline:
    """All lanes of a worker; the batch transport's partition owner."""

    def __init__(
        self,
        trades: Mapping[str, Trade],
        store: Store,
        announcer: Announcer,
        policy: PipelinePolicy,
        progress: Progress,
    ) -> None:
        self._trades = trades
        self._store = store
        self._announcer = announcer
        self._policy = policy
        self._progress = progress
        self._lanes: dict[TP, Lane] = {}
        self._loading = Loading(trades, store, policy, progress)
        self._state_lost = self._reads_again = False
        self.on_failure: Callable[[Exception], object] | None = None
        self.on_state_lost: Callable[[], Awaitable[None]] | None = None

    @property
    def lanes(self) -> Mapping[TP, Lane]:
        """Lanes of the partitions that are ours and loaded."""
        return self._lanes

    @property
    def rereads(self) -> Mapping[TP, tuple[int, int]]:
        """Where to begin in partitions whose last event ids, or held records, are learnt again."""
        rereads: dict[TP, tuple[int, int]] = {}
        for tp, lane in self._lanes.items():
            if lane.reread is not None:
                held = lane.reread.held_offset
                rereads[tp] = (lane.reread.offset, lane.next_offset if held is None else held)
        return rereads

    # The owner's side: partitions come and go.

    async def take_over(self, partitions: set[TP], generation: int) -> Mapping[TP, int | None]:
        """Claim and load partitions; where reading goes on."""
        self._lanes.clear()
        ours = sorted(tp for tp in partitions if tp.topic in self._trades)
        self._progress.owns([(tp.topic, tp.partition) for tp in ours])
        offsets: dict[TP, int | None] = {}
        for tp in ours:
            lane, offsets[tp] = await self._loading.load(tp, generation, self._lanes, len(ours))
            self._lanes[tp] = lane
        self._progress.loaded()
        if offsets:
            log.info(
                "partitions_taken_over",
                "partitions are taken over with settings {settings_hash}: {places}",
                settings_hash=self._policy.settings_hash,
                places=", ".join(f"{tp.topic}[{tp.partition}]@{offsets[tp]}" for tp in ours),
            )
        return offsets

    async def give_up(self, partitions: set[TP]) -> None:
        """Write, announce and ack what was taken of these partitions, then let go of them."""
        # Let go first: what a lane hears from the store now must not have its partition read again.
        lanes = [self._lanes.pop(tp) for tp in list(self._lanes) if tp in partitions]
        for lane in lanes:
            await self._settle(lane)
        self._progress.owns(sorted((tp.topic, tp.partition) for tp in self._lanes))

    async def hand_in(self) -> None:
        """Write, announce and ack all that was taken; every partition is then to be taken anew."""
        lanes = list(self._lanes.values())
        self._lanes.clear()  # no write may begin beside the last one
        for lane in lanes:
            async with lane.turn:  # what is being taken is taken to its end
                await self._settle(lane)

    def change(self, trades: Mapping[str, Trade], policy: PipelinePolicy) -> None:
        """Go by these from now on; jobs are made with them when a partition is taken over."""
        self._trades = trades
        if policy.dead_letters != self._policy.dead_letters:
            for lane in self._lanes.values():
                lane.dead_count = DeadLetterCount(policy.dead_letters)
        self._policy = policy
        self._loading = Loading(trades, self._store, policy, self._progress)

    # The agents' side: chunks come.

    async def take(self, event: Any) -> None:
        """Take one chunk; returns when the next may come. What goes wrong ends the worker."""
        message, chunk = event.message, cast("RawChunk", event.value)
        lane = self._lanes.get(message.tp)
        if lane is None or lane.lost:
            return  # not ours any more: whoever owns it reads it again
        async with lane.turn:
            with placed(message.tp.topic, message.tp.partition, lane.next_offset):
                taken = await self._take_or_fail(lane, message, chunk)
        message.value = event.value = None  # what waits for its ack need not keep its megabytes
        if taken and lane.unstored >= self._policy.flush_records_max:
            await self._flush_behind(lane)

    async def _take_or_fail(self, lane: Lane, message: Any, chunk: RawChunk) -> bool:
        """Whether the chunk was taken to its end; False: it was read once more only, or failed."""
        lane.quiet_since = None
        try:
            if lane.rereading is not None:
                unread = self._reread(lane, lane.rereading, chunk)
                if unread is None:
                    lane.rereading.messages.append(message)
                    return False
                chunk = unread
            assert not chunk.offsets or chunk.offsets[0] >= lane.next_offset, "none comes twice"
            await self._take(lane, chunk)
        except Exception as error:  # must not leave an agent: Faust would go on past the chunk
            lane.lost = True
            self._fail(error)
            return False
        if lane.rereading is not None:  # only now: until then what it brought is not counted
            lane.messages, lane.rereading = lane.messages + lane.rereading.messages, None
        lane.messages.append(message)
        return True

    async def run_flushes(self) -> None:
        """Begin a write of every lane that is to have one, a few times a second, for ever."""
        while True:
            await asyncio.sleep(self._policy.flush_interval_seconds)
            for lane in list(self._lanes.values()):
                if lane.is_to_be_written(self._policy.look_seconds):
                    self._begin_flush(lane)

    def tell(self, end_offsets: Mapping[TP, int], positions: Mapping[TP, int | None]) -> None:
        """Tell progress how far every lane is; to be called every second.

        ``positions`` are where reading began, for lanes that have taken nothing yet.
        """
        tell_standing(self._progress, self._trades, self._lanes, end_offsets, positions)

    def let_quiet(self, fresh_end_offsets: Mapping[TP, int]) -> None:
        """Have held records counted where none came for long; to be called every second.

        The offsets are those that Kafka told just now: a partition not heard of is not quiet.
        """
        now = asyncio.get_running_loop().time()
        for tp, lane in self._lanes.items():
            if lane.is_quiet(fresh_end_offsets.get(tp), now):
                lane.letting_go = asyncio.create_task(self._let_held(lane))

    async def _let_held(self, lane: Lane) -> None:
        async with lane.turn:
            ready = lane.job.ready_held()
            if ready is None or lane.lost or lane.rereading is not None:
                return
            here = lane.next_offset
            nothing = RawChunk(lane.tp.topic, lane.tp.partition, [], [], here, -1, here)
            try:
                await self._count(lane, ready, nothing, [])
            except Exception as error:  # a task's exception is seen by nobody
                lane.lost = True
                self._fail(error)

    def _reread(self, lane: Lane, rereading: Rereading, chunk: RawChunk) -> RawChunk | None:
        """Learn the event ids of what was counted before; the rest of the chunk, None: no end."""
        before = Moment(rereading.watermark_ms, lane.job.clock.state)
        decode = self._trades[lane.tp.topic].decode_read
        with self._progress.stage("decode"):
            unread = rereading.take(chunk, lane.job, decode)
        lane.took(chunk.offsets, before, rereading.watermark_ms)
        left = 0 if unread is None else len(unread.values)
        self._progress.reread(lane.tp.topic, len(chunk.values) - left)
        return unread

    async def _take(self, lane: Lane, chunk: RawChunk) -> None:
        trade = self._trades[lane.tp.topic]
        with self._progress.stage("decode"):
            decoded = trade.decode(chunk)
        if decoded.dead:
            await self._announcer.bury(decoded.dead)
            lane.buried(from_future_in(decoded.dead, trade.decode_read))
        lane.refuse_if_broken(chunk, decoded.dead)
        before = lane.job.moment
        await self._count(lane, lane.job.ready(decoded.chunk), chunk, decoded.dead)
        lane.took(chunk.offsets, before, lane.job.read_ms)

    async def _count(
        self, lane: Lane, ready: Ready, chunk: RawChunk, dead: list[DeadRecord]
    ) -> None:
        """Count what a chunk made ready; no write may tell of it before all is counted."""
        await self._read_back(lane, ready.chunk)
        with self._progress.stage("count"):
            outcome = lane.job.count(ready)
        lane.counted(outcome, ready.chunk)
        lane.next_offset = chunk.next_offset
        lane.unstored += len(chunk.values) or len(ready.chunk)
        self._progress.took(chunk, outcome, dead)
        lane.became_pages(take_paged(lane.job))

    async def _read_back(self, lane: Lane, chunk: FollowChunk | CommentChunk) -> None:
        """Have the state of all keys of a chunk in memory."""
        wanted = lane.job.left_out_of(chunk)
        if not wanted:
            return
        lane.reads_back = True  # nothing may be let go until the chunk is counted
        try:
            held = await self._patiently(lambda: self._store.read_keys(lane.place, wanted), "read")
        finally:
            lane.reads_back = False
        try:
            lane.job.admit(held)
        except UNREADABLE as error:
            raise cannot_be_read(lane.place, error) from error
        self._progress.read_back(lane.tp.topic, sum(len(series.names) for series in held.values()))

    async def _flush_behind(self, lane: Lane) -> None:
        """Have the store work while the next chunks are counted; wait if it is far behind."""
        ahead = AHEAD_FLUSHES * self._policy.flush_records_max
        if lane.unstored >= ahead and lane.flushing is not None:
            await lane.flushing  # else the store would have nothing to do for another chunk
            if lane.lost or self._lanes.get(lane.tp) is not lane:
                return  # who took it away settles it
        if (begun := self._begin_flush(lane)) is not None:
            await asyncio.sleep(0)  # the change is packed meanwhile, which may take longer
            await asyncio.wait({begun}, timeout=_LEAVING_SECONDS_MAX)

    def _begin_flush(self, lane: Lane) -> asyncio.Task[None] | None:
        """Begin a write; None: one is under way."""
        if lane.flushing is not None and not lane.flushing.done():
            return None
        lane.flushing = asyncio.create_task(self._flush_or_crash(lane))
        return lane.flushing

    async def _flush_or_crash(self, lane: Lane) -> None:
        try:
            with placed(lane.tp.topic, lane.tp.partition, lane.next_offset):
                await self._flush_or_lose(lane)
        except asyncio.CancelledError:
            raise
        except Exception as error:  # told to the worker, which ends
            lane.lost = True
            self._fail(error)

    async def _flush_or_lose(self, lane: Lane) -> None:
        try:
            await self._flush(lane)
        except FencedOff as fenced:
            lane.lost = True
            if self._lanes.get(lane.tp) is lane:  # else by a claim of our own, for one
                log.warning("partition_fenced", "{cause}", cause=fenced)
                asyncio.get_running_loop().call_later(_FENCED_SECONDS_MAX, self._check_fenced, lane)
        except StateLost as lost:
            lane.lost = True
            log.warning("state_lost", "{cause}: reading on from there", cause=lost)
            if self._lanes.get(lane.tp) is lane:
                await self._read_again()

    async def _read_again(self) -> None:
        """Have all partitions read again: once for all lanes that find their state lost."""
        self._state_lost = True
        if self._reads_again or self.on_state_lost is None:
            return
        self._reads_again = True
        try:
            while self._state_lost:
                self._state_lost = False
                await self.on_state_lost()
        finally:
            self._reads_again = False

    def _check_fenced(self, lane: Lane) -> None:
        """End the worker if no rebalance took the fenced partition away in good time."""
        if self._lanes.get(lane.tp) is lane:
            msg = (
                f"{lane.tp.topic}[{lane.tp.partition}] is ours by the consumer group, but somebody "
                "else writes it in Redis: do two groups of workers share SURGEWATCH_REDIS_PREFIX?"
            )
            self._fail(OtherWriter(msg))

    def _fail(self, error: Exception) -> None:
        """End the worker: neither a task's nor an agent's exception is seen by anybody."""
        if self.on_failure is None:
            raise error
        self.on_failure(error)

    async def _settle(self, lane: Lane) -> None:
        """Write until nothing waits."""
        if lane.flushing is not None:
            await lane.flushing
        while lane.waiting and not lane.lost:
            await self._flush_or_crash(lane)

    async def _flush(self, lane: Lane) -> None:
        messages, lane.messages = lane.messages, []
        told, fresh, times = lane.told, lane.take_lots(), lane.take_times()
        announced, lane.announced = lane.announced, []
        pages, lane.pages = lane.pages, {}
        lane.unstored = 0
        with self._progress.stage("store"):
            change = lane.job.drain()
        offsets, rest = lane.offsets, (lane.reread_now(), lane.stored_frontier)
        waiting = {name: lot.stored for name, lot in fresh.items()}
        write = Write(change, *offsets, waiting, announced, *rest)
        began = time.perf_counter()
        size = await self._patiently(
            lambda: self._store.write(lane.place, lane.fence, write), "write"
        )
        self._progress.stored(time.perf_counter() - began, size)
        lane.stored(write)
        known = keys_known(self._lanes.values())
        let_go(lane, known, self._policy.keys_in_memory_max, self._progress)
        if lots := {**lane.resend, **fresh}:
            lane.resend = lots
            began = time.perf_counter()
            await self._announcer.announce([*lots.values()])
            self._progress.waited("kafka", time.perf_counter() - began)
            lane.resend, lane.announced = {}, [*lane.announced, *lots]
            self._progress.announced(told)
            self._progress.paged(pages)
            tell_surges(told)
        self._progress.told_of(times)
        for message in messages:
            message.acked = True  # the transport's ledger has it now
        await self._forget_gone(lane)

    async def _forget_gone(self, lane: Lane) -> None:
        def ask(groups: Mapping[str, Ints]) -> Awaitable[Mapping[str, Ints]]:
            return self._patiently(lambda: self._store.read_gone(lane.place, groups), "read")

        await forget_gone(lane, self._policy.forget_seconds, ask)

    async def _patiently(self, ask: Ask[Answer], operation: RedisOperation) -> Answer:
        return await patiently(ask, operation, self._progress)
