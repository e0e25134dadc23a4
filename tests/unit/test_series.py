"""A watched series: no peeking, one alarm a surge, jumps named, any step, nothing overflows."""

import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.core.detection.series import (
    DAY_MS,
    RowVerdict,
    SeriesError,
    SeriesRow,
    SeriesWatch,
    increases_of,
    policy_of_step,
    step_ms_of,
)

_FIVE_MS = 300_000
_HOUR_MS = 3_600_000
_STEPS_MS = (1_000, 60_000, _FIVE_MS, 900_000, _HOUR_MS, 6 * _HOUR_MS, DAY_MS)


def _usual(rows: int, mean: float = 40.0, seed: int = 1) -> list[float]:
    draw = random.Random(seed)
    return [max(0.0, round(draw.gauss(mean, mean**0.5))) for _ in range(rows)]


def _rows(counts: list[float], step_ms: int = _FIVE_MS) -> list[SeriesRow]:
    return [SeriesRow(n * step_ms, count) for n, count in enumerate(counts)]


def _watched(rows: list[SeriesRow], step_ms: int = _FIVE_MS) -> list[RowVerdict]:
    watch = SeriesWatch(step_ms)
    return [watch.take(row) for row in rows]


def _alerts(verdicts: list[RowVerdict]) -> list[int]:
    return [n for n, verdict in enumerate(verdicts) if verdict.alert]


_COUNTS = st.one_of(
    st.none(), st.integers(0, 50), st.floats(-1e12, 1e12), st.sampled_from([0, 1e12, 1e-300, -1])
)
_GAPS = st.one_of(st.just(1), st.just(1), st.integers(1, 2000), st.integers(1, 10**6))


@settings(max_examples=200)
@given(
    history=st.lists(st.tuples(_GAPS, _COUNTS), min_size=1, max_size=80),
    step_ms=st.sampled_from(_STEPS_MS),
)
def test_nothing_becomes_unknown_or_overflows(
    history: list[tuple[int, float | None]], step_ms: int
) -> None:
    watch, at_ms = SeriesWatch(step_ms), 0
    for gap, count in history:
        at_ms += gap * step_ms
        verdict = watch.take(SeriesRow(at_ms, count))
        assert 0.0 <= verdict.score < math.inf
        assert 0.0 < verdict.expected < math.inf or verdict.expected == 0.0
        detector = watch._detector
        numbers = (
            *(detector._rate.count, detector._rate.buckets, detector._top),
            *(*detector._rate.window_counts, *detector._rate.window_exposures),
            *(detector._tail.days, detector._tail.level, detector._tail.share),
            detector._tail.excess,
        )
        assert all(0.0 <= number < math.inf for number in numbers)


@settings(max_examples=30)
@given(seed=st.integers(0, 10**6), cut=st.integers(1, 599))
def test_what_is_said_of_a_row_does_not_change_when_later_rows_come(seed: int, cut: int) -> None:
    draw = random.Random(seed)
    counts = [count * draw.choice([1, 1, 1, 1, 9, 500]) for count in _usual(600, seed=seed)]
    rows = _rows(counts)
    assert _watched(rows)[:cut] == _watched(rows[:cut])


def test_step_of_a_long_series_does_not_change_when_later_rows_come() -> None:
    times = [n * _FIVE_MS for n in range(101)]
    assert step_ms_of([*times, *(times[-1] + n for n in range(1, 500))]) == step_ms_of(times)


def test_surge_is_one_alarm_in_twenty_four_hours() -> None:
    counts = _usual(10 * 288)
    for n in range(2000, 2060):
        counts[n] *= 8
    alerts = [n for n in _alerts(_watched(_rows(counts))) if n >= 2000]
    assert 2000 <= alerts[0] <= 2002
    assert all(n >= 2000 + 288 for n in alerts[1:])


def test_alert_never_opens_on_a_row_that_is_not_above_the_expected() -> None:
    counts = _usual(10 * 288)
    for n in range(2000, 2300):
        counts[n] *= 20 if n < 2280 else 0.5
    verdicts = _watched(_rows(counts))
    assert all(counts[n] > verdicts[n].expected for n in _alerts(verdicts))


def test_first_hour_says_what_is_usual_and_is_not_judged() -> None:
    for mean in (0.5, 40.0, 5e5, 1e9):
        verdicts = _watched(_rows(_usual(288, mean)))
        assert [verdict.score for verdict in verdicts[:12]] == [0.0] * 12
        assert _alerts(verdicts) == []
        assert verdicts[20].expected == pytest.approx(mean, rel=0.5, abs=0.6)


def test_one_row_far_beyond_both_neighbours_is_a_jump_told_at_the_next_row() -> None:
    counts = _usual(10 * 288)
    calm = _watched(_rows(counts))
    counts[2000] = 900_000.0
    verdicts = _watched(_rows(counts))
    assert (verdicts[2000].held, verdicts[2000].alert) == (True, False)
    assert verdicts[2000].score >= 1.0
    assert [n for n, verdict in enumerate(verdicts) if verdict.jump_before] == [2001]
    assert [n for n in _alerts(verdicts) if n >= 2000] == []
    after = [verdict.expected for verdict in verdicts[2001:]]
    assert after == pytest.approx([verdict.expected for verdict in calm[2001:]], rel=0.01)


