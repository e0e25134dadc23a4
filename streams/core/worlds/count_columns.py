"""What a named world draws before its first bucket: creators, and what happens to whom.

Creators are numbered by rising usual rate, so a band of rates is a slice; language, region,
birth and noise have nothing to do with the number.
"""

import math
from dataclasses import dataclass, replace
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from streams.core.worlds.plans import JumpPlan, SurgePlan, WorldPlan
from streams.core.worlds.platform import (
    HOUR_MS,
    LANG_WEIGHTS,
    LANGS,
    REGION_LANG,
    REGION_WEIGHTS,
    REGIONS,
    check_range,
)

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
BUCKETS_PER_HOUR: Final = HOUR_MS // 300_000


@dataclass(frozen=True, slots=True)
class Lifts:
    """Creators' own changes of rate, one a row: times ``multiple`` and plus ``extra``.

    In buckets [start, end), the first ``ramp`` of them on a linear ramp. Sorted by start.
    """

    creator: Ints
    start: Ints
    end: Ints
    ramp: Ints
    multiple: Floats
    extra: Floats

    def __len__(self) -> int:
        return len(self.creator)

    def at(self, index: Ints | NDArray[np.bool_] | slice) -> Self:
        """Rows at the places, or where the mask holds."""
        names = ("creator", "start", "end", "ramp", "multiple", "extra")
        return replace(self, **{name: getattr(self, name)[index] for name in names})

    def shape_of(self, bucket: int) -> Floats:
        """How much of each row is in force in a bucket within its time, 0..1."""
        part: Floats = (bucket - self.start + 0.5) / np.maximum(self.ramp, 0.5)
        return np.minimum(part, 1.0)


@dataclass(frozen=True, slots=True)
class Jumps:
    """Exact amounts, below 0 too, added to creators' buckets; sorted by bucket and creator."""

    creator: Ints
    bucket: Ints
    amount: Ints


@dataclass(frozen=True, slots=True)
class CreatorColumns:
    """Creators by rising ``rate`` (events a bucket) with what is drawn for them."""

    rate: Floats
    lang: NDArray[np.int8]
    region: NDArray[np.int8]
    birth: Ints
    surges: Lifts
    jumps: Jumps
    mix_creators: Ints


def columns_of(plan: WorldPlan, seed: int, first: int, happens: int, after: int) -> CreatorColumns:
    """Draw a plan's creators; buckets of the run are [first, after). Raises PolicyOutOfRange."""
    rng = np.random.default_rng([seed, 10])
    rate = np.sort(_rates(rng, plan))
    lang, region = _places(rng, plan.creators)
    birth = np.full(plan.creators, first, np.int64)
    newborn = rng.random(plan.creators) < plan.newborn_share
    birth[newborn] = rng.integers(first + 1, max(after, first + 2), plan.creators)[newborn]
    taken = np.zeros(plan.creators, np.bool_)
    parts = []
    for surge in plan.surges:
        creators = _picked(rng, rate, taken, (surge.share, surge.rate_min, surge.rate_max))
        parts.append(_surges(rng, surge, creators, happens))
        birth[creators] = parts[-1].start if surge.newborn else first
    jumps = [_jumps(rng, plan, rate, taken, happens, jump) for jump in plan.jumps]
    mixed = np.empty(0, np.int64)
    if plan.mix is not None:
        mixed = _picked(rng, rate, taken, (plan.mix.share, plan.rate_min, plan.rate_max))
    return CreatorColumns(
        rate, lang, region, birth, lifts_joined(parts), _jumps_joined(jumps), mixed
    )


def _rates(rng: np.random.Generator, plan: WorldPlan) -> Floats:
    """Lognormal between the limits: what lies outside is drawn anew."""
    check_range("creators", plan.creators, 2 <= plan.creators <= 99_999_999, "2 to 99999999")
    check_range("rate_min", plan.rate_min, 0 < plan.rate_min < plan.rate_max, "0 to rate_max")
    found: list[Floats] = []
    missing = plan.creators
    while missing > 0:
        drawn = rng.lognormal(math.log(plan.rate_median), plan.rate_sigma, missing + 16)
        kept = drawn[(drawn >= plan.rate_min) & (drawn <= plan.rate_max)][:missing]
        found.append(kept)
        missing -= len(kept)
    return np.concatenate(found)


def _places(rng: np.random.Generator, count: int) -> tuple[NDArray[np.int8], NDArray[np.int8]]:
    """Language by LANG_WEIGHTS, and a region that speaks it by REGION_WEIGHTS."""
    weights = [
        LANG_WEIGHTS[lang] * REGION_WEIGHTS[n] * 1000 // _speakers(lang)
        for n, lang in enumerate(REGION_LANG)
    ]
    to = np.cumsum(np.array(weights, dtype=np.int64))
    region = np.searchsorted(to, rng.integers(0, to[-1], count), side="right").astype(np.int8)
    return np.array(REGION_LANG, dtype=np.int8)[region], region


