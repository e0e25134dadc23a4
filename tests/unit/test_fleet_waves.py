"""Waves of the fleet: told once, whatever the order of the reports, their repeats and restarts."""

from collections.abc import Sequence
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.core.partition_state import StateChange, StoredState
from streams.core.surges.surge import Surge, WaveReceiver
from streams.core.waves.fleet import BEHIND_MAX, FleetWaves
from streams.core.waves.incident import LIFTED_MAX
from streams.core.waves.report import (
    BucketReport,
    ClosedBucket,
    ReportChunk,
    WaveReport,
    bucket_reports_of,
    reports_of,
)
from streams.core.waves.sums import FIRST, RAW, USUAL, nothing
from streams.edges.codec.out import encode_surge
from streams.edges.metrics.catalogue_surges import COHORTS_MAX

PARTITIONS = 4
BEGIN = 5_000_000
BUCKETS = 72
WAVE = 50
NAMES = [("en", "US"), ("zh", "CN"), ("zh", "TW"), ("ko", "KR")]
MET = WAVE + 2
"""Bucket from which on the last of them has events."""
EMPTY = BEGIN + 20
"""A bucket in which one partition had no events."""
LATER = 5
"""Buckets before the first record of another one."""


@cache
def buckets_of(partition: int) -> list[BucketReport]:
    """What a partition has to report: those with an English audience get five times as much."""
    draw = np.random.default_rng([7, partition])
    found = []
    for at in range(BUCKETS):
        lift = 5.0 if WAVE <= at < WAVE + 12 else 1.0
        events = draw.poisson((40 * lift, 25, 15, 12 if at >= MET else 0))
        sums = nothing(len(NAMES))
        sums[:RAW], sums[RAW], sums[FIRST] = 16 * events, events, events
        sums[USUAL : USUAL + 2] = 1024 * events
        order = draw.permutation(len(NAMES))  # each numbers its cohorts as it met them
        names = [NAMES[place] for place in order]
        receivers = [WaveReceiver(f"c-{partition}-{at}", 10 + partition, 2.0)] if at > WAVE else []
        if (partition, BEGIN + at) != (2, EMPTY) and (partition < 3 or at >= LATER):
            closed = ClosedBucket(BEGIN + at, sums[:, order], receivers)
            found += bucket_reports_of([closed], names)
    return found


def reports_cut(partition: int, cuts: Sequence[int]) -> list[WaveReport]:
    """A partition's reports, one for each stretch of its buckets."""
    every = buckets_of(partition)
    ends = sorted({BEGIN + cut for cut in cuts} | {BEGIN + BUCKETS - 1})
    reports, begin = list[WaveReport](), 0
    for end in ends:
        some = [one for one in every if begin < one.bucket <= end]
        reports += [one.of_partition(partition) for one in reports_of("follows", end, some)]
        begin = end
    return reports


def told_by(fleet: FleetWaves, reports: Sequence[WaveReport]) -> list[Surge]:
    return fleet.take(ReportChunk([*reports])).surges


class Stored:
    """What a store holds of the fleet's state."""

    def __init__(self) -> None:
        self.surges: dict[str, bytes] = {}

    def put(self, change: StateChange) -> None:
        for name, content in change.surges.items():
            if content is None:
                del self.surges[name]  # only what is there is forgotten
            else:
                self.surges[name] = content

    def restored(self) -> FleetWaves:
        fleet = FleetWaves(PARTITIONS)
        fleet.restore(StoredState(surges=dict(self.surges)))
        return fleet


@cache
def in_turn() -> tuple[list[bytes], dict[str, bytes]]:
    """What is told, and stored, where every bucket is reported by one after the other."""
    fleet, stored, told = FleetWaves(PARTITIONS), Stored(), list[Surge]()
    cut = [reports_cut(partition, range(BUCKETS)) for partition in range(PARTITIONS)]
    for reports in zip(*cut, strict=True):
        told += told_by(fleet, reports)
    stored.put(fleet.drain())
    return [*map(encode_surge, told)], stored.surges


