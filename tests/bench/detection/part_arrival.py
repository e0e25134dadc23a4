"""The story's wave as it is simulated: newcomers from one country, told as one incident.

Its users arrive slowly (an s-shaped day) and follow a few creators each. The simulator has no
other accounts younger than a day; a real platform has, so it is told once more with some.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np

from streams.app.jobs import follow_partition_of
from streams.core.detection.cohorts import audience_of
from streams.core.records.chunks import FollowChunk
from streams.core.records.comers import YOUNG_MS, accounts_of
from streams.core.records.texts import Texts
from streams.core.surges.surge import Surge
from streams.core.waves.fleet import FleetWaves
from streams.core.waves.report import ReportChunk
from streams.core.worlds.events import steps_of
from streams.core.worlds.platform import (
    LANGS,
    REGION_LANG,
    REGIONS,
    WorldPolicy,
    creator_id_of,
    world_of,
)
from streams.core.worlds.simulated_rows import EventRows
from streams.edges.settings.reading import Settings
from tests.bench.detection.part import Part
from tests.bench.detection.shards import SEED, count_of, done
from tests.bench.detection.statistics import NEVER, minutes_words

_PARTITIONS: Final = 4
_SEEDS: Final = 8
_YOUNG_SHARES: Final = (0.0, 0.01, 0.03)
"""Of the usual followers: accounts younger than a day."""
_START_MS: Final = 1_736_899_200_000
_POLICY: Final = WorldPolicy(hours=5)
"""The wave begins in its third hour."""


class Task(NamedTuple):
    """A story to live through."""

    seed: int
    young_share: float


class Found(NamedTuple):
    """Minutes until the wave is told; waves that were, before it and in all; what the first is of.

    ``events``: follows by then since the wave began, in all and of the wave's users.
    """

    minutes: float
    early: int
    waves: int
    of: str
    events: tuple[int, int]


def run(size: float) -> Part:
    """Live through the story with each share of usual young accounts."""
    seeds = [SEED + 970 + seed for seed in range(count_of(_SEEDS, size, 2))]
    tasks = [Task(seed, share) for share in _YOUNG_SHARES for seed in seeds]
    found = list(zip(tasks, done(_found, tasks), strict=True))
    rows = [_row_of(share, [one for task, one in found if task.young_share == share])
            for share in _YOUNG_SHARES]  # fmt: skip
    plain = [one.minutes for task, one in found if not task.young_share]
    return Part({"arrival_minutes": round(max(plain), 1)}, rows)


def _row_of(share: float, found: list[Found]) -> dict[str, Any]:
    minutes = sorted(one.minutes for one in found)
    events = np.median([one.events[::-1] for one in found], axis=0)
    return {
        "usual followers younger than a day": f"{share:.0%}",
        "stories": len(found),
        "minutes": ", ".join(map(minutes_words, minutes)),
        "of": ", ".join(sorted({one.of for one in found})),
        "follows of the wave by then, of all": " of ".join(f"{n:,.0f}" for n in events),
        "told before it": sum(one.early for one in found),
        "told in all": " and ".join(str(one.waves) for one in found),
    }


@dataclass(frozen=True, slots=True)
class _Platform:
    names: Texts
    audiences: Any

    def chunk(self, rows: EventRows, created_ms: Any, partition: int) -> FollowChunk:
        """What a partition gets of these, in the order of their arrival."""
        order = np.argsort(rows.arrival_ms, kind="stable")
        order = order[rows.creator[order] % _PARTITIONS == partition]
        at_ms = rows.at_ms[order]
        return FollowChunk(
            self.names.take(rows.creator[order]),
            at_ms,
            rows.unfollow[order],
            audiences=self.audiences[rows.region[order]],
            accounts=accounts_of(at_ms, created_ms[order]),
        )


def _found(task: Task) -> Found:
    world = world_of(_POLICY, task.seed, _START_MS)
    names = Texts.of([creator_id_of(creator) for creator in range(_POLICY.creators)])
    told = [audience_of(LANGS[lang], region)
            for lang, region in zip(REGION_LANG, REGIONS, strict=True)]  # fmt: skip
    platform = _Platform(names, np.array(told, np.uint64))
    jobs = [follow_partition_of(Settings()) for _ in range(_PARTITIONS)]
    fleet, waves = FleetWaves(_PARTITIONS), list[Surge]()
    rng = np.random.default_rng([task.seed, 92])
    follows, of_wave = 0, 0
    counted = list[tuple[int, int]]()
    for step in steps_of(world):
        rows = step.follows
        new = rows.account_created_ms >= world.wave_start_ms
        young = ~new & (rng.random(len(rows)) < task.young_share)
        age_ms = rng.integers(1_000, YOUNG_MS, len(rows))
        created_ms = np.where(young, rows.at_ms - age_ms, rows.account_created_ms)
        if step.start_ms >= world.wave_start_ms:
            follows, of_wave = follows + len(rows), of_wave + int(np.count_nonzero(new))
        for partition, job in enumerate(jobs):
            outcome = job.take(platform.chunk(rows, created_ms, partition))
            reports = [report.of_partition(partition) for report in outcome.reports]
            waves += fleet.take(ReportChunk(reports)).surges
        counted += [(follows, of_wave)] * (len(waves) - len(counted))
    opened = [(one, events) for one, events in zip(waves, counted, strict=True)
              if one.state == "opened"]  # fmt: skip
    late = [pair for pair in opened if pair[0].seen_ms > world.wave_start_ms]
    if not late:
        return Found(NEVER, len(opened), len(opened), "nothing", (follows, of_wave))
    first, events = late[0]
    assert first.wave is not None, "a wave"
    minutes = (first.seen_ms - world.wave_start_ms) / 60_000
    named = " ".join(name for name in (first.wave.lang, first.wave.region) if name)
    of = f"{named or 'all'}{', newcomers' * first.wave.by_newcomers}"
    return Found(minutes, len(opened) - len(late), len(opened), of, events)
