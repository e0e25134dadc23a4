"""Others beside ours on simulated creators: the rate that was asked for, and × 30 told how soon.

All see the same five-minute counts and have the same gate. A peer has no budget: its threshold is
the one that alarms once in 30 days of other creators of the same size. Ours is told the budget.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from streams.core.time.buckets import BUCKET_MS
from streams.core.worlds.count_columns import Ints
from streams.core.worlds.counts import CountWorld, count_world_of
from streams.core.worlds.plans import WORLDS
from tests.bench.detection.nab import gated
from tests.bench.detection.part import Part
from tests.bench.detection.peers import PEERS
from tests.bench.detection.shards import SEED, count_of, done
from tests.bench.detection.statistics import (
    NEVER,
    middle_words,
    ratio_words,
    share_words,
)
from tests.bench.detection.world_job import creator_of, ran

_BUDGET: Final = 1 / 30
_CREATORS: Final = 1_000
_EACH: Final = 30
"""Creators with a surge, plain ones that thresholds are chosen on, and plain ones besides."""
_DAYS: Final = 12
_CELL: Final = (0.1, 1.0, 30.0)
_OURS: Final = "surgewatch"
_SOON_MINUTES: Final = 45.0


@dataclass(frozen=True, slots=True)
class Series:
    """One creator's counts of five minutes each, from the first bucket of her world."""

    name: str
    counts: list[float]


Alarms = dict[int, list[int]]
"""Rows of each creator's alarms."""


def run(size: float) -> Part:
    """Run a small world of surges and score its creators with everybody."""
    each = count_of(_EACH, size, 4)
    found = done(_one, [(name, each) for name in (_OURS, *PEERS)])
    return Part({}, found)


def _one(task: tuple[str, int]) -> dict[str, Any]:
    name, each = task
    world = _world_of(each)
    surging = world.columns.surges.creator
    plain = _plain(world)[: 2 * each]
    chosen, judged = plain[::2], plain[1::2]
    rows = _rows_of(world, [*surging.tolist(), *plain.tolist()])
    alarms = _ours(world) if name == _OURS else _theirs(name, rows, chosen)
    return _row(name, world, alarms, judged)


def _world_of(each: int) -> CountWorld:
    plan = WORLDS["surges"]
    surges = tuple(
        replace(one, share=each / _CREATORS)
        for one in plan.surges
        if (one.rate_min, one.rate_max, one.multiple) == _CELL
    )
    return count_world_of(
        replace(plan, surges=surges), seed=SEED + 700, creators=_CREATORS, hours=24 * _DAYS
    )


def _plain(world: CountWorld) -> Ints:
    of_size = (world.rate >= _CELL[0]) & (world.rate < _CELL[1]) & world.without_surge()
    return np.flatnonzero(of_size)


def _rows_of(world: CountWorld, creators: Sequence[int]) -> dict[int, list[float]]:
    wanted = np.array(creators)
    rows = np.zeros((len(wanted), world.after - world.first))
    for step in world.buckets():
        rows[:, step.bucket - world.first] = step.dense(world.plan.creators)[wanted]
    return dict(zip(creators, rows.tolist(), strict=True))


def _ours(world: CountWorld) -> Alarms:
    alarms: Alarms = {}
    for surge in ran(world, [_BUDGET], in_turn=False).opened(_BUDGET):
        row = surge.opened_ms // BUCKET_MS - world.first
        alarms.setdefault(creator_of(surge), []).append(row)
    return alarms


def _theirs(name: str, rows: dict[int, list[float]], chosen: Ints) -> Alarms:
    scores = {
        creator: PEERS[name](Series(f"c-{creator}", counts)) for creator, counts in rows.items()
    }
    on = [scores[creator][288:] for creator in chosen.tolist()]
    scored = [(_times_ms(mine), mine) for mine in on]
    threshold = threshold_of(scored, _BUDGET * sum(map(len, on)) / 288)
    return {
        creator: gated(_times_ms(mine), [0.0] * 288 + mine[288:], threshold)
        for creator, mine in scores.items()
    }


def threshold_of(scored: Sequence[tuple[Sequence[int], Sequence[float]]], asked: float) -> float:
    """The lowest threshold, of those that scores reach, at which gated alarms are at most asked.

    ``scored``: of each series the rows' times and scores.
    """
    tried = sorted({score for _, scores in scored for score in scores})
    low, high = 0, len(tried)
    while low < high:
        middle = (low + high) // 2
        alarms = sum(len(gated(times_ms, scores, tried[middle])) for times_ms, scores in scored)
        low, high = (low, middle) if alarms <= asked else (middle + 1, high)
    return tried[low] if low < len(tried) else NEVER


def _times_ms(scores: Sequence[float]) -> list[int]:
    return [row * BUCKET_MS for row in range(len(scores))]


def _row(name: str, world: CountWorld, alarms: Alarms, judged: Ints) -> dict[str, Any]:
    days = len(judged) * (world.after - world.first - 288) / 288
    false = sum(row >= 288 for creator in judged.tolist() for row in alarms.get(creator, []))
    lifts, delays = world.columns.surges, []
    for creator, start in zip(lifts.creator.tolist(), lifts.start.tolist(), strict=True):
        begin = start - world.first
        after = [row for row in alarms.get(creator, []) if begin <= row < begin + 288]
        delays.append((min(after) + 1 - begin) * 5.0 if after else NEVER)
    soon = sum(minutes <= _SOON_MINUTES for minutes in delays)
    return {
        "detector": name,
        "seen over asked": ratio_words(false, days * _BUDGET),
        "× 30 within 45 min": share_words(soon, len(delays)),
        "within a day": share_words(sum(minutes < NEVER for minutes in delays), len(delays)),
        "median minutes": middle_words(delays),
    }
