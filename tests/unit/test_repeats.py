"""Event ids that come again count once, whatever the chunks and restarts."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.core.partition import FollowPartition
from streams.core.records.chunks import FollowChunk
from streams.core.records.repeats import Lookback, Moment, RepeatPolicy, Repeats, Reread
from streams.core.records.texts import Ints, Texts
from streams.core.time.agreed_clock import Agreed, AgreedClock, Sampling
from tests.jobs import contents_of, follow_partition, watch

HORIZON_MS = 1_000
POLICY = RepeatPolicy(HORIZON_MS, 1_000_000)
BEGIN_MS = 1_736_899_200_000
FEW = Sampling(1, 3, 1)
SOME = Sampling(1, 48, 12)

arrivals = st.lists(
    st.tuples(
        st.sampled_from(["", "a", "b", "c", "a much longer event id than eight bytes"]),
        st.sampled_from([0, 0, 1, 300, HORIZON_MS - 1, HORIZON_MS, 5 * HORIZON_MS]),
        st.sampled_from([0, 0, 1, 2 * HORIZON_MS]),
    ),
    max_size=60,
)
cuts = st.lists(st.integers(0, 60), max_size=6)
samplings = st.builds(
    lambda stride, size, rank: Sampling(stride, size, min(rank, size - 1)),
    st.integers(1, 7),
    st.integers(1, 6),
    st.integers(0, 5),
)
Arrival = tuple[str, int]


def in_order(drawn: list[tuple[str, int, int]]) -> list[Arrival]:
    """Event ids and event times; the clock goes on by the step, the record may be late."""
    clock, made = BEGIN_MS, []
    for event_id, step, late_ms in drawn:
        clock += step
        made.append((event_id, clock - late_ms))
    return made


def plain_agreed(times: list[int], sampling: Sampling) -> list[tuple[int, int]]:
    """The time agreed on before each record and the middle one, record by record."""
    agreed, looked, found = -1, list[int](), list[tuple[int, int]]()
    for number, at_ms in enumerate(times):
        last = sorted(looked[1 - sampling.size :]) if sampling.size > 1 else []
        middle = last[len(last) // 2] if last and 2 * len(last) >= sampling.size - 1 else -1
        found.append((agreed, max(agreed, middle)))
        if number % sampling.stride == 0:
            looked.append(at_ms)
            if len(looked) >= sampling.size:
                agreed = max(agreed, sorted(looked[-sampling.size :])[sampling.rank])
    return found


def plain_repeats(records: list[Arrival], sampling: Sampling = FEW) -> list[bool]:
    """Record by record, with a dictionary that forgets nothing."""
    came: dict[str, int] = {}
    repeats = []
    agreed = plain_agreed([at_ms for _, at_ms in records], sampling)
    for (event_id, at_ms), (agreed_ms, middle_ms) in zip(records, agreed, strict=True):
        now, kept = max(at_ms, agreed_ms), max(at_ms, middle_ms)
        last = came.get(event_id) if event_id else None
        repeats.append(last is not None and now - last < HORIZON_MS)
        came[event_id] = kept if last is None else max(kept, last)
    return repeats


def twice(times: list[int]) -> Ints:
    """When ids come, and from when on they are remembered: the same."""
    return np.array([times, times], dtype=np.int64)


def edges_of(bounds: list[int], size: int) -> list[int]:
    return sorted({0, size, *(bound for bound in bounds if bound < size)})


def chunk_of(records: list[Arrival], creator: str = "ann") -> FollowChunk:
    return FollowChunk(
        Texts.of([creator] * len(records)),
        np.array([at for _, at in records], dtype=np.int64),
        np.zeros(len(records), dtype=np.bool_),
        Texts.of([event_id for event_id, _ in records]),
    )


def deduplicating(
    policy: RepeatPolicy | None = POLICY, sampling: Sampling = FEW
) -> FollowPartition:
    partition = FollowPartition(watch("follows", "followers", 5), policy)
    partition.clock = AgreedClock(sampling)
    return partition


@given(st.lists(st.integers(0, 12), max_size=80), cuts, samplings)
def test_the_time_agreed_on_is_as_told_record_by_record_whatever_the_chunks(
    times: list[int], bounds: list[int], sampling: Sampling
) -> None:
    clock, found = AgreedClock(sampling), list[tuple[int, ...]]()
    for begin, end in pairwise(edges_of(bounds, len(times))):
        state, clock = clock.state, AgreedClock(sampling)
        clock.state = Agreed(*state)
        found += map(tuple, clock.take(np.array(times[begin:end], dtype=np.int64)).T.tolist())
    assert found == plain_agreed(times, sampling)


@given(arrivals, cuts, samplings)
def test_a_record_is_a_repeat_as_a_plain_dictionary_says_in_any_chunks(
    drawn: list[tuple[str, int, int]], bounds: list[int], sampling: Sampling
) -> None:
    records = in_order(drawn)
    partition, repeated = deduplicating(sampling=sampling), list[int]()
    expected = plain_repeats(records, sampling)
    edges = edges_of(bounds, len(records))
    for begin, end in pairwise(edges):
        repeated.append(partition.take(chunk_of(records[begin:end])).repeated)
    assert repeated == [sum(expected[begin:end]) for begin, end in pairwise(edges)]
    assert partition.repeats is not None
    assert partition.repeats.forgotten == 0


@given(arrivals, cuts, st.lists(st.integers(0, 60), min_size=1, max_size=3))
def test_a_worker_that_takes_over_knows_the_repeats_from_the_records_of_the_last_horizon(
    drawn: list[tuple[str, int, int]], bounds: list[int], restarts: list[int]
) -> None:
    records = in_order(drawn)
    ends = edges_of(restarts, len(records))
    partition, reread, counted = deduplicating(), Reread(0, -1), 0
    for start, stop in pairwise(ends):
        water_ms = partition.watermark_ms
        partition, lookback = deduplicating(), Lookback(POLICY)
        partition.watermark_ms, partition.clock.state = water_ms, reread.agreed
        before = Moment(reread.watermark_ms, reread.agreed)
        learnt_ms = partition.relearn(chunk_of(records[reread.offset : start]), before.read_ms)
        assert learnt_ms == water_ms
        if start:
            after = Moment(learnt_ms, partition.clock.state)
            lookback.took(reread.offset, partition.clock.newest_ms, before, after)
        inner = {start, stop, *(bound for bound in bounds if start < bound < stop)}
        for begin, end in pairwise(sorted(inner)):
            before = partition.moment
            counted += partition.take(chunk_of(records[begin:end])).counted
            lookback.took(begin, partition.clock.newest_ms, before, partition.moment)
        reread = lookback.begin or reread
    assert counted == len(records) - sum(plain_repeats(records))


def steady(count: int, begin_ms: int = BEGIN_MS, step_ms: int = 1) -> list[Arrival]:
    """A record a step, each with an id of its own."""
    return [(f"s-{begin_ms + step_ms * i}", begin_ms + step_ms * i) for i in range(count)]


@pytest.mark.parametrize("ahead_ms", [HORIZON_MS, 5 * HORIZON_MS, 72_000_000])
def test_one_fast_clock_makes_no_other_records_id_forgotten(ahead_ms: int) -> None:
    partition = deduplicating(sampling=SOME)
    before = steady(500)
    fast = [("fast", before[-1][1] + ahead_ms)]
    after = steady(400, before[-1][1] + 1)
    outcomes = [partition.take(chunk_of(rows)) for rows in (before, fast, before, after, fast)]
    assert [outcome.counted for outcome in outcomes] == [500, 1, 0, 400, 0]
    assert [outcome.repeated for outcome in outcomes] == [0, 0, 500, 0, 1]


def test_a_late_record_and_its_repeat_count_once_though_the_time_agreed_on_steps_between() -> None:
    partition = deduplicating(sampling=Sampling(1, 33, 8))
    hour_ms = 3_600_000
    times = [BEGIN_MS] * 9 + [BEGIN_MS + hour_ms] * 24
    partition.take(chunk_of([(f"e-{n}", at_ms) for n, at_ms in enumerate(times)]))
    late, agreed_ms = [("late", BEGIN_MS)], partition.clock.state.ms
    assert partition.take(chunk_of(late)).counted == 1
    partition.take(chunk_of([("on time", BEGIN_MS + hour_ms), ("too", BEGIN_MS + hour_ms)]))
    assert partition.clock.state.ms - agreed_ms == hour_ms
    assert partition.take(chunk_of(late)).repeated == 1


@pytest.mark.parametrize("since", range(0, 1_100, 137))
def test_a_records_id_is_remembered_for_a_thousand_records_whatever_these_bring(
    since: int,
) -> None:
    partition = FollowPartition(watch("follows", "followers", 5), RepeatPolicy(600_000, 10**6))
    rng = np.random.default_rng(since)
    ahead = np.repeat(rng.integers(0, 20, 40) * 3_600_000, 300)
    rows = [(f"e-{n}", BEGIN_MS + int(at)) for n, at in enumerate(ahead)]
    for begin in range(0, 10_000, 500):
        partition.take(chunk_of(rows[begin : begin + 500]))
        late = (f"l-{begin}", BEGIN_MS + begin)
        assert partition.take(chunk_of([late])).counted == 1
        partition.take(chunk_of([(f"x-{begin}-{n}", at) for n, (_, at) in enumerate(rows[:since])]))
        assert partition.take(chunk_of([late])).repeated == 1


def test_a_host_with_a_fast_clock_among_others_makes_no_id_forgotten() -> None:
    partition = deduplicating(sampling=SOME)
    rows: list[Arrival] = []
    for lot in range(20):
        rows += steady(60, BEGIN_MS + 60 * lot)
        rows += [(f"f-{lot}-{i}", BEGIN_MS + 60 * lot + 7 * HORIZON_MS + i) for i in range(40)]
    assert partition.take(chunk_of(rows)).repeated == 0
    assert partition.take(chunk_of(rows[-800:])).repeated == 800


def test_one_record_far_ahead_in_a_backlog_keeps_neither_memory_nor_what_is_read_again() -> None:
    policy = RepeatPolicy(HORIZON_MS, 1_000_000)
    partition, lookback = deduplicating(policy, SOME), Lookback(policy)
    partition.take(chunk_of([("far", BEGIN_MS + 20 * HORIZON_MS)]))
    for lot in range(100):
        before = partition.moment
        partition.take(chunk_of(steady(100, BEGIN_MS + 100 * lot)))
        lookback.took(100 * lot, partition.clock.newest_ms, before, partition.moment)
    assert partition.repeats is not None
    assert HORIZON_MS < len(partition.repeats) <= 2 * HORIZON_MS + 300
    assert lookback.begin is not None
    assert 10_000 - 2 * HORIZON_MS < lookback.begin.offset <= 10_000 - HORIZON_MS
    assert partition.take(chunk_of([("far", BEGIN_MS + 20 * HORIZON_MS)])).repeated == 1


def test_no_more_is_read_again_than_ids_are_remembered() -> None:
    policy = RepeatPolicy(10**9, 1_000)
    partition, lookback = deduplicating(policy), Lookback(policy)
    for lot in range(200):
        before = partition.moment
        partition.take(chunk_of(steady(100, BEGIN_MS + 10**6 * lot)))
        lookback.took(100 * lot, partition.clock.newest_ms, before, partition.moment)
    assert lookback.begin is not None
    assert 20_000 - 3_000 <= lookback.begin.offset <= 20_000 - 1_000


def test_a_repeat_counts_nowhere_and_moves_no_rule() -> None:
    records = [(f"e-{i}", BEGIN_MS + i) for i in range(4)]
    once, twice = deduplicating(), deduplicating()
    assert once.take(chunk_of(records)).counted == 4
    outcome = twice.take(chunk_of(records * 2))
    assert (outcome.counted, outcome.repeated, outcome.surges) == (4, 4, [])
    assert contents_of(once.drain()) == contents_of(twice.drain())


def test_with_no_policy_and_with_no_ids_every_record_counts() -> None:
    records = [("e-1", BEGIN_MS), ("e-1", BEGIN_MS), ("", BEGIN_MS), ("", BEGIN_MS)]
    assert deduplicating(None).take(chunk_of(records)).counted == 4
    assert deduplicating().take(chunk_of(records)).counted == 3
    assert follow_partition().repeats is None


def test_a_record_that_was_in_the_future_is_not_learnt_again() -> None:
    partition = deduplicating()
    partition.watermark_ms = BEGIN_MS
    partition.relearn(chunk_of([("e-1", BEGIN_MS), ("e-2", BEGIN_MS + 1)]), -1)
    outcome = partition.take(chunk_of([("e-1", BEGIN_MS), ("e-2", BEGIN_MS)]))
    assert (outcome.counted, outcome.repeated) == (1, 1)


@pytest.mark.parametrize("lot", [1, 7, 100])
def test_memory_has_a_limit_and_what_is_forgotten_for_it_is_told(lot: int) -> None:
    repeats = Repeats(RepeatPolicy(HORIZON_MS, 200))
    for begin in range(0, 2_000, lot):
        ids = Texts.of([f"e-{begin + i}" for i in range(lot)])
        assert not repeats.take(ids, np.full((2, lot), BEGIN_MS), BEGIN_MS).any()
        assert len(repeats) <= 200 + 2 * lot
    assert repeats.forgotten >= 2_000 - 200 - 2 * lot
    assert repeats.take(Texts.of(["e-1999"]), twice([BEGIN_MS]), BEGIN_MS).all()


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["e-1", "e-2", "e-3", ""])
            | st.integers(0, 40).map(lambda number: f"e-{number}"),
            st.sampled_from([0, 1, 400, HORIZON_MS // 3, HORIZON_MS, 2 * HORIZON_MS]),
            st.sampled_from([0, 0, 1, 999, 1_000]),
        ),
        max_size=60,
    ),
    cuts,
)
def test_times_that_fall_back_by_what_is_allowed_are_as_a_plain_dictionary_of_the_latest_says(
    drawn: list[tuple[str, int, int]], bounds: list[int]
) -> None:
    clock, came, rows, expected = BEGIN_MS, dict[str, int](), list[Arrival](), list[bool]()
    for event_id, step, back_ms in drawn:
        clock += step
        now = clock - back_ms
        last = came.get(event_id) if event_id else None
        expected.append(last is not None and now - last < HORIZON_MS)
        came[event_id] = now if last is None else max(now, last)
        rows.append((event_id, now))
    repeats, found = Repeats(RepeatPolicy(HORIZON_MS, 10_000)), list[bool]()
    newest_ms = BEGIN_MS
    for begin, end in pairwise(edges_of(bounds, len(rows))):
        ids = Texts.of([event_id for event_id, _ in rows[begin:end]])
        times = twice([now for _, now in rows[begin:end]])
        floor_ms, newest_ms = newest_ms - 1_000, max(newest_ms, int(times.max()))
        found += repeats.take(ids, times, floor_ms, newest_ms - 1_000).tolist()
    assert found == expected


def test_of_many_horizons_at_once_only_what_may_matter_is_remembered() -> None:
    repeats = Repeats(RepeatPolicy(HORIZON_MS, 10_000))
    times = BEGIN_MS + np.arange(1_000) * HORIZON_MS // 50
    ids = [f"e-{number}" for number in range(1_000)]
    end_ms = int(times[-1])
    assert not repeats.take(Texts.of(ids), twice(times.tolist()), BEGIN_MS, end_ms).any()
    assert len(repeats) <= 51
    again = repeats.take(Texts.of(ids[-60:]), np.full((2, 60), end_ms), end_ms, end_ms)
    assert again.tolist() == [False] * 10 + [True] * 50


def test_an_id_is_not_let_go_while_a_time_that_falls_back_may_still_ask_for_it() -> None:
    repeats = Repeats(RepeatPolicy(HORIZON_MS, 10_000))
    times = [
        ("e-1", BEGIN_MS + 1_000),
        ("x-1", BEGIN_MS + 1_001),
        ("x-2", BEGIN_MS + 1_000 + HORIZON_MS),
        ("x-3", BEGIN_MS + 1_999 + HORIZON_MS),
        ("e-1", BEGIN_MS + 999 + HORIZON_MS),
    ]
    found = [
        repeats.take(Texts.of([event_id]), twice([at_ms]), at_ms - 1_000).tolist()
        for event_id, at_ms in times
    ]
    assert found[-1] == [True]
