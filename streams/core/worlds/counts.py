"""A named world as counts: for each bucket the creators with events, and how many.

For statistics over millions of creator-days. Creators of a low rate cost no draw each: the
total of all is Poisson, and its events are dealt out by cumulated rates, which is the same.

>>> from streams.core.worlds.plans import WORLDS
>>> world = count_world_of(WORLDS["quiet"], seed=7, creators=1000, hours=24)
>>> day = sum(int(step.counts.sum()) for step in world.buckets())
>>> bool(0.9 < day / (world.rate.sum() * 288) < 1.0)  # a Monday is below the week's mean
True
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from streams.core.time.buckets import BUCKET_MS, EventTimeMs
from streams.core.worlds.count_columns import (
    BUCKETS_PER_HOUR,
    CreatorColumns,
    Floats,
    Ints,
    Jumps,
    Lifts,
    bursts_of,
    cohort_of,
    columns_of,
)
from streams.core.worlds.plans import LiftPlan, WorldPlan
from streams.core.worlds.platform import LANGS, REGIONS, check_range
from streams.core.worlds.rhythm import activity_of

MONDAY_MS: Final = EventTimeMs(1_736_726_400_000)
"""2025-01-13T00:00:00Z: where worlds begin unless told otherwise."""
_THIN_RATE: Final = 0.6
"""Usual rate up to which dealing a total out costs less than one Poisson draw a creator."""


@dataclass(frozen=True, slots=True)
class CountStep:
    """Counts of one bucket: ``creators`` rises, none twice, ``counts`` are not 0.

    A count is below 0 only where a counter falls (world ``put-back``).
    """

    bucket: int
    creators: Ints
    counts: Ints

    def dense(self, creator_count: int) -> Ints:
        """Count of each creator, 0 where there is none."""
        row = np.zeros(creator_count, np.int64)
        row[self.creators] = self.counts
        return row


@dataclass(frozen=True, slots=True)
class CountWorld:
    """A plan drawn from a seed. Buckets [first, after) are numbered as everywhere, by time.

    What happens begins in bucket ``happens``. Columns have an entry a creator: usual ``rate``
    in events a bucket (rising), indexes in LANGS and REGIONS, ``birth`` (no counts before).
    """

    plan: WorldPlan
    seed: int
    first: int
    happens: int
    after: int
    columns: CreatorColumns
    bursts: Lifts
    stream: int = 0
    """Which of the independent draws of the same world: 0 follows, 1 comments."""

    @property
    def rate(self) -> Floats:
        """Usual events a bucket, averaged over a week; rising."""
        return self.columns.rate

    @property
    def lang(self) -> NDArray[np.int8]:
        """Index in LANGS of the creator's and her audience's language."""
        return self.columns.lang

    @property
    def region(self) -> NDArray[np.int8]:
        """Index in REGIONS; the rhythm is that of the region."""
        return self.columns.region

    @property
    def size(self) -> NDArray[np.int8]:
        """Decade of the usual rate: 0 below 0.01 a bucket, 5 from 100 on."""
        edges = np.array([0.01, 0.1, 1.0, 10.0, 100.0])
        return np.searchsorted(edges, self.rate, side="right").astype(np.int8)

    @property
    def birth(self) -> Ints:
        """First bucket in which the creator can have events."""
        return self.columns.birth

    def rhythm_of(self, bucket: int) -> Floats:
        """Activity of each of REGIONS in a bucket, 1 on average: what can be known before."""
        shifts = [0] * len(REGIONS)
        if self.plan.clock_region is not None and bucket >= self.happens:
            shifts[REGIONS.index(self.plan.clock_region)] = 1
        return np.array(activity_of(bucket, tuple(shifts)))

    def lift_of(self, bucket: int) -> Floats:
        """Factor of each of LANGS in a bucket by waves, outages and rushes; 1: none."""
        factors = np.ones(len(LANGS))
        for lift in self.plan.lifts:
            factors *= lift_factors_of(lift, bucket - self.happens)
        return factors

    def newcomer_share_of(self, bucket: int) -> Floats:
        """Share of the events of each of LANGS in a bucket that come from newcomers."""
        more = np.zeros(len(LANGS))
        for lift in self.plan.lifts:
            if lift.what == "newcomers":
                more += lift_factors_of(lift, bucket - self.happens) - 1
        return more / (1 + more)

    def buckets(self) -> Iterator[CountStep]:
        """Walk the buckets from the first; each walk gives the same counts."""
        creators = self.plan.creators
        for drawn, jumps in self.parts():
            yield _jumped(drawn, jumps, creators) if len(jumps.creator) else drawn

    def parts(self) -> Iterator[tuple[CountStep, Jumps]]:
        """Walk the buckets as what chance gives and the exact amounts on top of it."""
        jumps = self.columns.jumps
        for step in _Walk(self).steps():
            first, after = np.searchsorted(jumps.bucket, [step.bucket, step.bucket + 1])
            part = slice(int(first), int(after))
            yield step, Jumps(jumps.creator[part], jumps.bucket[part], jumps.amount[part])

    def without_surge(self) -> NDArray[np.bool_]:
        """Whether a creator has no surge of her own: waves, outages and bursts are none."""
        plain = np.ones(self.plan.creators, np.bool_)
        plain[self.columns.surges.creator] = False
        plain[self.columns.jumps.creator] = False
        return plain


def count_world_of(
    plan: WorldPlan,
    *,
    seed: int,
    start_ms: int = MONDAY_MS,
    creators: int | None = None,
    hours: int | None = None,
) -> CountWorld:
    """Draw a world; None is the plan's own number. Raises PolicyOutOfRange.

    What happens does so ``tail_hours`` before the end, but never in the run's first quarter.
    """
    hours = plan.history_hours + plan.tail_hours if hours is None else hours
    plan = plan if creators is None else replace(plan, creators=creators)
    check_range("hours", hours, hours >= 1, "1 or more")
    first = start_ms // BUCKET_MS
    after = first + hours * BUCKETS_PER_HOUR
    happens = max(after - plan.tail_hours * BUCKETS_PER_HOUR, first + (after - first) // 4)
    columns = columns_of(plan, seed, first, happens, after)
    return CountWorld(
        plan, seed, first, happens, after, columns, bursts_of(plan, seed, first, after)
    )


def lift_factors_of(lift: LiftPlan, bucket: int) -> Floats:
    """Factor of each of LANGS, ``bucket`` buckets after what happens began.

    >>> from streams.core.worlds.plans import WORLDS
    >>> lift_factors_of(WORLDS["even-wave"].lifts[0], 10)[0]
    np.float64(3.0)
    """
    return 1 + (np.array(lift.lifts) - 1) * _shape_of(lift, bucket - lift.after_buckets)


def _shape_of(lift: LiftPlan, age: int) -> float:
    if age < 0:
        return 0.0
    if age < lift.ramp_buckets:
        return (age + 0.5) / lift.ramp_buckets
    fading = age - lift.ramp_buckets - lift.hold_buckets
    if fading < 0:
        return 1.0
    share = math.exp(-(fading + 0.5) / lift.fade_buckets) if lift.fade_buckets else 0.0
    return share if share > 0.01 else 0.0


class _Walk:
    """One walk over a world's buckets: rates with their noise, and what is in force."""

    def __init__(self, world: CountWorld) -> None:
        self._world = world
        self._rng = np.random.default_rng([world.seed, 12, world.stream])
        noise, count = world.plan.noise, world.plan.creators
        self._thin = int(np.searchsorted(world.rate, _THIN_RATE))
        self._cohort = cohort_of(world.lang, world.region)
        self._redrawn = max(1, count // noise.persistence_buckets)
        self._shape: Floats | None = None
        self._slow = world.rate.copy()
        self._rate = self._slow.copy()
        if noise.cv2_max > 0:
            self._shape = 1 / self._rng.uniform(noise.cv2_min, noise.cv2_max, count)
            self._rate *= self._rng.standard_gamma(self._shape) / self._shape
        self._born = np.flatnonzero(world.birth > world.first)
        self._born = self._born[np.argsort(world.birth[self._born], kind="stable")]
        self._unborn = np.ones(count)
        self._unborn[self._born] = 0.0
        self._born_next = self._bursts_next = 0
        nothing = np.zeros(0, np.int64)
        self._bursts = world.bursts.at(nothing)

    def steps(self) -> Iterator[CountStep]:
        for bucket in range(self._world.first, self._world.after):
            if self._shape is not None:
                self._move(self._shape)
            creators, counts = self._drawn(self._rates_of(bucket))
            yield CountStep(bucket, creators, counts)

    def _move(self, shape: Floats) -> None:
        """Draw the noise of a run of neighbours anew: each has her turn once in an hour or so."""
        noise, rng, count = self._world.plan.noise, self._rng, len(self._rate)
        at = int(rng.integers(0, count))
        for first, after in ((at, at + self._redrawn), (0, at + self._redrawn - count)):
            part = slice(first, min(after, count))
            number = part.stop - part.start
            if number <= 0:
                continue
            step = noise.drift_a_day / math.sqrt(288 / noise.persistence_buckets)
            if step:
                self._slow[part] *= rng.lognormal(-step * step / 2, step, number)
            gamma = rng.standard_gamma(shape[part]) / shape[part]
            np.multiply(self._slow[part], gamma, out=self._rate[part])

    def _rates_of(self, bucket: int) -> Floats:
        world = self._world
        rhythm, lift = world.rhythm_of(bucket), world.lift_of(bucket)
        rates = (lift[:, None] * rhythm).ravel()[self._cohort]
        rates *= self._rate
        if len(self._born):
            births = world.birth[self._born]
            after = int(np.searchsorted(births, bucket, side="right"))
            self._unborn[self._born[self._born_next : after]] = 1.0
            self._born_next = after
            rates *= self._unborn
        self._advance_bursts(bucket)
        surges = world.columns.surges
        live = (surges.start <= bucket) & (bucket < surges.end)
        for lifts in (self._bursts, surges.at(live) if live.any() else surges.at(slice(0))):
            shape = lifts.shape_of(bucket)
            np.multiply.at(rates, lifts.creator, 1 + (lifts.multiple - 1) * shape)
            np.add.at(rates, lifts.creator, lifts.extra * shape)
        return rates

    def _advance_bursts(self, bucket: int) -> None:
        every = self._world.bursts
        after = int(np.searchsorted(every.start, bucket, side="right"))
        if not len(every):
            return
        first = int(np.searchsorted(every.start, bucket - 6, side="right"))
        recent = every.at(slice(first, after))
        self._bursts = recent.at(recent.end > bucket)

    def _drawn(self, rates: Floats) -> tuple[Ints, Ints]:
        thin, loud = rates[: self._thin], rates[self._thin :]
        drawn = self._rng.poisson(loud)
        places = np.flatnonzero(drawn)
        creators, counts = self._dealt(thin)
        return (
            np.concatenate([creators, places + self._thin]),
            np.concatenate([counts, drawn[places]]),
        )

    def _dealt(self, rates: Floats) -> tuple[Ints, Ints]:
        """Poisson counts of many small rates: sorted places on their cumulated line."""
        to = np.cumsum(rates)
        total = int(self._rng.poisson(to[-1])) if len(to) and to[-1] > 0 else 0
        if not total:
            return np.empty(0, np.int64), np.empty(0, np.int64)
        gaps = np.cumsum(self._rng.standard_exponential(total + 1))
        place = np.searchsorted(to, gaps[:-1] * (to[-1] / gaps[-1]), side="right")
        np.minimum(place, len(to) - 1, out=place)
        begins = np.flatnonzero(np.diff(place, prepend=-1))
        return place[begins], np.diff(begins, append=total)


def _jumped(step: CountStep, jumps: Jumps, creator_count: int) -> CountStep:
    row = step.dense(creator_count)
    np.add.at(row, jumps.creator, jumps.amount)
    creators = np.flatnonzero(row)
    return CountStep(step.bucket, creators, row[creators])
