"""Same records in, same surges out: in any order within the allowed lateness, whatever happens."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from faust.types import TP
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streams.app.worker.lane import PipelinePolicy, Trade
from streams.app.worker.pipeline import Pipeline
from streams.core.partition import CommentPartition, FollowPartition
from streams.core.records.chunks import RawChunk
from streams.core.records.hold import LatenessPolicy, Standing
from streams.core.records.repeats import RepeatPolicy
from streams.core.time.buckets import BUCKET_MS
from streams.edges.codec.events import Limits, decode_comments, decode_follows
from streams.edges.codec.faults import AT_MS_END
from streams.edges.codec.out import decode_surge
from streams.edges.kafka.report_lot import ReportLot, lot_in_outbox
from streams.edges.kafka.surge_lot import SurgeLot
from streams.edges.metrics.progress import Progress, Silence
from streams.edges.store import Held, MemoryStore, Place
from tests.jobs import stored_of, watch
from tests.unit.test_partition import BEGIN_MS
from tests.unit.test_pipeline import LIMIT, Event, Loudspeaker, Message

ALLOWED_MS = 2 * BUCKET_MS
HORIZON_MS = BUCKET_MS
LATENESS = LatenessPolicy(ALLOWED_MS, 1_000)
REPEATS = RepeatPolicy(HORIZON_MS, 10_000)


@dataclass(frozen=True)
class Kind:
    """One topic: a record's bytes, and how it is decoded and counted."""

    topic: str
    encode: Callable[[str, int, int], bytes]
    trade: Callable[[RepeatPolicy | None, LatenessPolicy | None, int], Trade]


def follow(creator: str, at_ms: int, number: int) -> bytes:
    kind = "unfollow" if number % 7 == 6 else "follow"
    return b'{"creator_id":"%b","follower_id":"f-%d","kind":"%b","event_id":"e-%d","at_ms":%d}' % (
        creator.encode(),
        number,
        kind.encode(),
        number,
        at_ms,
    )


def comment(creator: str, at_ms: int, number: int) -> bytes:
    lang = ("zh", "en")[number % 2]
    return (
        b'{"creator_id":"%b","post_id":"p-%b-%d","comment_id":"k","commenter_id":"u","lang":"%b",'
        b'"event_id":"e-%d","at_ms":%d}'
        % (creator.encode(), creator.encode(), number % 3, lang.encode(), number, at_ms)
    )


def follow_trade(
    repeats: RepeatPolicy | None, lateness: LatenessPolicy | None, now_ms: int = AT_MS_END
) -> Trade:
    limits = Limits(with_event_ids=repeats is not None, future_skew_ms=0)
    return Trade(
        lambda chunk: decode_follows(chunk, now_ms, limits),
        lambda: FollowPartition(watch("follows", "followers", 5, 0.9), repeats, lateness),
        lambda chunk: decode_follows(chunk, AT_MS_END, limits),
    )


def comment_trade(
    repeats: RepeatPolicy | None, lateness: LatenessPolicy | None, now_ms: int = AT_MS_END
) -> Trade:
    limits = Limits(with_event_ids=repeats is not None, future_skew_ms=0)
    return Trade(
        lambda chunk: decode_comments(chunk, now_ms, limits),
        lambda: CommentPartition(
            watch("comments", "comments", None, 0.9),
            watch("posts", "comments", 5, 0.9),
            repeats,
            lateness,
        ),
        lambda chunk: decode_comments(chunk, AT_MS_END, limits),
    )


KINDS = [Kind("follows", follow, follow_trade), Kind("comments", comment, comment_trade)]


