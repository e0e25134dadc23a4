"""A look at one run of records: which of them open a surge or let it grow, told at that record."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from streams.core.detection.block_maths import ScoreColumns
from streams.core.records.runs import Stretch
from streams.core.records.texts import Ints
from streams.core.surges.book import Entry
from streams.core.surges.life import SurgeLife, Watched
from streams.core.surges.paging import Pending, page_records
from streams.core.surges.record import Moment, measured_of, record_of
from streams.core.surges.rules import NEVER, again_of, grown_mark_of, next_mark_of
from streams.core.surges.surge import (
    MODEL_WINDOW_BUCKETS,
    OpenSurge,
    State,
    Surge,
    Trigger,
    new_surge_id,
    severity_of,
)
from streams.core.time.buckets import WINDOW_BUCKETS


class Run(NamedTuple):
    """Records ``rows`` of a stretch, of one slot and bucket; all are counted.

    ``before`` is the slot's rolling total without them, ``score`` that of its newest bucket with
    them, at this ``lift`` of the wave.
    """

    slot: int
    bucket: int
    rows: Ints
    before: int
    score: float
    lift: float = 1.0


class Look:
    """One run looked at record by record."""

    def __init__(self, life: SurgeLife, watched: Watched, stretch: Stretch, run: Run) -> None:
        self._life, self._watched, self._stretch = life, watched, stretch
        self._slot, self._bucket, self._rows, self._before, self._score, self._lift = run
        counts = watched.counts
        ends = int(counts.newest_counts(np.array([run.slot]))[0])
        self._on_time = run.bucket == int(counts.newest[run.slot])
        self._count_before = ends - len(run.rows) if self._on_time else ends

    def by_rule(self) -> Iterator[tuple[int, Surge]]:
        """Tell openings and doublings by the rule, each at the very record."""
        marks = self._watched.marks.rule
        while (mark := int(marks[self._slot])) <= self._before + len(self._rows):
            nth = max(mark - self._before, 1)
            yield self._tell("rule", nth, self._watched.policy.rule.first_mark)

    def by_model(self) -> Iterator[tuple[int, Surge]]:
        """Tell the opening by the detector, doublings of the rolling total, and the page."""
        marks, slot = self._watched.marks, self._slot
        page = self._page()
        if int(marks.model[slot]) == NEVER:
            nth = self._alarm() or page
            if nth is None:
                return
            mark = self._before + nth
            marks.quiet_until[slot] = self._stretch.water + WINDOW_BUCKETS
            yield self._tell("model", nth, mark, is_page=page == nth)
        while (mark := int(marks.model[slot])) <= self._before + len(self._rows):
            nth = max(mark - self._before, 1)
            if page is not None and page < nth and not marks.paged[slot]:
                yield self._tell("model", page, None, is_page=True)
            yield self._tell("model", nth, mark, is_page=page == nth)
        if page is not None and not marks.paged[slot]:
            yield self._tell("model", page, None, is_page=True)

    def _page(self) -> int | None:
        """Which of the run's records (from 1) makes the model's surge a page."""
        policy, slot = self._watched.policy.page, self._slot
        if policy is None or not self._on_time or self._score < policy.bar:
            return None
        if self._watched.marks.paged[slot]:
            return None
        oldest = self._stretch.water - MODEL_WINDOW_BUCKETS + 1
        lasting, added = self._bucket >= oldest, len(self._rows)
        observed = self._watched.counts.total_since(slot, oldest) - lasting * added
        columns = (slot, self._bucket, self._count_before, added, observed)
        slots, opened, before, came, seen = (np.array([one]) for one in columns)
        lasts = np.array([lasting])
        run = Pending(slots, opened, before, came, seen, lasts, self._lift)
        nth = int(page_records(policy, self._watched.detector, run)[0])
        return None if nth == NEVER else nth

    def _alarm(self) -> int | None:
        """Which of the run's records (from 1) the detector alarms at."""
        quiet = int(self._watched.marks.quiet_until[self._slot]) > self._stretch.water
        if not self._on_time or quiet or self._score < 1:
            return None
        low = self._count_before
        high = low + len(self._rows)
        detector = self._watched.detector
        return detector.alarm_count(self._slot, low, high, self._bucket, self._lift) - low

    def _tell(
        self, trigger: Trigger, nth: int, mark: int | None, *, is_page: bool = False
    ) -> tuple[int, Surge]:
        """Open or grow the slot's surge of this trigger at the run's nth record.

        ``mark``: the total at which it does so; None: it becomes a page and does not grow.
        """
        row = int(self._rows[nth - 1])
        late = nth if self._bucket < self._stretch.water else 0
        book = self._life.book
        surge = book.open_of(self._slot, trigger)
        state: State = "grown"
        if surge is None:
            state, surge = "opened", self._open(trigger, row)
            # the whole run is taken as late afterwards; it is not late for what it opened itself
            surge.late_records = -late
        surge.late_told = surge.late_records + (late if surge.speaks_of(self._bucket) else 0)
        if mark is not None:
            if state == "opened":
                is_paged = is_page or surge.severity == "page"
                surge.mark, surge.again = grown_mark_of(mark), again_of(is_page=is_paged)
            else:
                surge.mark, surge.again = next_mark_of(surge.mark, surge.again)
            self._watched.marks.put(trigger, self._slot, surge.mark, surge.again)
        if is_page or (state == "opened" and surge.severity == "page"):
            book.paged[trigger].append(surge.surge_id)
            surge.paged_ms = int(self._stretch.at_ms[row])
        if is_page:
            surge.severity = "page"
            self._watched.marks.paged[self._slot] = True
        if trigger == "model":
            surge.quiet_until = int(self._watched.marks.quiet_until[self._slot])
        book.touch(surge)
        observed = np.array([self._observed(surge, nth)])
        (measured,) = measured_of(self._columns_at(nth), observed, surge.window_buckets)
        moment = Moment(int(self._stretch.at_ms[row]), int(self._stretch.seen_ms[row]))
        seen = self._watched.detector.seen_over_asked
        return row, record_of(self._watched.policy, surge, state, moment, measured, seen)

    def _columns_at(self, nth: int) -> ScoreColumns:
        """What the detector says with the run's nth record."""
        at = np.array([self._slot])
        count = self._count_before + (nth if self._on_time else 0)
        opened = self._watched.counts.newest[at].astype(np.int64)
        return self._watched.detector.score(at, np.array([count]), opened=opened)

    def _observed(self, surge: OpenSurge, nth: int) -> int:
        """Events of the surge's window up to the run's nth record."""
        oldest = self._stretch.water - surge.window_buckets + 1
        unseen = len(self._rows) - nth if self._bucket >= oldest else 0
        return self._watched.counts.total_since(self._slot, oldest) - unseen

    def _open(self, trigger: Trigger, row: int) -> OpenSurge:
        watched, slot = self._watched, self._slot
        key = watched.keys.name_of(slot)
        opened_ms = int(self._stretch.at_ms[row])
        surge = OpenSurge(
            surge_id=new_surge_id(
                watched.policy.subject, trigger, key, opened_ms, self._life.book.of(slot)
            ),
            trigger=trigger,
            key=key,
            creator_id=self._stretch.creator_ids[int(self._stretch.indexes[row])],
            post_id=key if watched.policy.name == "posts" else None,
            opened_ms=opened_ms,
            severity=severity_of(trigger),
            mark=0,
        )
        self._life.open(Entry(slot, surge))
        return surge
