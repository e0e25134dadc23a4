"""Counts a chunk's buckets together, for all keys that have nothing to tell in it.

A chunk of history goes through many buckets, and a bucket costs hundreds of calls into numpy,
however few its records. No key's state hangs on another's: so all keys are run ahead over a part
of the chunk, and those that may tell something on the way (an alarm, a mark, a surge that may end)
are counted stretch by stretch, as live records are. Only then are the others kept, and only up to
where a wave began, which all of them feel. Nothing shows which way it went.
"""

from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from streams.core.counting.counts import NO_BUCKET, Counts
from streams.core.detection.block_ahead import Course
from streams.core.detection.cohorts import Votes
from streams.core.detection.key_detector import Ahead
from streams.core.records.comers import Comers, cohorts_in
from streams.core.records.texts import Ints
from streams.core.surges.life import SurgeLife, Watched
from streams.core.surges.pending import Pending
from streams.core.surges.rules import NEVER
from streams.core.waves.sums import Counted, added_up, sums_by_bucket
from streams.core.waves.watch import WaveWatch

Flags = NDArray[np.bool_]

_STRETCHES_MIN: Final = 3
"""Fewer are cheaper one by one."""
_PIECE_BITS: Final = 6
BUCKETS_MAX: Final = 1 << _PIECE_BITS
"""Buckets of the watermark that are run over at once; a row of counts has room for them."""


class _Groups(NamedTuple):
    """Records by slot and bucket, rising: one entry a slot and bucket, or a slot."""

    slots: Ints
    begins: Ints
    """First entry of each slot in ``buckets``, ``added`` and ``comers``."""
    sizes: Ints
    buckets: Ints
    added: Ints
    comers: Comers | None
    """Of the first record of each slot and bucket."""


class _Records(NamedTuple):
    """Records on time: slots, the watermark's bucket at each, who came."""

    slots: Ints
    water: Ints
    comers: Comers | None

    def of(self, chosen: Flags) -> "_Records":
        """Only the chosen ones."""
        slots, water, comers = self
        return _Records(slots[chosen], water[chosen], None if comers is None else comers[chosen])

    def groups(self) -> "_Groups":
        return _groups_of(self.slots, self.water, int(self.water[0]), self.comers)


class _Run(NamedTuple):
    """Keys that were run ahead, with all that has to be kept of the calm ones."""

    records: _Records
    groups: _Groups
    order: Ints
    ahead: Ahead
    fresh: "_Fresh"
    calm: Flags
    """By slot of the groups."""
    votes: tuple[Ints, Any]
    """Slots that voted ahead, and their votes before."""


