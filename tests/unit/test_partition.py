"""The whole job of a partition: rules at the very record, state that chunks leave no trace in."""

import asyncio
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streams.app.jobs import follow_partition_of
from streams.core.counting.packing import StateDamaged, StoredSeries
from streams.core.partition import CommentPartition, FollowPartition
from streams.core.partition_state import StoredState
from streams.core.records.texts import Texts
from streams.core.surges import watch
from streams.core.surges.surge import Surge
from streams.core.time.buckets import BUCKET_MS, WINDOW_BUCKETS
from streams.edges.settings.reading import Settings
from streams.edges.store import MemoryStore, Place, Write
from tests.jobs import (
    Comment,
    FollowKind,
    comment_partition,
    comments,
    contents_of,
    follow_partition,
    follows,
    rule_surges,
    stored_of,
)
from tests.jobs import watch as watch_of

DAY_MS = WINDOW_BUCKETS * BUCKET_MS
BEGIN_MS = 1_736_899_200_000
PLACE = Place("follows", 0)

arrivals = st.lists(
    st.tuples(
        st.sampled_from(["ann", "bob", "cat"]),
        st.sampled_from([0, 7, 1000, BUCKET_MS, 5 * BUCKET_MS, DAY_MS // 3]),
        st.sampled_from([0, 0, 0, 10, BUCKET_MS, 40 * BUCKET_MS, DAY_MS - BUCKET_MS, DAY_MS + 1]),
        st.integers(0, 9),
    ),
    max_size=80,
)
cuts = st.lists(st.integers(0, 80), max_size=6)


def in_arrival_order(drawn: list[tuple[str, int, int, int]]) -> list[FollowKind]:
    clock, made = BEGIN_MS, []
    for creator, step, late, kind in drawn:
        clock += step
        made.append((creator, clock - late, kind == 9))
    return made


def plain_rule_openings(records: list[FollowKind], threshold: int) -> list[tuple[str, int]]:
    """(creator, opened_ms) by the rule, computed record by record with a list of past events."""
    openings: list[tuple[str, int]] = []
    open_now: set[str] = set()
    water = -1
    past: dict[str, list[int]] = {}
    for creator, at_ms, gone in records:
        bucket = at_ms // BUCKET_MS
        if bucket > water:
            water = bucket
            for name in sorted(open_now):
                total = sum(b > water - WINDOW_BUCKETS for b in past[name])
                if total < 0.8 * threshold:
                    open_now.discard(name)
        if gone or bucket <= water - WINDOW_BUCKETS:
            continue
        past.setdefault(creator, []).append(bucket)
        total = sum(b > water - WINDOW_BUCKETS for b in past[creator])
        if total >= threshold and creator not in open_now:
            open_now.add(creator)
            openings.append((creator, at_ms))
    return openings


def run(partition: FollowPartition, records: list[FollowKind], bounds: list[int]) -> list[Surge]:
    surges: list[Surge] = []
    edges = sorted({0, len(records), *(bound for bound in bounds if bound < len(records))})
    for begin, end in pairwise(edges):
        surges += partition.take(follows(records[begin:end])).surges
    return surges


@given(arrivals)
def test_rule_opens_at_the_very_record_as_a_plain_count_says(
    drawn: list[tuple[str, int, int, int]],
) -> None:
    records = in_arrival_order(drawn)
    told = rule_surges(run(follow_partition(5), records, []))
    openings = [(s.creator_id, s.opened_ms) for s in told if s.state == "opened"]
    assert openings == plain_rule_openings(records, 5)
    assert all(s.observed == 5 for s in told if s.state == "opened")


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(arrivals, cuts)
def test_chunks_leave_no_trace_in_state_or_surges(
    drawn: list[tuple[str, int, int, int]], bounds: list[int]
) -> None:
    records = in_arrival_order(drawn)
    whole, cut = follow_partition(5), follow_partition(5)
    assert run(cut, records, bounds) == run(whole, records, [])
    first, second = cut.drain(), whole.drain()
    assert contents_of(first) == contents_of(second)
    assert first.surges == second.surges
    assert first.watermark_ms == second.watermark_ms


bursts = st.lists(
    st.tuples(st.sampled_from(["ann", "bob"]), st.integers(0, 3), st.integers(1, 9)), max_size=25
)


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(bursts)
def test_bursts_of_earlier_records_are_told_as_if_they_came_one_by_one(
    drawn: list[tuple[str, int, int]],
) -> None:
    records: list[FollowKind] = []
    for place, (creator, back, count) in enumerate(drawn):
        at_ms = BEGIN_MS + place * BUCKET_MS // 2 - back * BUCKET_MS
        records += [(creator, at_ms, False)] * count
    whole, cut = follow_partition(5), follow_partition(5)
    assert run(cut, records, list(range(len(records)))) == run(whole, records, [])
    assert contents_of(cut.drain()) == contents_of(whole.drain())


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(arrivals, st.lists(st.integers(0, 80), min_size=1, max_size=4))
def test_restarts_leave_no_trace_in_state_or_surges(
    drawn: list[tuple[str, int, int, int]], restarts: list[int]
) -> None:
    records = in_arrival_order(drawn)
    whole = follow_partition(5)
    expected = run(whole, records, [])
    store, surges, partition = MemoryStore(), [], follow_partition(5)
    edges = sorted({0, len(records), *(at for at in restarts if at < len(records))})
    for generation, (begin, end) in enumerate(pairwise(edges)):
        fence = asyncio.run(store.claim(PLACE, generation))
        partition = follow_partition(5)
        partition.restore(asyncio.run(store.read(PLACE)).state)
        surges += partition.take(follows(records[begin:end])).surges
        asyncio.run(store.write(PLACE, fence, Write(partition.drain(), begin or None, end)))
    assert surges == expected
    assert stored_of(asyncio.run(store.read(PLACE)).state) == contents_of(whole.drain())


def test_a_record_on_the_edge_of_24_hours_is_late_and_one_within_counts() -> None:
    partition = follow_partition(2)
    first = partition.take(follows([("ann", BEGIN_MS + DAY_MS, False)]))
    assert (first.counted, first.late) == (1, 0)
    late = partition.take(follows([("ann", BEGIN_MS + BUCKET_MS - 1, False)]))
    assert (late.counted, late.late) == (0, 1)
    within = partition.take(follows([("ann", BEGIN_MS + BUCKET_MS, False)]))
    assert (within.counted, within.late) == (1, 0)
    assert [s.opened_ms for s in rule_surges(within.surges)] == [BEGIN_MS + BUCKET_MS]


def test_a_surge_is_told_five_times_at_most_and_closes_once_when_it_is_over() -> None:
    partition = follow_partition(10)
    told = partition.take(follows([("ann", BEGIN_MS + i, False) for i in range(99_000)])).surges
    told += partition.take(follows([("bob", BEGIN_MS + 2 * DAY_MS, False)])).surges
    told += partition.take(follows([("bob", BEGIN_MS + 3 * DAY_MS, False)])).surges
    by_rule = rule_surges(told)
    assert [(s.state, s.observed, s.revision) for s in by_rule] == [
        ("opened", 10, 0),
        ("grown", 20, 1),
        ("grown", 80, 2),
        ("grown", 640, 3),
        ("closed", 0, 4),
    ]
    assert len({s.surge_id for s in by_rule}) == 1


@pytest.mark.parametrize("together", [1, 10**9], ids=["all runs at once", "run by run"])
@pytest.mark.parametrize("followers", [300, 3_000, 60_000])
def test_a_surge_by_the_model_is_told_five_times_at_most_its_page_among_them(
    followers: int, together: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "_TOGETHER_MIN", together)
    partition = follow_partition(10**9)
    quiet = [
        ("ann", BEGIN_MS + day * DAY_MS + 7_000_000 * i, False)
        for day in range(9)
        for i in range(12)
    ]
    begin, step = BEGIN_MS + 9 * DAY_MS, DAY_MS // 2 / followers
    partition.take(follows(quiet))
    rising = [("ann", begin + int(step * i), False) for i in range(followers)]
    told = []
    for part in range(0, followers, 2_000):
        told += partition.take(follows(rising[part : part + 2_000])).surges
    told += partition.take(follows([("bob", begin + 3 * DAY_MS, False)])).surges
    of_ann = [s for s in told if s.creator_id == "ann"]
    assert [s.state for s in of_ann[:1] + of_ann[-1:]] == ["opened", "closed"]
    assert of_ann[-1].severity == ("page" if followers > 300 else "notice")
    assert 3 <= len(of_ann) <= 5
    assert [s.revision for s in of_ann] == [*range(len(of_ann))]


def test_the_model_alarms_for_a_newcomer_long_before_the_rule_and_says_what_it_expected() -> None:
    partition = follow_partition(50_000)
    quiet = [
        ("ann", BEGIN_MS + day * DAY_MS + 7_000_000 * i, False)
        for day in range(9)
        for i in range(12)
    ]
    assert partition.take(follows(quiet)).surges == []
    begin = BEGIN_MS + 9 * DAY_MS
    told = partition.take(follows([("ann", begin + 2_000 * i, False) for i in range(300)])).surges
    assert [(s.trigger, s.state) for s in told[:1]] == [("model", "opened")]
    assert told[0].opened_ms < begin + 300_000
    assert told[0].score is not None
    assert told[0].score >= 1
    assert told[0].expected_own is not None
    assert told[0].expected_own < 5
    assert told[0].observed > 5


def test_a_posts_surge_says_its_languages_and_its_creators_usual_one() -> None:
    partition = comment_partition(10)
    records: list[Comment] = [("mei", "p-old", "zh", BEGIN_MS + i) for i in range(6)]
    records += [("mei", "p-new", "en" if i % 4 else "zh", BEGIN_MS + 100 + i) for i in range(12)]
    whole = rule_surges(partition.take(comments(records)).surges)
    assert [(s.post_id, s.creator_id, s.state) for s in whole] == [("p-new", "mei", "opened")]
    surge = whole[0]
    assert surge.langs is not None
    assert [(one.lang, one.share) for one in surge.langs] == [("en", 0.7), ("zh", 0.3)]
    assert surge.usual_lang is not None
    assert surge.usual_lang.lang == "zh"


@pytest.mark.parametrize("size", [1, 3, 7])
def test_comment_surges_are_the_same_for_any_chunk(size: int) -> None:
    records: list[Comment] = [
        (
            "mei",
            f"p-{i % 3}",
            ("zh", "en", "ko")[i * i % 3],
            BEGIN_MS + i * 40_000 - (i % 5) * 90_000,
        )
        for i in range(200)
    ]
    whole, cut = comment_partition(20), comment_partition(20)
    expected = whole.take(comments(records)).surges
    told = [
        s for i in range(0, 200, size) for s in cut.take(comments(records[i : i + size])).surges
    ]
    assert rule_surges(expected)
    assert told == expected
    assert contents_of(cut.drain()) == contents_of(whole.drain())
    assert isinstance(whole, CommentPartition)


def test_a_river_detector_scores_alarms_and_goes_on_after_a_restart() -> None:
    def built() -> FollowPartition:
        settings = Settings(
            detector="river.anomaly.GaussianScorer", detector_threshold=0.999, detector_keys_max=5
        )
        return follow_partition_of(settings)

    quiet: list[FollowKind] = [
        ("ann", BEGIN_MS + bucket * BUCKET_MS + i, False)
        for bucket in range(400)
        for i in range(1 + bucket % 3)
    ]
    burst: list[FollowKind] = [("ann", BEGIN_MS + 400 * BUCKET_MS + i, False) for i in range(200)]
    whole, before, after = built(), built(), built()
    assert whole.take(follows(quiet)).surges == []
    expected = whole.take(follows(burst)).surges
    assert [(s.trigger, s.state, s.detector) for s in expected[:1]] == [
        ("model", "opened", "river.anomaly.GaussianScorer")
    ]
    store = MemoryStore()
    fence = asyncio.run(store.claim(PLACE, 1))
    before.take(follows(quiet))
    asyncio.run(store.write(PLACE, fence, Write(before.drain(), None, 1)))
    after.restore(asyncio.run(store.read(PLACE)).state)
    assert after.take(follows(burst)).surges == expected


def test_a_stored_key_that_stands_in_two_groups_is_damage_that_is_named() -> None:
    before = follow_partition()
    before.take(follows([("ann", BEGIN_MS, False)]))
    series = before.drain().series[0]
    twice = StoredSeries(Texts.of(["ann", "ann"]), [0, 1], series.values() * 2)
    with pytest.raises(StateDamaged, match="stands twice"):
        follow_partition().restore(StoredState(BEGIN_MS, {"follows": twice}))


@pytest.mark.parametrize("size", [1, 97, 5_000])
def test_hundreds_that_begin_to_surge_at_once_are_told_as_if_they_came_one_by_one(
    size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual: list[FollowKind] = [
        (f"c-{number}", BEGIN_MS + hour * 12 * BUCKET_MS + number, False)
        for hour in range(0, 60, 20)
        for number in range(300)
    ]
    begin_ms = BEGIN_MS + 60 * 12 * BUCKET_MS
    burst: list[FollowKind] = [
        (f"c-{number}", begin_ms + 300 * again + number, False)
        for again in range(12)
        for number in range(300)
    ]
    together, apart = follow_partition(7), follow_partition(7)
    for partition in (together, apart):
        partition.take(follows(usual))
    told = [
        surge
        for begin in range(0, len(burst), size)
        for surge in together.take(follows(burst[begin : begin + size])).surges
    ]
    monkeypatch.setattr(watch, "_TOGETHER_MIN", 10**9)  # each run is looked at by itself
    assert apart.take(follows(burst)).surges == told
    assert len({surge.creator_id for surge in rule_surges(told)}) == 300
    assert len({surge.creator_id for surge in told if surge.trigger == "model"} - {""}) == 300
    assert together.drain().surges == apart.drain().surges


def test_a_post_with_the_id_of_its_creator_has_surges_of_other_names() -> None:
    watches = (watch_of("comments", "comments", 5), watch_of("posts", "comments", 5))
    partition = CommentPartition(*watches)
    surges = partition.take(comments([("7", "7", "en", BEGIN_MS + n) for n in range(9)])).surges
    opened = [one for one in rule_surges(surges) if one.state == "opened"]
    assert [one.post_id for one in opened if one.post_id] == ["7"]
    assert len({one.surge_id for one in opened}) == len(opened) == 2
