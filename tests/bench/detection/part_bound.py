"""What no detector with this evidence can beat: the same surges, against a bar that knows all.

The usual rate and the rhythm are the world's own, and the bar is as far as the days of creators of
this size really reach: counted, and for pages continued by the mean excess of the rarest ones.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from streams.core.detection.block_maths import Outlook, shape_of, statistic_of
from streams.core.detection.policy import DetectorPolicy
from streams.core.worlds.count_columns import Floats
from streams.core.worlds.counts import CountWorld, count_world_of
from tests.bench.detection.part import Part
from tests.bench.detection.part_power import BURSTY, JUDGED, STEADY, band_of
from tests.bench.detection.shards import SEED, count_of, done
from tests.bench.detection.statistics import NEVER, middle_of, middle_words, share_words

_CREATORS: Final = 30_000
_EACH: Final = 400
_DAY: Final = 288
_WARM_DAYS: Final = 2
_COUNTED_MIN: Final = 8
_RAREST: Final = 64
_OFTEN: Final = 1 / 30
_PAGE: Final = 1e-6
_KNOWN: Final = 1e9
"""Events from which a rate would have been learnt: it is known."""


def run(size: float) -> Part:
    """Run both worlds, and look when the surges of the floor pass the bar."""
    creators = count_of(_CREATORS, size, 1_000)
    worlds = (BURSTY, STEADY)
    rows: list[dict[str, Any]] = []
    reached: dict[str, float] = {}
    for world, delays in zip(worlds, done(_shard, [(w, creators) for w in worlds]), strict=True):
        soon, paged = delays[(30.0, _OFTEN)], delays[(10.0, _PAGE)]
        within = sum(one <= 45.0 for one in soon)
        told = sum(one < NEVER for one in paged)
        rows.append(
            {
                "world": world,
                "× 30, one in 30 days: within 45 min": share_words(within, len(soon)),
                "× 10, one in a million: within a day": share_words(told, len(paged)),
                "the same: minutes": middle_words(paged),
            }
        )
        reached[f"bound_{world}_30"] = round(100 * within / len(soon), 2)
        reached[f"bound_{world}_10_minutes"] = round(middle_of(paged), 1)
    return Part(reached, rows)


def _shard(task: tuple[str, int]) -> dict[tuple[float, float], list[float]]:
    """Minutes until each surge passes the bar, by multiple and budget."""
    name, creators = task
    plan = band_of(name, JUDGED[0][:2], creators, round(_EACH * creators / _CREATORS))
    world = count_world_of(plan, seed=SEED + 400, creators=creators)
    tops, evidence = _evidence_of(world)
    surges, plain = world.columns.surges, world.without_surge()
    classes = np.floor(np.log2(world.rate)).astype(np.int64)
    found: dict[tuple[float, float], list[float]] = {}
    for multiple, budget in ((30.0, _OFTEN), (10.0, _PAGE)):
        mine = np.flatnonzero(surges.multiple == multiple)
        kinds = classes[surges.creator[mine]]
        bars = {
            kind: _bar_of(tops[:, plain & (classes == kind)].ravel(), budget)
            for kind in np.unique(kinds).tolist()
        }
        found[(multiple, budget)] = [
            _minutes(evidence[:, row], int(surges.start[row]) - world.happens, bars[kind])
            for row, kind in zip(mine.tolist(), kinds.tolist(), strict=True)
        ]
    return found


def _minutes(evidence: Floats, start: int, bar: float) -> float:
    """Minutes from a surge's begin to the end of the first bucket at the bar, within a day."""
    over = np.flatnonzero(evidence[start : start + _DAY] >= bar)
    return 5.0 * (int(over[0]) + 1) if len(over) else NEVER


def _bar_of(tops: Floats, budget: float) -> float:
    """Evidence that this share of the days reaches."""
    ordered = np.sort(tops)
    if budget * len(ordered) >= _COUNTED_MIN:
        return float(ordered[-int(budget * len(ordered)) - 1])
    rarest = ordered[-min(_RAREST, len(ordered)) :]
    rarer = len(rarest) / len(ordered) / budget
    return float(rarest[0] + (rarest - rarest[0]).mean() * np.log(max(rarer, 1.0)))


def _evidence_of(world: CountWorld) -> tuple[Floats, Floats]:
    """Daily maxima of all (a row a day before surges); evidence of surging ones by bucket."""
    policy = DetectorPolicy()
    factors = np.array(policy.window_factors)[:, None]
    size = world.plan.creators
    seen, exposed = np.zeros((3, size)), np.zeros((3, size))
    outlook_shape = shape_of(np.full(size, _KNOWN), policy)
    surging = world.columns.surges.creator
    tops: list[Floats] = []
    evidence: list[Floats] = []
    top = np.zeros(size)
    for step in world.buckets():
        exposure = world.rhythm_of(step.bucket)[world.region]
        seen *= factors
        exposed *= factors
        seen[:, step.creators] += step.counts
        outlook = Outlook(world.rate, outlook_shape, exposed)
        statistic = statistic_of(seen, exposure, outlook)
        statistic[seen[0] <= 0.0] = 0.0
        exposed += exposure
        if step.bucket >= world.happens:
            evidence.append(statistic[surging])
            continue
        np.maximum(top, statistic, out=top)
        if (step.bucket - world.first + 1) % _DAY == 0:
            tops.append(top.copy())
            top[:] = 0.0
    return np.array(tops[_WARM_DAYS:]), np.array(evidence)