def test_a_wave_of_all_partitions_is_told_once_and_ends() -> None:
    fleet, told = FleetWaves(PARTITIONS), list[Surge]()
    cut = [reports_cut(partition, range(BUCKETS)) for partition in range(PARTITIONS)]
    for reports in zip(*cut, strict=True):
        told += told_by(fleet, reports)
    assert {surge.surge_id for surge in told} == {told[0].surge_id}
    assert [told[0].state, told[-1].state] == ["opened", "closed"]
    assert [surge.revision for surge in told] == [*range(len(told))]
    opened = told[0].wave
    assert opened is not None
    assert (opened.lang, opened.partitions) in {("en", PARTITIONS), (None, PARTITIONS)}
    assert told[0].seen_ms <= (BEGIN + WAVE + 3) * 300_000, "within 15 minutes"
    usual = 4 * 40
    assert opened.languages[0].lang == "en"
    assert 4 * usual < opened.languages[0].observed < 6 * usual, "all partitions are added up"


def test_receivers_are_those_of_all_partitions_with_most_above_their_usual() -> None:
    told = [
        surge
        for report in reports_cut(0, range(BUCKETS))[: WAVE + 1]
        for surge in told_by(FleetWaves(1), [report])
    ]
    assert told == []
    fleet = FleetWaves(PARTITIONS)
    cut = [reports_cut(partition, range(BUCKETS)) for partition in range(PARTITIONS)]
    every = [one for reports in zip(*cut, strict=True) for one in told_by(fleet, reports)]
    closed = every[-1].wave
    assert closed is not None
    keys = [one.key for one in closed.receivers]
    at = every[-1].seen_ms // 300_000 - 1 - BEGIN
    assert keys == [f"c-{partition}-{at}" for partition in (3, 2, 1, 0)]


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_order_repeats_cuts_and_restarts_leave_no_trace(data: st.DataObject) -> None:
    cuts = st.lists(st.integers(0, BUCKETS - 1), max_size=20)
    waiting = [reports_cut(partition, data.draw(cuts)) for partition in range(PARTITIONS)]
    sent: list[WaveReport] = []
    fleet, stored, told = FleetWaves(PARTITIONS), Stored(), list[Surge]()
    chance = data.draw(st.randoms(use_true_random=False))
    while any(waiting):
        partition = chance.choice([at for at, left in enumerate(waiting) if left])
        sent.append(waiting[partition].pop(0))
        told += told_by(fleet, [sent[-1]])
        what = chance.random()
        if what < 0.2:  # the next owner of a partition sends again what may not have been sent
            told += told_by(fleet, [chance.choice(sent)])
        if what < 0.3:
            stored.put(fleet.drain())
        if what < 0.15:
            fleet = stored.restored()
    stored.put(fleet.drain())
    expected, state = in_turn()
    assert [*map(encode_surge, told)] == expected
    assert stored.surges == state
    assert expected


@pytest.mark.parametrize("silent_from", [0, 30])
def test_nobody_waits_for_an_idle_partition(silent_from: int) -> None:
    fleet, told = FleetWaves(PARTITIONS), list[Surge]()
    silent = reports_cut(3, range(BUCKETS))[:silent_from]
    told += told_by(fleet, silent)
    for partition in range(3):
        told += told_by(fleet, reports_cut(partition, range(BUCKETS)))
    assert told == [], "it may still report"
    through = silent[-1].through if silent else -1
    told += told_by(fleet, [WaveReport("follows", 3, through, idle=True)])
    assert [told[0].state, told[-1].state] == ["opened", "closed"]
    assert told[0].wave is not None
    assert told[0].wave.partitions == 3