@dataclass
class Platform:
    """One partition in Kafka, and the workers that own it one after another."""

    kind: Kind
    records: list[bytes]
    repeats: RepeatPolicy | None
    lateness: LatenessPolicy | None = LATENESS
    now_ms: int = AT_MS_END
    progress: Progress = field(default_factory=Silence)
    store: MemoryStore = field(default_factory=MemoryStore)
    speaker: Loudspeaker = field(default_factory=Loudspeaker)
    generation: int = 0

    @property
    def tp(self) -> TP:
        """The partition."""
        return TP(self.kind.topic, 0)

    async def take_over(self) -> None:
        """A new worker takes what stands in the store, and reads on from there."""
        self.generation += 1
        trade = self.kind.trade(self.repeats, self.lateness, self.now_ms)
        policy = PipelinePolicy(0.01, 10_000, LIMIT)
        self.worker = Pipeline(
            {self.kind.topic: trade}, self.store, self.speaker, policy, self.progress
        )
        offsets = await self.worker.take_over({self.tp}, self.generation)
        begin, needed = self.worker.rereads.get(self.tp, (offsets[self.tp] or 0, 0))
        assert begin <= (offsets[self.tp] or 0)
        assert begin <= needed or not needed
        self.at = begin

    async def read(self, count: int) -> None:
        """Give the worker the next chunk, and what it read once more before it."""
        lane = self.worker.lanes[self.tp]
        until = min(max(self.at, lane.next_offset) + count, len(self.records))
        while self.at < until:
            end = min(self.at + max(count, 1), until)
            values = self.records[self.at : end]
            raw = RawChunk(self.kind.topic, 0, values, range(self.at, end), end, 0, end)
            await self.worker.take(Event(raw, Message(self.tp)))
            self.at = end

    async def flush(self) -> None:
        """Have the worker write what it has."""
        lane = self.worker.lanes[self.tp]
        self.worker._begin_flush(lane)
        assert lane.flushing is not None
        await lane.flushing

    async def end(self) -> None:
        """No more records come."""
        await self.worker._let_held(self.worker.lanes[self.tp])
        await self.worker.give_up({self.tp})

    async def held(self) -> Held:
        """What is stored."""
        return await self.store.read(Place(self.kind.topic, 0))


def in_order(drawn: list[tuple[int, int, int]]) -> list[tuple[str, int, int]]:
    clock, made = BEGIN_MS, []
    for step, creator, number in drawn:
        clock += step
        made.append((("ann", "bob", "cat")[creator], clock, number))
    return made


