"""Keys that are let go from memory and read back leave no trace in counts, states or surges."""

import asyncio
from itertools import pairwise
from typing import Any

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streams.core.counting.directory import Directory
from streams.core.partition_state import StateChange
from streams.core.records.chunks import CommentChunk, FollowChunk
from streams.core.records.texts import Texts
from streams.core.surges.surge import Surge
from streams.core.time.buckets import BUCKET_MS
from streams.edges.store import KeyLimit, MemoryStore, Place, Write
from tests.jobs import comment_partition, comments, follow_partition, follows, stored_of
from tests.unit.test_partition import BEGIN_MS, arrivals, cuts, in_arrival_order

PLACE = Place("follows", 0)
KEYS_MAX = 0
"""Every key is let go after each write, unless it has a surge."""


class Forgetful:
    """A job that is stored after each chunk, lets go of what it can, and may be started anew."""

    def __init__(self, build: Any) -> None:
        self.store, self.offset, self.gone, self.back = MemoryStore(), 0, 0, 0
        self._build = build
        self.job = build()
        self._fence = asyncio.run(self.store.claim(PLACE, 1))

    def take(self, chunk: FollowChunk | CommentChunk) -> list[Surge]:
        held = asyncio.run(self.store.read_keys(PLACE, self.job.left_out_of(chunk)))
        self.back += sum(len(series.names) for series in held.values())
        self.job.admit(held)
        surges: list[Surge] = self.job.take(chunk).surges
        begin, self.offset = self.offset, self.offset + len(chunk)
        change = self.job.drain()
        asyncio.run(self.store.write(PLACE, self._fence, Write(change, begin or None, self.offset)))
        self.gone += self.job.let_go(KEYS_MAX)
        self.wrote(change)
        return surges

    def wrote(self, change: StateChange) -> None:
        """What else happens after a write."""

    def start_anew(self) -> None:
        """As a worker that takes over: only the keys' names are read, all else when it is met."""
        self.job = self._build()
        limit = KeyLimit(KEYS_MAX, self.job.watched)
        self.job.restore(asyncio.run(self.store.read(PLACE, limit)).state)

    def stored(self) -> dict[str, dict[str, bytes]]:
        return stored_of(asyncio.run(self.store.read(PLACE)).state)


def edges_of(bounds: list[int], size: int) -> list[int]:
    return sorted({0, size, *(bound for bound in bounds if bound < size)})


def contents(job: Any) -> dict[str, dict[str, bytes]]:
    drained = job.drain()
    return {s.name: dict(zip(s.names, s.values(), strict=True)) for s in drained.series}


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(arrivals, cuts, st.sets(st.integers(0, 5)))
def test_followers_that_are_let_go_and_read_back_leave_no_trace(
    drawn: list[tuple[str, int, int, int]], bounds: list[int], anew: set[int]
) -> None:
    records = in_arrival_order(drawn)
    whole, forgetful = follow_partition(12), Forgetful(lambda: follow_partition(12))
    expected = whole.take(follows(records)).surges
    told: list[Surge] = []
    for number, (begin, end) in enumerate(pairwise(edges_of(bounds, len(records)))):
        if number in anew:
            forgetful.start_anew()
        told += forgetful.take(follows(records[begin:end]))
    assert told == expected
    assert forgetful.stored() == contents(whole)


posts = st.lists(
    st.tuples(
        st.sampled_from(["mei", "lin"]),
        st.integers(0, 2),
        st.sampled_from(["zh", "en", "ko"]),
        st.sampled_from([0, 1000, BUCKET_MS, 100 * BUCKET_MS, 290 * BUCKET_MS]),
    ),
    max_size=60,
)


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(posts, cuts, st.sets(st.integers(0, 5)))
def test_posts_and_languages_that_are_let_go_and_read_back_leave_no_trace(
    drawn: list[tuple[str, int, str, int]], bounds: list[int], anew: set[int]
) -> None:
    clock, records = BEGIN_MS, []
    for creator, post, lang, step in drawn:
        clock += step
        records.append((creator, f"p-{creator}-{post}", lang, clock))
    whole, forgetful = comment_partition(4), Forgetful(lambda: comment_partition(4))
    expected = whole.take(comments(records)).surges
    told: list[Surge] = []
    for number, (begin, end) in enumerate(pairwise(edges_of(bounds, len(records)))):
        if number in anew:
            forgetful.start_anew()
        told += forgetful.take(comments(records[begin:end]))
    assert told == expected
    assert forgetful.stored() == contents(whole)


