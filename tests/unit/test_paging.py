"""Pages: told at the very record, whatever the chunks and restarts, and not twice for one surge."""

import asyncio
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from streams.app.jobs import follow_partition_of
from streams.core.detection.block import DetectorBlock
from streams.core.detection.policy import DetectorPolicy
from streams.core.detection.pool import Pool
from streams.core.partition import FollowPartition
from streams.core.reports.surging import open_pages_of, take_paged
from streams.core.surges.paging import PagePolicy
from streams.core.surges.rules import Rule
from streams.core.surges.surge import Surge
from streams.core.surges.watch import Watch
from streams.core.surges.watch_policy import WatchPolicy
from streams.core.time.buckets import BUCKET_MS
from streams.edges.settings.reading import Settings, SettingsError, read_settings
from streams.edges.store import MemoryStore, Place, Write
from tests.jobs import FollowKind, follow_partition, follows

BEGIN_MS = 1_736_899_200_000
PLACE = Place("follows", 0)
DAY_MS = 288 * BUCKET_MS


def partition_of(page: PagePolicy, alarms_per_day: float = 0.001) -> FollowPartition:
    policy = WatchPolicy("follows", "followers", Rule(10**9), "surgewatch", alarms_per_day, page)
    detector = DetectorPolicy(alarms_per_day=alarms_per_day)
    return FollowPartition(Watch(policy, DetectorBlock(detector, Pool(detector))))


def usual(days: int = 12, creator: str = "ann") -> list[FollowKind]:
    """One follow in ten minutes."""
    steps = range(days * 144)
    return [(creator, BEGIN_MS + step * 2 * BUCKET_MS + step % 7, False) for step in steps]


def rush(after_ms: int, count: int, gap_ms: int, creator: str = "ann") -> list[FollowKind]:
    return [(creator, BEGIN_MS + after_ms + n * gap_ms, False) for n in range(count)]


def told(partition: FollowPartition, records: list[FollowKind]) -> list[Surge]:
    return partition.take(follows(records)).surges


def pages_among(surges: list[Surge]) -> list[Surge]:
    """Records that say first that a surge is a page."""
    found: dict[str, Surge] = {}
    for surge in surges:
        if surge.severity == "page" and surge.trigger == "model":
            found.setdefault(surge.surge_id, surge)
    return [*found.values()]


def test_a_notice_grows_into_a_page_at_the_record_that_has_the_least_excess() -> None:
    partition = partition_of(PagePolicy(bar=1000.0, excess_min=200, ratio_min=3.0))
    surges = told(partition, usual() + rush(12 * DAY_MS, 1_000, 1_000))
    opened, *_ = surges
    (page,) = pages_among(surges)
    assert (opened.state, opened.severity) == ("opened", "notice")
    assert (page.state, page.surge_id, page.revision > 0) == ("grown", opened.surge_id, True)
    assert [*open_pages_of(partition)] == [("followers", page.surge_id, page.at_ms)]
    assert page.expected_own is not None
    assert page.observed == int(np.ceil(page.expected_own + 200))
    assert page.score is not None
    assert page.score >= 1000
    assert page.at_ms == page.seen_ms > opened.at_ms
    later = [one for one in surges if one.seen_ms > page.seen_ms]
    assert {one.severity for one in later} == {"page"}


def test_the_least_ratio_and_the_bar_are_reached_at_their_very_record_too() -> None:
    rushed = usual() + rush(12 * DAY_MS, 1_000, 1_000)
    by_ratio = told(partition_of(PagePolicy(1.0, 0, 40.0)), rushed)
    (page,) = pages_among(by_ratio)
    assert page.ratio is not None
    assert page.ratio >= 40 > page.ratio - 1 / 6
    by_bar = told(partition_of(PagePolicy(1e9, 0, 1.0)), rushed)
    (page,) = pages_among(by_bar)
    before = told(
        partition_of(PagePolicy(1e9, 0, 1.0)), [one for one in rushed if one[1] < page.at_ms]
    )
    assert page.score is not None
    assert page.score >= 1e9
    assert pages_among(before) == []


def test_a_surge_that_opens_as_rare_and_large_as_a_page_is_one_at_once() -> None:
    slow = usual() + rush(12 * DAY_MS, 300, 60_000)
    surges = told(partition_of(PagePolicy(1.0, 0, 1.0)), slow)
    assert (surges[0].state, surges[0].severity) == ("opened", "page")


def test_a_burst_is_a_page_at_the_record_at_which_it_is_ten_times_rarer() -> None:
    records = usual() + rush(12 * DAY_MS, 150, 4_000)
    opened, page = told(partition_of(PagePolicy(1.0, 0, 1.0)), records)
    assert (opened.severity, page.severity, page.state) == ("notice", "page", "grown")
    assert page.score is not None
    assert page.score >= 10.0
    before = [one for one in records if one[1] < page.at_ms]
    (opened,) = told(partition_of(PagePolicy(1.0, 0, 1.0)), before)
    assert opened.severity == "notice"


def test_small_surges_stay_notices() -> None:
    surges = told(
        partition_of(PagePolicy(1000.0, 500, 3.0)), usual() + rush(12 * DAY_MS, 300, 1_000)
    )
    assert surges
    assert {one.severity for one in surges} == {"notice"}


