"""Event time in whole milliseconds, cut into half-open buckets [start_ms, end_ms)."""

from typing import Final, NewType

EventTimeMs = NewType("EventTimeMs", int)
"""Event time, whole milliseconds since 1970-01-01 UTC."""
BucketNo = NewType("BucketNo", int)
"""Number of a bucket: how many whole buckets lie between 1970-01-01 UTC and its start."""

BUCKET_MS: Final = 300_000
"""Length of a bucket: five minutes."""
WINDOW_BUCKETS: Final = 288
"""Buckets in the rolling 24 hours: the open one and the 287 before it."""


def bucket_of(at_ms: int) -> BucketNo:
    """Bucket that an event time belongs to; an event on the edge belongs to the later one.

    >>> bucket_of(299_999), bucket_of(300_000)
    (0, 1)
    """
    return BucketNo(at_ms // BUCKET_MS)


def start_ms_of(bucket: int) -> EventTimeMs:
    """First millisecond of a bucket.

    >>> start_ms_of(2)
    600000
    """
    return EventTimeMs(bucket * BUCKET_MS)


def oldest_bucket_of(watermark_bucket: int) -> BucketNo:
    """Oldest bucket that still counts when the watermark stands in ``watermark_bucket``.

    >>> oldest_bucket_of(1000)
    713
    """
    return BucketNo(watermark_bucket - WINDOW_BUCKETS + 1)
