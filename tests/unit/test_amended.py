"""Late records amend the surges they belong to: one example for each way."""

import asyncio

import pytest

from streams.core.partition import FollowPartition
from streams.core.partition_state import StoredState
from streams.core.surges.surge import Surge
from streams.core.time.buckets import BUCKET_MS, WINDOW_BUCKETS
from streams.edges.store import MemoryStore, Place, Write
from tests.jobs import (
    Comment,
    FollowKind,
    comment_partition,
    comments,
    follow_partition,
    follows,
    rule_surges,
)

BEGIN_MS = 1_736_899_200_000
HOUR = 12
RULE = 10


def at(bucket: float) -> int:
    """Event time so many buckets after the begin."""
    return BEGIN_MS + int(bucket * BUCKET_MS)


def anns(bucket: float, count: int = 1) -> list[FollowKind]:
    return [("ann", at(bucket), False)] * count


def moved_to(bucket: float) -> list[FollowKind]:
    """One follow of somebody else, that moves the watermark."""
    return [("bob", at(bucket), False)]


def told(partition: FollowPartition, *parts: list[FollowKind]) -> list[Surge]:
    return partition.take(follows([record for part in parts for record in part])).surges


def by_rule(partition: FollowPartition, *parts: list[FollowKind]) -> list[Surge]:
    return [s for s in rule_surges(told(partition, *parts)) if s.creator_id == "ann"]


def test_a_late_record_amends_an_open_surge_when_the_next_bucket_begins() -> None:
    partition = follow_partition(RULE)
    (opened,) = by_rule(partition, anns(20, RULE), moved_to(22))
    assert (opened.state, opened.observed, opened.late_records) == ("opened", 10, 0)
    assert by_rule(partition, anns(19, 3), moved_to(22.5)) == []
    (amended,) = by_rule(partition, moved_to(23), moved_to(24))
    assert (amended.state, amended.revision, amended.surge_id) == ("amended", 1, opened.surge_id)
    assert (amended.observed, amended.late_records, amended.closed_ms) == (13, 3, None)
    assert (amended.at_ms, amended.seen_ms) == (at(23), at(23))


def test_a_record_of_the_watermarks_own_bucket_is_not_late_however_old() -> None:
    partition = follow_partition(RULE)
    told(partition, anns(20.9, RULE))
    assert by_rule(partition, anns(20, 2), moved_to(21), moved_to(22)) == []


def test_a_thousand_late_records_in_one_bucket_are_one_announcement() -> None:
    partition = follow_partition(RULE)
    late = [record for nth in range(1_000) for record in anns(19 - nth % 7)]
    surges = by_rule(partition, anns(20, RULE), moved_to(22), late, moved_to(23), moved_to(24))
    (amended,) = [one for one in surges if one.state == "amended"]
    assert (amended.observed, amended.late_records) == (1_010, 1_000)


def test_late_records_that_were_told_as_grown_are_not_told_again_and_those_after_are() -> None:
    partition = follow_partition(RULE)
    surges = by_rule(partition, anns(20, RULE), moved_to(22), anns(19, 10), moved_to(23))
    assert [(one.state, one.late_records) for one in surges] == [("opened", 0), ("grown", 10)]
    more = by_rule(partition, anns(19), moved_to(24), moved_to(25))
    assert [(one.state, one.late_records, one.revision) for one in more] == [("amended", 11, 2)]


def closed_surge(partition: FollowPartition) -> Surge:
    """Opened in bucket 0, closed in bucket 288: its last window is 1 to 288."""
    _, closed = by_rule(partition, anns(0, 8), anns(1, 2), moved_to(288))
    assert (closed.state, closed.observed) == ("closed", 2)
    assert (closed.closed_ms, closed.at_ms) == (at(288), at(288))
    return closed


def test_a_late_record_amends_a_closed_surge_as_of_its_close() -> None:
    partition = follow_partition(RULE)
    closed = closed_surge(partition)
    (amended,) = by_rule(partition, moved_to(300), anns(287, 2), moved_to(301), moved_to(302))
    assert (amended.state, amended.surge_id, amended.revision) == ("amended", closed.surge_id, 2)
    assert (amended.observed, amended.late_records) == (4, 2)
    assert (amended.at_ms, amended.closed_ms, amended.seen_ms) == (at(288), at(288), at(301))
    assert (amended.expected_own, amended.score) == (closed.expected_own, closed.score)


