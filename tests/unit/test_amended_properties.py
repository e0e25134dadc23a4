"""Late records and surges, for any records: held against plain counts that know no chunks."""

import asyncio
from dataclasses import dataclass
from itertools import pairwise

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streams.core.partition import FollowPartition
from streams.core.surges.rules import NEVER
from streams.core.surges.surge import Surge
from streams.core.time.buckets import BUCKET_MS, WINDOW_BUCKETS
from streams.edges.store import MemoryStore, Place, Write
from tests.jobs import FollowKind, contents_of, follows, stored_of, watch

HOUR_MS = 12 * BUCKET_MS
BEGIN_MS = 1_736_899_200_000
PLACE = Place("follows", 0)
THRESHOLD = 5
STEPS = [0, 0, 7, BUCKET_MS, 3 * BUCKET_MS, HOUR_MS, 6 * HOUR_MS, 13 * HOUR_MS]
LATENESS = [0, 0, 0, 10, BUCKET_MS, 7 * BUCKET_MS, 5 * HOUR_MS, 18 * HOUR_MS, 24 * HOUR_MS - 1]

bursts = st.lists(
    st.tuples(
        st.sampled_from(["ann", "bob"]),
        st.sampled_from(STEPS),
        st.sampled_from(LATENESS),
        st.integers(1, 5),
    ),
    max_size=30,
)
places = st.lists(st.integers(0, 150), max_size=6)
told_in_time = settings(suppress_health_check=[HealthCheck.too_slow], max_examples=150)


def built() -> FollowPartition:
    """Rule at 5 follows; a model so easily alarmed that short histories have surges of both."""
    return FollowPartition(watch("follows", "followers", THRESHOLD, alarms_per_day=0.9))


def in_arrival_order(drawn: list[tuple[str, int, int, int]]) -> list[FollowKind]:
    """Records of the bursts, and one that tells what is left to tell."""
    clock, made = BEGIN_MS, []
    for creator, step, late, count in drawn:
        clock += step
        made += [(creator, clock - late, False)] * count
    return [*made, ("last", clock + BUCKET_MS, False)]


@dataclass
class Arrival:
    creator: str
    at_ms: int
    bucket: int
    water: int

    @property
    def counts(self) -> bool:
        return self.bucket > self.water - WINDOW_BUCKETS

    @property
    def is_late(self) -> bool:
        return self.bucket < self.water


