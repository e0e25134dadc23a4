"""Cohorts: audiences packed, numbered in the order of their meeting, and voted for."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.core.detection.block_state import STATE_DTYPE
from streams.core.detection.cohorts import COHORTS_MAX, Cohorts, Votes, audience_of, names_in
from streams.core.partition import FollowPartition
from streams.core.records.chunks import FollowChunk
from streams.core.records.texts import Texts
from tests.jobs import contents_of, follow_partition

_BUCKET_MS = 300_000
_AUDIENCES = [audience_of(*name) for name in (("zh", "CN"), ("en", "US"), ("", ""), ("es", ""))]


def _words(audiences: list[int]) -> np.ndarray[tuple[int], np.dtype[np.uint64]]:
    return np.array(audiences, dtype=np.uint64)


def test_an_audience_is_named_without_subtags_and_whatever_its_case() -> None:
    assert names_in(audience_of("ZH-hant", "tw")) == ("zh", "TW")
    assert names_in(audience_of("", "")) == ("und", "und")
    assert names_in(audience_of("und", "GB")) == ("und", "GB")
    assert audience_of("", "") == 0


def test_cohorts_are_numbered_in_the_order_of_their_meeting_and_unknown_is_0() -> None:
    cohorts = Cohorts()
    asked = [0, *(audience_of(*name) for name in (("zh", "CN"), ("en", "US"), ("zh-Hans", "cn")))]
    assert cohorts.numbers_of(_words(asked)).tolist() == [0, 1, 2, 1]
    assert cohorts.numbers_of(_words(asked[::-1])).tolist() == [1, 2, 1, 0]
    assert cohorts.names == [("und", "und"), ("zh", "CN"), ("en", "US")]


def test_cohorts_beyond_the_limit_are_unknown() -> None:
    cohorts = Cohorts()
    asked = [audience_of("en", f"{n}") for n in range(1, COHORTS_MAX + 10)]
    numbers = cohorts.numbers_of(_words(asked)).tolist()
    assert numbers[:COHORTS_MAX] == list(range(1, COHORTS_MAX + 1))
    assert set(numbers[COHORTS_MAX:]) == {0}


def test_what_was_drained_is_restored_and_drained_once() -> None:
    cohorts, other = Cohorts(), Cohorts()
    assert cohorts.drain() == {}
    cohorts.numbers_of(_words(_AUDIENCES))
    (stored,) = cohorts.drain().values()
    assert cohorts.drain() == {}
    other.restore(stored)
    assert other.names == cohorts.names
    assert other.drain() == {}


@given(st.lists(st.sampled_from([1, 1, 1, 2, 3, 0]), min_size=1, max_size=200))
def test_a_majority_of_the_votes_is_the_cohort(drawn: list[int]) -> None:
    votes = Votes()
    votes.grow(3)
    for number in drawn:
        votes.take(np.array([1]), np.array([number], dtype=np.uint8))
    known = [number for number in drawn if number]
    for number in set(known):
        if known.count(number) * 2 > len(known) and len(known) <= 60:
            assert votes.cohorts.tolist() == [0, number, 0]


@given(st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=90), min_size=1, max_size=4))
def test_votes_counted_together_are_those_counted_in_turn(drawn: list[list[int]]) -> None:
    together, in_turn = Votes(), Votes()
    together.grow(4)
    in_turn.grow(4)
    slots = np.arange(len(drawn))
    for _ in range(2):  # on top of others too
        sizes = np.array([len(one) for one in drawn])
        flat = np.array([number for one in drawn for number in one], dtype=np.uint8)
        together.take_in_turn(slots, sizes, flat)
        for slot, numbers in enumerate(drawn):
            for number in numbers:
                in_turn.take(np.array([slot]), np.array([number], dtype=np.uint8))
    every = np.arange(4)
    assert together.packed(every).tolist() == in_turn.packed(every).tolist()


def test_an_audience_that_changes_is_noticed() -> None:
    votes = Votes()
    votes.grow(1)
    slot = np.array([0])
    for number in [1] * 1000 + [2] * 61:
        votes.take(slot, np.array([number], dtype=np.uint8))
    assert votes.cohorts[0] == 2


_Row = tuple[int, int, int]


def _taken(rows: list[_Row], cuts: list[int]) -> FollowPartition:
    partition = follow_partition(1000)
    for begin, end in zip([0, *cuts], [*cuts, len(rows)], strict=True):
        some = rows[begin:end]
        partition.take(
            FollowChunk(
                Texts.of([f"c-{creator}" for creator, _, _ in some]),
                np.array([at for _, at, _ in some], dtype=np.int64),
                np.zeros(len(some), dtype=np.bool_),
                audiences=_words([_AUDIENCES[audience] for _, _, audience in some]),
            )
        )
    return partition


@pytest.mark.parametrize("late", [0, 3])
def test_chunks_leave_no_trace_in_cohorts(late: int) -> None:
    rng = np.random.default_rng([1, late])
    at_ms = np.sort(rng.integers(0, 80 * _BUCKET_MS, 4000)) + 10**12
    at_ms -= rng.integers(0, late + 1, 4000) * _BUCKET_MS
    creators = rng.integers(0, 60, 4000)
    audiences = np.where(rng.random(4000) < 0.6, creators % 4, rng.integers(0, 4, 4000))
    rows = list(zip(creators.tolist(), at_ms.tolist(), audiences.tolist(), strict=True))
    whole = contents_of(_taken(rows, []).drain())
    assert {value[5 + STATE_DTYPE.itemsize] for value in whole["follows"].values()} == {1, 2, 3}
    assert contents_of(_taken(rows, list(range(1, 4000, 7))).drain()) == whole
    assert contents_of(_taken(rows, [1300, 1301, 2222]).drain()) == whole
