"""Waves of platforms of two sizes, in one partition and in four; and waves told where none is."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from streams.core.time.buckets import BUCKET_MS, WINDOW_BUCKETS
from streams.core.worlds.counts import count_world_of
from streams.core.worlds.plans import WORLDS
from tests.bench.detection.part import Part
from tests.bench.detection.shards import SEED, count_of, done
from tests.bench.detection.statistics import NEVER, minutes_words
from tests.bench.detection.world_job import NOTICES, creator_of, ran

_WAVES: Final = ("newcomers", "uneven-wave", "even-wave")
_CALM: Final = ("quiet", "bursty", "daylight-saving")
_CREATORS: Final = (4_000, 20_000)
_PARTITIONS: Final = (1, 4)
_HISTORY_DAYS: Final = (10.0, 1.5)
"""With a week's course known, and without."""
_CALM_DAYS: Final = 31
_SEEDS: Final = 2


class Task(NamedTuple):
    """A world to run."""

    world: str
    creators: int
    partitions: int
    history_days: float
    seed: int


class Found(NamedTuple):
    """What came of it. ``waves``: told in the time before what happens, and after it begins.

    ``noticed`` and ``paged``: creators without a surge of their own, told from then on.
    ``minutes``: from its begin until the first wave is told.
    """

    days: float
    early: int
    waves: int
    minutes: float
    plain: int
    noticed: int
    paged: int
    receivers: int


def run(size: float) -> Part:
    """Run each world of each size, in one partition and in four."""
    seeds = count_of(_SEEDS, size)
    worlds = [(world, _CREATORS) for world in _WAVES] + [(world, (8_000,)) for world in _CALM]
    tasks = [
        Task(world, count_of(creators, size, 1_000), partitions, days, SEED + 950 + seed)
        for world, sizes in worlds
        for creators in sizes
        for partitions in (_PARTITIONS if world in _WAVES else _PARTITIONS[1:])
        for days in (_HISTORY_DAYS if world in _WAVES else (_CALM_DAYS - 1.0,))
        for seed in range(seeds)
    ]
    found = list(zip(tasks, done(_found, tasks), strict=True))
    rows: list[dict[str, Any]] = []
    for place in dict.fromkeys(task[:4] for task in tasks):
        mine = [one for task, one in found if task[:4] == place]
        rows.append(_row_of(*place, mine))
    calm = [one for task, one in found if task.world in _CALM]
    days, false = sum(one.days for one in calm), sum(one.early + one.waves for one in calm)
    came = [one.minutes for task, one in found if task.world == "newcomers"]
    reached = {"waves_false": round(30 * false / days, 3), "newcomers_minutes": round(max(came), 1)}
    return Part(reached, rows)


def _row_of(
    world: str, creators: int, partitions: int, history_days: float, found: list[Found]
) -> dict[str, Any]:
    minutes = max(one.minutes for one in found)
    plain = sum(one.plain for one in found)
    is_calm = world in _CALM
    told = sum(one.early + (one.waves if is_calm else 0) for one in found)
    return {
        "world": world,
        "creators": f"{creators:,}",
        "partitions": partitions,
        "days before": history_days,
        "told without one": told,
        "told": "" if is_calm else " and ".join(str(one.waves) for one in found),
        "minutes, the slowest": "" if is_calm else minutes_words(minutes),
        "receivers as it opens": "" if is_calm else min(one.receivers for one in found),
        "lifted creators noticed": "" if is_calm else sum(one.noticed for one in found),
        "asked in a day": "" if is_calm else round(plain * NOTICES, 1),
        "paged": "" if is_calm else sum(one.paged for one in found),
    }


def _found(task: Task) -> Found:
    plan = WORLDS[task.world]
    hours = int(task.history_days * 24) + (24 if task.world in _CALM else plan.tail_hours)
    world = count_world_of(plan, seed=task.seed, creators=task.creators, hours=hours)
    result = ran(world, [NOTICES], in_turn=False, partitions=task.partitions)
    begin_ms, plain = world.happens * BUCKET_MS, world.without_surge()
    opened = [one for one in result.waves if one.state == "opened"]
    waves = [one for one in opened if one.seen_ms >= begin_ms]
    first = waves[0] if waves else None

    def lifted(surges: list[Any]) -> int:
        return len({creator_of(s) for s in surges if s.at_ms >= begin_ms and plain[creator_of(s)]})

    return Found(
        days=(world.after - world.first) / WINDOW_BUCKETS,
        early=len(opened) - len(waves),
        waves=len(waves),
        minutes=NEVER if first is None else (first.seen_ms - begin_ms) / 60_000,
        plain=int(plain.sum()),
        noticed=lifted(result.opened(NOTICES)),
        paged=lifted(result.pages()),
        receivers=len(first.wave.receivers) if first is not None and first.wave else 0,
    )