class AheadCounter:
    """Runs the keys of one watch ahead."""

    def __init__(
        self, watched: Watched, life: SurgeLife, pending: Pending, waves: WaveWatch | None
    ) -> None:
        self._watched, self._life, self._pending, self._waves = watched, life, pending, waves
        self._lively = np.zeros(0, dtype=np.bool_)
        self._able = True
        self._run: _Run | None = None

    @property
    def is_ahead(self) -> bool:
        """Whether keys were run ahead and have not been kept yet."""
        return self._run is not None

    def take(self, slots: Ints, buckets: Ints, water: Ints, comers: Comers | None) -> Flags | None:
        """Run ahead over records (in their order, the watermark's bucket at each).

        Which of them need not be counted, as `keep` will; None: all have to be. The watermark
        goes over fewer than `BUCKETS_MAX` buckets.
        """
        steps = (water[1:] != water[:-1]).nonzero()[0]
        if len(steps) < _STRETCHES_MIN - 1 or not self._able:
            return None
        if self._waves is not None and self._waves.lasts:
            return None
        if len(self._lively) < len(self._watched.counts.newest):
            self._lively = np.zeros(len(self._watched.counts.newest), dtype=np.bool_)
        end = int(water[-1])
        told = np.array([*self._life.tellers(end), *self._pending.slots], dtype=np.int64)
        self._lively[told] = True
        records, late = _Records(slots, water, comers), buckets != water
        if late.any():
            self._lively[slots[late]] = True
            records = records.of(~late)
        self._run = self._run_over(records, end) if len(records.slots) else None
        counted = ~self._lively[slots]
        self._lively[slots] = False
        self._lively[told] = False
        return None if self._run is None else counted

    def keep(self) -> Ints:
        """Count what was run ahead; the slots that changed."""
        run, self._run = self._run, None
        assert run is not None, "keys are ahead"
        return self._kept(run)

    def keep_before(self, water: int) -> Ints:
        """As `keep`, but only records at which the watermark had not come to bucket ``water``."""
        run, self._run = self._run, None
        assert run is not None, "keys are ahead"
        self._watched.votes.restore(*run.votes)
        calm = run.groups.slots[run.calm]
        records = run.records
        records = records.of((records.water < water) & np.isin(records.slots, calm))
        if not len(records.slots):
            return calm[:0]
        groups = records.groups()
        course, order, _, goes_on = self._laid_out(groups)
        ahead = self._watched.detector.run_ahead(course)
        assert ahead is not None, "it was run before"
        every = np.ones(len(groups.slots), dtype=np.bool_)
        fresh = _Fresh.of(groups, goes_on)
        _vote(self._watched.votes, groups, fresh, every)
        return self._kept(_Run(records, groups, order, ahead, fresh, every, run.votes))

    def _kept(self, run: _Run) -> Ints:
        all_calm = bool(run.calm.all())
        run.ahead.keep(None if all_calm else run.calm[run.order])
        _add(self._watched.counts, run.groups, run.fresh, run.calm)
        return run.groups.slots[run.calm]

    def _laid_out(self, groups: _Groups) -> tuple[Course, Ints, Ints, Flags]:
        """Course of the groups, their order and entries in it, and which open buckets go on."""
        counts = self._watched.counts
        newest = counts.newest[groups.slots].astype(np.int64)
        goes_on = newest == groups.buckets[groups.begins]
        closes = ~goes_on & (newest != NO_BUCKET)
        order, entries, course = _course_of(groups, counts, newest, closes)
        return course, order, entries, goes_on

    def _run_over(self, records: _Records, water: int) -> _Run | None:
        """Run ahead, and note as lively those that may tell something.

        ``water`` is the bucket of the watermark at the end. None: a wave begins before it.
        """
        groups = records.groups()
        newest = self._watched.counts.newest[groups.slots]
        course, order, entries, goes_on = self._laid_out(groups)
        ahead = self._watched.detector.run_ahead(course)
        if ahead is None:
            self._able = False
            return None
        closes = ~goes_on & (newest != NO_BUCKET)
        self._note_marked(groups)
        self._note_alarmed(course, closes[order], ahead.score, int(groups.buckets.max()))
        calm = ~self._lively[groups.slots]
        fresh = _Fresh.of(groups, goes_on)
        ballot = _vote(self._watched.votes, groups, fresh, calm)
        if self._waves is not None:
            expected, exposure = ahead.expected[entries], ahead.exposure[entries]
            columns = _Columns(expected, exposure, course.counts[entries], ballot.cohorts)
            sums = every = _sums_of(groups, fresh, columns, calm)
            if not calm.all():
                every = added_up(sums, _sums_of(groups, fresh, columns, ~calm))
            if not self._waves.foresee(every, water):
                self._watched.votes.restore(*ballot.before)
                return None
            self._waves.count_ahead(sums)
            mine, every_slot = np.repeat(calm, groups.sizes), np.repeat(groups.slots, groups.sizes)
            self._waves.note_ahead(
                groups.buckets[mine], every_slot[mine], columns.counts[mine], expected[mine]
            )
        return _Run(records, groups, order, ahead, fresh, calm, ballot.before)

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


def _groups_of(slots: Ints, water: Ints, base: int, comers: Comers | None) -> _Groups:
    """Group records by slot and bucket, which is the watermark's."""
    pairs = slots << _PIECE_BITS
    pairs += water - base
    if comers is None and int(pairs.max()) < 1 << 32:  # half as wide sorts twice as fast
        pairs = np.sort(pairs.astype(np.uint32)).astype(np.int64)
    else:
        row_bits = len(slots).bit_length()  # with the row, a pair's first record comes first
        pairs <<= row_bits
        pairs += np.arange(len(pairs))
        pairs.sort()
        rows = pairs & ((1 << row_bits) - 1)
        pairs >>= row_bits
    begins = (np.diff(pairs, prepend=-1) != 0).nonzero()[0]
    first = None if comers is None else comers[rows[begins]]
    added = np.diff(begins, append=len(pairs))
    runs = pairs[begins]
    buckets = (runs & (BUCKETS_MAX - 1)) + base
    runs >>= _PIECE_BITS
    firsts = (np.diff(runs, prepend=-1) != 0).nonzero()[0]
    sizes = np.diff(firsts, append=len(runs))
    return _Groups(runs[firsts], firsts, sizes, buckets, added, first)


