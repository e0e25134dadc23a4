"""Budgets of false alarms in plain words: "1 in 6 days", "1 in 1,000 creators a day"."""

import math
import re
from typing import Final

_DAYS: Final = {"hour": 1 / 24, "day": 1.0, "week": 7.0, "fortnight": 14.0, "month": 30.0}
_DAYS_ALSO: Final = _DAYS | {"year": 365.0}
_WORDS: Final = (
    *("one", "two", "three", "four", "five", "six"),
    *("seven", "eight", "nine", "ten", "eleven", "twelve", "thirteen", "fourteen"),
    *("fifteen", "sixteen", "seventeen", "eighteen", "nineteen"),
)
_TENS: Final = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_TIMES: Final = {"hundred": 100, "thousand": 1_000, "million": 1_000_000, "billion": 1_000_000_000}
_SMALL: Final = {word: number for number, word in enumerate(_WORDS, start=1)}
_ROUND: Final = {word: 10 * number for number, word in enumerate(_TENS, start=2)}
_MIXED: Final = {
    f"{tens}-{one}": _ROUND[tens] + _SMALL[one] for tens in _TENS for one in _WORDS[:9]
}
_NUMBERS: Final = _SMALL | _ROUND | _MIXED | _TIMES
_NUMBER: Final = r"[\d.,]+|[a-z]+(?:-[a-z]+)?"
_TIMES_WORD: Final = rf"(?P<times>(?: (?:{'|'.join(_TIMES)})){{0,2}})"
_A_MANY: Final = re.compile(r"\b(in|of|per|every) an? ")
_ONCE: Final = {"once": 1, "twice": 2, "thrice": 3}
_DAILY: Final = {"hourly": "hour", "daily": "day", "weekly": "week", "monthly": "month"}
_RATE: Final = re.compile(
    rf"(?P<alarms>{_NUMBER})(?: (?:false )?alarms?| alerts?| times?)?"
    rf" ?(?:/|a |an |per |each |every |in |in every )(?:(?P<many>{_NUMBER}){_TIMES_WORD} )?"
    r"(?P<unit>[a-z]+)"
)
_OF_MANY: Final = re.compile(
    rf"(?P<alarms>{_NUMBER})(?: (?:false )?alarms?| notices?| pages?)?"
    rf" (?:in|of|per|in every|for every) (?P<many>{_NUMBER}){_TIMES_WORD}"
    r"(?: creators?| posts?| creator-days| creators and posts)?"
    r"(?: (?:a|per|each|every|and) day)?"
)
_ALARMS_MIN: Final = 1e-12
"""Alarms a day, or a key and day; no data could show what is rarer."""
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
    >>> alarms_per_day_of("one alarm every thirty days") == alarms_per_day_of("1/month")
    True
    >>> alarms_per_day_of("1 in 1,000")
    Traceback (most recent call last):
    streams.core.detection.budget.BudgetError: budget '1 in 1,000': names no time: hour, day, \
week, fortnight, month or year; say for example "1 in 6 days", "1 in 30 days", "2 a week", \
"once a month"
    """
    words = _plain(text)
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
    days = _many_of(text, found) * _DAYS_ALSO[unit]
    rate = _number_of(text, found["alarms"]) / days
    if not _ALARMS_MIN <= rate < 1.0:
        why = f"is {rate:.3g} alarms a day; allowed: {_ALARMS_MIN:g} or more, below 1"
        raise BudgetError(text, f"{why} (after an alarm a day is quiet)")
    return rate


def alarms_per_key_day_of(text: str) -> float:
    """Alarms a day and key (creator or post), of a crowd: above 0, below 1. Raises `BudgetError`.

    Of so many keys a day, or of each in so many days.

    >>> alarms_per_key_day_of("1 in 1,000 creators a day")
    0.001
    >>> alarms_per_key_day_of("one in a million")
    1e-06
    >>> alarms_per_key_day_of("5 in 10 thousand"), alarms_per_key_day_of("1 in 50 days")
    (0.0005, 0.02)
    """
    words = _plain(text)
    found = _OF_MANY.fullmatch(words)
    if found is None or found["many"].removesuffix("s") in _DAYS_ALSO:
        return alarms_per_day_of(text)
    rate = _number_of(text, found["alarms"]) / _many_of(text, found)
    if not _ALARMS_MIN <= rate < 1.0:
        why = f"is {rate:.3g} alarms a creator and day; allowed: {_ALARMS_MIN:g} or more, below 1"
        raise BudgetError(text, why)
    return rate


def _plain(text: str) -> str:
    """Words in small letters, one blank between them; "in a hundred" is "in 1 hundred"."""
    return _A_MANY.sub(r"\1 1 ", " ".join(text.lower().split()))


def _many_of(text: str, found: re.Match[str]) -> float:
    """What an alarm is shared among: a number, and what it is of (2 hundred thousand)."""
    times = math.prod(_TIMES[word] for word in (found["times"] or "").split())
    return _number_of(text, found["many"] or "1") * times


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
