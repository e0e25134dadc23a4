"""What engines that keep a state for each creator keep: its 5-minute counts and rolling total."""

from tests.bench.engines.tally_dict import BUCKET_MS, WINDOW_BUCKETS


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
