"""The way of an event: what is stored, announced and acked, and in which order."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any

from faust.types import TP

from streams.app.worker.lane import PipelinePolicy, Trade
from streams.app.worker.pipeline import Pipeline
from streams.core.counting.packing import unpack
from streams.core.partition import FollowPartition
from streams.core.records.chunks import DeadRecord, RawChunk
from streams.core.records.dead_letter_limit import DeadLetterLimit
from streams.core.records.repeats import RepeatPolicy
from streams.core.surges.watch_state import WATCH_STATE_DTYPE
from streams.core.time.agreed_clock import AgreedClock, Sampling
from streams.edges.codec.events import Limits, decode_follows
from streams.edges.codec.out import decode_surge
from streams.edges.errors import DataError
from streams.edges.kafka.report_lot import Lot, ReportLot
from streams.edges.kafka.surge_lot import stored_lot_of
from streams.edges.metrics.progress import Progress, Silence
from streams.edges.store import (
    NO_LIMIT,
    Fence,
    Held,
    KeyLimit,
    MemoryStore,
    Place,
    StateTorn,
    Write,
)
from tests.jobs import follow_partition, watch
from tests.unit.test_partition import BEGIN_MS

FOLLOWS = TP("follows", 0)
PLACE = Place("follows", 0)
LIMIT = DeadLetterLimit(share_max=0.5, window=100, row_max=20)


class Loudspeaker:
    """An announcer that keeps what it sent; it can be held up."""

    def __init__(self) -> None:
        self.announced: list[bytes] = []
        self.reports: list[bytes] = []
        self.buried: list[DeadRecord] = []
        self.open = asyncio.Event()
        self.open.set()

    async def announce(self, lots: Sequence[Lot]) -> None:
        await self.open.wait()
        for lot in lots:
            if isinstance(lot, ReportLot):
                self.reports += lot.lines
                continue
            told = [decode_surge(value) for value in lot.values()]
            assert [(s.surge_id, s.creator_id) for s in told] == [
                *zip(lot.surge_ids, lot.creator_ids, strict=True)
            ]
            self.announced += lot.values()

    async def bury(self, dead: Sequence[DeadRecord]) -> None:
        await self.open.wait()
        self.buried += dead


@dataclass
class Message:
    tp: TP = FOLLOWS
    acked: bool = False


@dataclass
class Event:
    value: RawChunk
    message: Message = field(default_factory=Message)


def event(first: int, values: list[bytes]) -> Event:
    end = first + len(values)
    return Event(RawChunk("follows", 0, values, range(first, end), end, BEGIN_MS, end))


def follow(creator: str, at_ms: int) -> bytes:
    return b'{"creator_id":"%s","follower_id":"f","at_ms":%d}' % (creator.encode(), at_ms)


def many(creator: str, count: int, begin_ms: int = BEGIN_MS) -> list[bytes]:
    return [follow(creator, begin_ms + i) for i in range(count)]


def pipeline_on(
    store: MemoryStore,
    speaker: Loudspeaker,
    flush_records_max: int = 10_000,
    look_seconds: float = 5.0,
    progress: Progress | None = None,
) -> Pipeline:
    trade = Trade(
        lambda chunk: decode_follows(chunk, BEGIN_MS + 10**9, Limits()),
        lambda: follow_partition(10),
    )
    policy = PipelinePolicy(0.01, flush_records_max, LIMIT, look_seconds=look_seconds)
    return Pipeline({"follows": trade}, store, speaker, policy, progress or Silence())


def run(body: Callable[[], Coroutine[Any, Any, None]]) -> None:
    async def limited() -> None:
        await asyncio.wait_for(body(), 20)

    asyncio.run(limited())


async def until(done: Callable[[], bool]) -> None:
    while not done():
        await asyncio.sleep(0)


def test_a_chunk_is_acked_only_after_its_state_and_offset_are_stored() -> None:
    async def body() -> None:
        store, speaker = MemoryStore(), Loudspeaker()
        pipeline = pipeline_on(store, speaker)
        assert await pipeline.take_over({FOLLOWS}, 1) == {FOLLOWS: None}
        chunk = event(0, many("ann", 5))
        await pipeline.take(chunk)
        assert not chunk.message.acked
        assert (await store.read(PLACE)).next_offset is None
        await pipeline.give_up({FOLLOWS})
        assert chunk.message.acked
        assert (await store.read(PLACE)).next_offset == 5

    run(body)


async def announced_of(chunk: Any) -> list[bytes]:
    """What a worker that nothing happens to announces of a chunk."""
    heard = Loudspeaker()
    undisturbed = pipeline_on(MemoryStore(), heard)
    await undisturbed.take_over({FOLLOWS}, 1)
    await undisturbed.take(chunk)
    await undisturbed.give_up({FOLLOWS})
    return heard.announced


def test_surges_stored_but_not_announced_are_announced_by_the_next_owner_byte_for_byte() -> None:
    async def body() -> None:
        store, held_up, free = MemoryStore(), Loudspeaker(), Loudspeaker()
        held_up.open.clear()
        first = pipeline_on(store, held_up)
        await first.take_over({FOLLOWS}, 1)
        chunk = event(0, many("ann", 25))
        await first.take(chunk)
        ending = asyncio.create_task(first.give_up({FOLLOWS}))
        while (await store.read(PLACE)).next_offset is None:
            await asyncio.sleep(0)
        ending.cancel()  # as kill -9 between the store and the announcement
        surges, reported = (await store.read(PLACE)).outbox.values()
        assert held_up.announced == held_up.reports == []
        assert not chunk.message.acked
        second = pipeline_on(store, free)
        assert await second.take_over({FOLLOWS}, 2) == {FOLLOWS: 25}
        await second.give_up({FOLLOWS})
        assert free.announced == await announced_of(event(0, many("ann", 25)))
        assert ReportLot(tuple(free.reports)).stored == reported
        assert stored_lot_of(surges).values() == free.announced
        told = [decode_surge(value) for value in free.announced]
        by_rule = sorted(s.observed for s in told if s.trigger == "rule")
        assert by_rule == [10, 20]
        assert (await store.read(PLACE)).outbox == {}

    run(body)


def test_a_bad_record_is_in_dead_letters_before_its_offset_is_stored() -> None:
    async def body() -> None:
        store, speaker = MemoryStore(), Loudspeaker()
        speaker.open.clear()
        pipeline = pipeline_on(store, speaker, flush_records_max=1)
        await pipeline.take_over({FOLLOWS}, 1)
        taking = asyncio.create_task(pipeline.take(event(0, [b"bad", *many("ann", 3)])))
        await asyncio.sleep(0.05)
        assert (await store.read(PLACE)).next_offset is None
        speaker.open.set()
        await taking
        await pipeline.give_up({FOLLOWS})
        assert [dead.offset for dead in speaker.buried] == [0]
        assert (await store.read(PLACE)).next_offset == 4

    run(body)


def test_a_broken_topic_ends_the_worker_and_its_chunk_is_not_acked() -> None:
    async def body() -> None:
        store, speaker = MemoryStore(), Loudspeaker()
        pipeline = pipeline_on(store, speaker)
        failures: list[Exception] = []
        pipeline.on_failure = failures.append
        await pipeline.take_over({FOLLOWS}, 1)
        chunk = event(0, [b"bad"] * 30)
        await pipeline.take(chunk)
        assert [type(error) for error in failures] == [DataError]
        await pipeline.give_up({FOLLOWS})
        assert not chunk.message.acked
        assert len(speaker.buried) == 30
        assert (await store.read(PLACE)).next_offset is None

    run(body)


def test_a_worker_that_was_thought_dead_cannot_write_nor_ack() -> None:
    async def body() -> None:
        store = MemoryStore()
        old, new = pipeline_on(store, Loudspeaker()), pipeline_on(store, Loudspeaker())
        await old.take_over({FOLLOWS}, 1)
        stale = event(0, many("ann", 5))
        await old.take(stale)
        assert await new.take_over({FOLLOWS}, 2) == {FOLLOWS: None}
        await new.take(event(0, many("ann", 5)))
        await new.give_up({FOLLOWS})
        await old.give_up({FOLLOWS})
        assert not stale.message.acked
        assert (await store.read(PLACE)).next_offset == 5

    run(body)


def test_a_store_that_fell_behind_is_told_and_nothing_is_written_on_top() -> None:
    async def body() -> None:
        store = MemoryStore()
        pipeline = pipeline_on(store, Loudspeaker())
        lost: list[bool] = []

        async def on_lost() -> None:
            lost.append(True)

        pipeline.on_state_lost = on_lost
        await pipeline.take_over({FOLLOWS}, 1)
        await pipeline.take(event(0, many("ann", 5)))
        await store.empty()
        flushing = asyncio.create_task(pipeline.run_flushes())
        await until(lambda: bool(lost))
        flushing.cancel()
        held = await store.read(PLACE)
        assert (held.next_offset, held.state.series) == (None, {})

    run(body)


def test_a_store_that_fell_behind_is_noticed_though_no_record_comes() -> None:
    async def body() -> None:
        store = MemoryStore()
        pipeline = pipeline_on(store, Loudspeaker(), look_seconds=0.05)
        lost: list[bool] = []

        async def on_lost() -> None:
            lost.append(True)

        pipeline.on_state_lost = on_lost
        await pipeline.take_over({FOLLOWS}, 1)
        flushing = asyncio.create_task(pipeline.run_flushes())
        await asyncio.sleep(0.2)
        assert (await store.read(PLACE)).next_offset is None
        chunk = event(0, many("ann", 5))
        await pipeline.take(chunk)
        await until(lambda: chunk.message.acked)
        await asyncio.sleep(0.2)  # writes of nothing change nothing
        assert (await store.read(PLACE)).next_offset == 5
        assert not lost
        await store.empty()
        await until(lambda: bool(lost))
        flushing.cancel()

    run(body)


def test_state_lost_while_a_partition_is_given_up_is_left_to_the_next_owner() -> None:
    async def body() -> None:
        store = MemoryStore()
        pipeline = pipeline_on(store, Loudspeaker())
        lost: list[bool] = []

        async def on_lost() -> None:
            lost.append(True)

        pipeline.on_state_lost = on_lost
        await pipeline.take_over({FOLLOWS}, 1)
        chunk = event(0, many("ann", 5))
        await pipeline.take(chunk)
        await store.empty()
        await pipeline.give_up({FOLLOWS})
        assert not lost
        assert not chunk.message.acked

    run(body)


def test_a_store_that_fell_behind_is_read_again_once_for_all_partitions() -> None:
    async def body() -> None:
        store = MemoryStore()
        pipeline = pipeline_on(store, Loudspeaker())
        reads: list[int] = []
        both = {FOLLOWS, TP("follows", 1)}

        async def on_lost() -> None:
            reads.append(len(reads))
            while lost_lanes() < 2:
                await asyncio.sleep(0)
            await pipeline.take_over(both, 1)

        def lost_lanes() -> int:
            return sum(lane.lost for lane in pipeline.lanes.values())

        pipeline.on_state_lost = on_lost
        await pipeline.take_over(both, 1)
        for tp in both:
            await pipeline.take(Event(event(0, many("ann", 5)).value, Message(tp)))
        await store.empty()
        flushing = asyncio.create_task(pipeline.run_flushes())
        await until(lambda: bool(reads) and not lost_lanes())
        flushing.cancel()
        assert len(reads) <= 2
        assert all(lane.next_offset == 0 for lane in pipeline.lanes.values())

    run(body)


class TornStore(MemoryStore):
    """A store in which half a write stands, until it is dropped."""

    torn = True

    async def read(self, place: Place, limit: KeyLimit = NO_LIMIT) -> Held:
        if self.torn:
            raise StateTorn(place)
        return await super().read(place, limit)

    async def drop(self, place: Place, fence: Fence) -> None:
        await super().drop(place, fence)
        self.torn = False


def test_a_torn_partition_is_dropped_and_counted_from_the_beginning() -> None:
    async def body() -> None:
        store = TornStore()
        fence = await store.claim(PLACE, 1)
        partition = follow_partition()
        await store.write(PLACE, fence, Write(partition.drain(), None, 7))
        pipeline = pipeline_on(store, Loudspeaker())
        assert await pipeline.take_over({FOLLOWS}, 2) == {FOLLOWS: None}
        await pipeline.take(event(0, many("ann", 9)))
        await pipeline.give_up({FOLLOWS})
        assert (await store.read(PLACE)).next_offset == 9

    run(body)


def test_state_that_cannot_be_read_again_ends_the_worker_instead_of_leaving_it_idle() -> None:
    async def body() -> None:
        store = MemoryStore()
        pipeline = pipeline_on(store, Loudspeaker())
        await pipeline.take_over({FOLLOWS}, 1)
        failed: list[Exception] = []

        async def unreadable() -> None:
            raise DataError("the state in the store cannot be read")  # noqa: EM101 - a test's

        pipeline.on_failure, pipeline.on_state_lost = failed.append, unreadable
        await pipeline.take(event(0, many("ann", 3)))
        await store.empty()
        flushing = asyncio.create_task(pipeline.run_flushes())
        await until(lambda: bool(failed))
        flushing.cancel()
        assert "cannot be read" in str(failed[0])

    run(body)


def test_a_write_after_a_restart_goes_on_from_the_stored_offset() -> None:
    async def body() -> None:
        store = MemoryStore()
        fence = await store.claim(PLACE, 1)
        partition = follow_partition()
        await store.write(PLACE, fence, Write(partition.drain(), None, 7))
        pipeline = pipeline_on(store, Loudspeaker())
        assert await pipeline.take_over({FOLLOWS, TP("other", 0)}, 2) == {FOLLOWS: 7}
        await pipeline.take(event(7, many("ann", 3)))
        await pipeline.give_up({FOLLOWS})
        assert (await store.read(PLACE)).next_offset == 10

    run(body)


def named(event_id: str, creator: str, at_ms: int) -> bytes:
    return b'{"event_id":"%b","creator_id":"%b","follower_id":"f","at_ms":%d}' % (
        event_id.encode(),
        creator.encode(),
        at_ms,
    )


def test_a_new_owner_reads_the_last_horizon_again_uncounted_and_knows_its_repeats() -> None:
    horizon_ms = 60_000
    records = [named(f"e-{i}", "ann", BEGIN_MS + 10_000 * i) for i in range(20)]
    again = [records[3], *records[16:]]  # the first of them came more than the horizon ago

    def deduplicating(store: MemoryStore) -> Pipeline:
        def build() -> FollowPartition:
            repeats = RepeatPolicy(horizon_ms, 1_000)
            partition = FollowPartition(watch("follows", "followers", 10), repeats)
            partition.clock = AgreedClock(Sampling(1, 1, 0))
            return partition

        limits = Limits(with_event_ids=True)
        trade = Trade(lambda chunk: decode_follows(chunk, BEGIN_MS + 10**9, limits), build)
        policy = PipelinePolicy(0.01, 10_000, LIMIT)
        return Pipeline({"follows": trade}, store, Loudspeaker(), policy, Silence())

    async def body() -> None:
        store = MemoryStore()
        first, second = deduplicating(store), deduplicating(store)
        await first.take_over({FOLLOWS}, 1)
        for begin in range(0, 20, 2):
            await first.take(event(begin, records[begin : begin + 2]))
        await first.give_up({FOLLOWS})
        assert await second.take_over({FOLLOWS}, 2) == {FOLLOWS: 20}
        begin, needed = second.rereads[FOLLOWS]
        assert needed == 20, "nothing is held back"
        assert 0 < begin <= 14, "the last minute, by chunks"
        once_more = event(begin, records[begin:15])
        await second.take(once_more)
        assert not once_more.message.acked
        await second.take(event(15, [*records[15:], *again]))
        await second.give_up({FOLLOWS})
        assert once_more.message.acked
        held = await store.read(PLACE)
        assert held.next_offset == 25
        rows = unpack(held.state.series["follows"].values, WATCH_STATE_DTYPE)
        assert int((rows.entries & 0xFFFFFFFF).sum()) == 21

    run(body)
