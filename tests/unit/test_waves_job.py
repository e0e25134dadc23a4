"""The job of a partition in a wave: who is told, and that chunks and restarts leave no trace."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from streams.core.detection.block import DetectorBlock
from streams.core.detection.policy import DetectorPolicy
from streams.core.detection.pool import Pool
from streams.core.partition import FollowPartition
from streams.core.records.chunks import FollowChunk
from streams.core.reports.surging import take_paged
from streams.core.surges.paging import PagePolicy
from streams.core.surges.rules import Rule
from streams.core.surges.surge import Surge
from streams.core.surges.watch import Watch
from streams.core.surges.watch_policy import WatchPolicy
from streams.core.time.buckets import BUCKET_MS
from streams.core.waves.fleet import FleetWaves
from streams.core.waves.report import ReportChunk
from streams.edges.store import MemoryStore, Place, Write
from tests.jobs import contents_of, follow_partition
from tests.wave_rows import AUDIENCES, BEGIN, OWN, SURGE, WAVE, Rows, rows


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
    assert SURGE <= begun <= SURGE + 3, "on the first day of a partition the bar is high"
    assert len([surge for surge in opened if surge.opened_ms >= wave.opened_ms]) <= 3


@pytest.mark.parametrize(
    ("budget", "bar", "state"), [(0.01, 1.1, "opened"), (0.001, 1.01, "grown")]
)
def test_a_page_that_waited_for_the_end_of_its_bucket_is_counted_too(
    budget: float, bar: float, state: str
) -> None:
    every, page = rows(), PagePolicy(bar=bar, excess_min=1, ratio_min=1.0)
    policy = WatchPolicy("follows", "followers", Rule(10**9), "surgewatch", budget, page)
    detector = DetectorPolicy(alarms_per_day=budget)
    partition = FollowPartition(Watch(policy, DetectorBlock(detector, Pool(detector))))
    told = told_by(partition, FleetWaves(1), every.chunk(0, len(every.at_ms)))
    pages = [one for one in told if one.kind == "followers" and one.severity == "page"]
    assert (pages[0].state, pages[0].at_ms % BUCKET_MS) == (state, 0)
    assert len({one.surge_id for one in pages}) == 1
    assert take_paged(partition) == {("followers", "model"): [pages[0].surge_id]}
    assert take_paged(partition) == {}


def test_who_comes_with_a_wave_is_nobodys_audience() -> None:
    every = rows()
    partition, votes = follow_partition(10**9), list[list[int]]()
    begin = 0
    for bucket in (WAVE + 6, 84):
        end = int(np.searchsorted(every.at_ms, (BEGIN + bucket) * BUCKET_MS))
        chunk = every.chunk(begin, end)
        if begin:  # all of them come from one country now
            chunk = replace(chunk, audiences=np.full(len(chunk), AUDIENCES[1]))
        partition.take(chunk)
        votes.append(partition.watches["follows"]._votes.cohorts.tolist())
        begin = end
    known = [place for place, cohort in enumerate(votes[0]) if cohort]
    assert len(known) > 450
    assert [votes[1][place] for place in known] == [votes[0][place] for place in known]
    assert partition.waves[0].lasts


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


@pytest.mark.parametrize("step", [10**9, 700])
def test_receivers_are_those_that_the_wave_lifts_from_its_opening_on(step: int) -> None:
    every = rows()
    _, told = taken(every, list(range(step, len(every.at_ms), step)))
    (opened,) = of_kind(told, "wave", "opened")
    for surge in (opened, *of_kind(told, "wave", "grown")):
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


def test_a_wave_over_four_partitions_is_told_as_one() -> None:
    every = rows()
    partitions = [follow_partition(10**9) for _ in range(4)]
    fleet, told = FleetWaves(4), list[Surge]()
    for begin in range(0, len(every.at_ms), 9000):
        for number, partition in enumerate(partitions):
            mine = every.of_part(number, len(partitions))
            outcome = partition.take(mine.chunk(begin, begin + 9000))
            assert not [surge for surge in outcome.surges if surge.kind == "wave"]
            reports = [report.of_partition(number) for report in outcome.reports]
            told += fleet.take(ReportChunk(reports)).surges
    (wave,) = of_kind(told, "wave", "opened")
    assert {surge.surge_id for surge in told} == {wave.surge_id}
    assert wave.wave is not None
    assert wave.wave.partitions == 4
    (alone,) = of_kind(taken(every, [])[1], "wave", "opened")
    assert (wave.seen_ms, wave.wave.lang, wave.wave.region) == (
        alone.seen_ms,
        alone.wave and alone.wave.lang,
        alone.wave and alone.wave.region,
    )
