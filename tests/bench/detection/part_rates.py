"""Whether the rate of false alarms that was asked for is kept, past a creator's first day."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import numpy as np

from streams.core.worlds.counts import count_world_of
from streams.core.worlds.plans import WORLDS
from tests.bench.detection import pictures
from tests.bench.detection.part import Part
from tests.bench.detection.shards import SEED, count_of, done
from tests.bench.detection.statistics import poisson_interval, ratio_words
from tests.bench.detection.world_job import ran

_BUDGETS: Final = {"rate_30": 1 / 30, "rate_1e3": 1e-3, "rate_1e4": 1e-4}
_NAMES: Final = {1 / 30: "one in 30 days", 1e-3: "1 in 1,000", 1e-4: "1 in 10,000"}
BANDS: Final = ("0.001 to 0.01", "0.01 to 0.1", "0.1 to 1", "1 to 10", "10 to 100")
_SHARDS: Final = 2
_CREATORS: Final = 20_000
_DAYS: Final = 31
_ASKED_MIN: Final = 10.0
"""Alarms that must be asked of a band before its ratio says anything."""


def run(size: float) -> Part:
    """Run the bursty world, with a job for each budget, and count what opens."""
    creators = count_of(_CREATORS, size, 500)
    shards = done(_shard, [(SEED + n, creators) for n in range(_SHARDS)])
    days = sum(shard[0] for shard in shards)
    alarms = {budget: sum(shard[1][budget] for shard in shards) for budget in _BUDGETS.values()}
    reached = {
        key: round(float(alarms[budget].sum() / (days.sum() * budget)), 3)
        for key, budget in _BUDGETS.items()
    }
    judged = [
        alarms[budget][band] / (days[band] * budget)
        for budget in _BUDGETS.values()
        for band in range(len(BANDS))
        if days[band] * budget >= _ASKED_MIN
    ]
    if judged:
        reached["rate_band_low"] = round(float(min(judged)), 3)
        reached["rate_band_high"] = round(float(max(judged)), 3)
    rows = [
        _row(f"{name} a bucket", days[band], {b: seen[band] for b, seen in alarms.items()})
        for band, name in enumerate(BANDS)
    ]
    rows.append(_row("all", days.sum(), {b: seen.sum() for b, seen in alarms.items()}))
    every = [*((name, band) for band, name in enumerate(BANDS)), ("all", slice(None))]

    def draw(folder: Path) -> list[Path]:
        lines = {
            name: [_seen(budget, days[band], seen[band]) for budget, seen in alarms.items()]
            for name, band in every
        }
        return [pictures.draw_rates(lines, folder / "detection_rates.png")]

    return Part(reached, rows, draw)


def _seen(budget: float, days: Any, alarms: Any) -> pictures.Seen:
    lived, count = float(np.sum(days)), int(np.sum(alarms))
    low, high = (end / lived for end in poisson_interval(count))
    return pictures.Seen(budget, count / lived, low, high)


def _row(name: str, days: float, alarms: dict[float, int]) -> dict[str, Any]:
    words = {_NAMES[b]: ratio_words(int(seen), days * b) for b, seen in alarms.items()}
    return {"usual rate": name, "creator-days": f"{days:,.0f}"} | words


def _shard(task: tuple[int, int]) -> tuple[Any, dict[float, Any]]:
    """Creator-days past the first, and alarms for each budget, by band of the usual rate."""
    seed, creators = task
    world = count_world_of(WORLDS["bursty"], seed=seed, creators=creators, hours=24 * _DAYS)
    found = ran(world, [*_BUDGETS.values()])
    bands = len(BANDS)
    days = np.bincount(world.size, found.days(first=False), bands)
    alarms = {
        budget: np.bincount(world.size[found.alarms(budget, first=False)], minlength=bands)
        for budget in _BUDGETS.values()
    }
    return days, alarms
