"""What does not hang on the order of records: counts, and who surges by the rule."""

import random

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streams.core.counting.packing import unpack
from streams.core.partition import FollowPartition
from streams.core.surges.watch_state import WATCH_STATE_DTYPE
from streams.core.time.buckets import BUCKET_MS, WINDOW_BUCKETS
from tests.jobs import FollowKind, follow_partition, follows, rule_surges
from tests.unit.test_partition import BEGIN_MS

DAY_MS = WINDOW_BUCKETS * BUCKET_MS
within_a_day = st.lists(
    st.tuples(st.sampled_from(["ann", "bob", "cat"]), st.integers(0, DAY_MS - BUCKET_MS)),
    min_size=1,
    max_size=80,
)


def buckets_of(partition: FollowPartition) -> dict[str, list[tuple[int, int]]]:
    """Buckets and counts of each creator, read from the packed state."""
    series = partition.drain().series[0]
    found = {}
    for name, value in zip(series.names, series.values(), strict=True):
        entries = unpack([value], WATCH_STATE_DTYPE).entries
        found[name] = list(
            zip((entries >> 32).tolist(), (entries & 0xFFFFFFFF).tolist(), strict=True)
        )
    return found


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(within_a_day, st.integers(0, 2**32), st.integers(1, 30))
def test_records_that_come_in_another_order_count_alike_and_the_same_creators_surge(
    drawn: list[tuple[str, int]], seed: int, size: int
) -> None:
    begin_ms = BEGIN_MS // BUCKET_MS * BUCKET_MS
    records: list[FollowKind] = [(name, begin_ms + at, False) for name, at in drawn]
    shuffled = records.copy()
    random.Random(seed).shuffle(shuffled)
    ordered, other = follow_partition(5), follow_partition(5)
    told = ordered.take(follows(records)).surges
    told_other, counted = [], 0
    for begin in range(0, len(shuffled), size):
        outcome = other.take(follows(shuffled[begin : begin + size]))
        told_other += outcome.surges
        counted += outcome.counted
    assert counted == len(records)
    assert buckets_of(other) == buckets_of(ordered)
    surging = {surge.creator_id for surge in rule_surges(told)}
    assert {surge.creator_id for surge in rule_surges(told_other)} == surging
    totals = {name: sum(count for _, count in rows) for name, rows in buckets_of_all(records)}
    assert surging == {name for name, total in totals.items() if total >= 5}


def buckets_of_all(records: list[FollowKind]) -> list[tuple[str, list[tuple[int, int]]]]:
    """The same by a plain count."""
    found: dict[str, dict[int, int]] = {}
    for name, at_ms, _ in records:
        row = found.setdefault(name, {})
        row[at_ms // BUCKET_MS] = row.get(at_ms // BUCKET_MS, 0) + 1
    return [(name, sorted(row.items())) for name, row in found.items()]