records_drawn = st.lists(
    st.tuples(
        st.sampled_from([0, 0, 7, 1000, 60_000, BUCKET_MS // 2, BUCKET_MS, 4 * BUCKET_MS]),
        st.sampled_from([0, 0, 0, 1, 2]),
        st.integers(0, 60),
    ),
    min_size=1,
    max_size=60,
)
steps_drawn = st.lists(
    st.tuples(st.integers(0, 20), st.sampled_from(["", "flush", "kill", "hand over"])), max_size=12
)


async def through(platform: Platform, steps: list[tuple[int, str]]) -> Held:
    """Read all, with what happens on the way; what is stored at the end."""
    await platform.take_over()
    for count, then in steps:
        await platform.read(count)
        if then == "flush":
            await platform.flush()
        elif then == "hand over":
            await platform.worker.give_up({platform.tp})
        if then in {"kill", "hand over"}:
            await platform.take_over()
    await platform.read(len(platform.records))
    await platform.end()
    return await platform.held()


def told(platform: Platform) -> dict[tuple[str, int], bytes]:
    """Announced surges; each revision has one content, however often it was announced."""
    found: dict[tuple[str, int], bytes] = {}
    for content in platform.speaker.announced:
        surge = decode_surge(content)
        assert found.setdefault((surge.surge_id, surge.revision), content) == content
    return found


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.topic)
@pytest.mark.parametrize("repeats", [None, REPEATS], ids=["no ids", "ids"])
@settings(
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
    deadline=None,
)
@given(
    records_drawn, st.lists(st.integers(0, ALLOWED_MS - 1), min_size=60, max_size=60), steps_drawn
)
def test_state_and_surges_know_neither_order_nor_chunks_nor_restarts_nor_who_counted(
    kind: Kind,
    repeats: RepeatPolicy | None,
    drawn: list[tuple[int, int, int]],
    delays: list[int],
    steps: list[tuple[int, str]],
) -> None:
    ordered = in_order(drawn)
    delayed = sorted(zip(ordered, delays, strict=False), key=lambda one: one[0][1] + one[1])
    plain = Platform(kind, [kind.encode(*one) for one in ordered], repeats)
    other = Platform(kind, [kind.encode(*one) for one, _ in delayed], repeats)
    expected, found = asyncio.run(through(plain, [])), asyncio.run(through(other, steps))
    assert stored_of(found.state) == stored_of(expected.state)
    assert found.state.surges == expected.state.surges
    assert found.state.watermark_ms == expected.state.watermark_ms
    assert found.state.standing == expected.state.standing
    assert found.next_offset == expected.next_offset == len(ordered)
    assert told(other) == told(plain)


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(
    records_drawn,
    st.lists(st.sampled_from([0, 1, ALLOWED_MS, 9 * ALLOWED_MS]), min_size=60, max_size=60),
    steps_drawn,
)
def test_records_later_than_allowed_are_counted_once_whatever_is_restarted(
    drawn: list[tuple[int, int, int]], delays: list[int], steps: list[tuple[int, str]]
) -> None:
    delayed = sorted(zip(in_order(drawn), delays, strict=False), key=lambda one: one[0][1] + one[1])
    records = [follow(*one) for one, _ in delayed]
    plain, other = Platform(KINDS[0], records, REPEATS), Platform(KINDS[0], records, REPEATS)
    expected, found = asyncio.run(through(plain, [])), asyncio.run(through(other, steps))
    assert stored_of(found.state) == stored_of(expected.state)
    assert told(other) == told(plain)


def one_follow(at_ms: int, number: int = 0) -> bytes:
    return follow("ann", at_ms, number)


def totals(held: Held) -> int:
    held_keys = stored_of(held.state).items()
    return sum(len(values) for name, values in held_keys if not name.endswith(".shared"))


def test_a_partition_without_records_lets_go_of_what_it_held_and_no_sooner() -> None:
    async def body() -> None:
        short = LatenessPolicy(20, 1_000)
        platform = Platform(KINDS[0], [one_follow(BEGIN_MS)], None, short)
        await platform.take_over()
        await platform.read(1)
        await platform.flush()
        first = await platform.held()
        assert first.state.standing == Standing(BEGIN_MS, BEGIN_MS - 20)
        assert totals(first) == 0
        lane, worker = platform.worker.lanes[platform.tp], platform.worker
        worker.let_quiet({})
        assert lane.quiet_since is None, "Kafka was not heard of"
        worker.let_quiet({platform.tp: 2})
        assert lane.quiet_since is None, "a record is still to be read"
        while lane.letting_go is None:
            worker.let_quiet({platform.tp: 1})
            await asyncio.sleep(0)
        await lane.letting_go
        assert lane.waiting
        await platform.flush()
        second = await platform.held()
        assert second.state.standing == Standing(BEGIN_MS, BEGIN_MS)
        assert second.next_offset == first.next_offset == 1
        assert totals(second) == 1

    asyncio.run(asyncio.wait_for(body(), 20))


def test_what_two_writes_at_one_offset_tell_waits_under_two_names() -> None:
    async def body() -> None:
        early = [one_follow(BEGIN_MS + i, i) for i in range(5)]
        late = [follow("bob", BEGIN_MS + BUCKET_MS + ALLOWED_MS, i) for i in range(5)]
        platform = Platform(KINDS[0], early + late, None)
        platform.speaker.open.clear()
        await platform.take_over()
        await platform.read(10)
        lane, worker = platform.worker.lanes[platform.tp], platform.worker
        worker._begin_flush(lane)
        while not (first := (await platform.held()).outbox):
            await asyncio.sleep(0)
        await worker._let_held(lane)
        platform.speaker.open.set()
        assert lane.flushing is not None
        await lane.flushing
        platform.speaker.open.clear()
        worker._begin_flush(lane)
        while list(second := (await platform.held()).outbox) == list(first):
            await asyncio.sleep(0)
        assert first.keys().isdisjoint(second), "what was announced is forgotten"
        assert len(first) == len(second) == 2, "surges and reports, and no more"
        surges, reports = map(lot_in_outbox, second.values())
        assert isinstance(surges, SurgeLot)
        assert "bob" in surges.creator_ids
        assert isinstance(reports, ReportLot)
        platform.speaker.open.set()
        await worker.give_up({platform.tp})
        opened = [s for s in map(decode_surge, platform.speaker.announced) if s.trigger == "rule"]
        assert [surge.creator_id for surge in opened] == ["ann", "bob"]
        assert (await platform.held()).outbox == {}

    asyncio.run(asyncio.wait_for(body(), 20))


def test_an_id_that_is_learnt_again_came_at_its_records_own_time() -> None:
    async def body() -> None:
        others = [
            one_follow(BEGIN_MS + ALLOWED_MS - 1, 1),
            one_follow(BEGIN_MS + ALLOWED_MS + 1, 2),
        ]
        again = one_follow(BEGIN_MS + HORIZON_MS, 9)
        records = [others[0], one_follow(BEGIN_MS, 9), others[1], again]
        platform = Platform(KINDS[0], records, REPEATS)
        await platform.take_over()
        await platform.read(3)
        await platform.worker.give_up({platform.tp})
        await platform.take_over()
        await platform.read(1)
        outcome = platform.worker.lanes[platform.tp].job.take_held()
        assert (outcome.counted, outcome.repeated) == (3, 0)

    asyncio.run(asyncio.wait_for(body(), 20))


def test_a_store_taken_back_to_before_held_records_were_let_through_is_noticed() -> None:
    async def body() -> None:
        platform = Platform(KINDS[0], [one_follow(BEGIN_MS)], None)
        lost: list[bool] = []

        async def on_lost() -> None:
            lost.append(True)

        await platform.take_over()
        platform.worker.on_state_lost = on_lost
        await platform.read(1)
        await platform.flush()
        drawer = platform.store._drawers[Place("follows", 0)]
        before = drawer.standing
        await platform.worker._let_held(platform.worker.lanes[platform.tp])
        await platform.flush()
        drawer.standing = before  # same offset, older moment
        platform.records.append(one_follow(BEGIN_MS + 1))
        await platform.read(1)
        await platform.flush()
        assert lost

    asyncio.run(asyncio.wait_for(body(), 20))


def test_what_was_in_the_future_when_it_came_is_not_held_when_it_is_read_again() -> None:
    async def body() -> None:
        records = [one_follow(BEGIN_MS, 1), one_follow(BEGIN_MS + 500, 2), b"bad"]
        platform = Platform(KINDS[0], records, REPEATS, now_ms=BEGIN_MS + 1)
        await platform.take_over()
        await platform.read(3)
        await platform.worker.give_up({platform.tp})
        platform.now_ms = BEGIN_MS + 1_000
        records.append(one_follow(BEGIN_MS + 900, 3))  # the watermark passes the dead one
        for _ in range(3):
            await platform.take_over()
            await platform.read(1)
            await platform.worker.give_up({platform.tp})
        held = await platform.held()
        assert held.reread is not None
        assert held.reread.dead_offsets == (1,)
        await platform.take_over()
        await platform.read(1)
        assert len(platform.worker.lanes[platform.tp].job.hold) == 2
        records.append(one_follow(BEGIN_MS + 500, 2))  # sent once more, in good time
        await platform.read(1)
        lane = platform.worker.lanes[platform.tp]
        outcome = lane.job.take_held()
        assert (outcome.counted, outcome.repeated) == (3, 0)
        assert [dead.offset for dead in platform.speaker.buried] == [1, 2]

    asyncio.run(asyncio.wait_for(body(), 20))


def test_a_worker_that_is_to_wait_no_more_counts_what_another_held_back() -> None:
    async def body() -> None:
        platform = Platform(KINDS[0], [one_follow(BEGIN_MS + i, i) for i in range(5)], None)
        await platform.take_over()
        await platform.read(5)
        await platform.worker.give_up({platform.tp})
        assert totals(await platform.held()) == 0
        platform.lateness = None
        await platform.take_over()
        await platform.read(5)
        await platform.worker.give_up({platform.tp})
        held = await platform.held()
        assert totals(held) == 1
        assert held.state.standing == Standing(BEGIN_MS + 4, BEGIN_MS + 4)

    asyncio.run(asyncio.wait_for(body(), 20))
