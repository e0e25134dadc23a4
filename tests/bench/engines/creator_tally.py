"""What engines that keep a state for each creator keep: its 5-minute counts and rolling total.

As an object, or packed for engines whose state is bytes. Records come in the order of time.
"""

import struct
from typing import Final

from tests.bench.engines.tally_dict import BUCKET_MS, WINDOW_BUCKETS

_PAIR: Final = struct.Struct("<II")
"""Bucket and count, oldest first; before them the rolling total and a zero."""


class CreatorTally:
    """Counts of one creator; buckets that left the 24 hours are taken off when it is met again."""

    __slots__ = ("counts", "total")

    def __init__(self) -> None:
        self.total = 0
        self.counts: dict[int, int] = {}

    def take(self, at_ms: int) -> int:
        """Count one follow; the total of the 24 hours that end with it."""
        bucket, counts = at_ms // BUCKET_MS, self.counts
        found = counts.get(bucket)
        if found is None:
            for old in [one for one in counts if one <= bucket - WINDOW_BUCKETS]:
                self.total -= counts.pop(old)
            found = 0
        counts[bucket] = found + 1
        self.total += 1
        return self.total


def take_packed(state: bytes | None, bucket: int) -> tuple[bytes, int]:
    """Count one follow; the new state and the rolling total.

    >>> take_packed(take_packed(None, 7)[0], 7)[1]
    2
    """
    if state is None:
        return _PAIR.pack(1, 0) + _PAIR.pack(bucket, 1), 1
    total = total_of(state) + 1
    newest, count = _PAIR.unpack_from(state, len(state) - _PAIR.size)
    if newest == bucket:
        return _PAIR.pack(total, 0) + state[8:-8] + _PAIR.pack(bucket, count + 1), total
    kept = state[8:]
    while kept:
        oldest, count = _PAIR.unpack_from(kept)
        if oldest > bucket - WINDOW_BUCKETS:
            break
        kept, total = kept[8:], total - count
    return _PAIR.pack(total, 0) + kept + _PAIR.pack(bucket, 1), total


def total_of(state: bytes) -> int:
    """Rolling total in a packed state."""
    return int.from_bytes(state[:4], "little")
