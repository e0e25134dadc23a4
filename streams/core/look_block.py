"""Many runs looked at together: what `look.py` says of each, in columns.

When a hundred thousand creators begin to surge in one minute, a look at each costs more than all
their records. Here the marks are crossed by arithmetic, and the detector is asked once a pass.
"""

from collections.abc import Iterator
from typing import Final, NamedTuple

import numpy as np

from streams.core.block_tables import Floats
from streams.core.buckets import WINDOW_BUCKETS, oldest_bucket_of
from streams.core.rules import NEVER, grown_mark_of
from streams.core.runs import Runs, Stretch
from streams.core.surge_book import Entry
from streams.core.surge_life import SurgeLife, Watched
from streams.core.surge_record import Moment, measured_of, record_of
from streams.core.surges import (
    MODEL_WINDOW_BUCKETS,
    OpenSurge,
    State,
    Surge,
    Trigger,
    new_surge_id,
    severity_of,
)
from streams.core.texts import Ints, Texts

_OPENED: Final[State] = "opened"
_GROWN: Final[State] = "grown"


class Tells(NamedTuple):
    """What is told of runs ``at``: each at its ``nth`` record, the window's events up to it.

    ``mark`` is the total at which each would be told again if it opened now.
    """

    trigger: Trigger
    at: Ints
    nth: Ints
    observed: Ints
    mark: Ints


