"""What is held back and let through, and in which order, against a plain list."""

from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.core.records import chunk_rows
from streams.core.records.chunk_rows import content_order, joined, repacked, taken
from streams.core.records.chunks import CommentChunk, FollowChunk
from streams.core.records.hold import Hold, LatenessPolicy, Ready, Standing
from streams.core.records.texts import Texts, Words

BEGIN_MS = 1_736_899_200_000
ALLOWED_MS = 1_000
LONG = "x" * 100


class Row(NamedTuple):
    """A follow, as a plain value that can be sorted."""

    at_ms: int
    creator_id: str
    is_unfollow: bool
    event_id: str


arrivals = st.lists(
    st.tuples(
        st.sampled_from([0, 0, 1, 100, 900, 5_000]),
        st.sampled_from([0, 0, 1, 300, 999, 1_000, 1_001, 9_000]),
        st.sampled_from(["ann", "bob", LONG]),
        st.booleans(),
        st.sampled_from(["", "e-1", "e-2"]),
    ),
    max_size=60,
)
cuts = st.lists(st.integers(0, 60), max_size=8)


def rows_of(drawn: list[tuple[int, int, str, bool, str]]) -> list[Row]:
    clock, made = BEGIN_MS, []
    for step, late_ms, creator, is_unfollow, event_id in drawn:
        clock += step
        made.append(Row(clock - late_ms, creator, is_unfollow, event_id))
    return made


def chunk_of(rows: list[Row]) -> FollowChunk:
    return FollowChunk(
        Texts.of([row.creator_id for row in rows]),
        np.array([row.at_ms for row in rows], dtype=np.int64),
        np.array([row.is_unfollow for row in rows], dtype=np.bool_),
        Texts.of([row.event_id for row in rows]),
    )


def taken_by(hold: Hold, rows: list[Row], floors_ms: list[tuple[int, int]] | None = None) -> Ready:
    floors = np.array(floors_ms or [(-1, -1)] * len(rows), dtype=np.int64)
    return hold.take(chunk_of(rows), floors.reshape(-1, 2).T)


def rows_in(chunk: FollowChunk) -> list[Row]:
    assert chunk.event_ids is not None
    columns = (chunk.at_ms.tolist(), chunk.creator_ids, chunk.unfollows.tolist(), chunk.event_ids)
    return [Row(*row) for row in zip(*columns, strict=True)]


