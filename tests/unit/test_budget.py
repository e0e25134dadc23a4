"""Budgets in plain words mean what they say, and what is no budget is told why."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.core.detection.budget import BudgetError, alarms_per_day_of, alarms_per_key_day_of


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
        ("one in thirty days", 30),
        ("one in thirty-five days", 35),
        ("once every seventeen days", 17),
        ("one in a hundred days", 100),
        ("1 in 2 hundred days", 200),
        ("one in one thousand days", 1000),
        ("once in a month", 30),
        ("twenty a year", 18.25),
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
        ("1 in 99999999999999 days", "is 1e-14 alarms a day; allowed: 1e-12 or more, below 1"),
        ("1 in 6 moons", "is no time|names no time"),
        ("1 in thirty-ten days", "'thirty-ten' is no number"),
        ("1 in seven thousands days", "is not understood"),
        ("1 in x days", "'x' is no number"),
        ("1..5 a week", "is no number"),
        ("nan a week", "is no number|not above 0"),
        ("1 in " + "9" * 400 + " days", "not above 0|allowed"),
    ],
)
def test_what_is_no_budget_is_told_why(words: str, why: str) -> None:
    with pytest.raises(BudgetError, match=why):
        alarms_per_day_of(words)


@pytest.mark.parametrize(
    ("words", "keys"),
    [
        ("one in a thousand", 1_000),
        ("1 per thousand creators a day", 1_000),
        ("one in fifty thousand creators a day", 50_000),
        ("two in a million", 500_000),
        ("one in a hundred thousand", 100_000),
        ("one in ninety days", 90),
    ],
)
def test_words_are_a_rate_of_a_crowd(words: str, keys: float) -> None:
    assert 1 / alarms_per_key_day_of(words) == pytest.approx(keys)


def test_the_least_rate_of_a_crowd_is_named() -> None:
    why = "is 1e-15 alarms a creator and day; allowed: 1e-12 or more, below 1"
    with pytest.raises(BudgetError, match=why):
        alarms_per_key_day_of("1 in 1000000 billion")


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