class LookBlock:
    """Runs of distinct slots, each of its slot's newest bucket; all are counted and placed.

    ``scores`` are those of the slots' newest buckets with them.
    """

    def __init__(
        self, life: SurgeLife, watched: Watched, stretch: Stretch, runs: Runs, scores: Floats
    ) -> None:
        self._life, self._watched, self._stretch = life, watched, stretch
        self._runs, self._scores = runs, scores
        counts = watched.counts
        self._ends = counts.totals_since(runs.slots, oldest_bucket_of(stretch.water))
        self._before = self._ends - runs.counts
        self._counts_before = counts.newest_counts(runs.slots) - runs.counts

    def told(self) -> list[tuple[int, Surge]]:
        """Tell what opens or grows, with the row of its record; a surge's own in their order."""
        told: list[tuple[int, Surge]] = []
        for tells in (*self._by_rule(), *self._by_model()):
            told += self._tell(tells)
        return told

    def _by_rule(self) -> Iterator[Tells]:
        """Yield openings and doublings by the rule: the first of each run, then the second, …."""
        first = self._watched.policy.rule.first_mark
        at = np.arange(len(self._ends))
        while True:
            marks = self._watched.marks.rule[self._runs.slots[at]]
            at, marks = self._reached(at, marks)
            if not len(at):
                return
            nth = np.maximum(marks - self._before[at], 1)
            observed = self._before[at] + nth
            yield Tells("rule", at, nth, observed, np.full(len(at), grown_mark_of(first)))
            self._watched.marks.rule[self._runs.slots[at]] = grown_mark_of(marks)

    def _by_model(self) -> Iterator[Tells]:
        """Yield openings by the detector, then doublings of the rolling total since."""
        marks, slots = self._watched.marks, self._runs.slots
        at = self._alarming()
        if len(at):
            nth = self._alarms_at(at)
            mark = self._before[at] + nth
            marks.quiet_until[slots[at]] = self._stretch.water + WINDOW_BUCKETS
            yield self._by_model_at(at, nth, mark)
            marks.model[slots[at]] = grown_mark_of(mark)
        at = np.arange(len(slots))
        while True:
            at, mark = self._reached(at, marks.model[slots[at]])
            if not len(at):
                return
            yield self._by_model_at(at, np.maximum(mark - self._before[at], 1), mark)
            marks.model[slots[at]] = grown_mark_of(mark)

    def _reached(self, at: Ints, marks: Ints) -> tuple[Ints, Ints]:
        """Those runs whose totals reach their marks."""
        reached = marks <= self._ends[at]
        return at[reached], marks[reached]

    def _alarming(self) -> Ints:
        """Runs in which the detector alarms while it has no open surge of the slot."""
        marks, slots = self._watched.marks, self._runs.slots
        alarming = self._scores >= 1.0
        alarming &= marks.model[slots] == NEVER
        alarming &= marks.quiet_until[slots] <= self._stretch.water
        return np.flatnonzero(alarming)

    def _alarms_at(self, at: Ints) -> Ints:
        """Which of the run's records (from 1) the detector alarms at."""
        runs, low = self._runs, self._counts_before[at]
        nth = np.ones(len(at), dtype=np.int64)
        long = np.flatnonzero(runs.counts[at] > 1)
        if len(long):
            slots, opened = runs.slots[at[long]], runs.buckets[at[long]]
            high = low[long] + runs.counts[at[long]]
            found = self._watched.detector.alarm_counts(slots, low[long], high, opened)
            nth[long] = found - low[long]
        return nth

    def _by_model_at(self, at: Ints, nth: Ints, mark: Ints) -> Tells:
        oldest = self._stretch.water - MODEL_WINDOW_BUCKETS + 1
        unseen = self._runs.counts[at] - nth
        unseen *= self._runs.buckets[at] >= oldest
        observed = self._watched.counts.totals_since(self._runs.slots[at], oldest) - unseen
        return Tells("model", at, nth, observed, grown_mark_of(mark))

    def _tell(self, tells: Tells) -> Iterator[tuple[int, Surge]]:
        """Tell each run's surge of this trigger."""
        stretch, runs, policy = self._stretch, self._runs, self._watched.policy
        slots, buckets = runs.slots[tells.at], runs.buckets[tells.at]
        counts = self._counts_before[tells.at] + tells.nth
        columns = self._watched.detector.score(slots, counts, opened=buckets)
        window = WINDOW_BUCKETS if tells.trigger == "rule" else MODEL_WINDOW_BUCKETS
        rows = self._rows_of(tells)
        for row, (state, surge), at_ms, seen_ms, measured in zip(
            rows.tolist(),
            self._surges_of(tells, slots, buckets, rows),
            stretch.at_ms[rows].tolist(),
            stretch.seen_ms[rows].tolist(),
            measured_of(columns, tells.observed, window),
            strict=True,
        ):
            yield row, record_of(policy, surge, state, Moment(at_ms, seen_ms), measured)

    def _surges_of(
        self, tells: Tells, slots: Ints, buckets: Ints, rows: Ints
    ) -> Iterator[tuple[State, OpenSurge]]:
        """Each run's surge of this trigger: it opens, or has grown."""
        trigger, policy, marks = tells.trigger, self._watched.policy, self._watched.marks
        life, book, severity = self._life, self._life.book, severity_of(tells.trigger)
        late = np.where(buckets < self._stretch.water, tells.nth, 0)
        quiet = marks.quiet_until[slots] if trigger == "model" else np.zeros_like(slots)
        keys = texts_of(self._watched.keys.names_of(slots))
        creators = self._creators_of(rows, keys)
        columns = (slots, buckets, late, tells.mark, quiet, self._stretch.at_ms[rows])
        every = zip(keys, creators, *(column.tolist() for column in columns), strict=True)
        for key, creator, slot, bucket, unsaid, mark, quiet_until, at_ms in every:
            surge, state = book.open_of(slot, trigger), _GROWN
            if surge is None:
                state = _OPENED
                new_id = new_surge_id(policy.kind, trigger, key, at_ms, book.of(slot))
                post = key if policy.name == "posts" else None
                surge = OpenSurge(new_id, trigger, key, creator, post, at_ms, severity, mark)
                life.open(Entry(slot, surge))
                # the run is taken as late afterwards; it is not late for what it opened itself
                surge.late_records = -unsaid
            else:
                surge.mark = grown_mark_of(surge.mark)
            said = unsaid if unsaid and surge.speaks_of(bucket) else 0
            surge.late_told = surge.late_records + said
            surge.quiet_until = quiet_until
            book.touch(surge)
            yield state, surge

    def _rows_of(self, tells: Tells) -> Ints:
        order, begins = self._runs.order, self._runs.begins
        assert order is not None, "placed"
        assert begins is not None, "placed"
        rows: Ints = order[begins[tells.at] + tells.nth - 1]
        return rows

    def _creators_of(self, rows: Ints, keys: list[str]) -> list[str]:
        if self._watched.policy.name != "posts":
            return keys
        return texts_of(self._stretch.creator_ids.take(self._stretch.indexes[rows]))


def texts_of(texts: Texts) -> list[str]:
    """These texts, which may be a few of a large buffer."""
    joined, ends = texts.joined(), np.cumsum(texts.lengths)
    spans = zip((ends - texts.lengths).tolist(), ends.tolist(), strict=True)
    return [joined[begin:end].decode() for begin, end in spans]
