"""Many buckets of many keys at once: the detector's answers for a chunk of history.

A worker that reads history meets a new bucket every few hundred records. Only the fading sums and
the rate must go bucket after bucket, some twenty calls for all keys that have one more bucket;
evidence and scores, which are most of the formulas, are computed for all buckets together.
Every number is what `DetectorBlock.advance` and `score` give, bit for bit.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from streams.core.block_maths import (
    DaysPast,
    Outlook,
    as_counts,
    rarity_of,
    score_of,
    shape_of,
    statistic_of,
    tail_after_days,
    tail_at,
    taught_of,
)
from streams.core.block_state import KeyColumns, RowStore
from streams.core.block_tables import FadingPowers, Floats, Ints
from streams.core.detector_policy import DetectorPolicy
from streams.core.exposure import Exposure
from streams.core.tail_prior import Ended, Lived, Risen, TailPrior

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

    def __init__(self, prior: TailPrior, course: Course, births: Ints) -> None:
        self._prior, self._births = prior, births
        self._new = course.are_new
        self._risen: list[tuple[Ints, Risen]] = []
        self._ended: list[tuple[Ints, Ended]] = []

    def add_risen(self, keys: Ints, risen: Risen) -> None:
        """Maxima of these keys' first days rose."""
        self._risen.append((keys, risen))

    def add_ended(self, keys: Ints, ended: Ended) -> None:
        """Days of these keys ended."""
        self._ended.append((keys, ended))

    def teach(self, kept: Flags | None) -> None:
        """Teach what these keys have to; None: all."""
        if not self._prior.learns:
            return
        new = self._new if kept is None else self._new & kept
        if new.any():
            self._prior.take_births(self._births[new])
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


class Runner:
    """One course being run. Columns have one entry a bucket of the course, unless said."""

    def __init__(self, beliefs: Beliefs, course: Course) -> None:
        self.policy, self.powers, self.exposure, self.prior = beliefs
        self.course = course
        self.sizes = course.sizes
        sizes = np.array(self.sizes, dtype=np.int64)
        self.events = as_counts(course.counts)
        keys = len(course.slots)
        entries = np.arange(len(course.buckets))
        self.key = entries - np.repeat(course.begins[:-1], sizes)
        self.before = entries[keys:] - np.repeat(sizes[:-1], sizes[1:])
        """Entry of the bucket before, from the second buckets on."""

    def run(self, rows: RowStore) -> BlockAhead:
        """Read the keys, run the course."""
        course, policy = self.course, self.policy
        keys = rows.read(course.slots)
        fresh = course.are_new.nonzero()[0]
        keys.birth[fresh] = course.buckets[fresh]
        lessons = Lessons(self.prior, course, keys.birth)
        age = course.buckets - keys.birth[self.key]
        slots = course.slots[self.key]
        sums = self.exposure.sums_of(slots, keys.birth[self.key], course.buckets)
        exposure = np.empty(len(age))
        exposure[:] = self.exposure.open_of(slots, course.buckets)
        buckets = sums[3] + policy.rate_prior_buckets
        windows, rate_count = self._learnt(keys, buckets, exposure)
        faded = sums[:3] * self.powers.factors[:3]
        outlook = Outlook(rate_count / buckets, shape_of(rate_count, policy), faded)
        seen = windows * self.powers.factors[:3]
        seen += self.events
        statistic = statistic_of(seen, exposure, outlook)
        tails = self._days(keys, _Past(age, statistic, outlook.rate), lessons)
        own = self.prior.of(outlook.rate)
        rarity = rarity_of(statistic, tail_at(tails, age, own, self.powers, policy))
        lived = Lived(keys.birth[self.key], age)
        score = score_of(self.prior.judged(rarity, own, statistic, lived), policy)
        last = self._last_entries()
        after = KeyColumns(keys.birth, keys.top, rate_count[last], windows[:, last], keys.tail)
        return BlockAhead(score, outlook.rate * exposure, rows, course.slots, after, lessons)

    def _learnt(self, keys: KeyColumns, buckets: Floats, exposure: Floats) -> tuple[Floats, Floats]:
        """Window sums (three rows) and rate as they stand before each bucket."""
        course, policy, factors = self.course, self.policy, self.powers.factors
        count, begins = len(course.slots), course.begins
        windows, rate_count = np.empty((3, len(self.events))), np.empty(len(self.events))
        windows[:, :count], rate_count[:count] = keys.windows, keys.rate_count
        gaps = course.buckets[count:] - course.buckets[self.before] - 1
        powers, waited = self.powers.of_gap(gaps), gaps > 0
        factor, prior = float(factors[3, 0]), policy.rate_prior_count
        refill = (1.0 - factor) * prior
        for turn in range(1, len(self.sizes)):
            size = self.sizes[turn]
            old = slice(begins[turn - 1], begins[turn - 1] + size)
            new = slice(begins[turn], begins[turn] + size)
            gap = slice(new.start - count, new.stop - count)
            sums, events = windows[:, new], self.events[old]
            np.multiply(windows[:, old], factors[:3], out=sums)
            sums += events
            sums *= powers[:3, gap]
            sums[...] = sums.astype(np.float32)  # as they are kept between two buckets
            rate = rate_count[new]
            expected = rate_count[old] / buckets[old]
            expected *= exposure[old]
            np.multiply(rate_count[old], factor, out=rate)
            rate += refill
            rate += taught_of(events, expected, policy)
            faded = rate - prior
            faded *= powers[3, gap]
            faded += prior
            np.copyto(rate, faded, where=waited[gap])
        return windows, rate_count

    def _days(self, keys: KeyColumns, past: "_Past", lessons: Lessons) -> Floats:
        """Close buckets and days; each bucket's tail (three rows), the keys' own as they end."""
        course, count = self.course, len(self.course.slots)
        day = past.age // self.policy.buckets_per_day
        ended = day[count:] - day[self.before]
        some_end = bool(ended.any())
        some_young = self.prior.learns and bool((day == 0).any())
        tails = np.empty((3, len(day))) if some_end else keys.tail[:, self.key]
        if some_end:
            tails[:, :count] = keys.tail
        for turn in range(1, len(self.sizes)):
            size, new = self.sizes[turn], course.begins[turn]
            old = slice(course.begins[turn - 1], course.begins[turn - 1] + size)
            top = keys.top[:size]
            if some_young:
                young = (day[old] == 0).nonzero()[0]
                after = np.maximum(top[young], past.statistic[old][young])
                lessons.add_risen(young, Risen(keys.birth[young], top[young], after))
            np.maximum(top, past.statistic[old], out=top)
            if some_end:
                over = ended[new - count : new - count + size]
                self._end_days(keys, over, past.of(old), lessons)
                tails[:, new : new + size] = keys.tail[:, :size]
            top[...] = top.astype(np.float32)
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