def test_what_becomes_a_page_while_the_model_is_quiet_opens_a_surge() -> None:
    partition = partition_of(PagePolicy(1000.0, 200, 3.0))
    small = usual() + rush(12 * DAY_MS, 80, 1_000)
    later = usual(1, "else") + rush(12 * DAY_MS + DAY_MS // 2, 600, 1_000)
    calm = [("bob", BEGIN_MS + 12 * DAY_MS + n * BUCKET_MS, False) for n in range(144)]
    surges = [*told(partition, small), *told(partition, calm), *told(partition, later[-600:])]
    mine = [one for one in surges if one.creator_id == "ann"]
    assert [(one.state, one.severity) for one in mine[:3]] == [
        ("opened", "notice"), ("closed", "notice"), ("opened", "page"),
    ]  # fmt: skip
    assert mine[2].surge_id != mine[0].surge_id


def test_no_second_page_before_the_first_is_over_for_a_day() -> None:
    partition = partition_of(PagePolicy(1000.0, 200, 3.0))
    surges = told(partition, usual() + rush(12 * DAY_MS, 600, 1_000))
    calm = [("bob", BEGIN_MS + 12 * DAY_MS + n * BUCKET_MS, False) for n in range(144)]
    surges += told(partition, calm)
    surges += told(partition, rush(12 * DAY_MS + DAY_MS // 2, 3_000, 100))
    assert len(pages_among(surges)) == 1
    again = told(partition, rush(15 * DAY_MS, 20_000, 50))
    assert len(pages_among(again)) == 1


histories = st.lists(
    st.tuples(
        st.sampled_from([0, 1_000, BUCKET_MS, 12 * BUCKET_MS, 100 * BUCKET_MS, 2 * DAY_MS]),
        st.sampled_from(["ann", "bob", "cat"]),
        st.integers(1, 60),
        st.sampled_from([0, 0, 0, BUCKET_MS, 13 * BUCKET_MS]),
    ),
    min_size=1,
    max_size=14,
)
cuts = st.lists(st.integers(0, 700), max_size=6)


def records_of(drawn: list[tuple[int, str, int, int]]) -> list[FollowKind]:
    clock, made = BEGIN_MS, list[FollowKind]()
    for step, creator, count, late_ms in drawn:
        clock += step
        made += [(creator, clock + n * 10 - late_ms, False) for n in range(count)]
    return [*made, ("last", clock + 3 * DAY_MS, False)]


def easily_paged() -> FollowPartition:
    return partition_of(PagePolicy(1.5, 2, 1.2), 0.5)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=60)
@given(histories, cuts)
def test_chunks_and_restarts_leave_no_trace_in_pages(
    drawn: list[tuple[int, str, int, int]], bounds: list[int]
) -> None:
    records = records_of(drawn)
    alone = easily_paged()
    one_by_one = [surge for record in records for surge in told(alone, [record])]
    assert told(easily_paged(), records) == one_by_one
    edges = sorted({0, len(records), *(bound for bound in bounds if bound < len(records))})
    partition, store, found, paged = easily_paged(), MemoryStore(), list[Surge](), list[str]()
    fence = asyncio.run(store.claim(PLACE, 0))
    for begin, end in pairwise(edges):
        found += told(partition, records[begin:end])
        paged += [one for some in take_paged(partition).values() for one in some]
        asyncio.run(store.write(PLACE, fence, Write(partition.drain(), begin or None, end)))
        partition = easily_paged()
        partition.restore(asyncio.run(store.read(PLACE)).state)
    assert found == one_by_one
    once = sorted(page.surge_id for page in pages_among(found))
    assert sorted(paged) == once, "each once, however it is told of afterwards"


def test_months_of_history_at_once_have_the_pages_of_records_that_come_alone() -> None:
    draw = np.random.default_rng(5)
    at_ms = BEGIN_MS + np.sort(draw.integers(0, 40 * DAY_MS, 6_000))
    names = [f"c-{int(rank)}" for rank in draw.zipf(1.3, 6_000) % 60]
    records: list[FollowKind] = list(zip(names, at_ms.tolist(), [False] * 6_000, strict=True))
    for day in (9, 20, 33):
        records += rush(day * DAY_MS, 300, 60_000, f"c-{day}")
    records.sort(key=lambda record: record[1])
    together, alone = easily_paged(), easily_paged()
    one_by_one = [surge for record in records for surge in told(alone, [record])]
    assert told(together, records) == one_by_one
    assert len(pages_among(one_by_one)) > 3


def test_the_settings_reach_the_job_and_another_detector_pages_nobody() -> None:
    rushed = usual() + rush(12 * DAY_MS, 1_000, 1_000)
    assert len(pages_among(told(follow_partition_of(Settings()), rushed))) == 1
    assert len(pages_among(told(follow_partition(10**9), rushed))) == 1
    for name, value in (("page_excess_min", 5_000), ("page_ratio_min", 1e6)):
        strict: Any = replace(Settings(), **{name: value})
        assert pages_among(told(follow_partition_of(strict), rushed)) == []
    river = Settings(detector="river.anomaly.StandardAbsoluteDeviation", detector_threshold=0.01)
    surges = told(follow_partition_of(river), rushed)
    assert "model" in {one.trigger for one in surges}
    assert pages_among(surges) == []


def test_more_pages_than_notices_are_refused() -> None:
    with pytest.raises(SettingsError, match="per_creator_day = 0\\.01: pages are rarer"):
        read_settings({"SURGEWATCH_BUDGET_PAGES_PER_CREATOR_DAY": "0.01"})
