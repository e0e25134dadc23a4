"""What the keys of one partition share: how wild a day of a key of this size is.

A key's own daily maxima are few; those of thousands like it are many. Keys are in classes of
rate, a power of two each. A class keeps sums over its key-days that ended, and what they come to
is the prior of each key's tail, and how rare that is which this tail says comes once in 4, 20, 90,
400, … days: how many such days there were.

Sums are whole numbers, so the order in which keys add to them leaves no trace. What is in force
changes only in `enter`, when the watermark enters a new day, and until the second midnight that a
partition sees, and on the first day of newcomers, after some hours, too: a score is then a function
of the records and their order.
"""

import math
import struct
from typing import Final

import numpy as np

from streams.core.detection.alarm_tally import AlarmTally
from streams.core.detection.block_tables import Floats, Ints
from streams.core.detection.first_days import (
    EARLY,
    EARLY_BUCKETS,
    KINDS,
    LATE,
    SHAPE,
    FirstDays,
    early_by_total,
    risen_counts_of,
)
from streams.core.detection.policy import DetectorPolicy
from streams.core.detection.tail_prior import Ended, Lived, Prior, Risen

POOL_LAYOUT_VERSION: Final = 3
_BEFORE_TALLY: Final = 2
"""Layout of states that end before the alarm tally: they are taken, with an empty one."""
_EARLY_BY_TOTAL: Final = 1
"""Stands in a state since short-lived keys' first minutes are counted by what they brought."""
RATE_CLASSES: Final = 28
_LOWEST: Final = -4
"""Class 0 has less than 2**_LOWEST events a day."""
_TAIL_SUMS: Final = 4
"""Days, maxima, days above the level, excess over it."""
_KNOTS: Final = 6
_STEP: Final = 1.5
"""A knot is so far, in -ln N of the key's own tail, past the one before; the first stands at 0."""
_SUMS: Final = _TAIL_SUMS + 1 + _KNOTS
"""The same; then days since the pool is warm, and those whose maximum reached each knot."""
_UNIT: Final = 1 << 16
"""Sums count in such parts of one."""
_AS_RARE: Final = np.exp(-_STEP * np.array((1.0, 1.0, 1.0, 1.0, 0.8, 0.8)))
"""Share of the days at each knot that reach the next, before it is known: as the tails say, or,
where few days ever are, somewhat more."""
_STEEP_MIN: Final = 0.65
"""No tail is taken for heavier than this: a surge must not teach that surges are usual."""
_STEEP_MAX: Final = 4.0
_FAR_STEEP_MAX: Final = 0.7
"""Past the last knot, where nothing can be counted, none is taken for lighter than this."""
_SURGED: Final = 18.0
"""A day that its key's own tail takes for rarer than e**-18 was a surge, and says nothing of how
rare other days are."""
_TAIL_DAYS: Final = 100.0
"""What the classes around one weigh against its own key-days."""
_NEAR_DAYS: Final = 30.0
_TOLD_DAYS: Final = 10.0
"""Days at a knot that the classes around one weigh, and for these what the tails say."""
_WEEK_DAYS: Final = 7
_SATURDAY: Final = 2
"""The first day of 1970 to be one, from 0."""
_WEEKEND: Final = (0, 1)
_WEEKEND_AND_AFTER: Final = (0, 1, 2)
_WEEKEND_STEEP: Final = 0.6
"""What is rare by other days is less so on a weekend, which has a rhythm of its own, as long as no
pool's key has lived through one."""
_YOUNG_MEMORY: Final = 1.0 / 3.0
"""Share of its age that a pool remembers while it is young."""
_WARM_DAYS: Final = 5
"""Before, priors change so much that what was rare by one is not by the next."""
_CALM_CLASS: Final = 8
_WILD_CLASSES: Final = 10
_WILD_LEVEL: Final = 14.0
_WILD_EXCESS: Final = 9.0
_HOUR_BUCKETS: Final = 12
_YOUNG_HOURS: Final = np.array((0, 1, 2, 3, 4, 6, 8, 12, 16, 20, 24, 32, 40), np.int64)
"""Hours after its first one that put in force what a young pool learnt. They grow, as what is known
does with the square root of the time, and a chunk of history is cut at each."""
_FIRST_BUCKETS: Final = np.array((3, 6), np.int64)
"""Buckets after its first one that do so too where keys are short-lived."""
_NEW_BUCKETS: Final = np.array((3, 6, 12, 24, 36, 48, 72, 96, 144, 192, 240), np.int64)
"""Buckets after the first newcomers may come that do so: until some have been seen, a large one
is not known to be usual."""
_GROWS_HOURS: Final = 8.0
_YOUNG_SHARE: Final = 0.2
_YOUNG_SHARE_SHORT_LIVED: Final = 1.0
"""How much first days that go on count: short-lived keys have reached most of what they will."""
_MET_MAX: Final = 4.0
"""So many keys count for one that came again: of the others what they reached is not heard."""
_NOWHERE: Final = -1
_EXPONENT_BITS: Final = 52
_EXPONENT_OF_ONE: Final = 1022


