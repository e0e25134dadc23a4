"""Counts equal a plain dictionary, whatever comes in whatever order."""

from collections import defaultdict

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from streams.core.counting.counts import Counts, Ints
from streams.core.records.runs import Stretch, runs_of
from streams.core.records.texts import Texts
from streams.core.time.buckets import WINDOW_BUCKETS

Records = list[tuple[int, int]]  # (slot, bucket)

steps = st.integers(0, 40) | st.integers(0, 700)
records = st.lists(st.tuples(st.integers(0, 5), steps, st.integers(0, 300)), max_size=120)


def in_arrival_order(drawn: list[tuple[int, int, int]]) -> Records:
    """Slots and buckets: time goes on by steps, some records come late by up to 24 hours."""
    water, made = 0, []
    for slot, step, late in drawn:
        if step > 20:
            water += step - 20
            made.append((slot, water))
        else:
            made.append((slot, water - late % WINDOW_BUCKETS))
    return made


def plain(arrived: Records) -> dict[int, dict[int, int]]:
    """The same by dictionaries: a slot's newest bucket and the 287 before it."""
    rows: dict[int, dict[int, int]] = defaultdict(lambda: defaultdict(int))
    newest: dict[int, int] = {}
    for slot, bucket in arrived:
        if slot in newest and bucket <= newest[slot] - WINDOW_BUCKETS:
            continue
        newest[slot] = max(newest.get(slot, bucket), bucket)
        rows[slot][bucket] += 1
    return {
        slot: {b: n for b, n in row.items() if b > newest[slot] - WINDOW_BUCKETS}
        for slot, row in rows.items()
    }


def fill(counts: Counts, arrived: Records) -> None:
    counts.grow(6)
    for slot, bucket in arrived:
        at, buckets, one = np.array([slot]), np.array([bucket]), np.array([1])
        newest = int(counts.newest[slot])
        if newest == bucket:
            counts.add_to_newest(at, one)
        elif newest < bucket:
            counts.begin_bucket(at, buckets, one)
        elif bucket > newest - WINDOW_BUCKETS:
            counts.add_earlier(slot, bucket, 1)


def rows_in(counts: Counts, slots: Ints) -> dict[int, dict[int, int]]:
    rows = {}
    for slot in slots.tolist():
        buckets, numbers = counts.row_of(slot)
        rows[slot] = dict(zip(buckets.tolist(), numbers.tolist(), strict=True))
    return rows


@given(records)
def test_rows_equal_a_dictionary_of_the_last_24_hours(drawn: list[tuple[int, int, int]]) -> None:
    arrived = [(slot, bucket + 1000) for slot, bucket in in_arrival_order(drawn)]
    counts, expected = Counts(), plain(arrived)
    fill(counts, arrived)
    slots = np.array(sorted(expected), dtype=np.int64)
    assert rows_in(counts, slots) == expected
    assert counts.total[slots].tolist() == [sum(expected[s].values()) for s in slots.tolist()]
    oldest = 1100
    since = [sum(n for b, n in expected[s].items() if b >= oldest) for s in slots.tolist()]
    assert counts.totals_since(slots, oldest).tolist() == since
    assert [counts.total_since(s, oldest) for s in slots.tolist()] == since


@given(records, st.integers(1, 40))
def test_windows_fall_below_a_total_in_the_bucket_that_a_walk_finds(
    drawn: list[tuple[int, int, int]], below: int
) -> None:
    arrived = [(slot, bucket + 1000) for slot, bucket in in_arrival_order(drawn)]
    counts, rows = Counts(), plain(arrived)
    fill(counts, arrived)
    slots, walked = sorted(rows), []
    for slot in slots:
        water = max(rows[slot])
        if sum(rows[slot].values()) < below:
            walked.append(0)
            continue
        while sum(n for b, n in rows[slot].items() if b > water - WINDOW_BUCKETS) >= below:
            water += 1
        walked.append(water)
    found = counts.windows_below(np.array(slots, dtype=np.int64), below)
    assert found.tolist() == walked


@given(records)
def test_restored_rows_are_the_same_and_can_be_added_to(drawn: list[tuple[int, int, int]]) -> None:
    arrived = [(slot, bucket + 1000) for slot, bucket in in_arrival_order(drawn)]
    half = len(arrived) // 2
    first, second = Counts(), Counts()
    fill(first, arrived[:half])
    slots = np.flatnonzero(first.newest[:6] >= 0)
    entries, _ = first.entries_of(slots)
    second.grow(6)
    second.restore(slots, entries, first.size[slots].astype(np.int64))
    fill(second, arrived[half:])
    fill(first, arrived[half:])
    slots = np.flatnonzero(first.newest[:6] >= 0)
    assert rows_in(second, slots) == rows_in(first, slots)
    assert second.total[slots].tolist() == first.total[slots].tolist()


def test_a_creator_with_an_event_in_every_bucket_keeps_288_buckets() -> None:
    counts = Counts()
    fill(counts, [(0, bucket) for bucket in range(1000, 3000)])
    buckets, numbers = counts.row_of(0)
    assert buckets.tolist() == list(range(3000 - WINDOW_BUCKETS, 3000))
    assert set(numbers.tolist()) == {1}


def test_ten_million_follows_a_day_are_counted_exactly() -> None:
    counts = Counts()
    counts.grow(1)
    for bucket in range(288):
        counts.begin_bucket(np.array([0]), np.array([bucket]), np.array([34_723]))
    assert counts.total[0] == 288 * 34_723 > 10_000_000


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(90, 100)), min_size=1, max_size=60))
def test_rounds_of_runs_give_back_each_slots_records_in_order(drawn: Records) -> None:
    slots, buckets = (np.array(column, dtype=np.int64) for column in zip(*drawn, strict=True))
    empty = np.zeros(len(slots), dtype=np.int64)
    stretch = Stretch(slots, buckets, empty, empty, empty, Texts.of([]), 100)
    seen: dict[int, list[int]] = defaultdict(list)
    for runs in runs_of(stretch):
        for slot, bucket, count in zip(*(c.tolist() for c in runs[:3]), strict=True):
            seen[slot] += [bucket] * count
    expected: dict[int, list[int]] = defaultdict(list)
    for slot, bucket in drawn:
        expected[slot].append(bucket)
    assert seen == expected
