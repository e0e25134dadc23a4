"""Counts a chunk's buckets together, for all keys that have nothing to tell in it.

A chunk of history goes through many buckets, and a bucket costs hundreds of calls into numpy,
however few its records. No key's state hangs on another's: so all keys are run ahead to the
chunk's end, and those that may tell something on the way (an alarm, a mark, a surge that may end)
are put back and counted stretch by stretch, as live records are. Nothing shows which way it went.
"""

from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from streams.core.block_ahead import Course
from streams.core.counts import NO_BUCKET, Counts
from streams.core.rules import NEVER
from streams.core.surge_life import SurgeLife, Watched
from streams.core.texts import Ints

Flags = NDArray[np.bool_]

_STRETCHES_MIN: Final = 3
"""Fewer are cheaper one by one."""
_PIECE_BITS: Final = 6
_PIECE: Final = 1 << _PIECE_BITS
"""Buckets of the watermark that are taken at once; a row of counts has room for them."""
_NARROW: Final = 1 << (32 - _PIECE_BITS)


class _Groups(NamedTuple):
    """Records by slot and bucket, rising: one entry a slot and bucket, or a slot."""

    slots: Ints
    begins: Ints
    """First entry of each slot in ``buckets``, ``added`` and ``cohorts``."""
    sizes: Ints
    buckets: Ints
    added: Ints
    cohorts: NDArray[np.uint8] | None
    """Of the first record of each slot and bucket."""


class AheadCounter:
    """Runs the keys of one watch ahead."""

    def __init__(self, watched: Watched, life: SurgeLife) -> None:
        self._watched, self._life = watched, life
        self._lively = np.zeros(0, dtype=np.bool_)
        self._able = True

    def take(
        self, slots: Ints, buckets: Ints, water: Ints, cohorts: NDArray[np.uint8] | None
    ) -> tuple[Flags, list[Ints]] | None:
        """Count records (in their order, the watermark's bucket at each) as far as can be.

        Which were counted, and the slots that changed; None: none, count them all.
        """
        steps = (water[1:] != water[:-1]).nonzero()[0]
        if len(steps) < _STRETCHES_MIN - 1 or not self._able:
            return None
        counts = self._watched.counts
        if len(self._lively) < len(counts.newest):
            self._lively = np.zeros(len(counts.newest), dtype=np.bool_)
        tellers = np.array(self._life.tellers(int(water[-1])), dtype=np.int64)
        late = buckets != water
        some_late = bool(late.any())
        self._lively[tellers] = True
        if some_late:
            self._lively[slots[late]] = True
        counted = np.zeros(len(slots), dtype=np.bool_)
        changed: list[Ints] = []
        begin = 0
        while begin < len(slots) and self._able:
            base = int(water[begin])
            end = int(np.searchsorted(water, base + _PIECE))
            here = slice(begin, end)
            some, at = slots[here], water[here]
            of = None if cohorts is None else cohorts[here]
            if some_late:
                on_time = ~late[here]
                some, at, of = some[on_time], at[on_time], None if of is None else of[on_time]
            if len(some):
                changed.append(self._piece(_groups_of(some, at, base, of)))
            counted[here] = ~self._lively[slots[here]]
            begin = end
        self._lively[slots] = False
        self._lively[tellers] = False
        return (counted, changed) if self._able else None

    def _piece(self, groups: _Groups) -> Ints:
        """Count those that have nothing to tell, note the others as lively; who was counted."""
        counts, detector = self._watched.counts, self._watched.detector
        newest = counts.newest[groups.slots].astype(np.int64)
        goes_on = newest == groups.buckets[groups.begins]
        closes = ~goes_on & (newest != NO_BUCKET)
        order, course = _course_of(groups, counts, newest, closes)
        ahead = detector.run_ahead(course)
        if ahead is None:
            self._able = False
            return groups.slots[:0]
        self._note_marked(groups)
        self._note_alarmed(course, closes[order], ahead.score, int(groups.buckets.max()))
        calm = ~self._lively[groups.slots]
        if calm.all():
            ahead.keep(None)
        else:
            ahead.keep(calm[order])
        _add(self._watched, groups, goes_on, calm)
        return groups.slots[calm]

    def _note_marked(self, groups: _Groups) -> None:
        """Note the keys that may reach a mark."""
        marks, slots = self._watched.marks, groups.slots
        totals = self._watched.counts.total[slots] + np.add.reduceat(groups.added, groups.begins)
        marked = totals >= np.minimum(marks.rule[slots], marks.model[slots])
        self._lively[slots[marked]] = True

    def _note_alarmed(self, course: Course, closes: Flags, score: Any, water: int) -> None:
        """Note the keys that alarm in a bucket in which they have records."""
        entries = (score >= 1).nonzero()[0]
        if not len(entries):
            return
        turns = np.searchsorted(course.begins, entries, side="right") - 1
        keys = entries - np.array(course.begins)[turns]
        open_still = (turns > 0) | ~closes[keys]
        keys, entries = keys[open_still], entries[open_still]
        marks, slots = self._watched.marks, course.slots[keys]
        quiet = (marks.quiet_until[slots] > water) | (marks.model[slots] < NEVER)
        page = self._watched.policy.page
        if page is not None:
            quiet &= (score[entries] < page.bar) | marks.paged[slots]
        self._lively[slots[~quiet]] = True


