"""When a surge is a page: far rarer than a notice, and large enough to matter.

Evidence and events of the last hour only grow with a bucket's records, so the first record at
which both suffice is found by bisection, and is the same however the records were cut.
"""

from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from streams.core.detection.block_maths import ScoreColumns
from streams.core.detection.block_tables import Floats
from streams.core.detection.key_detector import KeyDetector
from streams.core.detection.rounding import all_rounded
from streams.core.records.texts import Ints
from streams.core.surges.rules import NEVER
from streams.core.surges.surge import MODEL_WINDOW_BUCKETS

_BRIEF_RARER: Final = 10.0
"""So many times rarer must a page be that comes of a burst: the rarest of what passes within half
an hour is mostly that, and a surge goes on."""
_EVENTS_MAX: Final = 1e15
"""More are expected nowhere; a float holds them exactly."""


@dataclass(frozen=True, slots=True)
class PagePolicy:
    """A surge by the model becomes a page at a record with all three.

    ``bar``: the least score, how many times rarer than a notice; of a burst ten times as much.
    ``excess_min``: the least events of the last hour above the expected ones. ``ratio_min``: and
    over them. Of a key that has not been known for an hour nothing is expected: all its events are
    excess, and ratio enough.
    """

    bar: float
    excess_min: int
    ratio_min: float

    def reached(self, columns: ScoreColumns) -> NDArray[np.bool_]:
        """Which scores are rare enough."""
        bar: Floats | float = self.bar
        if columns.is_brief is not None:
            bar = np.where(columns.is_brief, _BRIEF_RARER * bar, bar)
        found: NDArray[np.bool_] = columns.score >= bar
        return found

    def least_events(self, columns: ScoreColumns) -> Ints:
        """Events of the last hour that each key's page needs."""
        window = MODEL_WINDOW_BUCKETS
        known = (columns.history_buckets >= window) & ~np.isnan(columns.expected)
        usual = np.zeros(len(known))
        usual[known] = all_rounded(columns.expected[known] * window)
        least = np.ceil(np.maximum(usual + self.excess_min, usual * self.ratio_min))
        events: Ints = np.minimum(least, _EVENTS_MAX).astype(np.int64)
        return events


class Pending(NamedTuple):
    """Runs of keys' newest buckets ``opened``: ``before`` counts stood in them, ``added`` came.

    ``observed``: events of the last hour before the run; ``lasting``: whether the run's are of it.
    """

    slots: Ints
    opened: Ints
    before: Ints
    added: Ints
    observed: Ints
    lasting: NDArray[np.bool_]
    lift: float = 1.0
    """Of the wave, at which they must be pages."""


def page_records(policy: PagePolicy, detector: KeyDetector[Any], runs: Pending) -> Ints:
    """Which record (from 1) of each run makes it a page; NEVER: none."""
    found = np.full(len(runs.slots), NEVER)
    counts, lift = runs.before + runs.added, runs.lift
    columns = detector.score(runs.slots, counts, opened=runs.opened, lift=lift)
    high = np.maximum(policy.least_events(columns) - runs.observed, 1)
    enough = policy.reached(columns) & (high <= np.where(runs.lasting, runs.added, 1))
    rows = enough.nonzero()[0]
    low, high = high[rows] - 1, runs.added[rows]
    while (wide := (high - low > 1).nonzero()[0]).size:
        at, middle = rows[wide], (low[wide] + high[wide]) // 2
        counts = runs.before[at] + middle
        columns = detector.score(runs.slots[at], counts, opened=runs.opened[at], lift=lift)
        reached = policy.reached(columns)
        high[wide[reached]], low[wide[~reached]] = middle[reached], middle[~reached]
    found[rows] = high
    return found