class PlainHold:
    """The same by a list, record by record."""

    def __init__(self, held_max: int) -> None:
        self.held: list[Row] = []
        self.read_ms = self.frontier_ms = -1
        self.late = self.early = 0
        self.steps: list[set[Row]] = []
        self.out: list[Row] = []
        self._held_max = held_max

    def take(self, row: Row) -> None:
        if row.at_ms <= self.frontier_ms:
            self.late += 1
            self.out.append(row)
            return
        self.held.append(row)
        self.read_ms = max(self.read_ms, row.at_ms)
        self._let(max(self.frontier_ms, self.read_ms - ALLOWED_MS))
        if len(self.held) > self._held_max:
            times = sorted(one.at_ms for one in self.held)
            self.early += self._let(times[(len(times) - 1) // 2])

    def _let(self, frontier_ms: int) -> int:
        self.frontier_ms = frontier_ms
        let = [row for row in self.held if row.at_ms <= frontier_ms]
        self.held = [row for row in self.held if row.at_ms > frontier_ms]
        order = content_order(chunk_of(let)) if let else None
        self.out += let if order is None else [let[place] for place in order.tolist()]
        return len(let)


@given(arrivals, cuts, st.sampled_from([3, 7, 1_000]))
def test_what_is_let_through_and_its_order_are_as_if_records_came_one_by_one(
    drawn: list[tuple[int, int, str, bool, str]], bounds: list[int], held_max: int
) -> None:
    rows = rows_of(drawn)
    plain, hold, out = PlainHold(held_max), Hold(LatenessPolicy(ALLOWED_MS, held_max)), list[Row]()
    edges = sorted({0, len(rows), *(bound for bound in bounds if bound < len(rows))})
    for begin, end in pairwise(edges):
        ready = taken_by(hold, rows[begin:end])
        out += rows_in(ready.chunk)
        for row in rows[begin:end]:
            plain.take(row)
        assert out == plain.out
        assert hold.standing == (plain.read_ms, plain.frontier_ms)
        assert (len(hold), hold.late, hold.early) == (len(plain.held), plain.late, plain.early)
    if plain.held:
        out += rows_in(hold.take_all().chunk)
        assert hold.standing == Standing(plain.read_ms, plain.read_ms)
    assert sorted(out) == sorted(rows)


@given(arrivals, cuts, st.sampled_from([0, 1, 5_000]))
def test_the_times_of_an_event_id_are_the_records_own_or_the_floors_at_which_it_came(
    drawn: list[tuple[int, int, str, bool, str]], bounds: list[int], behind_ms: int
) -> None:
    rows = rows_of(drawn)
    hold = Hold(LatenessPolicy(ALLOWED_MS, 1_000))
    expected, floors_ms, read_ms = [], list[tuple[int, int]](), -1
    for row in rows:
        read_ms = max(read_ms, row.at_ms)
        floor_ms = read_ms - ALLOWED_MS - behind_ms
        floors_ms.append((floor_ms, floor_ms + behind_ms // 2))
        expected.append((row, [max(row.at_ms, floor) for floor in floors_ms[-1]]))
    found = []
    edges = sorted({0, len(rows), *(bound for bound in bounds if bound < len(rows))})
    for begin, end in pairwise(edges):
        ready = taken_by(hold, rows[begin:end], floors_ms[begin:end])
        assert ready.ids_ms is not None
        found += list(zip(rows_in(ready.chunk), ready.ids_ms.T.tolist(), strict=True))
    if len(hold):
        ready = hold.take_all()
        assert ready.ids_ms is not None
        found += list(zip(rows_in(ready.chunk), ready.ids_ms.T.tolist(), strict=True))
    assert sorted(found) == sorted(expected)


def test_many_small_chunks_are_held_in_few_parts() -> None:
    hold = Hold(LatenessPolicy(10**9, 10**6))
    for number in range(2_000):
        taken_by(hold, [Row(BEGIN_MS + number, "ann", False, "")])
    assert len(hold) == 2_000
    assert len(hold._parts) < 40


@given(arrivals)
def test_rows_repacked_joined_and_taken_are_the_same_rows(
    drawn: list[tuple[int, int, str, bool, str]],
) -> None:
    rows = rows_of(drawn)
    half = len(rows) // 2
    whole = joined([repacked(chunk_of(rows[:half])), chunk_of(rows[half:])])
    assert rows_in(whole) == rows
    backwards = np.arange(len(rows))[::-1]
    assert rows_in(repacked(taken(whole, backwards))) == rows[::-1]


@given(arrivals, st.permutations(range(60)))
def test_order_by_content_does_not_know_how_the_rows_stood(
    drawn: list[tuple[int, int, str, bool, str]], shuffle: list[int]
) -> None:
    rows = rows_of(drawn)
    other = [rows[place] for place in shuffle if place < len(rows)]
    found = []
    for one in (rows, other):
        chunk = chunk_of(one)
        order = content_order(chunk)
        found.append(rows_in(chunk if order is None else taken(chunk, order)))
    assert found[0] == found[1]
    assert [row.at_ms for row in found[0]] == sorted(row.at_ms for row in rows)


def test_order_by_content_does_not_hang_on_hashes_that_are_equal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def alike(chunk: FollowChunk | CommentChunk) -> Words:
        return np.zeros(len(chunk), dtype=np.uint64)

    monkeypatch.setattr(chunk_rows, "_hashes_of", alike)
    rows = [Row(BEGIN_MS, f"c-{number % 7}", False, f"e-{number % 5}") for number in range(35)]
    first, second = chunk_of(rows), chunk_of(rows[::-1])
    orders = [content_order(first), content_order(second)]
    assert orders[0] is not None
    assert orders[1] is not None
    assert rows_in(taken(first, orders[0])) == rows_in(taken(second, orders[1])) == sorted(rows)
