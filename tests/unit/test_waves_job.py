"""The job of a partition in a wave: who is told, and that chunks and restarts leave no trace."""

import asyncio
from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import numpy as np
import pytest

from streams.core.buckets import BUCKET_MS
from streams.core.cohorts import audience_of
from streams.core.events import FollowChunk
from streams.core.fleet_waves import FleetWaves
from streams.core.partition import FollowPartition
from streams.core.surges import Surge
from streams.core.texts import Texts
from streams.core.wave_report import ReportChunk
from streams.edges.store import MemoryStore, Place, Write
from tests.jobs import contents_of, follow_partition

BEGIN = 5_000_000
WAVE = 60
SURGE = 64
CREATORS = 500
OWN = 7
"""A creator with a surge of her own inside the wave."""
AUDIENCES = np.array(
    [audience_of(*name) for name in (("en", "US"), ("zh", "CN"), ("zh", "TW"))], dtype=np.uint64
)


class Rows(NamedTuple):
    """Records by time: creators, times, and the audience of each."""

    creators: np.ndarray[tuple[int], np.dtype[np.int64]]
    at_ms: np.ndarray[tuple[int], np.dtype[np.int64]]
    audiences: np.ndarray[tuple[int], np.dtype[np.uint64]]

    def chunk(self, begin: int, end: int) -> FollowChunk:
        """These of them."""
        names = [f"c-{creator}" for creator in self.creators[begin:end].tolist()]
        return FollowChunk(
            Texts.of(names),
            self.at_ms[begin:end],
            np.zeros(len(names), dtype=np.bool_),
            audiences=self.audiences[begin:end],
        )


@cache
def rows(late: bool = False) -> Rows:
    """Creators of a wave: those with an English audience get twelve times as much as usual."""
    draw = np.random.default_rng(11)
    rate = draw.lognormal(-0.5, 0.8, CREATORS)
    english = np.arange(CREATORS) % 3 == 0
    creators, buckets = [], []
    for bucket in range(84):
        in_wave = 12 * min((bucket - WAVE + 1) / 3, 1) if bucket >= WAVE else 1
        lift = np.where(english, in_wave, 1.0)
        lift[OWN] *= 150 if bucket >= SURGE else 1
        who = draw.permutation(np.repeat(np.arange(CREATORS), draw.poisson(rate * lift)))
        creators.append(who)
        buckets.append(np.full(len(who), bucket))
    who, bucket_of = np.concatenate(creators), np.concatenate(buckets)
    at_ms = (BEGIN + bucket_of) * BUCKET_MS + draw.integers(0, BUCKET_MS, len(who))
    order = np.argsort(at_ms, kind="stable")
    who, at_ms = who[order], at_ms[order]
    if late:
        at_ms = at_ms - np.where(draw.random(len(who)) < 0.02, 2 * BUCKET_MS, 0)
    strange = draw.random(len(who)) < 0.1
    audience = np.where(strange, draw.integers(0, 3, len(who)), who % 3)
    return Rows(who, at_ms, AUDIENCES[audience])


def taken(some: Rows, cuts: Sequence[int]) -> tuple[FollowPartition, list[Surge]]:
    partition, fleet, told = follow_partition(10**9), FleetWaves(1), list[Surge]()
    for begin, end in zip([0, *cuts], [*cuts, len(some.at_ms)], strict=True):
        told += told_by(partition, fleet, some.chunk(begin, end))
    return partition, in_time(told)


def in_time(told: list[Surge]) -> list[Surge]:
    """Waves are told on their own; of each kind the order stays."""
    return sorted(told, key=lambda surge: surge.kind == "wave")


def told_by(partition: FollowPartition, fleet: FleetWaves, chunk: FollowChunk) -> list[Surge]:
    """What comes of a chunk, waves of this one partition included."""
    outcome = partition.take(chunk)
    return [*outcome.surges, *fleet.take(ReportChunk([*outcome.reports])).surges]


def of_kind(told: list[Surge], kind: str, state: str) -> list[Surge]:
    return [surge for surge in told if surge.kind == kind and surge.state == state]


def test_a_wave_is_told_once_and_those_that_it_lifts_are_not() -> None:
    _, told = taken(rows(), [])
    (wave,) = of_kind(told, "wave", "opened")
    assert (wave.seen_ms // BUCKET_MS - BEGIN) - WAVE <= 2
    assert wave.wave is not None
    assert (wave.wave.lang, wave.wave.region) in {("en", "US"), ("en", None), (None, "US")}
    assert wave.ratio is not None
    assert 3 < wave.ratio < 13
    opened = of_kind(told, "followers", "opened")
    own = [surge for surge in opened if surge.creator_id == f"c-{OWN}"]
    (begun,) = [surge.opened_ms // BUCKET_MS - BEGIN for surge in own]
    assert SURGE <= begun <= SURGE + 2
    assert len([surge for surge in opened if surge.opened_ms >= wave.opened_ms]) <= 3


def test_without_audiences_a_wave_of_everybody_is_still_told() -> None:
    every = rows()
    partition, told = follow_partition(10**9), list[Surge]()
    chunk = every.chunk(0, len(every.at_ms))
    chunk = FollowChunk(chunk.creator_ids, chunk.at_ms, chunk.unfollows)
    told += told_by(partition, FleetWaves(1), chunk)
    (wave,) = of_kind(told, "wave", "opened")
    assert wave.wave is not None
    assert wave.wave.lang in {None, "und"}


def test_a_surge_in_a_wave_says_what_was_expected_in_it() -> None:
    _, told = taken(rows(), [])
    surge = next(
        one for one in of_kind(told, "followers", "opened") if one.creator_id == f"c-{OWN}"
    )
    lifted = [
        one for one in told if one.kind == "followers" and one.expected_in_wave and one.expected_own
    ]
    assert surge.expected_in_wave is not None
    assert lifted


def test_receivers_are_those_that_the_wave_lifts() -> None:
    _, told = taken(rows(), [])
    grown = [
        surge for surge in told if surge.kind == "wave" and surge.wave and surge.wave.receivers
    ]
    for surge in grown:
        assert surge.wave is not None
        receivers = [int(one.key.removeprefix("c-")) for one in surge.wave.receivers]
        assert len(receivers) == 10
        assert len([one for one in receivers if one % 3 == 0 or one == OWN]) >= 8


@pytest.mark.parametrize("late", [False, True])
def test_chunks_leave_no_trace_in_a_wave(late: bool) -> None:
    every = rows(late)
    size = len(every.at_ms)
    whole, told = taken(every, [])
    state = whole.drain()
    for step in (700, 5000, size // 2 + 1):
        partition, again = taken(every, list(range(step, size, step)))
        assert again == told
        change = partition.drain()
        assert contents_of(change) == contents_of(state)
        assert change.surges == state.surges
    assert of_kind(told, "wave", "opened")


def test_restarts_leave_no_trace_in_a_wave() -> None:
    every = rows()
    size = len(every.at_ms)
    _, told = taken(every, [])
    store, place, again = MemoryStore(), Place("follows", 0), list[Surge]()
    partition, fleet, stored_at = follow_partition(10**9), FleetWaves(1), None
    fence = asyncio.run(store.claim(place, 1))
    ends = [*range(2999, size, 3001), size]
    for begin, end in zip([0, *ends[:-1]], ends, strict=True):
        again += told_by(partition, fleet, every.chunk(begin, end))
        write = Write(partition.drain(), stored_at, end)
        asyncio.run(store.write(place, fence, write))
        partition, stored_at = follow_partition(10**9), end
        partition.restore(asyncio.run(store.read(place)).state)
    assert in_time(again) == told