def test_the_least_recently_met_go_first_and_those_with_a_surge_or_unstored_stay() -> None:
    forgetful = Forgetful(lambda: follow_partition(5))
    forgetful.job.let_go(0)
    surging = [("ann", BEGIN_MS + i, False) for i in range(5)]
    forgetful.take(follows([*surging, ("bob", BEGIN_MS, False)]))
    forgetful.take(follows([("cat", BEGIN_MS + BUCKET_MS, False)]))
    keys = forgetful.job._followers.keys
    assert [name for name in ("ann", "bob", "cat") if name in keys] == ["ann"]
    assert forgetful.gone == 2
    forgetful.job.take(follows([("dan", BEGIN_MS + BUCKET_MS, False)]))
    assert forgetful.job.let_go(1) == 0, "what is not stored stays"
    forgetful.take(follows([("bob", BEGIN_MS + 2 * BUCKET_MS, False)]))
    assert forgetful.back == 1


def test_what_was_read_back_is_stored_in_the_order_of_its_groups() -> None:
    def met(first: int, last: int, at_ms: int) -> FollowChunk:
        return follows([(f"c-{number}", at_ms, False) for number in range(first, last)])

    forgetful = Forgetful(lambda: follow_partition(5))
    forgetful.take(met(0, 300, BEGIN_MS))
    chunk = met(100, 400, BEGIN_MS + BUCKET_MS)
    held = asyncio.run(forgetful.store.read_keys(PLACE, forgetful.job.left_out_of(chunk)))
    forgetful.job.admit(held)
    forgetful.job.take(met(400, 500, BEGIN_MS))
    forgetful.job.take(met(0, 500, BEGIN_MS + BUCKET_MS))
    series = forgetful.job.drain().series[0]
    assert sorted(series.groups.tolist()) == series.groups.tolist()
    assert len(set(series.groups.tolist())) >= 4


placed = st.tuples(st.text(min_size=1, max_size=12), st.integers(0, 2**31 - 1))


@given(st.lists(placed, max_size=50))
def test_a_directory_finds_every_group_of_a_key_that_was_added(
    drawn: list[tuple[str, int]],
) -> None:
    directory = Directory()
    for begin in range(0, len(drawn), 7):
        part = drawn[begin : begin + 7]
        held_in = np.array([group for _, group in part], dtype=np.int32)
        directory.add(Texts.of([name for name, _ in part]), held_in)
    assert len(directory) <= len(set(drawn))
    names = sorted({name for name, _ in drawn})
    rows, groups = directory.find(Texts.of(names))
    found = {(names[row], g) for row, g in zip(rows.tolist(), groups.tolist(), strict=True)}
    assert found >= set(drawn)
    others, _ = directory.find(Texts.of([f"never added {n}" for n in range(20)]))
    assert not len(others)


@given(st.lists(placed, max_size=50), st.sets(st.integers(0, 2**31 - 1), max_size=5))
def test_a_directory_forgets_the_keys_of_groups_that_are_gone_and_no_others(
    drawn: list[tuple[str, int]], others: set[int]
) -> None:
    directory = Directory()
    held_in = np.array([group for _, group in drawn], dtype=np.int32)
    directory.add(Texts.of([name for name, _ in drawn]), held_in)
    every = sorted({group for _, group in drawn})
    assert directory.groups().tolist() == every
    gone, before = {*every[::2], *others}, len(directory)
    went = directory.forget(np.array(sorted(gone), dtype=np.int64))
    left = {(name, group) for name, group in drawn if group not in gone}
    assert directory.groups().tolist() == sorted({group for _, group in left})
    assert len(directory) == before - went
    names = sorted({name for name, _ in drawn})
    rows, groups = directory.find(Texts.of(names))
    assert {(names[row], g) for row, g in zip(rows.tolist(), groups.tolist(), strict=True)} >= left


def test_a_directory_gives_back_the_room_of_what_it_forgets() -> None:
    directory, empty = Directory(), Directory()._table.nbytes
    names = Texts.of([f"c-{number}" for number in range(10_000)])
    directory.add(names, np.arange(10_000, dtype=np.int32) // 128)
    assert directory._table.nbytes > 10 * empty
    assert directory.forget(directory.groups()[1:]) == 10_000 - 128
    assert (len(directory), directory._table.nbytes) == (128, empty)


def test_a_directory_of_a_hundred_thousand_keys_takes_some_twenty_bytes_each() -> None:
    directory, count = Directory(), 100_000
    names = [f"c-{number}" for number in range(count)]
    for begin in range(0, count, 10_000):
        held_in = np.arange(begin, begin + 10_000, dtype=np.int32) // 128
        directory.add(Texts.of(names[begin : begin + 10_000]), held_in)
    rows, groups = directory.find(Texts.of(names))
    right = groups == rows // 128
    assert np.array_equal(np.unique(rows[right]), np.arange(count))
    assert np.count_nonzero(~right) < 50, "candidates that are none are rare"
    assert directory._table.nbytes <= 27 * count
