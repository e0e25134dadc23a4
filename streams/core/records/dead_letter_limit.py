"""When a topic is too broken to be drained in silence."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class DeadLetterLimit:
    """Limits on unusable records: a share of the latest ``window``, and how many in a row."""

    share_max: float
    window: int
    row_max: int


class DeadLetterCount:
    """Counts usable and unusable records of one partition, a chunk at a time."""

    def __init__(self, limit: DeadLetterLimit) -> None:
        self._limit = limit
        self._chunks: deque[tuple[int, int]] = deque()
        self._records = 0
        self._dead = 0
        self._row = 0

    def take(self, offsets: Sequence[int], dead_offsets: Sequence[int]) -> str | None:
        """Take a chunk's offsets and those of its dead records; what is broken, None if nothing.

        >>> count = DeadLetterCount(DeadLetterLimit(share_max=0.5, window=4, row_max=3))
        >>> count.take(range(4), [1, 2])
        >>> count.take(range(4, 7), [4, 5, 6])
        '3 records in a row cannot be used'
        """
        longest = self._longest_row(offsets, dead_offsets)
        self._chunks.append((len(offsets), len(dead_offsets)))
        self._records += len(offsets)
        self._dead += len(dead_offsets)
        while self._records - self._chunks[0][0] >= self._limit.window:
            records, dead = self._chunks.popleft()
            self._records -= records
            self._dead -= dead
        if longest >= self._limit.row_max:
            return f"{longest} records in a row cannot be used"
        if self._records >= self._limit.window and (
            self._dead > self._limit.share_max * self._records
        ):
            return f"{self._dead} of the latest {self._records} records cannot be used"
        return None

    def _longest_row(self, offsets: Sequence[int], dead_offsets: Sequence[int]) -> int:
        if not dead_offsets:
            self._row = 0 if len(offsets) else self._row
            return 0
        dead, longest = set(dead_offsets), 0
        for offset in offsets:
            self._row = self._row + 1 if offset in dead else 0
            longest = max(longest, self._row)
        return longest