@pytest.mark.parametrize(("water", "observed"), [(574, [3]), (575, [])])
def test_a_closed_surge_can_be_amended_for_24_hours_and_is_then_forgotten(
    water: int, observed: list[int]
) -> None:
    partition = follow_partition(RULE)
    closed = closed_surge(partition)
    surges = by_rule(partition, moved_to(water), anns(287), moved_to(water + 1))
    assert [one.observed for one in surges] == observed
    assert partition.drain().surges[f"follows|closed|{closed.surge_id}"] is None
    assert by_rule(partition, moved_to(water + 2)) == []


def test_a_record_after_the_close_or_older_than_24_hours_amends_nothing() -> None:
    partition = follow_partition(RULE)
    closed_surge(partition)
    assert by_rule(partition, moved_to(300), anns(288), anns(299), moved_to(301)) == []
    outcome = partition.take(follows([*anns(13), *moved_to(302)]))
    assert (outcome.late, outcome.surges) == (1, [])


def test_a_late_record_that_reaches_the_threshold_opens_the_surge_and_is_not_late_for_it() -> None:
    partition = follow_partition(RULE)
    surges = by_rule(partition, anns(20, 8), moved_to(22), anns(19, 5), moved_to(23), moved_to(24))
    assert surges[0].opened_ms == at(19)
    assert [(one.state, one.observed, one.late_records) for one in surges] == [
        ("opened", 10, 0),
        ("amended", 13, 3),
    ]


def test_two_surges_of_one_key_are_both_remembered_and_both_amended() -> None:
    partition = follow_partition(RULE)
    first = closed_surge(partition)
    (second,) = by_rule(partition, anns(300, RULE), moved_to(310))
    assert (second.state, second.surge_id == first.surge_id) == ("opened", False)
    surges = by_rule(partition, anns(287), moved_to(311))
    assert {one.surge_id: (one.state, one.observed) for one in surges} == {
        first.surge_id: ("amended", 3),
        second.surge_id: ("amended", 11),
    }


def test_a_surge_opened_again_at_the_same_millisecond_has_an_id_of_its_own() -> None:
    partition = follow_partition(RULE)
    opened, _ = by_rule(partition, anns(0, 8), anns(1, 2), moved_to(288))
    again = by_rule(partition, anns(1, 8))
    assert [(one.state, one.opened_ms) for one in again] == [("opened", opened.opened_ms)]
    assert again[0].surge_id != opened.surge_id


def usual_then(burst: list[FollowKind]) -> list[FollowKind]:
    """Nine days of a follow in two hours, then a burst."""
    quiet = [record for nth in range(9 * 12) for record in anns(nth * 24)]
    return [*quiet, *burst]


DAY_9 = 9 * WINDOW_BUCKETS


def model_surges(partition: FollowPartition, *parts: list[FollowKind]) -> list[Surge]:
    return [one for one in told(partition, *parts) if one.trigger == "model"]


def surging(partition: FollowPartition) -> str:
    """Have the model open a surge of 60 follows in bucket DAY_9, watermark in the next."""
    surges = model_surges(partition, usual_then(anns(DAY_9, 60)), moved_to(DAY_9 + 1))
    assert surges[0].state == "opened"
    return surges[0].surge_id


def test_a_late_record_amends_an_open_surge_of_the_model() -> None:
    partition = follow_partition(50_000)
    surge_id = surging(partition)
    surges = model_surges(partition, anns(DAY_9, 4), moved_to(DAY_9 + 2))
    (amended,) = [one for one in surges if one.state == "amended"]
    assert (amended.surge_id, amended.observed, amended.late_records) == (surge_id, 64, 4)
    assert amended.expected_own is not None
    assert amended.ratio == float(f"{64 / amended.expected_own:.6g}")


@pytest.mark.parametrize(("back", "amends"), [(11, True), (12, False)])
def test_a_surge_of_the_model_is_amended_from_an_hour_before_its_opening_on(
    back: int, amends: bool
) -> None:
    partition = follow_partition(50_000)
    surging(partition)
    surges = model_surges(partition, anns(DAY_9 - back), moved_to(DAY_9 + 2))
    assert ([one.state for one in surges] == ["amended"]) == amends


def test_a_late_record_amends_a_closed_surge_of_the_model_and_counts_in_its_last_hour_only() -> (
    None
):
    partition = follow_partition(50_000)
    surge_id = surging(partition)
    steps = [moved_to(DAY_9 + nth) for nth in range(2, 200)]
    (closed,) = [one for one in model_surges(partition, *steps) if one.state == "closed"]
    assert closed.closed_ms is not None
    end = (closed.closed_ms - BEGIN_MS) // BUCKET_MS
    assert DAY_9 + HOUR < end < DAY_9 + 199
    (early,) = model_surges(partition, anns(DAY_9 + 1, 3), moved_to(DAY_9 + 200))
    assert (early.surge_id, early.state, early.late_records) == (surge_id, "amended", 3)
    assert early.observed == closed.observed
    (last,) = model_surges(
        partition, anns(end - 11, 2), anns(end - 12), anns(end), moved_to(DAY_9 + 201)
    )
    assert (last.observed, last.late_records) == (closed.observed + 2, 6)
    assert last.closed_ms == closed.closed_ms