def arrivals_of(records: list[FollowKind]) -> list[Arrival]:
    arrivals, water = [], -1
    for creator, at_ms, _ in records:
        water = max(water, at_ms // BUCKET_MS)
        arrivals.append(Arrival(creator, at_ms, at_ms // BUCKET_MS, water))
    return arrivals


def told_one_by_one(records: list[FollowKind]) -> list[tuple[int, Surge]]:
    """Each surge record, with the place of the record that led to it."""
    partition = built()
    return [
        (place, surge)
        for place, record in enumerate(records)
        for surge in partition.take(follows([record])).surges
    ]


def recounted(arrivals: list[Arrival], creator: str, begin: int, end: int) -> int:
    """Events of a creator in buckets begin <= bucket < end."""
    mine = (one for one in arrivals if one.counts and one.creator == creator)
    return sum(begin <= one.bucket < end for one in mine)


def windows_of(surge: Surge) -> int:
    return surge.window_ms // BUCKET_MS


def observed_by_hand(arrivals: list[Arrival], place: int, surge: Surge) -> int:
    """Events of the window that a record speaks of; of a closed surge, whenever they came."""
    if surge.closed_ms is not None:
        end = surge.closed_ms // BUCKET_MS
        return recounted(arrivals, surge.creator_id, end - windows_of(surge) + 1, end)
    water = arrivals[place].water
    begin = water - windows_of(surge) + 1
    # the record that moves the watermark tells what was there before it came
    end = water if surge.state == "amended" else water + 1
    return recounted(arrivals[: place + 1], surge.creator_id, begin, end)


def late_by_hand(arrivals: list[Arrival], opened_place: int, surge: Surge) -> int:
    """Late records that came after the opening and belong to the surge's time."""
    begin = surge.opened_ms // BUCKET_MS - windows_of(surge) + 1
    end = arrivals[-1].water if surge.closed_ms is None else surge.closed_ms // BUCKET_MS
    late = [one for one in arrivals[opened_place + 1 :] if one.is_late]
    return recounted(late, surge.creator_id, begin, end)


@told_in_time
@given(bursts)
def test_the_last_record_of_each_surge_agrees_with_a_recount_of_all_records(
    drawn: list[tuple[str, int, int, int]],
) -> None:
    records = in_arrival_order(drawn)
    arrivals = arrivals_of(records)
    opened: dict[str, int] = {}
    last: dict[str, tuple[int, Surge]] = {}
    for place, surge in told_one_by_one(records):
        opened.setdefault(surge.surge_id, place)
        last[surge.surge_id] = (place, surge)
    for surge_id, (place, surge) in last.items():
        assert surge.observed == observed_by_hand(arrivals, place, surge)
        assert surge.late_records == late_by_hand(arrivals, opened[surge_id], surge)
        if surge.expected_own:
            assert surge.ratio == float(f"{surge.observed / surge.expected_own:.6g}")


@told_in_time
@given(bursts)
def test_revisions_rise_by_one_and_amended_is_told_once_a_bucket_and_only_with_more(
    drawn: list[tuple[str, int, int, int]],
) -> None:
    records = in_arrival_order(drawn)
    arrivals = arrivals_of(records)
    of: dict[str, list[tuple[int, Surge]]] = {}
    for place, surge in told_one_by_one(records):
        of.setdefault(surge.surge_id, []).append((place, surge))
    for tellings in of.values():
        assert [surge.revision for _, surge in tellings] == list(range(len(tellings)))
        assert [surge.state for _, surge in tellings].count("opened") == 1
        amended = [arrivals[place].water for place, s in tellings if s.state == "amended"]
        assert len(amended) == len(set(amended))
        for (_, before), (place, after) in pairwise(tellings):
            if after.state == "amended":
                assert after.late_records > before.late_records
                assert arrivals[place].water > arrivals[place - 1].water
                assert after.closed_ms == before.closed_ms


class PlainRule:
    """Surges by rule of one creator, from plain lists of what came: (row, state, facts)."""

    def __init__(self) -> None:
        self.water = -1
        self.buckets: list[int] = []
        self.open: dict[str, int] | None = None
        self.closed: list[dict[str, int]] = []
        self.told: list[tuple[int, str, int, int]] = []

    def window(self) -> int:
        return sum(bucket > self.water - WINDOW_BUCKETS for bucket in self.buckets)

    def enter(self, row: int, water: int) -> None:
        self.water = water
        for one in self.closed:
            if one["late"] > one["said"]:
                one["said"] = one["late"]
                self.told.append((row, "amended", one["observed"], one["late"]))
        if self.open is None:
            return
        if self.window() < 0.8 * THRESHOLD:
            one, self.open = self.open, None
            one |= {"said": one["late"], "end": water, "observed": self.window()}
            self.closed.append(one)
            self.told.append((row, "closed", one["observed"], one["late"]))
        elif self.open["late"] > self.open["said"]:
            self.open["said"] = self.open["late"]
            self.told.append((row, "amended", self.window(), self.open["late"]))

    def take(self, row: int, bucket: int) -> None:
        if bucket <= self.water - WINDOW_BUCKETS:
            return
        self.buckets.append(bucket)
        if bucket < self.water:
            for one in self.closed:
                one["late"] += bucket < one["end"]
                one["observed"] += one["end"] - WINDOW_BUCKETS < bucket < one["end"]
            if self.open is not None:
                self.open["late"] += 1
        total = self.window()
        if self.open is None and total >= THRESHOLD:
            self.open = {"late": 0, "said": 0, "mark": 2 * THRESHOLD, "times": 4}
            self.told.append((row, "opened", total, 0))
        elif self.open is not None and total >= self.open["mark"]:
            times = self.open["times"]
            self.open |= {"mark": self.open["mark"] * times, "times": NEVER if times > 4 else 8}
            self.open["said"] = self.open["late"]
            self.told.append((row, "grown", total, self.open["late"]))


@told_in_time
@given(bursts)
def test_surges_by_rule_open_grow_close_and_are_amended_as_a_plain_count_says(
    drawn: list[tuple[str, int, int, int]],
) -> None:
    records = in_arrival_order(drawn)
    arrivals = arrivals_of(records)
    for creator in ("ann", "bob"):
        plain = PlainRule()
        for row, one in enumerate(arrivals):
            if one.water > plain.water:
                plain.enter(row, one.water)
            if one.creator == creator:
                plain.take(row, one.bucket)
        told = [
            (row, surge.state, surge.observed, surge.late_records)
            for row, surge in told_one_by_one(records)
            if surge.trigger == "rule" and surge.creator_id == creator
        ]
        assert sorted(told) == sorted(plain.told)


@told_in_time
@given(bursts, places, places)
def test_chunks_and_restarts_leave_no_trace_in_what_late_records_amend(
    drawn: list[tuple[str, int, int, int]], cuts: list[int], restarts: list[int]
) -> None:
    records = in_arrival_order(drawn)
    whole = built()
    expected = whole.take(follows(records)).surges
    store, surges, partition, stored_at = MemoryStore(), list[Surge](), built(), 0
    edges = sorted({0, len(records), *(at for at in [*cuts, *restarts] if at < len(records))})
    fence = asyncio.run(store.claim(PLACE, 0))
    for begin, end in pairwise(edges):
        if begin and begin in restarts:
            write = Write(partition.drain(), stored_at or None, begin)
            asyncio.run(store.write(PLACE, fence, write))
            partition, stored_at = built(), begin
            partition.restore(asyncio.run(store.read(PLACE)).state)
        surges += partition.take(follows(records[begin:end])).surges
    write = Write(partition.drain(), stored_at or None, len(records))
    asyncio.run(store.write(PLACE, fence, write))
    assert surges == expected
    state, change = asyncio.run(store.read(PLACE)).state, whole.drain()
    assert stored_of(state) == contents_of(change)
    assert state.surges == {k: v for k, v in change.surges.items() if v is not None}
