"""Many buckets of many keys at once: the detector's answers for a chunk of history.

A worker that reads history meets a new bucket every few hundred records. Only the fading sums and
the rate must go bucket after bucket, some twenty calls for all keys that have one more bucket;
evidence and scores, which are most of the formulas, are computed for all buckets together.
Every number is what `DetectorBlock.advance` and `score` give, bit for bit.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from streams.core.detection.block_maths import (
    DaysPast,
    Outlook,
    as_counts,
    put_early,
    rarity_of,
    score_of,
    shape_of,
    statistic_of,
    tail_after_days,
    tail_at,
    taught_of,
)
from streams.core.detection.block_state import KeyColumns, RowStore
from streams.core.detection.block_tables import FadingPowers, Floats, Ints
from streams.core.detection.exposure import Exposure
from streams.core.detection.first_days import EARLY_BUCKETS
from streams.core.detection.policy import DetectorPolicy
from streams.core.detection.rhythm import Heard, Rhythm
from streams.core.detection.tail_prior import Ended, Lived, Risen, TailPrior

Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Course:
    """Buckets of some keys: first the first one of every key, then all second ones, ….

    Key i has its nth bucket (from 0) in entry ``begins[n] + i``; keys with more buckets stand
    before those with fewer, so each ``begins[n] : begins[n + 1]`` is full. A key's first bucket is
    its open one, or that of its birth where ``are_new``. ``counts`` are those of whole buckets.
    """

    slots: Ints
    are_new: Flags
    begins: list[int]
    buckets: Ints
    counts: Ints

    @property
    def sizes(self) -> list[int]:
        """How many keys have an nth bucket."""
        return [end - begin for begin, end in zip(self.begins, self.begins[1:], strict=False)]


@dataclass(frozen=True, slots=True)
class BlockAhead:
    """What a course would come to; `keep` makes it so."""

    score: Floats
    """Score of each of the course's buckets with its count."""
    expected: Floats
    """Events that each of them would usually bring."""
    exposure: Floats
    """How busy each of them usually is."""
    _rows: RowStore
    _slots: Ints
    _after: KeyColumns
    _lessons: "Lessons"

    def keep(self, keys: Flags | None) -> None:
        """Have these keys in their last bucket, all others as they were; None: all keys."""
        slots, after = self._slots, self._after
        if keys is not None:
            slots, after = slots[keys], after.only(keys)
        self._rows.write(slots, after)
        self._lessons.teach(keys)


class Lessons:
    """What the keys of a course teach each other, once it is known which of them are kept."""

    def __init__(self, prior: TailPrior, rhythm: Rhythm | None) -> None:
        self._prior, self._rhythm = prior, rhythm
        self._heard: list[tuple[Ints, Heard]] = []
        self._met: list[tuple[Ints, Ints]] = []
        self._births: list[tuple[Ints, Ints]] = []
        self._risen: list[tuple[Ints, Risen]] = []
        self._ended: list[tuple[Ints, Ended]] = []

    def add_heard(self, keys: Ints, heard: Heard) -> None:
        """Buckets of these keys closed."""
        self._heard.append((keys, heard))

    def add_met(self, keys: Ints, births: Ints) -> None:
        """These keys were met."""
        self._met.append((keys, births))

    def add_births(self, keys: Ints, births: Ints) -> None:
        """First buckets of these keys closed."""
        self._births.append((keys, births))

    def add_risen(self, keys: Ints, risen: Risen) -> None:
        """Maxima of these keys' first days rose."""
        self._risen.append((keys, risen))

    def add_ended(self, keys: Ints, ended: Ended) -> None:
        """Days of these keys ended."""
        self._ended.append((keys, ended))

    def teach(self, kept: Flags | None) -> None:
        """Teach what these keys have to; None: all."""
        for keys, heard in self._heard:
            if self._rhythm is not None:
                self._rhythm.learn(heard if kept is None else heard.only(kept[keys]))
        if not self._prior.learns:
            return
        for keys, births in self._met:
            self._prior.take_met(births if kept is None else births[kept[keys]])
        for keys, births in self._births:
            self._prior.take_births(births if kept is None else births[kept[keys]])
        for keys, risen in self._risen:
            self._prior.take_risen(risen if kept is None else risen.only(kept[keys]))
        for keys, ended in self._ended:
            self._prior.take_ended(ended if kept is None else ended.only(kept[keys]))


class _Past(NamedTuple):
    """Buckets before they close: the key's age, its evidence and its rate."""

    age: Ints
    statistic: Floats
    rate: Floats

    def of(self, entries: slice) -> "_Past":
        """Only these."""
        return _Past(self.age[entries], self.statistic[entries], self.rate[entries])


