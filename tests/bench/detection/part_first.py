"""A creator's first day on which nothing special happens: a large newcomer is no surge."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from streams.core.worlds.counts import count_world_of
from streams.core.worlds.plans import WORLDS
from tests.bench.detection.part import Part
from tests.bench.detection.part_rates import BANDS
from tests.bench.detection.shards import SEED, count_of, done
from tests.bench.detection.statistics import ratio_words
from tests.bench.detection.world_job import ran

_BUDGETS: Final = {"first_1e4": 1e-4, "first_1e5": 1e-5}
_NAMES: Final = {1e-4: "1 in 10,000", 1e-5: "1 in 100,000"}
_SHARDS: Final = 8
_CREATORS: Final = 60_000
_DAYS: Final = 4


def run(size: float) -> Part:
    """Run the world of newborns and count what opens on first days."""
    creators = count_of(_CREATORS, size, 500)
    shards = done(_shard, [(SEED + 100 + n, creators) for n in range(_SHARDS)])
    days = sum(shard[0] for shard in shards)
    alarms = {budget: sum(shard[1][budget] for shard in shards) for budget in _BUDGETS.values()}
    reached = {
        key: round(float(alarms[budget].sum() / (days.sum() * budget)), 3)
        for key, budget in _BUDGETS.items()
    }
    rows: list[dict[str, Any]] = []
    for band, name in [*enumerate(BANDS), (slice(None), "all")]:
        many = float(np.sum(days[band]))
        row = {"usual rate": f"{name} a bucket", "first days": f"{many:,.0f}"}
        for budget, seen in alarms.items():
            row[_NAMES[budget]] = ratio_words(int(np.sum(seen[band])), many * budget)
        rows.append(row)
    return Part(reached, rows)


def _shard(task: tuple[int, int]) -> tuple[Any, dict[float, Any]]:
    """First days, and alarms on them for each budget, by band of the usual rate."""
    seed, creators = task
    world = count_world_of(WORLDS["newborns"], seed=seed, creators=creators, hours=24 * _DAYS)
    found = ran(world, [*_BUDGETS.values()])
    bands = len(BANDS)
    days = np.bincount(world.size, found.days(first=True), bands)
    alarms = {
        budget: np.bincount(world.size[found.alarms(budget, first=True)], minlength=bands)
        for budget in _BUDGETS.values()
    }
    return days, alarms
