"""Openings by a rule, from plain rolling sums of a day, key by key."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from streams.core.time.buckets import WINDOW_BUCKETS
from tests.workers import Buckets

_CLOSE_SHARE = 0.8
"""README, settings: an open surge is over when the sum falls below this share of the rule."""


@dataclass(slots=True)
class _Window:
    """One key's sum of the day that begins with bucket `oldest`."""

    oldest: int
    total: int = 0
    is_open: bool = False


class RollingRule:
    """`threshold` events in the last 288 buckets open a surge, at that record's time."""

    def __init__(self, threshold: int) -> None:
        self.openings: dict[str, set[int]] = defaultdict(set)
        self._threshold = threshold
        self._windows: dict[str, _Window] = {}

    def take(self, key: str, at_ms: int, row: Buckets, water: int) -> None:
        """Count one event more of a key, where the watermark stands in bucket `water`.

        `row` has the key's counts by bucket, this event's included.
        """
        oldest = water - WINDOW_BUCKETS + 1
        window = self._windows.get(key)
        if window is None:
            window = self._windows[key] = _Window(oldest)
        elif window.oldest < oldest:
            window.total -= _between(row, window.oldest, oldest)
            window.oldest = oldest
            if window.total < _CLOSE_SHARE * self._threshold:
                window.is_open = False
        window.total += 1
        if window.total >= self._threshold and not window.is_open:
            window.is_open = True
            self.openings[key].add(at_ms)


def _between(row: Mapping[int, int], begin: int, end: int) -> int:
    """Events in buckets begin <= bucket < end."""
    if end - begin < len(row):
        return sum(row.get(bucket, 0) for bucket in range(begin, end))
    return sum(count for bucket, count in row.items() if begin <= bucket < end)
