"""Closed surges are remembered up to a number: the earliest closed are forgotten, and told."""

from streams.core.partition import FollowPartition
from streams.core.surges.book import SurgeBook
from streams.core.time.buckets import WINDOW_BUCKETS
from tests.jobs import follow_partition, follows
from tests.unit.test_amended import at

RULE = 5
CLOSED_MAX = 16


def limited() -> FollowPartition:
    partition = follow_partition(RULE)
    partition._followers.life.book = SurgeBook(CLOSED_MAX)
    return partition


def surge(partition: FollowPartition, name: str, bucket: int) -> None:
    partition.take(follows([(name, at(bucket), False)] * RULE))


def remembered(stored: dict[str, bytes]) -> list[str]:
    closed = [content for name, content in stored.items() if "|closed|" in name]
    return sorted(str(content).split('"rule","')[1].split('"')[0] for content in closed)


def test_the_earliest_closed_are_forgotten_and_no_other() -> None:
    partition, stored = limited(), dict[str, bytes]()
    names = [f"c-{number:02d}" for number in range(CLOSED_MAX + 1)]
    for number, name in enumerate(names):
        surge(partition, name, number)
    for number in range(len(names)):  # each is over a day after it was told
        partition.take(follows([("bob", at(WINDOW_BUCKETS + number), False)]))
        for key, content in partition.drain().surges.items():
            if content is None:
                stored.pop(key, None)
            else:
                stored[key] = content
    kept = CLOSED_MAX * 7 // 8
    assert partition.take_forgotten() == len(names) - kept
    assert partition.take_forgotten() == 0
    assert remembered(stored) == names[-kept:]


def test_what_is_forgotten_is_not_looked_at_again() -> None:
    partition = limited()
    for number in range(CLOSED_MAX + 1):
        surge(partition, f"c-{number:02d}", 0)
    partition.take(follows([("bob", at(WINDOW_BUCKETS), False)]))
    assert partition.take_forgotten() == CLOSED_MAX + 1 - CLOSED_MAX * 7 // 8
    partition.take(follows([("bob", at(3 * WINDOW_BUCKETS), False)]))
    assert partition.take_forgotten() == 0
    assert len(partition._followers.life.book) == 0


def test_a_partition_that_is_restored_has_the_same_room() -> None:
    first = limited()
    for number in range(CLOSED_MAX):
        surge(first, f"c-{number:02d}", 0)
    first.take(follows([("bob", at(WINDOW_BUCKETS), False)]))
    assert first.take_forgotten() == 0
    second = SurgeBook(CLOSED_MAX)
    for entries in first._followers.life.book._due.values():
        for entry in entries:
            second.add(entry)
    assert second._closed == CLOSED_MAX