def said(bucket: float, lang: str, count: int, post: str = "p-1") -> list[Comment]:
    return [("mei", post, lang, at(bucket))] * count


def test_a_closed_posts_surge_keeps_the_languages_that_were_told_when_it_closed() -> None:
    partition = comment_partition(RULE)
    begin = [*said(0, "en", 8), *said(1, "zh", 2), *said(1, "ko", 1, "p-0")]
    moves = said(288, "en", 1, "p-2")
    _, closed = rule_surges(partition.take(comments([*begin, *moves])).surges)
    late = [*said(300, "fr", 1), *said(287, "fr", 5), *said(301, "fr", 1, "p-2")]
    (amended,) = rule_surges(partition.take(comments(late)).surges)
    assert (closed.state, amended.state) == ("closed", "amended")
    assert closed.langs is not None
    assert [(one.lang, one.share) for one in closed.langs] == [("zh", 1.0)]
    assert (amended.langs, amended.usual_lang) == (closed.langs, closed.usual_lang)
    assert (amended.observed, amended.late_records) == (7, 5)


def test_an_open_posts_surge_is_amended_with_the_languages_of_the_late_comments() -> None:
    partition = comment_partition(RULE)
    records = [*said(0, "en", 10), *said(2, "en", 1, "p-2"), *said(1, "fr", 10)]
    surges = rule_surges(partition.take(comments([*records, *said(3, "en", 1, "p-2")])).surges)
    assert [one.state for one in surges] == ["opened", "grown"]
    (amended,) = rule_surges(
        partition.take(comments([*said(1, "fr", 5), *said(4, "en", 1, "p-2")])).surges
    )
    assert amended.langs is not None
    assert [(one.lang, one.share) for one in amended.langs] == [("fr", 0.6), ("en", 0.4)]


def test_a_late_record_that_nothing_has_told_yet_is_told_after_a_restart() -> None:
    store, place = MemoryStore(), Place("follows", 0)
    fence = asyncio.run(store.claim(place, 1))
    parts = [[*anns(20, RULE), *moved_to(22)], anns(19, 3), moved_to(23)]
    states = []
    for offset, records in enumerate(parts):
        partition = follow_partition(RULE)
        partition.restore(asyncio.run(store.read(place)).state)
        states += [(one.state, one.late_records) for one in by_rule(partition, records)]
        write = Write(partition.drain(), offset or None, offset + 1)
        asyncio.run(store.write(place, fence, write))
    assert states == [("opened", 0), ("amended", 3)]


@pytest.mark.parametrize(("raised", "closes"), [(RULE, False), (20, True), (50_000, True)])
def test_a_surge_under_a_raised_threshold_closes_as_the_watermark_moves(
    raised: int, closes: bool
) -> None:
    store, place = MemoryStore(), Place("follows", 0)
    fence = asyncio.run(store.claim(place, 1))
    before = follow_partition(RULE)
    (opened,) = by_rule(before, anns(20, RULE))
    asyncio.run(store.write(place, fence, Write(before.drain(), None, 1)))
    after = follow_partition(raised)
    after.restore(asyncio.run(store.read(place)).state)
    states = [(one.surge_id, one.state) for one in by_rule(after, moved_to(21), moved_to(23))]
    assert states == ([(opened.surge_id, "closed")] if closes else [])


def test_growing_at_a_late_record_of_another_time_makes_no_late_record_of_it() -> None:
    partition = follow_partition(50_000)
    surging(partition)
    surges = model_surges(partition, anns(DAY_9 - 20, 600), moved_to(DAY_9 + 2))
    assert {(one.state, one.late_records) for one in surges} == {("grown", 0)}


def test_a_stored_surge_whose_key_has_expired_in_the_store_is_forgotten_with_it() -> None:
    partition = follow_partition(RULE)
    by_rule(partition, anns(20, RULE), moved_to(22))
    drained = partition.drain().surges.items()
    surges = {name: content for name, content in drained if content and name[:6] != "waves."}
    assert list(surges) == ["follows|rule|ann"]
    after = follow_partition(RULE)
    after.restore(StoredState(at(22), {}, surges))
    assert after.drain().surges == {"follows|rule|ann": None}
    assert by_rule(after, moved_to(700)) == []
