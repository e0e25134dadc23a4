"""What `make chaos` holds the workers against is right itself: windows of a day, ids, records."""

import json
from collections import defaultdict

from hypothesis import given, settings
from hypothesis import strategies as st

from streams.core.partition import FollowPartition
from streams.core.time.buckets import BUCKET_MS, WINDOW_BUCKETS
from tests.chaos.records import BEGIN_MS, DAY_MS, LONG_SPAN_MS, SPAN_MS, Records
from tests.chaos.rolling import RollingRule
from tests.jobs import follows, watch

THRESHOLD = 5
_STEPS = st.sampled_from([0, 1, BUCKET_MS, 12 * BUCKET_MS, 100 * BUCKET_MS, DAY_MS])
_LATE = st.sampled_from([0, 0, 0, BUCKET_MS, 70 * BUCKET_MS, DAY_MS - BUCKET_MS])


@settings(max_examples=60)
@given(st.lists(st.tuples(st.sampled_from("ab"), _STEPS, _LATE), max_size=60))
def test_plain_sums_open_what_the_job_opens_by_rule(drawn: list[tuple[str, int, int]]) -> None:
    rule, rows = RollingRule(THRESHOLD), defaultdict[str, dict[int, int]](lambda: defaultdict(int))
    records: list[tuple[str, int, bool]] = []
    now_ms, water = BEGIN_MS, 0
    for key, step_ms, late_ms in drawn:
        now_ms += step_ms
        at_ms = now_ms - late_ms
        bucket, records = at_ms // BUCKET_MS, [*records, (key, at_ms, False)]
        water = max(water, bucket)
        if bucket > water - WINDOW_BUCKETS:
            rows[key][bucket] += 1
            rule.take(key, at_ms, rows[key], water)
    partition = FollowPartition(watch("follows", "followers", THRESHOLD))
    opened = defaultdict[str, set[int]](set)
    for surge in partition.take(follows(records)).surges:
        if (surge.trigger, surge.state) == ("rule", "opened"):
            opened[surge.creator_id].add(surge.opened_ms)
    assert rule.openings == opened


def test_a_rule_opens_again_after_its_sum_fell_below_four_fifths() -> None:
    rule, row, day = RollingRule(THRESHOLD), defaultdict[int, int](int), WINDOW_BUCKETS
    for bucket in [*[1] * THRESHOLD, *[1 + day] * THRESHOLD]:
        row[bucket] += 1
        rule.take("a", bucket, row, bucket)
    assert rule.openings["a"] == {1, 1 + day}


def ages_of(records: Records, count: int) -> tuple[list[int], int]:
    """How late each of these records is, in ms, and the latest time of all."""
    water_ms, ages = 0, []
    for _ in range(count):
        _, key, value = records.next()
        if not key.startswith(b"poison "):
            at_ms = json.loads(value)["at_ms"]
            water_ms = max(water_ms, at_ms)
            ages.append(water_ms - at_ms)
    return ages, water_ms


def test_a_long_span_passes_a_day_with_records_late_by_hours_and_too_late() -> None:
    ages, water_ms = ages_of(Records(1, LONG_SPAN_MS, 50_000, later=True), 50_000)
    assert LONG_SPAN_MS * 0.95 < water_ms - BEGIN_MS <= LONG_SPAN_MS
    assert sum(60_000 < age < 6 * 3_600_000 for age in ages) > 100
    assert any(age > DAY_MS for age in ages)


def test_a_short_span_stays_within_a_day() -> None:
    records = Records(2, SPAN_MS, 20_000, later=True)
    ages, water_ms = ages_of(records, 30_000)
    assert max(ages) < DAY_MS
    assert water_ms == BEGIN_MS + SPAN_MS


def test_without_later_ones_no_record_is_late_by_more_than_seconds() -> None:
    ages, _ = ages_of(Records(3, SPAN_MS, 1_000_000, later=False), 5_000)
    assert 0 < max(ages) < 60_000


def test_a_burst_is_one_in_event_time_too() -> None:
    records = Records(4, SPAN_MS, 100_000, later=False)
    records.hurry(hurries=True)
    _, water_ms = ages_of(records, 10_000)
    assert water_ms - BEGIN_MS < 450 * SPAN_MS / 100_000
