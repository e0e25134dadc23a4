"""How surely and how fast own surges are told: by usual rate, multiple and budget.

In the bursty world for every size, and for middling creators in the steady one, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from streams.core.surges.surge import Surge
from streams.core.time.buckets import BUCKET_MS
from streams.core.worlds.counts import count_world_of
from streams.core.worlds.plans import WORLDS, SurgePlan, WorldPlan
from tests.bench.detection import pictures
from tests.bench.detection.part import Part
from tests.bench.detection.shards import SEED, count_of, done
from tests.bench.detection.statistics import NEVER, middle_of, middle_words, share_words
from tests.bench.detection.world_job import NOTICES, ran

_PAGE: Final = "page"
_OFTEN: Final = 1 / 30
_NAMES: Final[dict[float | str, str]] = {
    _OFTEN: "one in 30 days",
    NOTICES: f"1 in {1 / NOTICES:,.0f}",
    _PAGE: _PAGE,
}
_SHARDS: Final = 4
_CREATORS: Final = 8_000
_EACH: Final = 40
"""Surges of each of the floor's cells in a shard; of the others a quarter, and of the rare creators
above 20 a bucket a twentieth: were there many, those would be what is usual here."""
_LARGE: Final = 20.0
_DAY_MINUTES: Final = 1440.0
_SPREAD_HOURS: Final = 240
"""Surges begin at any hour of ten days: at night × 10 is twice the day's mean. Of one day, they
would be a tenth of all creators at once, which is a wave."""
_TAIL_HOURS: Final = 264

Asked = float | str
"""A budget of notices, or pages."""
Cell = tuple[float, float, float]
"""Band of usual rates, and multiple."""
Delays = dict[Cell, dict[Asked, list[float]]]
BURSTY: Final = "bursty"
STEADY: Final = "steady"
JUDGED: Final[tuple[Cell, Cell]] = ((0.1, 1.0, 30.0), (0.1, 1.0, 10.0))
"""Cells of the floor: for alarms of one in 30 days, and for pages."""


def run(size: float) -> Part:
    """Run the world of surges of many sizes, and look when each is told."""
    creators = count_of(_CREATORS, size, 1_000)
    tasks = [(world, SEED + 300 + n, creators) for n in range(_SHARDS) for world in _worlds(n)]
    delays: dict[str, Delays] = {BURSTY: {}, STEADY: {}}
    for (world, _, _), shard in zip(tasks, done(_shard, tasks), strict=True):
        for cell, found in shard.items():
            mine = delays[world].setdefault(cell, {budget: [] for budget in _NAMES})
            for budget, minutes in found.items():
                mine[budget] += minutes
    reached: dict[str, float] = {}
    for world, by_cell in delays.items():
        often, paged = by_cell[JUDGED[0]][_OFTEN], by_cell[JUDGED[1]][_PAGE]
        key = "power" if world == BURSTY else f"power_{world}"
        reached |= {
            f"{key}_30": round(100 * _within(often, 45.0) / len(often), 2),
            f"{key}_10": round(100 * _within(paged, _DAY_MINUTES) / len(paged), 2),
            f"{key}_10_minutes": round(middle_of(paged), 1),
        }

    def draw(folder: Path) -> list[Path]:
        lines: dict[str, dict[str, list[pictures.Point]]] = {name: {} for name in _NAMES.values()}
        for (low, high, multiple), found in sorted(delays[BURSTY].items()):
            for budget, minutes in found.items():
                band = lines[_NAMES[budget]].setdefault(f"{low:g} to {high:g} a bucket", [])
                band.append((multiple, middle_of(minutes)))
        return [pictures.draw_delays(lines, folder / "detection_delay.png")]

    rows = [
        _row(world, cell, found[cell]) for world, found in delays.items() for cell in sorted(found)
    ]
    return Part(reached, rows, draw)


def _row(world: str, cell: Cell, delays: dict[Asked, list[float]]) -> dict[str, Any]:
    low, high, multiple = cell
    row = {"world": world, "usual rate": f"{low:g} to {high:g}", "surge": f"× {multiple:g}"}
    for budget, name in _NAMES.items():
        minutes = delays[budget]
        told = share_words(_within(minutes, _DAY_MINUTES), len(minutes))
        row[f"{name}: told"] = told
        row[f"{name}: minutes"] = middle_words(minutes)
    soon = delays[_OFTEN]
    row["one in 30 days: within 45 min"] = share_words(_within(soon, 45.0), len(soon))
    return row


def _within(minutes: Sequence[float], most: float) -> int:
    return sum(one <= most for one in minutes)


def _worlds(shard: int) -> tuple[str, ...]:
    """Worlds of a shard: half of them are of the steady one, too."""
    return (BURSTY, STEADY) if shard % 2 == 0 else (BURSTY,)


def plan_of(world: str, creators: int, each: int) -> WorldPlan:
    """The world with so many surges of each cell; of the steady one only of the floor's cells."""
    cells = WORLDS["surges"].surges
    if world == STEADY:
        cells = tuple(one for one in cells if (one.rate_min, one.rate_max, one.multiple) in JUDGED)
    surges = tuple(
        replace(cell, share=_share(cell, each) / creators, spread_hours=_SPREAD_HOURS)
        for cell in cells
    )
    noise = WORLDS[world].noise
    return replace(WORLDS["surges"], surges=surges, noise=noise, tail_hours=_TAIL_HOURS)


