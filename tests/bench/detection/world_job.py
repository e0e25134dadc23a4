"""The worker's own job for a partition of follows, fed with a simulated world's counts.

Nothing here knows how the detector works: a part that measures the job measures whatever the
worker runs. Each count becomes as many records, spread over its bucket.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from msgspec.structs import replace

from streams.app.jobs import follow_partition_of
from streams.core.detection.cohorts import audience_of
from streams.core.partition import FollowPartition
from streams.core.records.chunk_rows import taken
from streams.core.records.chunks import FollowChunk
from streams.core.records.comers import Accounts, accounts_of
from streams.core.records.texts import Texts, Words
from streams.core.surges.surge import Surge
from streams.core.time.buckets import BUCKET_MS, WINDOW_BUCKETS
from streams.core.waves.fleet import FleetWaves
from streams.core.waves.report import ReportChunk
from streams.core.worlds.count_columns import Ints
from streams.core.worlds.counts import CountStep, CountWorld
from streams.core.worlds.platform import LANGS, REGION_LANG, REGIONS, creator_id_of
from streams.core.worlds.simulation import AWAY
from streams.edges.settings.reading import Settings

NOTICES: Final = Settings().budget_notices_per_creator_day
"""Notices that are asked for where nothing else is set, per creator and day; pages beside them."""
PAGES: Final = Settings().budget_pages_per_creator_day
_CHUNK_BUCKETS: Final = 72
_STRANGE_EACH: Final = 6
_YOUNG_SHARE: Final = 0.02
_UNMET: Final = 1 << 40


@dataclass(frozen=True, slots=True)
class Ran:
    """What came of a world: creators' surges told by the model for each budget, in order.

    ``waves``: what the first budget's job told of waves.
    ``met``: bucket of each creator's first record, past the end where there is none.
    ``records``: times of the records of each creator who was to be tracked.
    """

    world: CountWorld
    surges: dict[float, list[Surge]]
    met: Ints
    records: dict[int, Ints]
    waves: list[Surge]

    def opened(self, budget: float) -> list[Surge]:
        """Surges as they opened."""
        return [one for one in self.surges[budget] if one.state == "opened"]

    def told_after(
        self, budget: float, begins_ms: Mapping[int, int], *, page: bool = False
    ) -> dict[int, Surge]:
        """What is first told of these creators from a time on, opened or grown; or what pages."""
        found: dict[int, Surge] = {}
        for one in self.surges[budget]:
            creator = creator_of(one)
            begin_ms = begins_ms.get(creator)
            if begin_ms is None or one.at_ms < begin_ms or creator in found:
                continue
            if one.state in {"opened", "grown"} and (not page or one.severity == "page"):
                found[creator] = one
        return found

    def records_in(self, creator: int, begin_ms: int, end_ms: int) -> int:
        """Records of a tracked creator in [begin, end)."""
        first, after = np.searchsorted(self.records[creator], [begin_ms, end_ms])
        return int(after - first)

    def first_day_of(self, creators: Ints) -> Ints:
        """Bucket after the first day of each of these creators."""
        after: Ints = self.met[creators] + WINDOW_BUCKETS
        return after

    def days(self, *, first: bool) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        """Days of each creator, of her first one only or of all after it."""
        lived = np.maximum(self.world.after - self.met, 0)
        in_first = np.minimum(lived, WINDOW_BUCKETS)
        return (in_first if first else lived - in_first) / WINDOW_BUCKETS

    def pages(self) -> list[Surge]:
        """What first says of each surge that it is a page, at the usual budget of notices."""
        paged: dict[str, Surge] = {}
        for one in self.surges[NOTICES]:
            if one.severity == "page":
                paged.setdefault(one.surge_id, one)
        return [*paged.values()]

    def creators_in(self, surges: Sequence[Surge], *, first: bool) -> Ints:
        """Creators of what was told on their first day, or after it."""
        creators = np.array([creator_of(one) for one in surges], dtype=np.int64)
        buckets = np.array([one.at_ms // BUCKET_MS for one in surges], dtype=np.int64)
        chosen: Ints = creators[(buckets < self.first_day_of(creators)) == first]
        return chosen

    def alarms(self, budget: float, *, first: bool) -> Ints:
        """Creators of the surges that opened on a first day, or after it."""
        return self.creators_in(self.opened(budget), first=first)


def ran(
    world: CountWorld,
    budgets: Sequence[float],
    *,
    in_turn: bool = True,
    tracked: Iterable[int] = (),
    partitions: int = 1,
) -> Ran:
    """Have a job for each budget (and partition) take the whole world.

    ``in_turn``: the records of a bucket come creator by creator, which is cheaper; else shuffled.
    """
    records: dict[int, list[Ints]] = {creator: [] for creator in tracked}
    places = [(budget, partition) for budget in budgets for partition in range(partitions)]
    jobs = {place: _job_of(place[0]) for place in places}
    told: dict[float, list[Surge]] = {budget: [] for budget in budgets}
    fleet, waves = FleetWaves(partitions), list[Surge]()
    met = np.full(world.plan.creators, _UNMET)
    names = Texts.of([creator_id_of(n) for n in range(world.plan.creators)])
    rng = None if in_turn else np.random.default_rng([world.seed, 90])
    for steps in _in_pieces(world.buckets()):
        for step in steps:
            met[step.creators] = np.minimum(met[step.creators], step.bucket)
        who, at_ms = _records_of(steps, rng)
        for creator, times in records.items():
            times.append(at_ms[who == creator])
        columns = comers_of(world, who, at_ms)
        unfollows = np.zeros(len(at_ms), np.bool_)
        chunk = FollowChunk(names.take(who), at_ms, unfollows, None, *columns)
        for (budget, partition), job in jobs.items():
            mine = chunk if partitions == 1 else taken(chunk, _rows_of(partition, partitions, who))
            outcome = job.take(mine)
            told[budget] += outcome.surges
            if budget == budgets[0]:
                reports = [report.of_partition(partition) for report in outcome.reports]
                waves += fleet.take(ReportChunk(reports)).surges
    for (budget, _), job in jobs.items():
        told[budget] += job.take_held().surges
    waves += fleet.take_held().surges
    surges = {
        budget: [one for one in all_told if one.trigger == "model" and one.kind == "followers"]
        for budget, all_told in told.items()
    }
    gathered = {creator: np.concatenate(times) for creator, times in records.items()}
    return Ran(world, surges, met, gathered, waves)


def comers_of(world: CountWorld, creators: Ints, at_ms: Ints) -> tuple[Words, Accounts]:
    """Language and region of who followed, and how new their accounts are.

    They are the creator's own; of one in six, another's: that of the creator so many places on,
    which is as good as drawn. Newcomers are all of one region, and their accounts hours old. Of
    the others some are young too, as on any platform.
    """
    told = [[audience_of(lang, region) for region in REGIONS] for lang in LANGS]
    each = np.array(told, np.uint64)[world.lang, world.region]
    strange = np.arange(len(creators)) % _STRANGE_EACH == 0
    audiences = each[np.where(strange, (creators * 7919 + 1) % len(each), creators)]
    first, rng = int(at_ms[0]) // BUCKET_MS, np.random.default_rng([world.seed, 91, len(at_ms)])
    buckets = at_ms // BUCKET_MS - first
    shares = np.array([world.newcomer_share_of(first + at) for at in range(buckets[-1] + 1)])
    new = rng.random(len(at_ms)) < shares[buckets, world.lang[creators]]
    audiences[new] = told[REGION_LANG[AWAY]][AWAY]
    young = new | (rng.random(len(at_ms)) < _YOUNG_SHARE)
    age_ms = np.where(young, rng.integers(1_000, 7_200_000, len(at_ms)), 400 * 86_400_000)
    return audiences, accounts_of(at_ms, at_ms - age_ms)


def creator_of(surge: Surge) -> int:
    """Number of a surge's creator in her world."""
    return int(surge.creator_id.removeprefix("c-"))


def _rows_of(partition: int, partitions: int, creators: Ints) -> Ints:
    """Records of a partition: creators are dealt in turn, so each has some of every size."""
    rows: Ints = np.flatnonzero(creators % partitions == partition)
    return rows


def _job_of(budget: float) -> FollowPartition:
    return follow_partition_of(replace(Settings(), budget_notices_per_creator_day=budget))


def _in_pieces(steps: Iterator[CountStep]) -> Iterator[list[CountStep]]:
    piece: list[CountStep] = []
    for step in steps:
        piece.append(step)
        if len(piece) == _CHUNK_BUCKETS:
            yield piece
            piece = []
    if piece:
        yield piece


def _records_of(steps: Sequence[CountStep], rng: np.random.Generator | None) -> tuple[Ints, Ints]:
    """Creator and time of each record, by time: those of a bucket at even distances."""
    creators, times = [], []
    for step in steps:
        who = np.repeat(step.creators, step.counts)
        creators.append(who if rng is None else rng.permutation(who))
        begin_ms = step.bucket * BUCKET_MS
        times.append(begin_ms + np.arange(len(who)) * BUCKET_MS // max(len(who), 1))
    return np.concatenate(creators), np.concatenate(times)
