"""One page per million creators and day: ten million creator-days of a bursty world."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from streams.core.worlds.counts import count_world_of
from streams.core.worlds.plans import WORLDS
from tests.bench.detection.part import Part
from tests.bench.detection.part_rates import BANDS
from tests.bench.detection.shards import SEED, count_of, done
from tests.bench.detection.statistics import poisson_interval
from tests.bench.detection.world_job import NOTICES, PAGES, ran

_SHARDS: Final = 17
_CREATORS: Final = 20_000
_DAYS: Final = 31
_ASKED: Final = 10_000_000


def run(size: float) -> Part:
    """Run the bursty world and count the pages past a creator's first day."""
    shards = count_of(_SHARDS, size)
    creators = count_of(_CREATORS, min(size * _SHARDS, 1.0), 500)
    found = done(_shard, [(SEED + 400 + n, creators) for n in range(shards)])
    days, pages = (np.sum([shard[n] for shard in found], axis=0) for n in (0, 1))
    reached = {"pages": round(float(pages.sum() / days.sum() * _ASKED), 1)}
    rows = [
        _row(f"{name} a bucket", float(days[band]), int(pages[band]))
        for band, name in enumerate(BANDS)
    ]
    rows.append(_row("all", float(days.sum()), int(pages.sum())))
    return Part(reached, rows)


def _row(name: str, days: float, pages: int) -> dict[str, Any]:
    low, high = (end / max(days, 1.0) * _ASKED for end in poisson_interval(pages))
    return {
        "usual rate": name,
        "creator-days": f"{days:,.0f}",
        "asked": f"{days * PAGES:.3g}",
        "pages": pages,
        "per ten million creator-days (95 %)": f"{low:.3g} to {high:.3g}",
    }


def _shard(task: tuple[int, int]) -> tuple[Any, Any]:
    """Creator-days past the first, and pages, by band of the usual rate."""
    seed, creators = task
    world = count_world_of(WORLDS["bursty"], seed=seed, creators=creators, hours=24 * _DAYS)
    found = ran(world, [NOTICES])
    bands = len(BANDS)
    days = np.bincount(world.size, found.days(first=False), bands)
    paged = found.creators_in(found.pages(), first=False)
    return days, np.bincount(world.size[paged], minlength=bands)
