"""An uneven wave: who is told only because she floats on it, and whose own surge is found."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from streams.core.detection.policy import DetectorPolicy
from streams.core.detector import SurgeDetector
from streams.core.surges.surge import Surge
from streams.core.time.buckets import BUCKET_MS
from streams.core.worlds.counts import CountWorld, count_world_of
from streams.core.worlds.plans import WORLDS
from tests.bench.detection import pictures
from tests.bench.detection.part import Part
from tests.bench.detection.shards import SEED, count_of, done
from tests.bench.detection.statistics import (
    NEVER,
    middle_of,
    middle_words,
    minutes_words,
    share_words,
)
from tests.bench.detection.world_job import NOTICES, Ran, creator_of, ran

_SHARDS: Final = 3
_CREATORS: Final = 20_000
_HISTORY_DAYS: Final = 15
_ALL: Final = 60_000
_DRAWN_BUCKETS: Final = 24


class Found(NamedTuple):
    """What came of a shard; delays in minutes, of the wave since it began.

    ``told_most``: announcements of the surge or wave of which there are most.
    """

    plain: int
    noticed: int
    paged: int
    own: list[float]
    own_paged: list[float]
    wave: float
    waves: int
    told_most: int
    course: pictures.Course


def run(size: float) -> Part:
    """Run the uneven wave over sixty thousand creators."""
    creators = count_of(_CREATORS, size, 1_000)
    shards = done(_shard, [(SEED + 500 + n, creators) for n in range(_SHARDS)])
    plain = sum(shard.plain for shard in shards)
    noticed, paged = sum(shard.noticed for shard in shards), sum(shard.paged for shard in shards)
    own = [minutes for shard in shards for minutes in shard.own]
    own_paged = [minutes for shard in shards for minutes in shard.own_paged]
    wave = max(shard.wave for shard in shards)
    reached = {
        "wave_paged": round(paged * _ALL / plain, 1),
        "wave_own": round(100 * _told(own) / len(own), 2),
        "wave_own_minutes": round(middle_of(own), 1),
        "wave_minutes": round(wave, 1),
        "told_most": max(shard.told_most for shard in shards),
    }
    rows: list[dict[str, Any]] = [
        {"what": "creators without a surge of their own", "found": f"{plain:,}"},
        {"what": "of these paged", "found": f"{paged:,}"},
        {"what": "of these noticed", "found": f"{noticed:,}"},
        {"what": "own surges told", "found": share_words(_told(own), len(own))},
        {"what": "the same: median minutes", "found": middle_words(own)},
        {"what": "own surges paged", "found": share_words(_told(own_paged), len(own_paged))},
        {"what": "the same: median minutes", "found": middle_words(own_paged)},
        {"what": "the wave told, minutes, in the slowest world", "found": minutes_words(wave)},
        {"what": "announcements of one surge or wave, most", "found": reached["told_most"]},
        {"what": "waves told, each world", "found": ", ".join(str(s.waves) for s in shards)},
    ]

    def draw(folder: Path) -> list[Path]:
        return [pictures.draw_surge(shards[0].course, folder / "detection_surge.png")]

    return Part(reached, rows, draw)


def _told(delays: Iterable[float]) -> int:
    return sum(minutes < NEVER for minutes in delays)


def _shard(task: tuple[int, int]) -> Found:
    seed, creators = task
    plan = WORLDS["uneven-wave"]
    hours = _HISTORY_DAYS * 24 + plan.tail_hours
    world = count_world_of(plan, seed=seed, creators=creators, hours=hours)
    lifts, begin_ms = world.columns.surges, world.happens * BUCKET_MS
    begins_ms = dict(zip(lifts.creator.tolist(), (lifts.start * BUCKET_MS).tolist(), strict=True))
    lifted_most = np.argmax(
        world.lift_of(world.happens + _DRAWN_BUCKETS)[world.lang[lifts.creator]]
    )
    drawn = int(lifts.creator[lifted_most])
    found = ran(world, [NOTICES], in_turn=False)
    plain = world.without_surge()

    def delays(*, page: bool) -> list[float]:
        told = found.told_after(NOTICES, begins_ms, page=page)
        return [
            (told[creator].at_ms - start_ms) / 60_000 if creator in told else NEVER
            for creator, start_ms in begins_ms.items()
        ]

    def lifted(surges: Iterable[Surge]) -> int:
        return len({creator_of(s) for s in surges if s.at_ms >= begin_ms and plain[creator_of(s)]})

    waves = [one for one in found.waves if one.state == "opened" and one.seen_ms >= begin_ms]
    return Found(
        plain=int(plain.sum()),
        noticed=lifted(found.opened(NOTICES)),
        paged=lifted(found.pages()),
        own=delays(page=False),
        own_paged=delays(page=True),
        wave=min(((one.seen_ms - begin_ms) / 60_000 for one in waves), default=NEVER),
        waves=len(waves),
        told_most=max(
            Counter(one.surge_id for one in [*found.waves, *found.surges[NOTICES]]).values(),
            default=0,
        ),
        course=_course_of(world, found, drawn),
    )


def _course_of(world: CountWorld, found: Ran, creator: int) -> pictures.Course:
    """One creator's own surge: expected by the same formulas, and what the wave makes of it."""
    counts = [int(step.counts[step.creators == creator].sum()) for step in world.buckets()]
    detector = SurgeDetector(feature="count", policy=DetectorPolicy())
    expected = []
    for count in counts:
        expected.append(detector.expected)
        detector.learn_one({"count": float(count)})
    lang = int(world.lang[creator])
    first = world.happens - world.first - _DRAWN_BUCKETS
    places = range(first, min(first + 6 * _DRAWN_BUCKETS, len(counts)))
    buckets = [world.first + place for place in places]
    begin_ms = world.happens * BUCKET_MS
    told = [
        pictures.Told(
            minute=(one.at_ms - begin_ms) / 60_000,
            word=f"{one.severity} {one.state}",
            expected=_in_bucket(one, one.expected_own),
            in_wave=_in_bucket(one, one.expected_in_wave),
        )
        for one in found.surges[NOTICES]
        if creator_of(one) == creator and one.at_ms >= begin_ms
    ]
    usual = np.array([expected[place] for place in places])
    lift = np.array([float(world.lift_of(bucket)[lang]) for bucket in buckets])
    return pictures.Course(
        minutes=[(bucket - world.happens) * 5 + 2.5 for bucket in buckets],
        observed=[float(counts[place]) for place in places],
        expected=usual.tolist(),
        in_wave=(usual * lift).tolist(),
        told=told,
    )


def _in_bucket(surge: Surge, events: float | None) -> float | None:
    """Events of a surge's window, in five minutes of it."""
    return None if events is None else events * BUCKET_MS / surge.window_ms