class Beliefs(NamedTuple):
    """What a detector goes by besides its keys' state."""

    policy: DetectorPolicy
    powers: FadingPowers
    exposure: Exposure
    prior: TailPrior
    rhythm: Rhythm | None


class Runner:
    """One course being run. Columns have one entry a bucket of the course, unless said."""

    def __init__(self, beliefs: Beliefs, course: Course) -> None:
        self.policy, self.powers, self.exposure, self.prior, self.rhythm = beliefs
        self.course = course
        self.sizes = course.sizes
        sizes = np.array(self.sizes, dtype=np.int64)
        self.events = as_counts(course.counts)
        keys = len(course.slots)
        entries = np.arange(len(course.buckets))
        self.key = entries - np.repeat(course.begins[:-1], sizes)
        self.before = entries[keys:] - np.repeat(sizes[:-1], sizes[1:])
        """Entry of the bucket before, from the second buckets on."""
        self._gaps = course.buckets[keys:] - course.buckets[self.before] - 1
        self._gap_powers = self.powers.of_gap(self._gaps)

    def run(self, rows: RowStore) -> BlockAhead:
        """Read the keys, run the course."""
        course, policy = self.course, self.policy
        keys = rows.read(course.slots)
        fresh = course.are_new.nonzero()[0]
        keys.birth[fresh] = course.buckets[fresh]
        lessons = Lessons(self.prior, self.rhythm)
        lessons.add_met(fresh, keys.birth[fresh])
        birth = keys.birth[self.key]
        age = course.buckets - birth
        sums = self._faded(keys)
        day = age // policy.buckets_per_day
        self._ended = day[len(course.slots) :] - day[self.before]
        direction = self._directions(keys, sums[3:])
        exposure, exposed = self._exposed(birth, direction)
        buckets = exposed[3] + policy.rate_prior_buckets
        rate_count, taught = self._learnt(keys, buckets, exposure)
        outlook = Outlook(
            rate_count / buckets,
            shape_of(rate_count, policy),
            exposed[:3] * self.powers.factors[:3],
        )
        if self.rhythm is not None:
            heard = self.before[self.rhythm.hears(birth, course.buckets)[self.before]]
            if len(heard):
                every = Heard(birth, direction, course.buckets, taught, outlook.rate)
                lessons.add_heard(self.key[heard], every.only(heard))
        seen = sums[:3] * self.powers.factors[:3]
        seen += self.events
        statistic = statistic_of(seen, exposure, outlook)
        if policy.short_lived:
            put_early(statistic, seen, exposure, outlook, age, self.powers)
        tails = self._days(keys, _Past(age, statistic, outlook.rate), lessons)
        own = self.prior.of(outlook.rate)
        rarity = rarity_of(statistic, tail_at(tails, age, own, self.powers, policy))
        lived = Lived(birth, age)
        score = score_of(self.prior.judged(rarity, own, statistic, lived), policy)
        last = self._last_entries()
        after = KeyColumns(
            keys.birth,
            direction[last],
            keys.top,
            rate_count[last],
            sums[:3, last],
            sums[3:, last],
            keys.tail,
        )
        expected = outlook.rate * exposure
        return BlockAhead(score, expected, exposure, rows, course.slots, after, lessons)

    def _directions(self, keys: KeyColumns, phase: Floats) -> Ints:
        """Direction of each bucket's key, told anew where a day has ended before it."""
        directions: Ints = keys.direction[self.key]
        if self.rhythm is not None and self._ended.any():
            told = self.rhythm.direction_of(phase)
            for old, new, gap in self._turns():
                ends = self._ended[gap] > 0
                directions[new] = np.where(ends, told[new], directions[old])
        return directions

    def _exposed(self, birth: Ints, direction: Ints) -> tuple[Floats, Floats]:
        """Exposure of each bucket, and fading sums of it before."""
        opened, slots = self.course.buckets, self.course.slots[self.key]
        exposure = np.empty(len(opened))
        exposure[:] = self.exposure.open_of(slots, opened)
        sums = self.exposure.sums_of(slots, birth, opened)
        if self.rhythm is None or self.rhythm.is_flat:
            return exposure, sums
        sums *= self.rhythm.means_of(direction, birth, opened)
        exposure *= self.rhythm.open_of(direction, opened)
        return exposure, sums

    def _turns(self) -> Iterator[tuple[slice, slice, slice]]:
        """Entries of buckets that close, of the next ones, and of the gaps between them."""
        begins, count = self.course.begins, len(self.course.slots)
        for turn in range(1, len(self.sizes)):
            old = slice(begins[turn - 1], begins[turn - 1] + self.sizes[turn])
            new = slice(begins[turn], begins[turn] + self.sizes[turn])
            yield old, new, slice(new.start - count, new.stop - count)

    def _faded(self, keys: KeyColumns) -> Floats:
        """Six rows: sums of the windows and the phase as they stand before each bucket."""
        factors, count = self.powers.factors, len(self.course.slots)
        every = np.concatenate((factors[:3], factors[[3, 3, 3]]))
        sums, added = np.empty((6, len(self.events))), np.zeros((6, len(self.events)))
        sums[:3, :count], sums[3:, :count] = keys.windows, keys.phase
        added[:3] = self.events
        if self.rhythm is not None:
            added[3:] = self.rhythm.pointed(self.events, self.course.buckets)
        powers = self._gap_powers[[0, 1, 2, 3, 3, 3]]
        for old, new, gap in self._turns():
            some = sums[:, new]
            np.multiply(sums[:, old], every, out=some)
            some += added[:, old]
            some *= powers[:, gap]
            some[...] = some.astype(np.float32)  # as they are kept between two buckets
        return sums

    def _learnt(self, keys: KeyColumns, buckets: Floats, exposure: Floats) -> tuple[Floats, Floats]:
        """Rate's count as it stands before each bucket, and what each one that closes taught."""
        rate_count, taught = np.empty(len(self.events)), np.zeros(len(self.events))
        rate_count[: len(self.course.slots)] = keys.rate_count
        waited = self._gaps > 0
        factor, prior = float(self.powers.factors[3, 0]), self.policy.rate_prior_count
        refill = (1.0 - factor) * prior
        for old, new, gap in self._turns():
            rate = rate_count[new]
            expected = rate_count[old] / buckets[old]
            expected *= exposure[old]
            taught[old] = taught_of(self.events[old], expected, self.policy)
            np.multiply(rate_count[old], factor, out=rate)
            rate += refill
            rate += taught[old]
            faded = rate - prior
            faded *= self._gap_powers[3, gap]
            faded += prior
            np.copyto(rate, faded, where=waited[gap])
        return rate_count, taught

    def _days(self, keys: KeyColumns, past: "_Past", lessons: Lessons) -> Floats:
        """Close buckets and days; each bucket's tail (three rows), the keys' own as they end."""
        course, count = self.course, len(self.course.slots)
        ended, young_ages = self._ended, past.age < self.policy.buckets_per_day
        some_end = bool(ended.any())
        some_young = self.prior.learns and bool(young_ages.any())
        tails = np.empty((3, len(past.age))) if some_end else keys.tail[:, self.key]
        tops = np.empty(len(past.age))
        if some_end:
            tails[:, :count] = keys.tail
        for turn in range(1, len(self.sizes)):
            size, new = self.sizes[turn], course.begins[turn]
            old = slice(course.begins[turn - 1], course.begins[turn - 1] + size)
            top = keys.top[:size]
            if some_young:
                tops[old] = top
            np.maximum(top, past.statistic[old], out=top)
            if some_young:
                after = past.age[new : new + size]
                top[(past.age[old] < EARLY_BUCKETS) & (after >= EARLY_BUCKETS)] = 0.0
            if some_end:
                over = ended[new - count : new - count + size]
                self._end_days(keys, over, past.of(old), lessons)
                tails[:, new : new + size] = keys.tail[:, :size]
            top[...] = top.astype(np.float32)
        if some_young:
            closed = self.before[young_ages[self.before]]
            born = self.key[closed[past.age[closed] == 0]]
            lessons.add_births(born, keys.birth[born])
            risen = closed[past.statistic[closed] > tops[closed]]
            birth = keys.birth[self.key[risen]]
            higher = Risen(birth, past.age[risen], tops[risen], past.statistic[risen])
            lessons.add_risen(self.key[risen], higher)
        return tails

    def _end_days(self, keys: KeyColumns, ended: Ints, past: "_Past", lessons: Lessons) -> None:
        rows = ended.nonzero()[0]
        if len(rows):
            days = DaysPast(keys.top[rows], past.age[rows], ended[rows])
            own = self.prior.of(past.rate[rows])
            tail, taught = tail_after_days(keys.tail[:, rows], days, own, self.powers, self.policy)
            lessons.add_ended(rows, taught)
            keys.tail[:, rows] = tail.astype(np.float32)
            keys.top[rows] = 0.0

    def _last_entries(self) -> Ints:
        """Entry of each key's last bucket."""
        last = np.empty(len(self.course.slots), dtype=np.int64)
        for begin, size in zip(self.course.begins, self.sizes, strict=False):
            last[:size] = np.arange(begin, begin + size)
        return last
