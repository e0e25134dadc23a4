"""One series of counts watched row by row: score, one alarm a surge, and jumps of the counter.

A row's verdict knows the rows before it and the row itself, nothing later. Every count of any
step goes through `SurgeDetector`; here stand the step, the quiet after an alarm and the wait for
one more row where a single row is all that there is.
"""

import copy
import statistics
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Final

from streams.core.detection.policy import SINGLE_SERIES, DetectorPolicy
from streams.core.detector import SurgeDetector

DAY_MS: Final = 86_400_000
QUIET_MS: Final = DAY_MS
"""After an alarm none for so long: a surge is told once."""
JUMP_QUIET_MS: Final = DAY_MS // 4
"""After a jump none for so long: its rest may follow, and the jump itself has been told."""
STEP_ROWS: Final = 101
"""How many rows the step is taken from: a longer series must not change what its begin says."""
STEP_MS_MIN: Final = 1_000
JUMP_RATIO: Final = 100.0
"""A jump of the counter: one row that is this many times the expected count and both neighbours."""
_WINDOWS_MS: Final = (3_600_000, 3 * 3_600_000, 6 * 3_600_000)
_SETTLE_ROWS_MIN: Final = 3
_COUNT: Final = "count"


class SeriesError(ValueError):
    """A row that no series of a constant step can have: its number (from 0) and ``why``."""

    def __init__(self, row: int, why: str) -> None:
        super().__init__(f"row {row}: {why}")
        self.row = row
        self.why = why


@dataclass(frozen=True, slots=True)
class SeriesRow:
    """A moment and the count of the step that begins (or ends) there; None: it is not known."""

    at_ms: int
    count: float | None


@dataclass(frozen=True, slots=True)
class RowVerdict:
    """What is said of a row, when it comes.

    ``score`` is 0 where nothing can be said: a count of 0 or unknown, the first hour.
    ``held``: it alarms and may be a jump: the next row decides. ``jump_before``: the row held
    before this one was a jump of the counter.
    """

    expected: float
    score: float = 0.0
    alert: bool = False
    held: bool = False
    jump_before: bool = False


def step_ms_of(times_ms: Sequence[int]) -> int:
    """Step of a series: the median distance of its first hundred rows, in whole ms.

    Raises `SeriesError` for times that do not rise and for steps not within a second and a day.

    >>> step_ms_of([0, 300_000, 600_000, 1_500_000])
    300000
    """
    gaps = []
    for row, (before, after) in enumerate(pairwise(times_ms[:STEP_ROWS]), start=1):
        _check_rises(row, after - before)
        gaps.append(after - before)
    if not gaps:
        return 300_000
    step_ms = statistics.median_low(gaps)
    if not STEP_MS_MIN <= step_ms <= DAY_MS:
        why = f"the step of the series is {step_ms / 1000:g} s; allowed: a second to a day"
        raise SeriesError(1, why)
    return step_ms


def policy_of_step(step_ms: int, alarms_per_day: float) -> DetectorPolicy:
    """`SINGLE_SERIES` for another step: memories are the same times, in whole buckets.

    A window cannot be shorter than a row: where the step is longer than an hour the windows are
    1, 2, … rows, each longer than the one before.

    >>> [policy_of_step(hours * 3_600_000, 0.1).window_buckets for hours in (1, 2, 6, 24)]
    [(1, 3, 6), (1, 2, 3), (1, 2, 3), (1, 2, 3)]
    >>> policy_of_step(300_000, SINGLE_SERIES.alarms_per_day) == SINGLE_SERIES
    True
    """
    short, middle, long = (max(round(window / step_ms), 1) for window in _WINDOWS_MS)
    middle = max(middle, short + 1)
    return replace(
        SINGLE_SERIES,
        alarms_per_day=alarms_per_day,
        settle_buckets=max(short, _SETTLE_ROWS_MIN),
        window_buckets=(short, middle, max(long, middle + 1)),
        buckets_per_day=max(round(DAY_MS / step_ms), 1),
    )