def _groups_of(slots: Ints, water: Ints, base: int, cohorts: NDArray[np.uint8] | None) -> _Groups:
    """Group records by slot and bucket, which is the watermark's."""
    pairs = slots << _PIECE_BITS
    pairs += water - base
    if cohorts is None and int(pairs.max()) < 1 << 32:  # half as wide sorts twice as fast
        pairs = np.sort(pairs.astype(np.uint32)).astype(np.int64)
    else:
        row_bits = len(slots).bit_length()  # with the row, a pair's first record comes first
        pairs <<= row_bits
        pairs += np.arange(len(pairs))
        pairs.sort()
        rows = pairs & ((1 << row_bits) - 1)
        pairs >>= row_bits
    begins = (np.diff(pairs, prepend=-1) != 0).nonzero()[0]
    first = None if cohorts is None else cohorts[rows[begins]]
    added = np.diff(begins, append=len(pairs))
    runs = pairs[begins]
    buckets = (runs & (_PIECE - 1)) + base
    runs >>= _PIECE_BITS
    firsts = (np.diff(runs, prepend=-1) != 0).nonzero()[0]
    sizes = np.diff(firsts, append=len(runs))
    return _Groups(runs[firsts], firsts, sizes, buckets, added, first)


def _course_of(groups: _Groups, counts: Counts, newest: Ints, closes: Flags) -> tuple[Ints, Course]:
    """Lay a course out, and the order of its keys in the groups.

    Where a key's open bucket ``closes`` it has one bucket more than the groups: that one.
    """
    sizes = groups.sizes + closes
    order = np.argsort((_PIECE + 1 - sizes).astype(np.uint8), kind="stable")
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    having = np.cumsum(np.bincount(sizes)[:0:-1])[::-1]  # how many keys have a 1st, 2nd, … bucket
    begins = np.concatenate((np.zeros(1, dtype=np.int64), np.cumsum(having)))
    turns = np.arange(len(groups.buckets)) - np.repeat(groups.begins - closes, groups.sizes)
    entries = begins[turns] + np.repeat(place, groups.sizes)
    buckets, whole = (np.empty(int(begins[-1]), dtype=np.int64) for _ in range(2))
    buckets[entries], whole[entries] = groups.buckets, groups.added
    old = (newest != NO_BUCKET).nonzero()[0]
    held, closing = counts.newest_counts(groups.slots[old]), closes[old]
    closed = place[old[closing]]
    buckets[closed], whole[closed] = newest[old[closing]], held[closing]
    whole[place[old[~closing]]] += held[~closing]
    are_new = np.ones(len(order), dtype=np.bool_)
    are_new[place[old]] = False
    return order, Course(groups.slots[order], are_new, begins.tolist(), buckets, whole)


def _add(watched: Watched, groups: _Groups, goes_on: Flags, calm: Flags) -> None:
    """Count the records of calm slots, and their votes."""
    counts = watched.counts
    going = (goes_on & calm).nonzero()[0]
    if len(going):
        counts.add_to_newest(groups.slots[going], groups.added[groups.begins[going]])
    fresh = np.repeat(calm, groups.sizes)
    fresh[groups.begins[goes_on]] = False
    sizes = groups.sizes - goes_on
    begun = ((sizes > 0) & calm).nonzero()[0]
    if len(begun):
        chosen = groups.slots[begun], sizes[begun], groups.buckets[fresh], groups.added[fresh]
        counts.begin_buckets(*chosen)
        if groups.cohorts is not None:
            watched.votes.take_in_turn(*chosen[:2], groups.cohorts[fresh])
