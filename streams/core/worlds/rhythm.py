"""The rhythm of the named worlds: hour of the local day, weekday and weekend.

On weekdays 80 % up and down around 20 o'clock local time, on weekends 60 % around 17 o'clock
on a higher level; the mean over a week is 1.
"""

import functools
import math
from typing import Final

from streams.core.time.buckets import BUCKET_MS
from streams.core.worlds.platform import DAY_MS, HOUR_MS, UTC_OFFSET_HOURS

WEEK_BUCKETS: Final = 7 * DAY_MS // BUCKET_MS
_EPOCH_WEEKDAY: Final = 3
"""1970-01-01 was a Thursday; Monday is 0."""


@functools.cache
def local_activity_of(week_bucket: int) -> float:
    """Activity in a bucket of the local week, 1 on average; bucket 0 begins Monday 0 o'clock.

    >>> local_activity_of(20 * 12) > 8 * local_activity_of(8 * 12)
    True
    """
    day, at_ms = divmod((week_bucket % WEEK_BUCKETS) * BUCKET_MS + BUCKET_MS // 2, DAY_MS)
    hour = at_ms / HOUR_MS
    if day >= 5:
        return 1.125 * (1 + 0.6 * math.cos((hour - 17) * math.pi / 12))
    return 0.95 * (1 + 0.8 * math.cos((hour - 20) * math.pi / 12))


def activity_of(bucket: int, clock_shift_hours: tuple[int, ...]) -> list[float]:
    """Activity of each of REGIONS in a bucket, where some have put their clocks forward."""
    week = bucket + _EPOCH_WEEKDAY * DAY_MS // BUCKET_MS
    per_hour = HOUR_MS // BUCKET_MS
    return [
        local_activity_of((week + (offset + shift) * per_hour) % WEEK_BUCKETS)
        for offset, shift in zip(UTC_OFFSET_HOURS, clock_shift_hours, strict=True)
    ]