def increases_of(rows: Iterable[SeriesRow], step_ms: int) -> Iterator[SeriesRow]:
    """Increases of a running total, row by row; unknown where they cannot be known.

    That is the first row, a row after missing ones, and a total that falls: the counter was put
    back, and how many came meanwhile nobody knows.
    """
    before: SeriesRow | None = None
    for row in rows:
        increase = None
        if before is not None and row.count is not None and before.count is not None:
            near = 2 * (row.at_ms - before.at_ms) < 3 * step_ms
            increase = row.count - before.count if near and row.count >= before.count else None
        before = row
        yield SeriesRow(row.at_ms, increase)


class SeriesWatch:
    """Watches one series of a constant step; `take` its rows in their order.

    Rows may be a little early or late (less than half a step, against the row before). Missing
    rows, counts of None and counts below 0 are unknown: time passes, nothing is learnt.
    """

    def __init__(self, step_ms: int, alarms_per_day: float = SINGLE_SERIES.alarms_per_day) -> None:
        self.step_ms = step_ms
        self.policy = policy_of_step(step_ms, alarms_per_day)
        self._detector = SurgeDetector(self.policy, feature=_COUNT)
        self._without_held: SurgeDetector | None = None
        self._row = -1
        self._held_row: int | None = None
        self.missing = 0
        self._at_ms: int | None = None
        self._quiet_until_ms: int | None = None
        self._count_before = 0.0

    @property
    def held_row(self) -> int | None:
        """The row that alarms and waits for the next known one; None: there is none."""
        return self._held_row if self._without_held is not None else None

    def take(self, row: SeriesRow) -> RowVerdict:
        """Judge a row, then learn it. Raises `SeriesError`, and then has learnt nothing."""
        self._pass_missing(row.at_ms)
        count = row.count if row.count is not None and row.count >= 0.0 else None
        if count is None:
            expected = self._detector.expected
            self._skip(1)
            return RowVerdict(expected)
        if self._detector.settles:
            verdict = RowVerdict(self._detector.expected)
            self._detector.learn_one({_COUNT: count})
            return verdict
        jump = self._decide_held(count)
        if jump:
            self._quiet_until_ms = max(row.at_ms + JUMP_QUIET_MS, self._quiet_until_ms or row.at_ms)
        expected, score = self._detector.expected, self._detector.score_one({_COUNT: count})
        held = self._may_be_jump(count, expected, score)
        before = copy.copy(self._detector) if held else None
        self._detector.learn_one({_COUNT: count})
        if before is not None:
            before.skip()
            self._without_held, self._held_row = before, self._row
        self._count_before = count
        # The last hours' evidence may alarm when quiet ends in the middle of a surge's fall.
        alert = score >= 1.0 and count > expected and not held and self._is_loud(row.at_ms)
        if alert:
            self._quiet_until_ms = row.at_ms + QUIET_MS
        return RowVerdict(expected, score, alert, held, jump)

    def _pass_missing(self, at_ms: int) -> None:
        number = self._row + 1
        if self._at_ms is not None:
            gap_ms = at_ms - self._at_ms
            _check_rises(number, gap_ms)
            if 2 * gap_ms < self.step_ms:
                why = f"only {gap_ms / 1000:g} s after the row before; the step of the series is"
                raise SeriesError(number, f"{why} {self.step_ms / 1000:g} s")
            missing = max(round(gap_ms / self.step_ms) - 1, 0)
            if missing:
                self._skip(missing)
                self.missing += missing
        self._row, self._at_ms = number, at_ms

    def _skip(self, buckets: int) -> None:
        self._detector.skip(buckets)
        if self._without_held is not None:
            self._without_held.skip(buckets)

    def _decide_held(self, count: float) -> bool:
        """Whether the held row was a jump: this row is nothing against it."""
        calm, self._without_held = self._without_held, None
        if calm is None or JUMP_RATIO * count > self._count_before:
            return False
        self._detector = calm
        return True

    def _may_be_jump(self, count: float, expected: float, score: float) -> bool:
        return score >= 1.0 and count >= JUMP_RATIO * max(expected, self._count_before, 1.0)

    def _is_loud(self, at_ms: int) -> bool:
        return self._quiet_until_ms is None or at_ms >= self._quiet_until_ms


def _check_rises(row: int, gap_ms: int) -> None:
    if gap_ms < 0:
        raise SeriesError(row, f"time goes back by {-gap_ms / 1000:g} s: sort the rows, in UTC")
    if gap_ms == 0:
        raise SeriesError(row, "the same time as the row before")
