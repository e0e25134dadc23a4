"""Budgets of false alarms in plain words: "1 in 6 days", "2 a week", "0.5/day"."""

import math
import re
from typing import Final

_DAYS: Final = {"hour": 1 / 24, "day": 1.0, "week": 7.0, "fortnight": 14.0, "month": 30.0}
_DAYS_ALSO: Final = _DAYS | {"year": 365.0}
_WORDS: Final = (
    *("one", "two", "three", "four", "five", "six"),
    *("seven", "eight", "nine", "ten", "eleven", "twelve"),
)
_NUMBERS: Final = {word: number for number, word in enumerate(_WORDS, start=1)}
_ONCE: Final = {"once": 1, "twice": 2, "thrice": 3}
_DAILY: Final = {"hourly": "hour", "daily": "day", "weekly": "week", "monthly": "month"}
_RATE: Final = re.compile(
    r"(?P<alarms>[\d.,]+|[a-z]+)(?: (?:false )?alarms?| alerts?| times?)?"
    r" ?(?:/|a |an |per |each |every |in |in every )(?:(?P<number>[\d.,]+|[a-z]+) )?"
    r"(?P<unit>[a-z]+)"
)
_EXAMPLES: Final = '"1 in 6 days", "1 in 30 days", "2 a week", "once a month"'


class BudgetError(ValueError):
    """Words that are no budget: ``text``, and ``why``."""

    def __init__(self, text: str, why: str) -> None:
        super().__init__(f"budget {text!r}: {why}; say for example {_EXAMPLES}")
        self.text = text
        self.why = why


def alarms_per_day_of(text: str) -> float:
    """Alarms a day that the words ask for: above 0, below 1. Raises `BudgetError`.

    >>> round(1 / alarms_per_day_of("1 in 6 days"), 6)
    6.0
    >>> round(alarms_per_day_of("2 a week") * 7, 6), alarms_per_day_of("once per fortnight")
    (2.0, 0.07142857142857142)
    >>> alarms_per_day_of("one alarm every 30 days") == alarms_per_day_of("1/month")
    True
    >>> alarms_per_day_of("1 in 1,000")
    Traceback (most recent call last):
    streams.core.detection.budget.BudgetError: budget '1 in 1,000': names no time: hour, day, \
week, fortnight, month or year; say for example "1 in 6 days", "1 in 30 days", "2 a week", \
"once a month"
    """
    words = " ".join(text.lower().split())
    if words in _DAILY:
        words = f"1 a {_DAILY[words]}"
    found = _RATE.fullmatch(words)
    if found is None:
        why = "is not understood"
        if not any(unit in words for unit in _DAYS_ALSO):
            why = f"names no time: {', '.join(_DAYS)} or year"
        raise BudgetError(text, why)
    unit = found["unit"].removesuffix("s")
    if unit not in _DAYS_ALSO:
        raise BudgetError(text, f"{found['unit']!r} is no time: {', '.join(_DAYS)} or year")
    alarms = _number_of(text, found["alarms"])
    rate = alarms / (_number_of(text, found["number"] or "1") * _DAYS_ALSO[unit])
    if not 1e-12 <= rate < 1.0:
        why = (
            f"is {rate:.3g} alarms a day; allowed: above 0, below 1 (after an alarm a day is quiet)"
        )
        raise BudgetError(text, why)
    return rate


def _number_of(text: str, word: str) -> float:
    named = _NUMBERS.get(word, _ONCE.get(word))
    if named is not None:
        return float(named)
    try:
        number = float(re.sub(r"(?<=\d),(?=\d{3}(?:\D|$))", "", word))
    except ValueError:
        raise BudgetError(text, f"{word!r} is no number") from None
    if not 0.0 < number < math.inf:
        raise BudgetError(text, f"{word!r} is not above 0")
    return number
