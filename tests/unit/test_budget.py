"""Budgets in plain words mean what they say, and what is no budget is told why."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.core.detection.budget import BudgetError, alarms_per_day_of


@pytest.mark.parametrize(
    ("words", "days"),
    [
        ("1 in 6 days", 6),
        ("One in six days", 6),
        ("1 in 30 days", 30),
        ("1  alarm in 30 days", 30),
        ("1 false alarm every 10 days", 10),
        ("2 a week", 3.5),
        ("2/week", 3.5),
        ("3 alerts per month", 10),
        ("once a fortnight", 14),
        ("twice a year", 182.5),
        ("weekly", 7),
        ("1 in 1,000 days", 1000),
        ("1 in 48 hours", 2),
        ("0.5 per day", 2),
        ("1 in 1.5 days", 1.5),
    ],
)
def test_words_are_a_rate(words: str, days: float) -> None:
    assert 1 / alarms_per_day_of(words) == pytest.approx(days)


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ("", "names no time"),
        ("often", "names no time"),
        ("1 in 1000", "names no time"),
        ("0 a day", "not above 0"),
        ("1 in 0 days", "not above 0"),
        ("-1 a week", "is not understood"),
        ("1 a day", "below 1"),
        ("2 a day", "below 1"),
        ("1 in 6 moons", "is no time|names no time"),
        ("1 in x days", "'x' is no number"),
        ("1..5 a week", "is no number"),
        ("nan a week", "is no number|not above 0"),
        ("1 in " + "9" * 400 + " days", "not above 0|allowed"),
    ],
)
def test_what_is_no_budget_is_told_why(words: str, why: str) -> None:
    with pytest.raises(BudgetError, match=why):
        alarms_per_day_of(words)


@given(st.text(max_size=30))
def test_any_text_is_a_rate_below_one_a_day_or_an_error(text: str) -> None:
    try:
        rate = alarms_per_day_of(text)
    except BudgetError:
        return
    assert 0.0 < rate < 1.0


@given(st.integers(2, 9999), st.sampled_from(["days", "weeks", "months"]))
def test_one_in_any_number_of_days_is_understood(number: int, unit: str) -> None:
    scale = {"days": 1, "weeks": 7, "months": 30}[unit]
    assert 1 / alarms_per_day_of(f"1 in {number} {unit}") == pytest.approx(number * scale)
