"""The count in dictionaries: creator and 5 minutes, rolling 24 hours, threshold, by partition.

The quickest form that was found: one dictionary for each bucket, so that no key is a tuple, and
whole buckets are taken off the totals when they leave the 24 hours.
"""

from collections.abc import Sequence

import msgspec

BUCKET_MS = 300_000
WINDOW_BUCKETS = 288


class Follow(msgspec.Struct, gc=False):
    """The whole record, as the topic has it."""

    creator_id: str
    at_ms: int
    follower_id: str
    kind: str = "follow"
    event_id: str | None = None


decode = msgspec.json.Decoder(Follow).decode


class DictTally:
    """Counts of one partition."""

    def __init__(self, threshold: int) -> None:
        self.total = 0
        self.crossed: dict[str, int] = {}
        self.totals: dict[str, int] = {}
        self._threshold = threshold
        self._buckets: dict[int, dict[str, int]] = {}
        self._open: dict[str, int] = {}
        self._end_ms = 0

    def take(self, values: Sequence[bytes]) -> None:
        """Decode and count."""
        totals, opened, threshold, end_ms = self.totals, self._open, self._threshold, self._end_ms
        for value in values:
            follow = decode(value)
            creator = follow.creator_id
            if not end_ms - BUCKET_MS <= follow.at_ms < end_ms:
                opened = self._turn(follow.at_ms // BUCKET_MS)
                end_ms = self._end_ms
            opened[creator] = opened.get(creator, 0) + 1
            totals[creator] = total = totals.get(creator, 0) + 1
            if total == threshold:
                self.crossed[creator] = follow.at_ms
        self.total += len(values)

    def _turn(self, bucket: int) -> dict[str, int]:
        """Go to a bucket; take off what has left the 24 hours when it is the newest."""
        if bucket not in self._buckets:
            self._buckets[bucket] = {}
            for old in [one for one in self._buckets if one <= bucket - WINDOW_BUCKETS]:
                for creator, count in self._buckets.pop(old).items():
                    self.totals[creator] -= count
        self._open = self._buckets[bucket]
        self._end_ms = (bucket + 1) * BUCKET_MS
        return self._open


def answers_of(tallies: Sequence[DictTally]) -> dict[str, object]:
    """Total, largest and crossings of all partitions."""
    return {
        "total": sum(tally.total for tally in tallies),
        "largest": max(
            (max(tally.totals.values()) for tally in tallies if tally.totals), default=0
        ),
        "crossed": {creator: at for tally in tallies for creator, at in tally.crossed.items()},
    }