_HEAD: Final = struct.Struct("<BBxxxxxxqq")


class PoolStateError(ValueError):
    """A stored pool is not one: it has ``size`` bytes, of which ``wanted`` would be right."""

    def __init__(self, size: int, wanted: int) -> None:
        super().__init__(
            f"a stored pool of {size} bytes is not of layout {POOL_LAYOUT_VERSION} ({wanted} bytes)"
            " or holds what no run leaves; empty the store and let the worker read the topics again"
        )
        self.size, self.wanted = size, wanted


class Pool:
    """The tail prior of a partition's keys of one watch, and what it is learnt from."""

    learns = True

    def __init__(self, policy: DetectorPolicy) -> None:
        self._policy = policy
        self._first_buckets = _FIRST_BUCKETS if policy.short_lived else _FIRST_BUCKETS[:0]
        self._young_share = _YOUNG_SHARE_SHORT_LIVED if policy.short_lived else _YOUNG_SHARE
        self._day = policy.buckets_per_day
        self._since = _NOWHERE
        self._epoch = _NOWHERE
        self._first = FirstDays(policy)
        self._settled = np.zeros((RATE_CLASSES, _SUMS), np.int64)
        self._running = np.zeros_like(self._settled)
        self._first_settled = np.zeros(SHAPE, np.int64)
        self._first_running = np.zeros(SHAPE, np.int64)
        self._first_young = np.zeros(SHAPE[0], np.int64)
        self._tally = AlarmTally()
        self._put_in_force()

    def packed(self) -> bytes | None:
        """State for the store: layout, two times, then the sums, all little-endian."""
        if self._since < 0:
            return None
        head = _HEAD.pack(POOL_LAYOUT_VERSION, _EARLY_BY_TOTAL, self._since, self._epoch)
        return head + b"".join(one.astype("<i8").tobytes() for one in self._sums())

    def restore(self, state: bytes) -> None:
        """Put it back. Raises `PoolStateError`."""
        sums, layout = self._sums(), state[0] if state else 0
        if layout == _BEFORE_TALLY:
            sums = sums[:-2]
        wanted = _HEAD.size + sum(one.nbytes for one in sums)
        if len(state) != wanted or layout not in {_BEFORE_TALLY, POOL_LAYOUT_VERSION}:
            raise PoolStateError(len(state), wanted)
        _, early, self._since, self._epoch = _HEAD.unpack_from(state)
        place = _HEAD.size
        for one in sums:
            held = np.frombuffer(state, "<i8", one.size, place)
            if (held < 0).any():
                raise PoolStateError(len(state), wanted)
            one[...] = held.reshape(one.shape)
            place += one.nbytes
        if early < _EARLY_BY_TOTAL and self._policy.short_lived:
            known = self._first_settled[:, EARLY] / _UNIT
            self._first_settled[:, EARLY] = np.rint(early_by_total(known) * _UNIT)
            self._first_running[:, EARLY] = 0
        self._put_in_force()

    def _sums(self) -> tuple[Ints, ...]:
        first = self._first_settled, self._first_running, self._first_young
        return self._settled, self._running, *first, self._tally.settled, self._tally.running

    def epochs_of(self, buckets: Ints) -> Ints:
        """Number of the time for which what is in force stays, for the watermark's buckets."""
        buckets = np.asarray(buckets, np.int64)
        since = self._since if self._since >= 0 else int(buckets[0])
        begins = (since // _HOUR_BUCKETS + _YOUNG_HOURS) * _HOUR_BUCKETS
        begins = begins[begins < (since // self._day + 2) * self._day]
        steps = (self._first_buckets, self._day + _NEW_BUCKETS)
        begins = np.unique(np.concatenate((begins, *(since + some for some in steps))))
        last = begins[np.searchsorted(begins, buckets, side="right") - 1]
        days: Ints = buckets // self._day * self._day
        return np.maximum(last, days)

    def enter(self, bucket: int) -> None:
        """Have the watermark in ``bucket``: what was learnt is put in force if it is time."""
        if self._since < 0:
            self._since = bucket
        epoch = int(self.epochs_of(np.array([bucket]))[0])
        if epoch <= self._epoch:
            return
        passed = epoch - self._epoch if self._epoch >= 0 else 0
        days = epoch // self._day - (epoch - passed) // self._day
        fading = math.exp(-days / self._memory_days(epoch))
        fading_first = self._policy.day_factor**days
        self._tally.enter(fading, self._policy.alarms_per_day)
        # A first day is counted as it goes by: what its keys reach comes as slowly.
        grown = 1.0 - math.exp(-passed / (_GROWS_HOURS * _HOUR_BUCKETS))
        old = np.rint(self._first_young * grown).astype(np.int64)
        self._first_young += self._first_running[:, LATE, 0] - old
        self._first_running[:, LATE, 0] = old
        self._settled = np.rint(self._settled * fading).astype(np.int64) + self._running
        # Keys met as a partition began never come again: to forget them is to know nothing.
        newcomers = self._first_settled[1]
        newcomers[...] = np.rint(newcomers * fading_first)
        self._first_settled += self._first_running
        self._running[...] = 0
        self._first_running[...] = 0
        self._epoch = epoch
        self._put_in_force()

    def of(self, rate: Floats) -> Prior:
        """See TailPrior."""
        classes = self._classes_of(rate)
        level, share, excess = self._prior.take(classes, axis=1)
        return Prior(level, share, excess, classes)

    def judged(self, rarity: Floats, prior: Prior, statistic: Floats, lived: Lived) -> Floats:
        """See TailPrior: corrected by the class, or, on a first day, as other first days say."""
        assert prior.classes is not None, "made by `of`"
        rarity /= _STEP
        knot = rarity.astype(np.int64)
        np.minimum(knot, _KNOTS, out=knot)
        rarity -= knot
        knot += prior.classes * (_KNOTS + 1)
        rarity *= self._rises.take(knot)
        rarity += self._seen.take(knot)
        if self._days_in_weekend in _WEEKEND:
            rarity *= _WEEKEND_STEEP
        young = (lived.age < self._day).nonzero()[0]
        if len(young):
            kind = self._kind_of(lived.birth[young])
            is_early = lived.age[young] < EARLY_BUCKETS
            rarity[young] = self._first.rarity_of(statistic[young], kind, is_early)
        return rarity

    def take_alarms(self, count: int) -> None:
        """See TailPrior."""
        self._tally.take_alarms(count)

    @property
    def seen_over_asked(self) -> float | None:
        """See TailPrior."""
        return self._tally.ratio

    def take_met(self, birth: Ints) -> None:
        """See TailPrior: the first minutes of a key that never comes again count."""
        self._tally.take_days(len(birth))
        self._first_running[:, EARLY, 0] += self._births_of(birth)

    def take_births(self, birth: Ints) -> None:
        """See TailPrior."""
        self._first_running[:, LATE, 0] += self._births_of(birth)

    def take_risen(self, risen: Risen) -> None:
        """See TailPrior."""
        kind = self._kind_of(risen.birth)
        is_early = risen.age < EARLY_BUCKETS
        self._first_running += risen_counts_of(risen.before, risen.after, kind, is_early) * _UNIT

    def take_ended(self, ended: Ended) -> None:
        """See TailPrior. Days that a first weekend is in are wild for all, and teach nothing."""
        days = ended.days - ended.is_first
        self._tally.take_days(int(days.sum()))
        if self._days_in_weekend in _WEEKEND_AND_AFTER:
            return
        known = ~ended.is_first
        over = ended.held > ended.level
        excess = np.maximum(ended.held - ended.level, 0.0)
        warm = self._epoch >= self._since + _WARM_DAYS * self._day
        surged = known & (ended.rarity > _SURGED)
        counts = warm & ~surged
        columns = [ended.held, over, excess]
        columns += [(ended.rarity > _STEP * knot) & counts for knot in range(1, _KNOTS + 1)]
        rows = np.empty((len(known), _SUMS), np.int64)
        rows[:, 0] = days * _UNIT
        rows[:, _TAIL_SUMS] = (days - surged) * (_UNIT * warm)
        places = [*range(1, _TAIL_SUMS), *range(_TAIL_SUMS + 1, _SUMS)]
        for place, column in zip(places, columns, strict=True):
            rows[:, place] = np.rint(column * (known * float(_UNIT))).astype(np.int64)
        assert ended.classes is not None, "made with a prior by `of`"
        np.add.at(self._running, ended.classes, rows)

    @property
    def _days_in_weekend(self) -> int:
        """Days since the Saturday before, in the pool's first week; afterwards below 0."""
        if self._epoch - self._since >= _WEEK_DAYS * self._day:
            return _NOWHERE
        return (self._epoch // self._day - _SATURDAY) % _WEEK_DAYS

    def _memory_days(self, epoch: int) -> float:
        """Days for which sums are remembered.

        What a young pool learns is of keys whose rate and rhythm are not known yet: that is
        forgotten sooner.
        """
        age = (epoch - self._since) / self._day
        return min(self._policy.tail_memory_days, 1.0 + age * _YOUNG_MEMORY)

    def _classes_of(self, rate: Floats) -> Ints:
        classes: Ints = (rate * float(self._day)).view(np.int64) >> _EXPONENT_BITS
        classes -= _EXPONENT_OF_ONE + _LOWEST  # the power of two above it, as `frexp` gives it
        np.maximum(classes, 0, out=classes)
        np.minimum(classes, RATE_CLASSES - 1, out=classes)
        return classes

    def _births_of(self, birth: Ints) -> Ints:
        births: Ints = np.bincount(self._kind_of(birth), minlength=KINDS) * _UNIT
        return births

    def _kind_of(self, birth: Ints) -> Ints:
        """0 for keys met in the partition's first day, else 1."""
        kind: Ints = (birth >= self._since + self._day).astype(np.int64)
        return kind

    def _put_in_force(self) -> None:
        policy = self._policy
        # Large keys' days are wilder: their rhythm and drift show where chance hides a small one's.
        wilder = np.clip((np.arange(RATE_CLASSES) - _CALM_CLASS) / _WILD_CLASSES, 0.0, 1.0)
        level = policy.tail_prior_level + _WILD_LEVEL * wilder
        share = np.full(RATE_CLASSES, policy.tail_prior_share)
        excess = share * (policy.tail_prior_excess + _WILD_EXCESS * wilder)
        sums = self._settled / _UNIT
        tails, rare = sums[:, :_TAIL_SUMS], sums[:, _TAIL_SUMS:]
        level, share, excess = _means_of(tails, np.array([level, share, excess]).T, _TAIL_DAYS)
        share = np.maximum(share, 1e-3)
        self._prior: Floats = np.array([level, share, excess / share])
        steep = -np.log(_shares_of(rare)) / _STEP
        np.clip(steep, _STEEP_MIN, _STEEP_MAX, out=steep)
        far = np.minimum(steep[:, -2:].mean(axis=1, keepdims=True), _FAR_STEEP_MAX)
        rises = _STEP * np.concatenate((steep, far), axis=1)
        self._rises: Floats = rises.ravel()
        self._seen: Floats = (np.cumsum(rises, axis=1) - rises).ravel()
        first = self._first_settled / _UNIT
        young = self._first_young / _UNIT
        heard = _MET_MAX * (first[:, LATE, 0] + young)
        first[:, EARLY, 0] = np.minimum(first[:, EARLY, 0], heard)
        first[:, LATE, 0] += self._young_share * young
        self._first.settle(first)


def _means_of(sums: Floats, constants: Floats, days: float) -> Floats:
    """Mean of each sum a day (rows) of each class (columns).

    A class is pulled toward the three around it, and these toward constants.
    """
    near = sums.copy()
    near[1:] += sums[:-1]
    near[:-1] += sums[1:]
    means = constants
    for some in (near, sums):
        means = (some[:, 1:] + days * means) / (some[:, :1] + days)
    by_sum: Floats = means.T
    return by_sum


def _shares_of(reached: Floats) -> Floats:
    """Share of each class's (rows) days at a knot (columns of ``reached``) that reach the next.

    A class is pulled toward the three around it, and these toward what their tails say.
    """
    near = reached.copy()
    near[1:] += reached[:-1]
    near[:-1] += reached[1:]
    shares: Floats = np.tile(_AS_RARE, (len(reached), 1))
    for some, days in ((near, _TOLD_DAYS), (reached, _NEAR_DAYS)):
        shares = (some[:, 1:] + days * shares) / (some[:, :-1] + days)
    return shares
