"""Posts whose languages shift from 3 % to 40 % at 100 comments an hour: told how soon."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np

from streams.app.jobs import comment_partition_of
from streams.core.detection.cohorts import audience_of
from streams.core.records.chunks import CommentChunk
from streams.core.records.texts import Texts
from streams.core.reports.surging import asked_of
from streams.core.surges.surge import Surge
from streams.core.worlds.counts import MONDAY_MS
from streams.core.worlds.events import event_world_of, steps_of
from streams.core.worlds.named_truth import world_truth_of
from streams.core.worlds.plans import WORLDS
from streams.core.worlds.platform import (
    LANGS,
    REGION_LANG,
    REGIONS,
    WorldPolicy,
    creator_id_of,
    post_id_of,
)
from streams.core.worlds.simulated_rows import NO_POST, EventRows
from streams.edges.settings.reading import Settings
from tests.bench.detection.best_mix import Shares, best_share
from tests.bench.detection.part import Part
from tests.bench.detection.shards import SEED, count_of, done
from tests.bench.detection.statistics import (
    NEVER,
    middle_of,
    middle_words,
    minutes_words,
    ratio_words,
    share_words,
)
from tests.bench.detection.world_job import NOTICES

_SHARDS: Final = 4
_CREATORS: Final = 2_000
_HOURS: Final = 72
_SOON_MINUTES: Final = 15.0
_SHARES: Final = Shares(before=0.03, after=0.4, per_hour=100.0)


class Found(NamedTuple):
    """Minutes until each shift was told; creators without one, and shifts told of them.

    ``asked``: how often these and their posts may be told, as the worker's metric has it.
    """

    minutes: list[float]
    others: int
    asked: float
    false: int


def run(size: float) -> Part:
    """Run the world of mixed posts."""
    creators = count_of(_CREATORS, size, 200)
    shards = done(_shard, [(SEED + 600 + n, creators) for n in range(_SHARDS)])
    minutes = [one for shard in shards for one in shard.minutes]
    soon = sum(one <= _SOON_MINUTES for one in minutes)
    others, false = sum(s.others for s in shards), sum(s.false for s in shards)
    asked = sum(shard.asked for shard in shards)
    reached = {
        "mix_share": round(100 * soon / len(minutes), 1),
        "mix_minutes": round(middle_of(minutes), 1),
        "mix_rate": round(false / asked, 3),
    }
    rows: list[dict[str, Any]] = [
        {"what": "shifts told within 15 minutes", "found": share_words(soon, len(minutes))},
        {
            "what": "shifts told",
            "found": share_words(sum(one < NEVER for one in minutes), len(minutes)),
        },
        {"what": "minutes, median", "found": middle_words(minutes)},
        {"what": "minutes, slowest", "found": minutes_words(max(minutes))},
        {
            "what": f"told of {others:,} others and their posts, seen over asked",
            "found": ratio_words(false, asked),
        },
        {
            "what": "of posts told within 15 minutes by the best of all tests",
            "found": f"{best_share(_SHARES, NOTICES, _SOON_MINUTES):.0%}".replace("%", " %"),
        },
    ]
    return Part(reached, rows)


def _shard(task: tuple[int, int]) -> Found:
    seed, creators = task
    policy = WorldPolicy(creators=creators, hours=_HOURS, bad_share=0.0)
    world = event_world_of(WORLDS["mix"], policy, seed, MONDAY_MS)
    job = comment_partition_of(Settings())
    surges: list[Surge] = []
    for step in steps_of(world):
        surges += job.take(_chunk_of(step.comments)).surges
    surges += job.take_held().surges
    opened = [one for one in surges if one.kind == "mix" and one.state == "opened"]
    shifts = world_truth_of(world.counts).mixes
    minutes = []
    for shift in shifts:
        told = [
            (one.opened_ms - shift.start_ms) / 60_000
            for one in opened
            if one.post_id == shift.post_id and one.opened_ms >= shift.start_ms
        ]
        minutes.append(min(told, default=NEVER))
    mixed = {shift.creator_id for shift in shifts}
    false = sum(one.creator_id not in mixed for one in opened)
    asked = asked_of(job, _HOURS / 24).alarms["mix"] * (1.0 - len(mixed) / creators)
    return Found(minutes, creators - len(mixed), asked, false)


def _chunk_of(rows: EventRows) -> CommentChunk:
    rows = rows.at((rows.fault == 0) & (rows.post != NO_POST))
    langs = Texts.of(LANGS).take(np.array(REGION_LANG, dtype=np.int64)[rows.region])
    posts = [
        post_id_of(*pair) for pair in zip(rows.creator.tolist(), rows.post.tolist(), strict=True)
    ]
    creators = Texts.of(map(creator_id_of, rows.creator.tolist()))
    told = [audience_of(LANGS[n], region) for n, region in zip(REGION_LANG, REGIONS, strict=True)]
    audiences = np.array(told, np.uint64)[rows.region]
    return CommentChunk(creators, Texts.of(posts), langs, rows.at_ms, audiences=audiences)
