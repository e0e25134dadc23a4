"""What becomes of surges when the watermark enters a bucket: they close, are amended, forgotten.

All of it follows from the records and their order, and what is stored of a surge: chunks and
restarts leave no trace.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from itertools import repeat
from typing import Any, Final, NamedTuple

import numpy as np
from msgspec.structs import replace

from streams.core.counting.counts import Counts
from streams.core.counting.marks import Marks
from streams.core.detection.cohorts import UNKNOWN, Votes
from streams.core.detection.key_detector import KeyDetector
from streams.core.records.keys import UNMET, Keys
from streams.core.records.runs import Runs
from streams.core.records.texts import Texts
from streams.core.surges.book import Entry, SurgeBook
from streams.core.surges.record import Moment, measured_of, record_of
from streams.core.surges.surge import Closing, Measured, OpenSurge, State, Surge, Trigger
from streams.core.surges.watch_policy import WatchPolicy
from streams.core.time.buckets import WINDOW_BUCKETS, start_ms_of

_NEXT_BUCKET: Final = 0  # before every watermark: looked at when the next bucket is entered


class Watched(NamedTuple):
    """What a watch knows of its keys, by slot."""

    policy: WatchPolicy
    keys: Keys
    counts: Counts
    detector: KeyDetector[Any]
    marks: Marks
    votes: Votes


class SurgeLife:
    """Lives through the surges of a watch. ``describe`` adds what others know of a surge."""

    def __init__(self, watched: Watched) -> None:
        self.book = SurgeBook()
        self.describe: Callable[[Surge], Surge] = lambda surge: surge
        self._watched = watched

    def restore(self, surges: Sequence[OpenSurge]) -> None:
        """Take up stored surges; their keys have been restored.

        One whose key is not in the store any more, for it has expired there, is forgotten too.
        """
        watched = self._watched
        slots = watched.keys.find(Texts.of([surge.key for surge in surges]))
        marks = watched.marks
        for slot, surge in zip(slots.tolist(), surges, strict=True):
            if slot == UNMET:
                self.book.drop(surge.name)
                continue
            self._take_up(Entry(slot, surge))
            if surge.trigger == "model":
                marks.paged[slot] |= surge.severity == "page"
                marks.quiet_until[slot] = max(int(marks.quiet_until[slot]), surge.quiet_until)
            if surge.closing is None:
                marks.put(surge.trigger, slot, surge.mark, surge.again)

    def notices_by_cohort(self) -> Counter[int]:
        """Surges that are open and notices, by number of their key's cohort."""
        cohorts = self._watched.votes.cohorts
        return Counter(cohorts[self.book.open_slots("notice")].tolist())

    def cohorts_of(self, keys: Texts) -> list[int]:
        """Number of the cohort of each key, `UNKNOWN` where the key was never met."""
        watched = self._watched
        slots = watched.keys.find(keys)
        numbers: list[int] = watched.votes.cohorts[slots].tolist() if len(watched.keys) else []
        return [
            UNKNOWN if slot == UNMET else number
            for slot, number in zip(slots.tolist(), numbers or repeat(UNKNOWN), strict=False)
        ]

    def open(self, entry: Entry) -> None:
        """Take up a surge that opens."""
        if entry.surge.trigger == "model":
            self._watched.detector.take_alarms(1)
        self._take_up(entry)

    def _take_up(self, entry: Entry) -> None:
        self.book.add(entry)
        closing = entry.surge.closing
        if closing is not None:
            self.book.look_again(entry, _forgotten_at(closing))
        elif entry.surge.trigger == "rule":
            self.book.look_again(entry, _NEXT_BUCKET)

    def open_all(self, trigger: Trigger, slots: list[int], surges: list[OpenSurge]) -> None:
        """Take up surges of one trigger that open, each of another slot."""
        self.book.open_all(trigger, slots, surges)
        if trigger == "model":
            self._watched.detector.take_alarms(len(slots))
        else:
            self.book.look_again_at_all(map(Entry, slots, surges), _NEXT_BUCKET)

    def take_late(self, runs: Runs, water: int) -> None:
        """Take note of counted records of buckets before ``water``: they may amend a surge."""
        if not len(self.book):
            return
        late = runs.buckets < water
        if late.any():
            columns = (runs.slots[late], runs.buckets[late], runs.counts[late])
            for slot, bucket, count in zip(*(each.tolist() for each in columns), strict=True):
                self.book.take_late(slot, bucket, count)

    def tellers(self, water: int) -> list[int]:
        """Slots whose surges may be told of until the watermark has entered ``water``."""
        return self.book.tellers(water) if len(self.book) else []

    def advance(self, water: int) -> list[Surge]:
        """Tell what is over or was amended as the watermark enters ``water``."""
        if not len(self.book):
            return []
        due = self.book.take_due(water)
        over = self._rules_over([one for one in due if one.surge.closing is None], water)
        over += self._models_over(water)
        told = self._close(over, water)
        told += self._amend(water)
        gone = [one for one in due if (end := one.surge.closing) is not None and end.bucket < water]
        for entry in gone:
            self.book.forget(entry)
        for entry in (*gone, *self.book.forget_earliest()):
            self._watched.marks.paged[entry.slot] = self.book.has_page(entry.slot)
        return told

    def _rules_over(self, entries: list[Entry], water: int) -> list[Entry]:
        """Open surges by rule that are over; the others are looked at when they may be."""
        if not entries:
            return []
        slots = np.array([one.slot for one in entries])
        below = self._watched.policy.rule.close_below
        ends = self._watched.counts.windows_below(slots, below)
        over = []
        for entry, end in zip(entries, ends.tolist(), strict=True):
            if end <= water:
                over.append(entry)
            else:
                self.book.look_again(entry, end)
        return over

    def _models_over(self, water: int) -> list[Entry]:
        entries = list(self.book.models())
        if not entries:
            return []
        counts, detector = self._watched.counts, self._watched.detector
        slots = np.array([one.slot for one in entries])
        opened = counts.newest[slots].astype(np.int64)
        over = detector.are_over(slots, water, opened=opened, counts=counts.newest_counts(slots))
        return [entries[row] for row in np.flatnonzero(over).tolist()]

    def _close(self, entries: list[Entry], water: int) -> list[Surge]:
        moment = Moment(start_ms_of(water), start_ms_of(water))
        told = []
        for entry, measured in zip(entries, self.measure(entries, water), strict=True):
            slot, surge = entry.slot, entry.surge
            closing = Closing(bucket=water, measured=measured)
            self.book.close(entry, closing)
            self.book.look_again(entry, _forgotten_at(closing))
            self._watched.marks.end(surge.trigger, slot)
            surge.late_told = surge.late_records
            record = self.describe(self._record_of(surge, "closed", moment, measured))
            closing.langs, closing.usual_lang = record.langs, record.usual_lang
            told.append(record)
        return told

    def _amend(self, water: int) -> list[Surge]:
        """Tell the surges that late records have amended since they were told."""
        entries = self.book.take_unsaid()
        still_open = [entry for entry in entries if entry.surge.closing is None]
        told = []
        for entry, measured in zip(still_open, self.measure(still_open, water), strict=True):
            moment = Moment(start_ms_of(water), start_ms_of(water))
            told.append(self.describe(self._amended(entry.surge, moment, measured)))
        for surge in [one.surge for one in entries]:
            if surge.closing is not None:
                end = surge.closing
                moment = Moment(start_ms_of(end.bucket), start_ms_of(water))
                record = self._amended(surge, moment, end.measured)
                langs, usual_lang = end.langs, end.usual_lang
                told.append(replace(record, langs=langs, usual_lang=usual_lang))
        return told

    def _amended(self, surge: OpenSurge, moment: Moment, measured: Measured) -> Surge:
        surge.late_told = surge.late_records
        self.book.touch(surge)
        return self._record_of(surge, "amended", moment, measured)

    def _record_of(
        self, surge: OpenSurge, state: State, moment: Moment, measured: Measured
    ) -> Surge:
        watched = self._watched
        seen = watched.detector.seen_over_asked
        return record_of(watched.policy, surge, state, moment, measured, seen)

    def measure(self, entries: Sequence[Entry], water: int) -> list[Measured]:
        """Measure the windows that end as the watermark enters ``water``."""
        if not entries:
            return []
        counts, detector = self._watched.counts, self._watched.detector
        slots = np.array([one.slot for one in entries])
        opened = counts.newest[slots].astype(np.int64)
        columns = detector.score(slots, counts.newest_counts(slots), opened=opened)
        windows = np.array([one.surge.window_buckets for one in entries])
        return measured_of(columns, counts.totals_since(slots, water - windows + 1), windows)


def _forgotten_at(closing: Closing) -> int:
    """Bucket of the watermark from which on no record of a closed surge's time can be counted."""
    return closing.bucket + WINDOW_BUCKETS - 1
