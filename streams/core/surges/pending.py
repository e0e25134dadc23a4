"""Alarms that wait for the end of their bucket: until then nobody knows what the wave's part is.

An alarm so far above the expectation that no wave could explain it does not wait. One that waits
is told when its bucket has closed, if it still alarms with the wave's factor; else its key is one
of those that the wave lifts.
"""

import itertools
from collections.abc import Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from streams.core.detection.block_maths import ScoreColumns
from streams.core.detection.block_tables import Floats
from streams.core.records.keys import UNMET
from streams.core.records.runs import Runs, Stretch
from streams.core.records.texts import Ints, Texts
from streams.core.surges.book import Entry
from streams.core.surges.life import SurgeLife, Watched
from streams.core.surges.record import Moment, record_of
from streams.core.surges.rules import NEVER, again_of, grown_mark_of
from streams.core.surges.surge import (
    MODEL_WINDOW_BUCKETS,
    OpenSurge,
    State,
    Surge,
    new_surge_id,
    severity_of,
)
from streams.core.time.buckets import WINDOW_BUCKETS, oldest_bucket_of, start_ms_of

AT_ONCE_LIFT: Final = 10.0
"""An alarm is told at once if it would be one even if the wave rose so many times in its bucket."""
NAME: Final = "pending"


class Pending:
    """Alarms of one watch's open bucket that wait, by slot."""

    def __init__(self, watched: Watched, life: SurgeLife) -> None:
        self._watched, self._life = watched, life
        self._of: dict[int, OpenSurge] = {}
        self._touched: dict[str, OpenSurge | None] = {}
        self._stored: set[str] = set()

    @property
    def slots(self) -> list[int]:
        """Slots with one."""
        return list(self._of)

    def judged(self, runs: Runs, scores: Floats, stretch: Stretch) -> Floats:
        """Scores of these runs, as high as a wave leaves them; what alarms without one waits.

        Runs are of distinct slots, placed, each of its slot's newest bucket: the watermark's.
        """
        slots, marks, page = runs.slots, self._watched.marks, self._watched.policy.page
        rows = np.flatnonzero(scores >= 1.0)
        if not len(rows):
            return scores
        now = self._watched.counts.newest_counts(slots[rows])
        detector = self._watched.detector
        lifted = detector.score(slots[rows], now, opened=stretch.water, lift=AT_ONCE_LIFT)
        judged = scores.copy()
        judged[rows] = lifted.score
        opens = marks.quiet_until[slots[rows]] <= stretch.water
        at_once = opens & (lifted.score >= 1.0)
        if page is not None:
            opens |= (scores[rows] >= page.bar) & ~marks.paged[slots[rows]]
            at_once |= opens & page.reached(lifted)
        opens &= marks.model[slots[rows]] == NEVER
        for slot in slots[rows[opens & at_once]].tolist():
            self._drop(slot)
        waits = rows[opens & ~at_once].tolist()
        fresh = [row for row in waits if int(slots[row]) not in self._of]
        if fresh:
            self._wait(runs.take(np.array(fresh)), stretch)
        return judged

    def settle(self, closed: int, water: int) -> list[Surge]:
        """Tell those that alarm now that bucket ``closed`` is over; the others are forgotten.

        Open surges that are pages now are told as that.
        """
        waiting, self._of = self._of, {}
        for surge in waiting.values():
            self._forget(surge)
        counts, marks = self._watched.counts, self._watched.marks
        grows = [
            one
            for one in self._life.book.models()
            if counts.newest[one.slot] == closed and not marks.paged[one.slot]
        ]
        entries = [*itertools.starmap(Entry, waiting.items()), *grows]
        if not entries:
            return []
        slots = np.array([one.slot for one in entries])
        now = counts.newest_counts(slots)
        columns = self._watched.detector.score(slots, now, opened=closed)
        pages = self._are_pages(slots, columns, closed)
        told = []
        for entry, is_page, score in zip(
            entries, pages.tolist(), columns.score.tolist(), strict=True
        ):
            slot, surge, is_open = entry.slot, entry.surge, marks.model[entry.slot] < NEVER
            opens = not is_open and score >= 1.0 and marks.quiet_until[slot] <= closed
            if not (is_page or opens):
                continue
            if is_page:
                surge.severity, marks.paged[slot] = "page", True
                surge.paged_ms = start_ms_of(closed + 1)
                self._life.book.paged["model"].append(surge.surge_id)
            if not is_open:
                surge.mark = grown_mark_of(counts.total_since(slot, oldest_bucket_of(closed)))
                surge.again = again_of(is_page=is_page)
                surge.quiet_until = closed + WINDOW_BUCKETS
                marks.put("model", slot, surge.mark, surge.again)
                marks.quiet_until[slot] = surge.quiet_until
                self._life.open(entry)
            told.append(self._told(entry, "grown" if is_open else "opened", closed, water))
        return told

    def move(self, slot_of: Mapping[int, int]) -> None:
        """Keys were given other slots: old to new, for every slot that has one."""
        self._of = {slot_of[slot]: surge for slot, surge in self._of.items()}

    def drain(self) -> dict[str, OpenSurge | None]:
        """Those changed since the last call, by name; None: forgotten."""
        touched, self._touched = self._touched, {}
        self._stored.update(touched)
        self._stored.difference_update(name for name, surge in touched.items() if surge is None)
        return touched

    def restore(self, surges: list[OpenSurge]) -> None:
        """Take up stored ones; their keys have been restored."""
        slots = self._watched.keys.find(Texts.of([surge.key for surge in surges]))
        self._stored.update(map(_name_of, surges))
        for slot, surge in zip(slots.tolist(), surges, strict=True):
            if slot == UNMET:
                self._forget(surge)
            else:
                self._of[slot] = surge

    def _wait(self, runs: Runs, stretch: Stretch) -> None:
        assert runs.order is not None, "placed"
        assert runs.begins is not None, "placed"
        watched, slots = self._watched, runs.slots
        high = watched.counts.newest_counts(slots)
        low = high - runs.counts
        nth = watched.detector.alarm_counts(slots, low, high, runs.buckets) - low
        rows = runs.order[runs.begins + nth - 1]
        keys = list(watched.keys.names_of(slots))
        creators = list(stretch.creator_ids.take(stretch.indexes[rows]))
        for slot, key, creator_id, at_ms in zip(
            slots.tolist(), keys, creators, stretch.at_ms[rows].tolist(), strict=True
        ):
            known = self._life.book.of(slot)
            surge = OpenSurge(
                new_surge_id(watched.policy.subject, "model", key, at_ms, known),
                "model",
                key,
                creator_id,
                key if watched.policy.name == "posts" else None,
                at_ms,
                severity_of("model"),
                0,
            )
            self._of[slot] = surge
            self._touched[_name_of(surge)] = surge

    def _are_pages(self, slots: Ints, columns: ScoreColumns, closed: int) -> NDArray[np.bool_]:
        page = self._watched.policy.page
        if page is None:
            return np.zeros(len(slots), dtype=np.bool_)
        oldest = closed - MODEL_WINDOW_BUCKETS + 1
        events = self._watched.counts.totals_since(slots, oldest)
        pages = page.reached(columns)
        pages &= events >= page.least_events(columns)
        pages &= ~self._watched.marks.paged[slots]
        return pages

    def _told(self, entry: Entry, state: State, closed: int, water: int) -> Surge:
        self._life.book.touch(entry.surge)
        (measured,) = self._life.measure([entry], closed + 1)
        moment = Moment(start_ms_of(closed + 1), start_ms_of(water))
        entry.surge.late_told = entry.surge.late_records
        seen = self._watched.detector.seen_over_asked
        record = record_of(self._watched.policy, entry.surge, state, moment, measured, seen)
        return self._life.describe(record)

    def _drop(self, slot: int) -> None:
        surge = self._of.pop(slot, None)
        if surge is not None:
            self._forget(surge)

    def _forget(self, surge: OpenSurge) -> None:
        """Have the store forget it, if it was stored."""
        name = _name_of(surge)
        if name in self._stored:
            self._touched[name] = None
        else:
            self._touched.pop(name, None)


def _name_of(surge: OpenSurge) -> str:
    return f"{NAME}|{surge.key}"
