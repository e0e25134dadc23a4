"""The story: less than one follower in five minutes, then 50,000 in a day; told by the model.

Its followers come at once, 174 in each five minutes; beside it a slower one, whose begin is a ramp
of half an hour.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final, NamedTuple

from streams.core.buckets import BUCKET_MS
from streams.core.count_world import CountWorld, count_world_of
from streams.core.world_plans import STORY, WORLDS
from tests.bench.detection.part import Part
from tests.bench.detection.shards import SEED, count_of, done
from tests.bench.detection.statistics import NEVER, middle_of, minutes_words
from tests.bench.detection.world_job import NOTICES, ran

_SHARDS: Final = 2
_CREATORS: Final = 3_000
_EACH: Final = 30
"""Creators with a history, and newborns, that the story happens to in a shard."""
_RAMP: Final = 6


class Case(NamedTuple):
    """One creator: whether she is new, minutes until she was told, share of her followers in."""

    at_once: bool
    newborn: bool
    minutes: float
    share: float


def run(size: float) -> Part:
    """Run the world of the story, and look when those it happens to are paged."""
    creators = count_of(_CREATORS, size, 100)
    tasks = [(SEED + 200 + n, creators, ramp) for ramp in (0, _RAMP) for n in range(_SHARDS)]
    cases = [case for shard in done(_shard, tasks) for case in shard]
    reached: dict[str, float] = {}
    rows: list[dict[str, Any]] = []
    for at_once, newborn in ((True, False), (True, True), (False, False), (False, True)):
        mine = [case for case in cases if case[:2] == (at_once, newborn)]
        minutes, shares = [case.minutes for case in mine], [100 * case.share for case in mine]
        if at_once:
            reached[f"story_{'new' if newborn else 'old'}_minutes"] = round(max(minutes), 2)
        rows.append(
            {
                "begin": "at once" if at_once else "half an hour's ramp",
                "history": "none" if newborn else "25 days",
                "creators": len(mine),
                "never told": minutes.count(NEVER),
                "minutes, median": minutes_words(middle_of(minutes)),
                "slowest": minutes_words(max(minutes)),
                "% of followers in, median": f"{middle_of(shares):.2f}",
                "most": f"{max(shares):.2f}",
            }
        )
    reached["story_share"] = round(max(100 * case.share for case in cases if case.at_once), 3)
    return Part(reached, rows)


def _shard(task: tuple[int, int, int]) -> list[Case]:
    seed, creators, ramp = task
    share = _EACH / creators
    surges = tuple(replace(surge, share=share, ramp_buckets=ramp) for surge in WORLDS[STORY].surges)
    plan = replace(WORLDS[STORY], surges=surges)
    return cases_of(count_world_of(plan, seed=seed, creators=creators), at_once=ramp == 0)


def cases_of(world: CountWorld, *, at_once: bool) -> list[Case]:
    """When and how each of the world's own surges is paged."""
    lifts = world.columns.surges
    creators, starts = lifts.creator.tolist(), (lifts.start * BUCKET_MS).tolist()
    begins_ms = dict(zip(creators, starts, strict=True))
    found = ran(world, [NOTICES], in_turn=False, tracked=creators)
    told = found.told_after(NOTICES, begins_ms, page=True)
    newborn = world.birth[lifts.creator] == lifts.start
    cases = []
    for creator, start_ms, end, is_new in zip(
        creators, starts, lifts.end.tolist(), newborn.tolist(), strict=True
    ):
        page, end_ms = told.get(creator), end * BUCKET_MS
        if page is None or page.at_ms >= end_ms:
            cases.append(Case(at_once, is_new, NEVER, 1.0))
            continue
        seen = found.records_in(creator, start_ms, page.at_ms + 1)
        share = seen / max(found.records_in(creator, start_ms, end_ms), 1)
        cases.append(Case(at_once, is_new, (page.at_ms - start_ms) / 60_000, share))
    return cases
