"""Many runs looked at together: what `look.py` says of each, in columns.

When a hundred thousand creators begin to surge in one minute, a look at each costs more than all
their records. Here the marks are crossed by arithmetic, and the detector is asked once a pass.
"""

from collections.abc import Iterator, Sequence
from itertools import chain, repeat
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from streams.core.detection.block_tables import Floats
from streams.core.records.runs import Runs, Stretch
from streams.core.records.texts import Ints, Texts
from streams.core.surges.life import SurgeLife, Watched
from streams.core.surges.paging import Pending, page_records
from streams.core.surges.record import (
    MeasuredColumns,
    Moment,
    Openings,
    measured_columns_of,
    record_of,
    records_of_opened,
)
from streams.core.surges.rules import NEVER, again_of, grown_mark_of, next_mark_of
from streams.core.surges.surge import (
    MODEL_WINDOW_BUCKETS,
    Happening,
    Measured,
    OpenSurge,
    Severity,
    Trigger,
    new_surge_ids,
    severity_of,
)
from streams.core.time.buckets import WINDOW_BUCKETS, oldest_bucket_of


class Tells(NamedTuple):
    """What is told of runs ``at``: each at its ``nth`` record, the window's events up to it.

    ``mark`` is the total at which each would be told again if it opened now, ``paged`` whether it
    becomes a page. ``doubles``: their totals have doubled; else they become pages and no more.
    """

    trigger: Trigger
    at: Ints
    nth: Ints
    observed: Ints
    mark: Ints
    paged: NDArray[np.bool_]
    doubles: bool = True

    def take(self, rows: NDArray[np.bool_]) -> "Tells":
        """Only these."""
        trigger, at, nth, observed, mark, paged, doubles = self
        at, nth, observed, mark = at[rows], nth[rows], observed[rows], mark[rows]
        return Tells(trigger, at, nth, observed, mark, paged[rows], doubles)