def _speakers(lang: int) -> int:
    return sum(w for w, n in zip(REGION_WEIGHTS, REGION_LANG, strict=True) if n == lang)


def _picked(
    rng: np.random.Generator, rate: Floats, taken: NDArray[np.bool_], of: tuple[float, ...]
) -> Ints:
    """Some free creators of a band, sorted; where a band has none, the nearest to its middle."""
    share, low, high = of
    count = max(1, round(share * len(rate)))
    first, after = np.searchsorted(rate, [low, high])
    free = first + np.flatnonzero(~taken[first:after])
    if not len(free):
        others = np.flatnonzero(~taken)
        check_range("creators", len(rate), len(others) > 0, "more, for all that happens to some")
        free = others[[int(np.argmin(np.abs(rate[others] - (low + high) / 2)))]]
    picked = np.sort(rng.choice(free, min(count, len(free)), replace=False))
    taken[picked] = True
    return picked


def _surges(rng: np.random.Generator, plan: SurgePlan, creators: Ints, happens: int) -> Lifts:
    spread = round(plan.spread_hours * BUCKETS_PER_HOUR)
    begin = happens + round(plan.after_hours * BUCKETS_PER_HOUR)
    start = begin + rng.integers(0, spread + 1, len(creators))

    def column(value: float) -> Floats:
        return np.full(len(creators), value)

    return Lifts(
        creators,
        start,
        start + plan.hours * BUCKETS_PER_HOUR,
        column(plan.ramp_buckets).astype(np.int64),
        column(plan.multiple),
        column(plan.extra),
    )


def _jumps(
    rng: np.random.Generator,
    plan: WorldPlan,
    rate: Floats,
    taken: NDArray[np.bool_],
    happens: int,
    jump: JumpPlan,
) -> Jumps:
    """Each amount, ``hours_between`` apart, to each creator; nobody's two in one bucket."""
    creators = _picked(rng, rate, taken, (jump.share, jump.rate_min, jump.rate_max))
    step = round(jump.hours_between * BUCKETS_PER_HOUR)
    start = happens + rng.integers(0, max(1, step), len(creators))
    count = len(jump.amounts)
    return Jumps(
        np.tile(creators, count),
        np.concatenate([start + n * step for n in range(count)]),
        np.repeat(np.array(jump.amounts, dtype=np.int64), len(creators)),
    )


def _jumps_joined(parts: list[Jumps]) -> Jumps:
    empty = np.empty(0, np.int64)
    creator = np.concatenate([empty, *(part.creator for part in parts)])
    bucket = np.concatenate([empty, *(part.bucket for part in parts)])
    amount = np.concatenate([empty, *(part.amount for part in parts)])
    order = np.lexsort((creator, bucket))
    return Jumps(creator[order], bucket[order], amount[order])


def lifts_joined(parts: list[Lifts]) -> Lifts:
    """Rows of all parts by their start, those of one start by creator."""
    whole, real = np.empty(0, np.int64), np.empty(0, np.float64)
    joined = Lifts(
        np.concatenate([whole, *(part.creator for part in parts)]),
        np.concatenate([whole, *(part.start for part in parts)]),
        np.concatenate([whole, *(part.end for part in parts)]),
        np.concatenate([whole, *(part.ramp for part in parts)]),
        np.concatenate([real, *(part.multiple for part in parts)]),
        np.concatenate([real, *(part.extra for part in parts)]),
    )
    return joined.at(np.lexsort((joined.creator, joined.start)))


def bursts_of(plan: WorldPlan, seed: int, first: int, after: int) -> Lifts:
    """Rare heavy bursts of a few buckets that are nobody's surge: same creators, more tail."""
    noise, rng = plan.noise, np.random.default_rng([seed, 11])
    count = int(rng.poisson(plan.creators * (after - first) / 288 * noise.bursts_a_day))
    start = rng.integers(first, max(after, first + 1), count)
    value = noise.burst_base + noise.burst_mean * rng.standard_exponential(count)
    rows = Lifts(
        rng.integers(0, plan.creators, count),
        start,
        start + rng.integers(1, 7, count),
        np.zeros(count, np.int64),
        np.minimum(value, noise.burst_max),
        np.zeros(count),
    )
    return lifts_joined([rows])


def cohort_of(lang: NDArray[np.int8], region: NDArray[np.int8]) -> NDArray[np.intp]:
    """Number of a language and region together, 0..len(LANGS) * len(REGIONS) - 1."""
    assert len(LANGS) * len(REGIONS) <= 64
    return lang.astype(np.intp) * len(REGIONS) + region
