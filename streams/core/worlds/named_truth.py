"""What is true of a named world: own surges, waves, artefacts, posts whose languages shift.

Whoever has no row in ``surges``, nor one as creator in ``artefacts`` other than ``burst``, has
no surge of their own, whatever their counts do.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from streams.core.time.buckets import BUCKET_MS
from streams.core.worlds.count_columns import Lifts
from streams.core.worlds.counts import CountWorld
from streams.core.worlds.mixes import foreign_lang_of
from streams.core.worlds.plans import LiftPlan
from streams.core.worlds.platform import LANGS, REGIONS, creator_id_of, post_id_of
from streams.core.worlds.simulation import AWAY


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnSurge:
    """A creator's own surge of follows, at its full height from ``full_ms`` on.

    ``usual`` and ``extra`` are events a bucket of five minutes; at its height the rate is
    ``multiple`` times the usual one plus ``extra``. ``newborn``: the creator began with it.
    """

    creator_id: str
    lang: str
    region: str
    start_ms: int
    full_ms: int
    end_ms: int
    usual: float
    multiple: float
    extra: float
    newborn: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class PlatformWave:
    """A wave over the whole platform: the factor of each language at its height.

    ``from_region`` is where its newcomers come from, None where it has none.
    """

    what: str
    lifts: dict[str, float]
    from_region: str | None
    start_ms: int
    full_ms: int
    end_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Artefact:
    """What changes counts and is nobody's surge.

    ``what`` is outage, rush, clock (a region's rhythm comes an hour earlier), bought or
    put_back (an exact ``amount`` in one bucket) or burst (``multiple`` times for minutes).
    """

    what: str
    creator_id: str | None
    region: str | None
    start_ms: int
    end_ms: int
    amount: int | None
    multiple: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class MixShift:
    """A post whose share of comments in ``foreign_lang`` goes from ``before`` to ``after``."""

    creator_id: str
    post_id: str
    own_lang: str
    foreign_lang: str
    start_ms: int
    end_ms: int
    before: float
    after: float
    comments_per_hour: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WorldTruth:
    """What is true of a named world; times are event times, intervals half-open."""

    world: str
    seed: int
    start_ms: int
    happens_ms: int
    end_ms: int
    creators: int
    creators_without_surge: int
    surges: list[OwnSurge]
    waves: list[PlatformWave]
    artefacts: list[Artefact]
    mixes: list[MixShift]


def world_truth_of(world: CountWorld) -> WorldTruth:
    """Say what is true of a world; rows in order of their start."""
    return WorldTruth(
        world=world.plan.name,
        seed=world.seed,
        start_ms=world.first * BUCKET_MS,
        happens_ms=world.happens * BUCKET_MS,
        end_ms=world.after * BUCKET_MS,
        creators=world.plan.creators,
        creators_without_surge=int(world.without_surge().sum()),
        surges=list(_surges(world)),
        waves=[
            _wave(world, lift) for lift in world.plan.lifts if lift.what in {"wave", "newcomers"}
        ],
        artefacts=sorted(_artefacts(world), key=lambda a: (a.start_ms, a.creator_id or "")),
        mixes=list(_mixes(world)),
    )


def _end_ms(world: CountWorld, bucket: int) -> int:
    return min(bucket, world.after) * BUCKET_MS


def _rows(lifts: Lifts) -> Iterator[tuple[int, int, int, int, float, float]]:
    columns = (lifts.creator, lifts.start, lifts.end, lifts.ramp, lifts.multiple, lifts.extra)
    return zip(*(column.tolist() for column in columns), strict=True)


def _surges(world: CountWorld) -> Iterator[OwnSurge]:
    for creator, start, end, ramp, multiple, extra in _rows(world.columns.surges):
        if start < world.after:
            yield OwnSurge(
                creator_id=creator_id_of(creator),
                lang=LANGS[int(world.lang[creator])],
                region=REGIONS[int(world.region[creator])],
                start_ms=start * BUCKET_MS,
                full_ms=_end_ms(world, start + ramp),
                end_ms=_end_ms(world, end),
                usual=float(world.rate[creator]),
                multiple=multiple,
                extra=extra,
                newborn=int(world.birth[creator]) == start,
            )


def _times(world: CountWorld, lift: LiftPlan) -> tuple[int, int, int]:
    """Start, full height and end in ms; a fading ends where a hundredth of it is left."""
    start = world.happens + lift.after_buckets
    full = start + lift.ramp_buckets
    end = full + lift.hold_buckets + 5 * lift.fade_buckets
    return start * BUCKET_MS, _end_ms(world, full), _end_ms(world, end)


def _wave(world: CountWorld, lift: LiftPlan) -> PlatformWave:
    start_ms, full_ms, end_ms = _times(world, lift)
    return PlatformWave(
        what=lift.what,
        lifts=dict(zip(LANGS, lift.lifts, strict=True)),
        from_region=REGIONS[AWAY] if lift.what == "newcomers" else None,
        start_ms=start_ms,
        full_ms=full_ms,
        end_ms=end_ms,
    )


def _artefacts(world: CountWorld) -> Iterator[Artefact]:
    for lift in world.plan.lifts:
        if lift.what in {"outage", "rush"}:
            start_ms, _, end_ms = _times(world, lift)
            yield _artefact(lift.what, (start_ms, end_ms), multiple=max(lift.lifts))
    if world.plan.clock_region is not None:
        whole = (world.happens * BUCKET_MS, world.after * BUCKET_MS)
        yield _artefact("clock", whole, region=world.plan.clock_region)
    jumps = world.columns.jumps
    columns = (column.tolist() for column in (jumps.creator, jumps.bucket, jumps.amount))
    for creator, bucket, amount in zip(*columns, strict=True):
        if bucket < world.after:
            times = (bucket * BUCKET_MS, (bucket + 1) * BUCKET_MS)
            yield _artefact(world.plan.jumps[0].what, times, creator=creator, amount=amount)
    for creator, start, end, _, multiple, _ in _rows(world.bursts):
        times = (start * BUCKET_MS, _end_ms(world, end))
        yield _artefact("burst", times, creator=creator, multiple=multiple)


def _artefact(
    what: str,
    times: tuple[int, int],
    *,
    creator: int | None = None,
    region: str | None = None,
    amount: int | None = None,
    multiple: float | None = None,
) -> Artefact:
    return Artefact(
        what=what,
        creator_id=None if creator is None else creator_id_of(creator),
        region=region,
        start_ms=times[0],
        end_ms=times[1],
        amount=amount,
        multiple=multiple,
    )


def _mixes(world: CountWorld) -> Iterator[MixShift]:
    plan = world.plan.mix
    for creator in [] if plan is None else world.columns.mix_creators.tolist():
        assert plan is not None
        lang = int(world.lang[creator])
        yield MixShift(
            creator_id=creator_id_of(creator),
            post_id=post_id_of(creator, 0),
            own_lang=LANGS[lang],
            foreign_lang=LANGS[foreign_lang_of(lang)],
            start_ms=world.happens * BUCKET_MS,
            end_ms=world.after * BUCKET_MS,
            before=plan.foreign_before,
            after=plan.foreign_after,
            comments_per_hour=plan.comments_per_hour,
        )
