"""Event ids that come again count once, whatever the chunks and restarts."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.core.events import FollowChunk
from streams.core.partition import FollowPartition
from streams.core.repeats import Lookback, RepeatPolicy, Repeats, Reread
from streams.core.texts import Texts
from tests.jobs import contents_of, follow_partition, watch

HORIZON_MS = 1_000
POLICY = RepeatPolicy(HORIZON_MS, 1_000_000)
BEGIN_MS = 1_736_899_200_000

arrivals = st.lists(
    st.tuples(
        st.sampled_from(["", "a", "b", "c", "a much longer event id than eight bytes"]),
        st.sampled_from([0, 0, 1, 300, HORIZON_MS - 1, HORIZON_MS, 5 * HORIZON_MS]),
        st.sampled_from([0, 0, 1, 2 * HORIZON_MS]),
    ),
    max_size=60,
)
cuts = st.lists(st.integers(0, 60), max_size=6)
Arrival = tuple[str, int]


def in_order(drawn: list[tuple[str, int, int]]) -> list[Arrival]:
    """Event ids and event times; the clock goes on by the step, the record may be late."""
    clock, made = BEGIN_MS, []
    for event_id, step, late_ms in drawn:
        clock += step
        made.append((event_id, clock - late_ms))
    return made


def plain_repeats(records: list[Arrival]) -> list[bool]:
    """Record by record, with a dictionary that forgets nothing."""
    came: dict[str, int] = {}
    water, repeats = -1, []
    for event_id, at_ms in records:
        water = max(water, at_ms)
        last = came.get(event_id) if event_id else None
        repeats.append(last is not None and water - last < HORIZON_MS)
        came[event_id] = water
    return repeats


def edges_of(bounds: list[int], size: int) -> list[int]:
    return sorted({0, size, *(bound for bound in bounds if bound < size)})


def chunk_of(records: list[Arrival], creator: str = "ann") -> FollowChunk:
    return FollowChunk(
        Texts.of([creator] * len(records)),
        np.array([at for _, at in records], dtype=np.int64),
        np.zeros(len(records), dtype=np.bool_),
        Texts.of([event_id for event_id, _ in records]),
    )


def deduplicating(policy: RepeatPolicy | None = POLICY) -> FollowPartition:
    return FollowPartition(watch("follows", "followers", 5), policy)


@given(arrivals, cuts)
def test_a_record_is_a_repeat_as_a_plain_dictionary_says_in_any_chunks(
    drawn: list[tuple[str, int, int]], bounds: list[int]
) -> None:
    records = in_order(drawn)
    repeats, found, water = Repeats(POLICY), list[bool](), -1
    for begin, end in pairwise(edges_of(bounds, len(records))):
        part = chunk_of(records[begin:end])
        seen_ms = np.maximum(np.maximum.accumulate(part.at_ms), water)
        assert part.event_ids is not None
        found += repeats.take(part.event_ids, seen_ms).tolist()
        water = int(seen_ms[-1])
    assert found == plain_repeats(records)
    assert repeats.forgotten == 0


@given(arrivals, cuts, st.integers(0, 60))
def test_a_worker_that_takes_over_knows_the_repeats_from_the_records_of_the_last_horizon(
    drawn: list[tuple[str, int, int]], bounds: list[int], taken_over: int
) -> None:
    records = in_order(drawn)
    taken_over = min(taken_over, len(records))
    first, lookback = deduplicating(), Lookback(HORIZON_MS)
    counted = 0
    for begin, end in pairwise(edges_of([*bounds, taken_over], taken_over)):
        before_ms = first.watermark_ms
        counted += first.take(chunk_of(records[begin:end])).counted
        lookback.took(begin, before_ms, first.watermark_ms)
    second = deduplicating()
    second.watermark_ms = first.watermark_ms
    reread = lookback.begin or Reread(taken_over, -1)
    water = second.relearn(chunk_of(records[reread.offset : taken_over]), reread.watermark_ms)
    assert water == first.watermark_ms or not taken_over
    counted += second.take(chunk_of(records[taken_over:])).counted
    assert counted == len(records) - sum(plain_repeats(records))


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
        assert not repeats.take(ids, np.full(lot, BEGIN_MS)).any()
        assert len(repeats) <= 200 + 2 * lot
    assert repeats.forgotten >= 2_000 - 200 - 2 * lot
    assert repeats.take(Texts.of(["e-1999"]), np.array([BEGIN_MS])).all()


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["e-1", "e-2", "e-3", ""]),
            st.sampled_from([0, 1, 400, HORIZON_MS, 2 * HORIZON_MS]),
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
    repeats, found = Repeats(RepeatPolicy(HORIZON_MS, 10_000, 1_000)), list[bool]()
    for begin, end in pairwise(edges_of(bounds, len(rows))):
        ids = Texts.of([event_id for event_id, _ in rows[begin:end]])
        times = np.array([now for _, now in rows[begin:end]], dtype=np.int64)
        found += repeats.take(ids, times).tolist()
    assert found == expected


def test_an_id_is_not_let_go_while_a_time_that_falls_back_may_still_ask_for_it() -> None:
    repeats = Repeats(RepeatPolicy(HORIZON_MS, 10_000, 1_000))
    times = [
        ("e-1", BEGIN_MS + 1_000),
        ("x-1", BEGIN_MS + 1_001),
        ("x-2", BEGIN_MS + 1_000 + HORIZON_MS),
        ("x-3", BEGIN_MS + 1_999 + 2 * HORIZON_MS),
        ("x-4", BEGIN_MS + 1_999 + HORIZON_MS),
        ("e-1", BEGIN_MS + 999 + HORIZON_MS),
    ]
    found = [
        repeats.take(Texts.of([event_id]), np.array([at_ms])).tolist() for event_id, at_ms in times
    ]
    assert found[-1] == [True]
