"""Counts of keys that nobody watches: unfollows, and comments by language."""

import numpy as np

from streams.core.counting.table import Table
from streams.core.records.runs import Stretch, runs_of


class Tally(Table):
    """A table that only counts."""

    def count(self, stretch: Stretch) -> None:
        """Count every record of a stretch in its bucket."""
        for runs in runs_of(stretch):
            slots, buckets, added = runs.slots, runs.buckets, runs.counts
            self.mark_changed(slots)
            newest = self.counts.newest[slots]
            newer, same = newest < buckets, newest == buckets
            self.counts.begin_bucket(slots[newer], buckets[newer], added[newer])
            self.counts.add_to_newest(slots[same], added[same])
            for row in np.flatnonzero(newest > buckets).tolist():
                self.counts.add_earlier(int(slots[row]), int(buckets[row]), int(added[row]))