def test_surge_without_a_ramp_is_told_one_row_later() -> None:
    counts = _usual(10 * 288)
    for n in range(2000, 2012):
        counts[n] = 90_000.0
    verdicts = _watched(_rows(counts))
    assert (verdicts[2000].held, verdicts[2000].alert) == (True, False)
    assert (verdicts[2001].alert, verdicts[2001].jump_before) == (True, False)


def test_jump_at_the_end_is_left_open() -> None:
    watch = SeriesWatch(_FIVE_MS)
    for row in _rows([*_usual(600), 1e6]):
        watch.take(row)
    assert watch.held_row == 600


def test_jump_before_missing_rows_is_decided_by_the_next_known_one() -> None:
    counts = _usual(1000)
    rows = _rows(counts)
    rows[600] = SeriesRow(rows[600].at_ms, 1e6)
    rows[601] = SeriesRow(rows[601].at_ms, None)
    del rows[602:700]
    verdicts = _watched(rows)
    assert verdicts[602].jump_before
    assert _alerts(verdicts[600:]) == []


def test_missing_rows_are_unknown_and_not_zero() -> None:
    rows = _rows(_usual(20 * 288))
    verdicts = _watched(rows[:2000] + rows[2000 + 4 * 288 :])
    assert _alerts(verdicts[2000:2300]) == []
    assert verdicts[2000].expected == pytest.approx(40.0, rel=0.05)


@pytest.mark.parametrize("counts", [[0.0] * 2000, [7.0] * 2000, [1e12] * 2000, [0.25] * 2000])
def test_one_value_for_ever_never_alarms(counts: list[float]) -> None:
    verdicts = _watched(_rows(counts))
    assert _alerts(verdicts) == []
    assert verdicts[-1].expected == pytest.approx(counts[0], rel=0.001, abs=0.01)


@pytest.mark.parametrize("step_ms", _STEPS_MS)
def test_every_step_finds_a_surge_of_six_hours_or_six_rows(step_ms: int) -> None:
    day = max(DAY_MS // step_ms, 1)
    rows = max(20 * day, 100) if step_ms > 1000 else day // 2
    counts, begin = _usual(rows), rows * 9 // 10
    for n in range(begin, min(begin + max(day // 4, 6), rows)):
        counts[n] *= 10
    found = [n for n in _alerts(_watched(_rows(counts, step_ms), step_ms)) if n >= begin]
    assert found
    assert found[0] - begin <= max(day // 24, 2)


def test_memories_are_the_same_times_for_every_step() -> None:
    for step_ms in (1_000, 60_000, _FIVE_MS, 1_200_000, _HOUR_MS):
        policy = policy_of_step(step_ms, 0.1)
        hours = [rows * step_ms / _HOUR_MS for rows in policy.window_buckets]
        assert hours == [1, 3, 6]
        assert policy.buckets_per_day * step_ms == DAY_MS


@pytest.mark.parametrize(
    ("times", "row", "why"),
    [
        ([0, 300, 600], 1, "allowed: a second to a day"),
        ([0, 2 * DAY_MS, 4 * DAY_MS], 1, "allowed: a second to a day"),
        ([0, _FIVE_MS, 2 * _FIVE_MS, _FIVE_MS], 3, "goes back by 300 s"),
        ([0, _FIVE_MS, _FIVE_MS], 2, "same time"),
    ],
)
def test_times_that_are_no_series_name_their_row(times: list[int], row: int, why: str) -> None:
    with pytest.raises(SeriesError, match=why) as caught:
        step_ms_of(times)
    assert caught.value.row == row


def test_row_that_comes_too_soon_is_named_and_teaches_nothing() -> None:
    watch = SeriesWatch(_FIVE_MS)
    for row in _rows(_usual(50)):
        watch.take(row)
    with pytest.raises(SeriesError, match="only 60 s after the row before") as caught:
        watch.take(SeriesRow(49 * _FIVE_MS + 60_000, 3.0))
    assert caught.value.row == 50
    watch.take(SeriesRow(50 * _FIVE_MS, 3.0))


def test_rows_a_little_early_or_late_are_no_gap_however_they_drift() -> None:
    at_ms, watch = 0, SeriesWatch(_HOUR_MS)
    for n, count in enumerate(_usual(500)):
        at_ms += _HOUR_MS + (1_000 if n % 3 else -500)
        watch.take(SeriesRow(at_ms, count))
    assert watch.missing == 0


def test_increases_of_a_running_total_are_unknown_where_it_is_put_back_or_has_gaps() -> None:
    totals = [5.0, 8.0, 8.0, 2.0, 3.0, None, 4.0, 9.0, 20.0]
    rows = [SeriesRow(n * 10, total) for n, total in enumerate(totals)]
    rows[8] = SeriesRow(110, 20.0)
    found = [row.count for row in increases_of(rows, 10)]
    assert found == [None, 3.0, 0.0, None, 1.0, None, None, 5.0, None]