def band_of(world: str, band: tuple[float, float], creators: int, each: int) -> WorldPlan:
    """The steady or the bursty world with creators of this band only, and the floor's surges."""
    plan = plan_of(STEADY, creators, each)
    return replace(plan, noise=WORLDS[world].noise, rate_min=band[0], rate_max=band[1])


def _shard(task: tuple[str, int, int]) -> Delays:
    """Minutes from each surge's begin until it is told, by cell and budget."""
    name, seed, creators = task
    plan = plan_of(name, creators, max(round(_EACH * creators / _CREATORS), 1))
    cells = plan.surges
    world = count_world_of(plan, seed=seed, creators=creators)
    lifts = world.columns.surges
    starts = (lifts.start * BUCKET_MS).tolist()
    begins_ms = dict(zip(lifts.creator.tolist(), starts, strict=True))
    found = ran(world, [_OFTEN, NOTICES], in_turn=False)
    told: dict[Asked, dict[int, Surge]] = {
        budget: found.told_after(budget, begins_ms) for budget in (_OFTEN, NOTICES)
    }
    told[_PAGE] = found.told_after(NOTICES, begins_ms, page=True)
    delays: Delays = {}
    for creator, multiple in zip(lifts.creator.tolist(), lifts.multiple.tolist(), strict=True):
        cell = _cell_of(cells, float(world.rate[creator]), multiple)
        if cell is None:
            continue
        mine = delays.setdefault(cell, {budget: [] for budget in _NAMES})
        for budget, first in told.items():
            surge = first.get(creator)
            late = NEVER if surge is None else (surge.at_ms - begins_ms[creator]) / 60_000
            mine[budget].append(late if late <= _DAY_MINUTES else NEVER)
    return delays


def _share(cell: SurgePlan, each: int) -> float:
    if (cell.rate_min, cell.rate_max, cell.multiple) in JUDGED:
        return float(each)
    return max(each / (20 if cell.rate_min >= _LARGE else 4), 1.0)


def _cell_of(cells: Sequence[SurgePlan], rate: float, multiple: float) -> Cell | None:
    """The cell of a creator; None: her band was empty and she stands in from another."""
    for cell in cells:
        if cell.multiple == multiple and cell.rate_min <= rate < cell.rate_max:
            return cell.rate_min, cell.rate_max, cell.multiple
    return None