class _Fresh(NamedTuple):
    """Which groups' buckets are begun: of each slot all, or all but the one that goes on."""

    goes_on: Flags
    entries: Flags
    sizes: Ints

    @classmethod
    def of(cls, groups: _Groups, goes_on: Flags) -> "_Fresh":
        """All but the first ones of those slots whose open bucket goes on."""
        entries = np.ones(len(groups.buckets), dtype=np.bool_)
        entries[groups.begins[goes_on]] = False
        return cls(goes_on, entries, groups.sizes - goes_on)


class _Ballot(NamedTuple):
    """The cohort of each slot in each bucket; calm slots that voted, and their votes before."""

    cohorts: NDArray[np.uint8]
    before: tuple[Ints, Any]


class _Columns(NamedTuple):
    """By slot and bucket: what was expected, how busy it is, the count, the slot's cohort."""

    expected: NDArray[np.float64]
    exposure: NDArray[np.float64]
    counts: Ints
    cohorts: NDArray[np.uint8]


def _vote(votes: Votes, groups: _Groups, fresh: _Fresh, calm: Flags) -> _Ballot:
    """Count the votes of calm slots. The others' cohorts are told, too, but their votes wait."""
    cohorts = np.repeat(votes.cohorts[groups.slots], groups.sizes)
    begun = (fresh.sizes > 0).nonzero()[0]
    if groups.comers is None or not len(begun):
        begun = begun[:0]
    slots = groups.slots[begun]
    before = votes.packed(slots)
    if groups.comers is not None and len(begun):
        drawn = votes.take_in_turn(
            slots, fresh.sizes[begun], cohorts_in(groups.comers[fresh.entries])
        )
        cohorts[fresh.entries] = drawn
        votes.restore(slots[~calm[begun]], before[~calm[begun]])
    return _Ballot(cohorts, (slots[calm[begun]], before[calm[begun]]))


def _sums_of(groups: _Groups, fresh: _Fresh, columns: _Columns, some: Flags) -> dict[int, Ints]:
    """What the records of some slots add to the sums of their buckets."""
    chosen = np.repeat(some, groups.sizes)
    expected, counts = columns.expected[chosen], columns.counts[chosen]
    before = counts - groups.added[chosen]
    exposure = columns.exposure[chosen]
    counted = Counted(columns.cohorts[chosen], before, counts, expected, exposure)
    first: Comers = np.zeros(0, dtype=np.uint16)
    buckets = groups.buckets[:0]
    if groups.comers is not None:
        begun = chosen & fresh.entries
        first, buckets = groups.comers[begun], groups.buckets[begun]
    return sums_by_bucket(counted, groups.buckets[chosen], first, buckets)


def _course_of(
    groups: _Groups, counts: Counts, newest: Ints, closes: Flags
) -> tuple[Ints, Ints, Course]:
    """Lay a course out: the order of its keys in the groups, and the groups' entries in it.

    Where a key's open bucket ``closes`` it has one bucket more than the groups: that one.
    """
    sizes = groups.sizes + closes
    order = np.argsort((BUCKETS_MAX + 1 - sizes).astype(np.uint8), kind="stable")
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
    return order, entries, Course(groups.slots[order], are_new, begins.tolist(), buckets, whole)


def _add(counts: Counts, groups: _Groups, fresh: _Fresh, calm: Flags) -> None:
    """Count the records of calm slots."""
    going = (fresh.goes_on & calm).nonzero()[0]
    if len(going):
        counts.add_to_newest(groups.slots[going], groups.added[groups.begins[going]])
    begun = ((fresh.sizes > 0) & calm).nonzero()[0]
    if len(begun):
        mine = np.repeat(calm, groups.sizes) & fresh.entries
        sizes = fresh.sizes[begun]
        counts.begin_buckets(groups.slots[begun], sizes, groups.buckets[mine], groups.added[mine])
