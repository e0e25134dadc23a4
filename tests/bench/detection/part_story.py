"""The story: less than one follower in five minutes, then 50,000 in a day; told by the model.

Its followers come at once, 174 in each five minutes; beside it a slower one, whose begin is a ramp
of half an hour. It happens on a platform to which newcomers come all the time: in each partition to
one of them, and to some creators with a history. Beside it a harder one: thirty newcomers whom it
happens to in the same minute, and no others.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final, NamedTuple

from streams.core.time.buckets import BUCKET_MS
from streams.core.worlds.counts import CountWorld, count_world_of
from streams.core.worlds.plans import STORY, WORLDS
from tests.bench.detection.part import Part
from tests.bench.detection.shards import SEED, count_of, done
from tests.bench.detection.statistics import NEVER, middle_of, middle_words, minutes_words
from tests.bench.detection.world_job import NOTICES, ran

_CREATORS: Final = 3_000
_OLD_EACH: Final = 3
"""Creators with a history that the story happens to in a shard; of newborns it is one."""
_NEWCOMERS: Final = 0.2
"""Share of creators who are born during the run, of all sizes, with nothing special."""
_SPREAD_HOURS: Final = 48
_CROWD_EACH: Final = 30
_RAMP: Final = 6


class Setting(NamedTuple):
    """A platform that the story happens on."""

    begin: str
    newcomers: str
    ramp: int
    old: int
    """Creators with a history, in a shard, that it happens to."""
    newborn: int
    born_share: float
    spread_hours: int
    shards: int


_PLAIN: Final = Setting("at once", "others too", 0, _OLD_EACH, 1, _NEWCOMERS, _SPREAD_HOURS, 20)
_SETTINGS: Final = (
    _PLAIN,
    _PLAIN._replace(begin="half an hour's ramp", ramp=_RAMP, shards=8),
    _PLAIN._replace(
        newcomers=f"these {_CROWD_EACH} only",
        old=_CROWD_EACH,
        newborn=_CROWD_EACH,
        born_share=0.0,
        spread_hours=0,
        shards=2,
    ),
)


class Case(NamedTuple):
    """One creator: whether she is new, minutes until she was told, share of her followers in."""

    newborn: bool
    minutes: float
    share: float


def run(size: float) -> Part:
    """Run the worlds of the story, and look when those it happens to are paged."""
    creators = count_of(_CREATORS, size, 300)
    tasks = [
        (SEED + 200 + 100 * number + shard, creators, setting)
        for number, setting in enumerate(_SETTINGS)
        for shard in range(count_of(setting.shards, size))
    ]
    found: dict[Setting, list[Case]] = {setting: [] for setting in _SETTINGS}
    for (_, _, setting), cases in zip(tasks, done(_shard, tasks), strict=True):
        found[setting] += cases
    rows = [
        _row_of(setting, cases, newborn)
        for setting, cases in found.items()
        for newborn in (False, True)
    ]
    plain = found[_PLAIN]
    minutes = {
        f"story_{name}_minutes": round(max(c.minutes for c in plain if c.newborn == newborn), 2)
        for name, newborn in (("old", False), ("new", True))
    }
    share = round(max(100 * case.share for case in plain), 3)
    return Part({**minutes, "story_share": share}, rows)


def _row_of(setting: Setting, cases: list[Case], newborn: bool) -> dict[str, Any]:
    mine = [case for case in cases if case.newborn == newborn]
    minutes, shares = [case.minutes for case in mine], [100 * case.share for case in mine]
    return {
        "begin": setting.begin,
        "history": "none" if newborn else "25 days",
        "newcomers": setting.newcomers,
        "creators": len(mine),
        "never told": minutes.count(NEVER),
        "minutes, median": middle_words(minutes),
        "slowest": minutes_words(max(minutes)),
        "% of followers in, median": f"{middle_of(shares):.2f}",
        "most": f"{max(shares):.2f}",
    }


def _shard(task: tuple[int, int, Setting]) -> list[Case]:
    seed, creators, setting = task
    story = WORLDS[STORY]
    surges = tuple(
        replace(
            surge,
            share=(setting.newborn if surge.newborn else setting.old) / creators,
            ramp_buckets=setting.ramp,
            spread_hours=setting.spread_hours,
        )
        for surge in story.surges
    )
    plan = replace(
        story,
        surges=surges,
        newborn_share=setting.born_share,
        tail_hours=story.tail_hours + setting.spread_hours,
    )
    return cases_of(count_world_of(plan, seed=seed, creators=creators))


def cases_of(world: CountWorld) -> list[Case]:
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
            cases.append(Case(is_new, NEVER, 1.0))
            continue
        seen = found.records_in(creator, start_ms, page.at_ms + 1)
        share = seen / max(found.records_in(creator, start_ms, end_ms), 1)
        cases.append(Case(is_new, (page.at_ms - start_ms) / 60_000, share))
    return cases