class LookBlock:
    """Runs of distinct slots, each of its slot's newest bucket; all are counted and placed.

    ``scores`` are those of the slots' newest buckets with them, at this ``lift`` of the wave.
    """

    def __init__(
        self,
        seat: tuple[SurgeLife, Watched],
        stretch: Stretch,
        runs: Runs,
        scores: Floats,
        lift: float = 1.0,
    ) -> None:
        self._life, self._watched = seat
        self._stretch, self._runs, self._scores, self._lift = stretch, runs, scores, lift
        counts = self._watched.counts
        self._ends = counts.totals_since(runs.slots, oldest_bucket_of(stretch.water))
        self._before = self._ends - runs.counts
        self._counts_before = counts.newest_counts(runs.slots) - runs.counts

    def told(self) -> list[Happening]:
        """Tell what opens or grows, with its record's row in the chunk; a surge's own in order."""
        told: list[Happening] = []
        for tells in (*self._by_rule(), *self._by_model()):
            told += self._tell(tells)
        return told

    def _by_rule(self) -> Iterator[Tells]:
        """Yield openings and doublings by the rule: the first of each run, then the second, …."""
        first, marks = self._watched.policy.rule.first_mark, self._watched.marks
        at = np.arange(len(self._ends))
        while True:
            at, totals = self._reached(at, marks.rule[self._runs.slots[at]])
            if not len(at):
                return
            nth = np.maximum(totals - self._before[at], 1)
            observed = self._before[at] + nth
            mark = np.full(len(at), grown_mark_of(first))
            yield Tells("rule", at, nth, observed, mark, np.zeros(len(at), dtype=np.bool_))
            marks.pass_rule(self._runs.slots[at], totals)

    def _by_model(self) -> Iterator[Tells]:
        """Yield openings by the detector, doublings of the rolling total since, and pages."""
        marks, slots = self._watched.marks, self._runs.slots
        pages = self._pages()
        nth = self._openings(pages)
        at = np.flatnonzero(nth < NEVER)
        if len(at):
            mark = self._before[at] + nth[at]
            marks.quiet_until[slots[at]] = self._stretch.water + WINDOW_BUCKETS
            paged = pages[at] == nth[at]
            yield self._by_model_at(at, nth[at], mark, pages)
            marks.open_model(slots[at], mark, paged)
        at = np.arange(len(slots))
        while True:
            at, mark = self._reached(at, marks.model[slots[at]])
            if not len(at):
                break
            doubled = np.maximum(mark - self._before[at], 1)
            early = pages[at] < doubled
            if early.any():
                yield self._pages_at(at[early], pages)
            yield self._by_model_at(at, doubled, mark, pages)
            marks.pass_model(slots[at], mark)
        left = np.flatnonzero(pages < NEVER)
        if len(left):
            yield self._pages_at(left, pages)

    def _pages(self) -> Ints:
        """Which of each run's records (from 1) makes the model's surge a page; NEVER: none."""
        pages, policy = np.full(len(self._ends), NEVER), self._watched.policy.page
        if policy is None:
            return pages
        paged = self._watched.marks.paged[self._runs.slots]
        at = np.flatnonzero((self._scores >= policy.bar) & ~paged)
        if len(at):
            slots, opened, added = (column[at] for column in self._runs[:3])
            oldest = self._stretch.water - MODEL_WINDOW_BUCKETS + 1
            lasting = opened >= oldest
            observed = self._watched.counts.totals_since(slots, oldest) - added * lasting
            before = self._counts_before[at]
            runs = Pending(slots, opened, before, added, observed, lasting, self._lift)
            pages[at] = page_records(policy, self._watched.detector, runs)
        return pages

    def _openings(self, pages: Ints) -> Ints:
        """At which of each run's records the model opens a surge; NEVER: at none.

        A page does so while the model is quiet.
        """
        is_open = self._watched.marks.model[self._runs.slots] < NEVER
        nth = np.where(is_open, NEVER, pages)
        at = self._alarming()
        if len(at):
            nth[at] = self._alarms_at(at)
        return nth

    def _pages_at(self, at: Ints, pages: Ints) -> Tells:
        """These runs' surges become pages."""
        nth = pages[at]
        return self._by_model_at(at, nth, self._before[at] + nth, pages)._replace(doubles=False)

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
            detector = self._watched.detector
            found = detector.alarm_counts(slots, low[long], high, opened, self._lift)
            nth[long] = found - low[long]
        return nth

    def _by_model_at(self, at: Ints, nth: Ints, mark: Ints, pages: Ints) -> Tells:
        paged = pages[at] == nth
        pages[at[paged]] = NEVER
        self._watched.marks.paged[self._runs.slots[at[paged]]] = True
        oldest = self._stretch.water - MODEL_WINDOW_BUCKETS + 1
        unseen = self._runs.counts[at] - nth
        unseen *= self._runs.buckets[at] >= oldest
        observed = self._watched.counts.totals_since(self._runs.slots[at], oldest) - unseen
        return Tells("model", at, nth, observed, grown_mark_of(mark), paged)

    def _tell(self, tells: Tells) -> Iterator[Happening]:
        """Tell each run's surge of this trigger: it opens, or has grown."""
        found = self._life.book.open_of_all(self._runs.slots[tells.at].tolist(), tells.trigger)
        if not any(found):
            return self._open(tells)
        grown = np.array([surge is not None for surge in found])
        surges = [surge for surge in found if surge is not None]
        return chain(self._open(tells.take(~grown)), self._grow(tells.take(grown), surges))

    def _open(self, tells: Tells) -> Iterator[Happening]:
        """Open a surge of each run."""
        if not len(tells.at):
            return iter(())
        keys, opened = self._openings_of(tells)
        slots, trigger = self._runs.slots[tells.at], tells.trigger
        quiet = self._watched.marks.quiet_until[slots]
        # the run is taken as late afterwards; it is not late for what it opened itself
        late = np.where(self._buckets_of(tells) < self._stretch.water, -tells.nth, 0)
        surges = map(
            OpenSurge,
            opened.surge_ids,
            repeat(trigger),
            keys,
            opened.creator_ids,
            opened.post_ids,
            opened.at_ms,
            opened.severities,
            tells.mark.tolist(),
            repeat(0),  # revision
            quiet.tolist() if trigger == "model" else repeat(0),
            late.tolist(),
            repeat(0),  # late_told
            repeat(None),  # closing
            [again_of(is_page=one == "page") for one in opened.severities],
            [
                at_ms if one == "page" else 0
                for one, at_ms in zip(opened.severities, opened.at_ms, strict=True)
            ],
        )
        self._life.open_all(trigger, slots.tolist(), [*surges])
        of_ids = zip(opened.surge_ids, opened.severities, strict=True)
        self._life.book.paged[trigger] += [one for one, severity in of_ids if severity == "page"]
        seen = self._watched.detector.seen_over_asked
        records = records_of_opened(self._watched.policy, opened, self._measured(tells), seen)
        rows = self._stretch.indexes[self._rows_of(tells)]
        return zip(rows.tolist(), records, strict=True)

    def _openings_of(self, tells: Tells) -> tuple[list[str], Openings]:
        """What opens, and its keys."""
        stretch, trigger = self._stretch, tells.trigger
        slots, rows = self._runs.slots[tells.at], self._rows_of(tells)
        keys, at_ms = texts_of(self._watched.keys.names_of(slots)), stretch.at_ms[rows].tolist()
        creators, posts = keys, list[str | None]([None]) * len(keys)
        if self._watched.policy.name == "posts":
            creators = texts_of(stretch.creator_ids.take(stretch.indexes[rows]))
            posts = [*keys]
        ids = new_surge_ids(
            self._watched.policy.subject,
            trigger,
            keys,
            at_ms,
            self._life.book.of_all(slots.tolist()),
        )
        seen_ms = stretch.seen_ms[rows].tolist()
        severities: list[Severity] = [
            "page" if is_page else severity_of(trigger) for is_page in tells.paged.tolist()
        ]
        return keys, Openings(trigger, ids, creators, posts, at_ms, seen_ms, severities)

    def _grow(self, tells: Tells, surges: Sequence[OpenSurge]) -> Iterator[Happening]:
        """Tell that surges have grown."""
        stretch, rows, buckets = self._stretch, self._rows_of(tells), self._buckets_of(tells)
        late = np.where(buckets < stretch.water, tells.nth, 0)
        quiet = self._watched.marks.quiet_until[self._runs.slots[tells.at]].tolist()
        moments = map(Moment, stretch.at_ms[rows].tolist(), stretch.seen_ms[rows].tolist())
        measured = map(Measured, *self._measured(tells)[:5])
        columns = (stretch.indexes[rows].tolist(), buckets.tolist(), late.tolist(), quiet)
        paged, seen = tells.paged.tolist(), self._watched.detector.seen_over_asked
        for surge, row, bucket, unsaid, quiet_until, is_page, moment, told in zip(
            surges, *columns, paged, moments, measured, strict=True
        ):
            surge.late_told = surge.late_records + (unsaid if surge.speaks_of(bucket) else 0)
            if tells.doubles:
                surge.mark, surge.again = next_mark_of(surge.mark, surge.again)
            if is_page:
                surge.severity = "page"
                surge.paged_ms = moment.at_ms
                self._life.book.paged[tells.trigger].append(surge.surge_id)
            if tells.trigger == "model":
                surge.quiet_until = quiet_until
            self._life.book.touch(surge)
            yield row, record_of(self._watched.policy, surge, "grown", moment, told, seen)

    def _measured(self, tells: Tells) -> MeasuredColumns:
        slots, buckets = self._runs.slots[tells.at], self._buckets_of(tells)
        counts = self._counts_before[tells.at] + tells.nth
        columns = self._watched.detector.score(slots, counts, opened=buckets)
        window = WINDOW_BUCKETS if tells.trigger == "rule" else MODEL_WINDOW_BUCKETS
        return measured_columns_of(columns, tells.observed, window)

    def _buckets_of(self, tells: Tells) -> Ints:
        return self._runs.buckets[tells.at]

    def _rows_of(self, tells: Tells) -> Ints:
        order, begins = self._runs.order, self._runs.begins
        assert order is not None, "placed"
        assert begins is not None, "placed"
        rows: Ints = order[begins[tells.at] + tells.nth - 1]
        return rows


def texts_of(texts: Texts) -> list[str]:
    """These texts, which may be a few of a large buffer."""
    joined, ends = texts.joined(), np.cumsum(texts.lengths)
    spans = zip((ends - texts.lengths).tolist(), ends.tolist(), strict=True)
    return [joined[begin:end].decode() for begin, end in spans]