def test_an_idle_partition_that_has_records_again_is_waited_for() -> None:
    fleet = FleetWaves(PARTITIONS)
    cut = [reports_cut(partition, range(BUCKETS)) for partition in range(PARTITIONS)]
    for reports in zip(*cut, strict=True):
        if reports[0].through < BEGIN + 10:
            told_by(fleet, reports)
    old = WaveReport("follows", 3, BEGIN + 8, idle=True)
    told_by(fleet, [WaveReport("follows", 3, BEGIN + 9, idle=True), old, cut[3][10]])
    told = [one for cut_of in cut[:3] for one in told_by(fleet, cut_of[10:])]
    assert told == []
    told_by(fleet, [old])
    told = told_by(fleet, cut[3][11:])
    assert told[0].state == "opened"
    assert told[0].wave is not None
    assert told[0].wave.partitions == PARTITIONS


def test_what_is_a_week_behind_is_not_waited_for() -> None:
    fleet, told = FleetWaves(2), list[Surge]()
    told += told_by(fleet, reports_cut(0, range(BUCKETS)))
    told += told_by(fleet, [WaveReport("follows", 0, BEGIN + BEHIND_MAX)])
    assert told == []
    told += told_by(fleet, [WaveReport("follows", 0, BEGIN + 2 * BEHIND_MAX)])
    assert told[0].state == "opened"


def test_a_bucket_that_has_closed_without_a_partition_stays_as_it_is() -> None:
    fleet = FleetWaves(2)
    told = told_by(fleet, [WaveReport("follows", 1, -1, idle=True)])
    told += told_by(fleet, reports_cut(0, range(BUCKETS)))
    assert told[0].state == "opened"
    outcome = fleet.take(ReportChunk(reports_cut(1, [])))
    assert (outcome.counted, outcome.late, outcome.surges) == (0, 1, [])


def test_series_have_waves_of_their_own() -> None:
    fleet, told = FleetWaves(1), list[Surge]()
    (report,) = reports_cut(0, [])
    told += told_by(fleet, [report])
    both = told_by(fleet, [WaveReport("comments", 0, report.through, buckets=report.buckets)])
    assert [one.wave.series for one in told if one.wave] == ["follows"] * len(told)
    assert [one.wave.series for one in both if one.wave] == ["comments"] * len(told)
    assert {one.surge_id for one in told}.isdisjoint(one.surge_id for one in both)


@pytest.mark.parametrize("gap", [1, 288, 575, 576, 577, 1500, 2_000_000])
def test_a_gap_is_closed_the_same_in_one_step_and_in_many(gap: int) -> None:
    (report,) = reports_cut(0, [])
    end = report.through + gap
    last = [BucketReport(end + 1, one.cohorts, one.sums) for one in report.buckets[-1:]]
    after = WaveReport("follows", 0, end + 1, buckets=last)
    once, often = FleetWaves(1), FleetWaves(1)
    told_by(once, [report, after])
    told_by(often, [report])
    for through in sorted(np.random.default_rng(gap).integers(report.through, end + 1, 9).tolist()):
        told_by(often, [WaveReport("follows", 0, through)])
    told_by(often, [after])
    assert once.drain() == often.drain()


def test_metrics_know_every_cohort_of_a_wave_and_its_record_ten() -> None:
    draw, names = np.random.default_rng(3), [(f"l{n}", "US") for n in range(14)]
    fleet, told = FleetWaves(1), list[Surge]()
    for at in range(WAVE + 3):
        events = draw.poisson(np.full(14, 160.0 if at >= WAVE else 40.0))
        sums = nothing(14)
        sums[:RAW], sums[RAW], sums[FIRST] = 16 * events, events, events
        sums[USUAL : USUAL + 2] = 1024 * events
        closed = bucket_reports_of([ClosedBucket(BEGIN + at, sums, [])], names)
        told += told_by(fleet, [*reports_of("follows", BEGIN + at, closed)])
    (opened,) = (one.wave for one in told if one.state == "opened")
    assert opened is not None
    assert len(opened.cohorts) == 10
    assert len(fleet.lifted["follows"]) == 14
    assert LIFTED_MAX == COHORTS_MAX, "as many as notices are told of"
