"""Newcomers by the age of their accounts: told early, and by nothing else that happens."""

from collections.abc import Callable

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.core.partition_state import StoredState
from streams.core.records.chunk_rows import joined, taken
from streams.core.records.chunks import FollowChunk
from streams.core.records.comers import (
    GROUPS,
    OLD,
    UNTOLD,
    YOUNG,
    YOUNG_MS,
    accounts_in,
    accounts_of,
    cohorts_in,
    comers_of,
)
from streams.core.records.texts import Texts
from streams.core.surges.surge import Surge
from streams.core.time.buckets import BUCKET_MS
from streams.core.waves.fleet import FleetWaves
from streams.core.waves.lasting import Waves
from streams.core.waves.report import ReportChunk, WaveReport
from streams.core.waves.sums import FIRST, RAW, TOLD, YOUNG_GROUPS, WaveSums, nothing
from streams.core.waves.young import COUNTS, ROWS, WARM_BUCKETS, Evidence, Young
from tests.jobs import contents_of, follow_partition
from tests.wave_rows import AUDIENCES, BEGIN

US, CN, TW = range(3)
WAVE = 60
CREATORS = 2_000
AT_MS = 1_736_899_200_000


def test_an_account_is_young_on_its_first_day_and_untold_where_the_time_is_none() -> None:
    at_ms = np.full(7, AT_MS)
    ages = np.array([0, 1, YOUNG_MS - 1, YOUNG_MS, 10**11, 1 - YOUNG_MS, -YOUNG_MS])
    accounts = accounts_of(at_ms, at_ms - ages)
    assert (np.minimum(accounts, YOUNG) == [2, 2, 2, 1, 1, 2, 1]).all()
    for untold in (-1, 0, AT_MS // 1000, 10**12 - 1):
        assert accounts_of(at_ms[:1], np.array([untold]))[0] == UNTOLD
    assert accounts_of(at_ms[:1], np.array([10**12]))[0] == OLD


def test_groups_have_as_many_accounts_each_and_an_account_stands_in_one() -> None:
    created_ms = AT_MS - np.arange(1, 80_001) * 1_000
    accounts = accounts_of(np.full(80_000, AT_MS), created_ms)
    counts = np.bincount(accounts, minlength=YOUNG + GROUPS)[YOUNG:]
    assert np.abs(counts - 10_000).max() < 500
    again = accounts_of(np.full(80_000, AT_MS + 7_200_000), created_ms)
    assert np.count_nonzero(again > OLD) < np.count_nonzero(accounts > OLD)
    young = again > OLD
    assert (accounts[young] == again[young]).all(), "wherever and whenever it follows"


@given(st.lists(st.tuples(st.integers(0, 255), st.integers(0, YOUNG + GROUPS - 1)), max_size=20))
def test_comers_are_their_cohort_and_their_account(pairs: list[tuple[int, int]]) -> None:
    cohorts, accounts = np.array(pairs, dtype=np.uint8).reshape(-1, 2).T
    comers = comers_of(cohorts, accounts)
    assert (cohorts_in(comers) == cohorts).all()
    assert (accounts_in(comers) == accounts).all()


def test_sums_tell_who_came_by_cohort_and_age_and_nobody_of_whom_nothing_is_told() -> None:
    cohorts = np.array([0, 1, 1, 2, 2, 2], dtype=np.uint8)
    accounts = np.array([YOUNG, UNTOLD, OLD, YOUNG, YOUNG, YOUNG + 3], dtype=np.uint8)
    sums = WaveSums()
    sums.add_first(7, comers_of(cohorts, accounts))
    found = sums.take(7)
    assert found[FIRST].tolist() == [0, 2, 3]
    assert found[TOLD].tolist() == [0, 1, 3]
    assert found[YOUNG_GROUPS][0].tolist() == [0, 0, 2]
    assert found[YOUNG_GROUPS][3].tolist() == [0, 0, 1]


def test_sums_of_an_earlier_version_have_no_ages_and_it_reads_ours() -> None:
    sums, again = WaveSums(), WaveSums()
    sums.add_first(7, np.array([1, 2 + (YOUNG << 8)], dtype=np.uint16))
    rows, ages = sums.state()
    assert [len(one) for one in rows["7"]] == [3] * TOLD
    again.restore(rows, ages)
    assert again.state() == (rows, ages)
    earlier = WaveSums()
    earlier.restore(rows, {})
    assert earlier.state() == (rows, {})


def usual(
    draw: np.random.Generator, told: int, share: float, each: float = 1.0, came: int | None = None
) -> list[float]:
    """What a bucket counts: comers, those told, young ones by group, ``each`` follows of one."""
    accounts = draw.poisson(told * share / each)
    groups = np.zeros(GROUPS)
    np.add.at(groups, draw.integers(0, GROUPS, accounts), draw.geometric(1 / each, accounts))
    of_told = float(draw.poisson(told))
    return [of_told if came is None else float(came), of_told, *groups]


Counts = Callable[[np.random.Generator, int], list[float]]


def begins(before: Counts, after: Counts, buckets: int = 24) -> int | None:
    """Buckets from what happens, after 200 usual ones, to a wave; None: none begins in so many."""
    draw, young = np.random.default_rng(5), Young.of_none()
    for bucket in range(200):
        young, seen = young.after(np.array(before(draw, bucket))[:, None])
        assert not seen.begins.any()
    for later in range(buckets):
        young, seen = young.after(np.array(after(draw, later))[:, None])
        if seen.begins[0]:
            return later
    return None


NONE = [0.0] * GROUPS


@pytest.mark.parametrize("share", [0.0, 0.001, 0.03])
def test_a_fifth_of_all_who_come_being_young_is_a_wave_within_fifteen_minutes(share: float) -> None:
    begun = begins(lambda d, _: usual(d, 300, share, 2.0), lambda d, _: usual(d, 300, 0.2, 2.0))
    assert begun is not None
    assert begun <= 2


def test_a_rush_of_everybody_and_a_morning_of_registrations_are_none() -> None:
    assert begins(lambda d, _: usual(d, 300, 0.03), lambda d, _: usual(d, 3_000, 0.03)) is None
    assert begins(lambda d, _: usual(d, 3_000, 0.05), lambda d, _: usual(d, 3_000, 0.09)) is None

    def morning(draw: np.random.Generator, bucket: int) -> list[float]:
        return usual(draw, 300, 0.03 * 2 ** np.sin(bucket / 288 * 2 * np.pi))

    assert begins(morning, lambda d, later: morning(d, 200 + later)) is None


@pytest.mark.parametrize("left", [0, 100, 300])
def test_an_outage_of_those_who_are_hardly_ever_young_is_none(left: int) -> None:
    def of_both(draw: np.random.Generator, web: int) -> list[float]:
        both = np.array([usual(draw, web, 0.005), usual(draw, 150, 0.1)])
        return [float(count) for count in both.sum(axis=0)]

    assert begins(lambda d, _: of_both(d, 1_000), lambda d, _: of_both(d, left)) is None


@pytest.mark.parametrize(("told", "share"), [(100, 0.01), (3, 0.01), (300, 0.0)])
def test_a_further_producer_that_begins_to_tell_ages_is_none(told: int, share: float) -> None:
    def others(draw: np.random.Generator) -> list[float]:
        return usual(draw, told, share, came=told + 900)

    def both(draw: np.random.Generator, _: int) -> list[float]:
        every = np.array(others(draw)) + usual(draw, 900, 0.15)
        return [float(told + 900), *every[1:].tolist()]

    assert begins(lambda d, _: others(d), both, 1_500) is None


def test_a_few_accounts_that_follow_hundreds_are_none_and_some_more_are() -> None:
    def of(accounts: int) -> int | None:
        groups = [200.0 if place < accounts else 0.0 for place in range(GROUPS)]
        return begins(lambda *_: [300.0] * 2 + NONE, lambda *_: [1_300.0] * 2 + groups)

    assert [of(accounts) for accounts in (1, 4, 5)] == [None] * 3
    assert of(6) is not None


def test_so_few_that_chance_could_bring_them_and_what_has_passed_are_none() -> None:
    one_each, half = [1.0] * GROUPS, [1.0, 0.0] * (GROUPS // 2)
    quiet = [300.0] * 2

    def later_of(steps: list[list[float]]) -> Counts:
        return lambda _, later: quiet + steps[later]

    for after in ([one_each], [one_each, half], [one_each, NONE]):
        steps = [*after, *[NONE] * 24]
        begun = begins(lambda *_: quiet + NONE, later_of(steps))
        assert begun is None
    steps = [one_each] * 24
    assert begins(lambda *_: quiet + NONE, later_of(steps)) == 1


def test_nothing_is_said_before_three_hours_in_which_ages_were_told() -> None:
    young = Young.of_none()
    for _ in range(WARM_BUCKETS):
        young, seen = young.after(np.array([[300.0], [300.0], *[[30.0]] * GROUPS]))
        assert not seen.begins.any()
        young, seen = young.after(np.zeros((COUNTS, 1)))  # nobody came: no bucket of it
        assert not seen.begins.any()


def row_of(young: Young, name: str) -> float:
    return float(young.state()["rows"][ROWS.index(name)][0])


def lived(share: float, each: float, buckets: int) -> Young:
    draw, young = np.random.default_rng(8), Young.of_none()
    for _ in range(buckets):
        young, _ = young.after(np.array(usual(draw, 400, share, each))[:, None])
    return young


def test_accounts_that_follow_many_teach_how_far_they_scatter() -> None:
    assert row_of(lived(0.05, 1.0, 300), "scatter") < 1
    assert row_of(lived(0.05, 10.0, 300), "scatter") > 5


def test_a_wave_is_learnt_slowly_and_as_usual_only_once_it_is_accepted() -> None:
    draw, young = np.random.default_rng(9), lived(0.01, 1.0, 90)
    scatter = row_of(young, "scatter")
    for _ in range(24):
        young, seen = young.after(np.array(usual(draw, 400, 0.3))[:, None])
        assert seen.holds.all()
    assert row_of(young, "young") / row_of(young, "told") < 0.05
    assert row_of(young, "scatter") <= scatter + 1
    untouched = young.accepted(np.array([False])).after(np.array([[400.0] * 2 + [15.0] * 8]).T)[1]
    assert untouched.holds.all()
    young, seen = young.accepted(np.array([True])).after(np.array(usual(draw, 400, 0.3))[:, None])
    assert not seen.holds.any()


@settings(deadline=None, max_examples=50)
@given(data=st.data())
def test_buckets_together_or_one_by_one_and_through_the_store_are_the_same(
    data: st.DataObject,
) -> None:
    sizes = data.draw(st.lists(st.integers(1, 4), min_size=1, max_size=60).map(sorted))
    count = st.one_of(st.integers(0, 40), st.integers(0, 10**12), st.just(0))
    each = [st.lists(count, min_size=COUNTS * size, max_size=COUNTS * size) for size in sizes]
    counts = [np.array(data.draw(some), np.float64).reshape(COUNTS, -1) for some in each]
    for one in counts[: data.draw(st.integers(0, 5))]:
        one[1:] = 0.0  # no age is told yet
    for one in counts:
        one[1] += one[2:].sum(axis=0)
        one[0] += one[1]
    wide = np.zeros((len(counts), COUNTS, sizes[-1]))
    for place, one in enumerate(counts):
        wide[place, :, : one.shape[1]] = one
    with np.errstate(all="raise", under="ignore"):
        together = Young.of_none().ahead(wide)
        young, alone = Young.of_none(), list[Evidence]()
        for one in counts:
            (young, seen), *_ = young.ahead(one[None]) or [young.after(one)]
            assert np.isfinite(seen.sigmas).all()
            alone.append(seen)
            young = Young.restored(msgspec.json.decode(msgspec.json.encode(young.state())))
        young.accepted(np.ones(sizes[-1], np.bool_))
    assert young.state() == (together[-1][0] if together else Young.of_none()).state()
    for (_, seen), other in zip(together, alone, strict=bool(together)):
        size = len(other.sigmas)
        assert (seen.sigmas[:size] == other.sigmas).all()
        assert (seen.begins[:size] == other.begins).all()
        assert not seen.begins[size:].any()


# The whole way: a partition's records, its reports, and what the fleet tells.


def chunk_of(
    creators: list[int], buckets: list[int], regions: list[int], ages_ms: list[int]
) -> FollowChunk:
    draw = np.random.default_rng(len(creators))
    at_ms = (BEGIN + np.array(buckets)) * BUCKET_MS + draw.integers(0, BUCKET_MS, len(buckets))
    order = np.argsort(at_ms, kind="stable")
    return FollowChunk(
        Texts.of([f"c-{creators[row]}" for row in order.tolist()]),
        at_ms[order],
        np.zeros(len(order), dtype=np.bool_),
        None,
        AUDIENCES[np.array(regions)[order]],
        accounts_of(at_ms[order], (at_ms - np.array(ages_ms))[order]),
    )


def story(
    newcomers: Callable[[int], int], target: int | None = None, buckets: int = 8
) -> list[FollowChunk]:
    """A chunk a bucket: 900 usual follows, and newcomers from the US, of ``target`` or anybody."""
    draw, chunks = np.random.default_rng(9), []
    for bucket in range(WAVE + buckets):
        more = newcomers(bucket - WAVE)
        usual_ones = draw.integers(0, CREATORS, 900)
        new = np.full(more, target) if target is not None else draw.integers(0, CREATORS, more)
        regions = draw.choice([US, CN, TW], 900, p=[0.2, 0.6, 0.2])
        ages = np.where(draw.random(900) < 0.01, 3_600_000, 40 * YOUNG_MS)
        chunks.append(chunk_of(
            [*usual_ones.tolist(), *new.tolist()], [bucket] * (900 + more),
            [*regions.tolist(), *[US] * more],
            [*ages.tolist(), *draw.integers(1_000, 7_200_000, more).tolist()],
        ))  # fmt: skip
    return chunks


def told_of(chunks: list[FollowChunk]) -> list[Surge]:
    partition, fleet, told = follow_partition(10**9), FleetWaves(1), list[Surge]()
    for chunk in chunks:
        reports = [*partition.take(chunk).reports]
        told += fleet.take(ReportChunk(reports)).surges
    return told


def test_newcomers_of_a_country_are_told_while_all_follows_are_as_many_as_ever() -> None:
    (told, *_) = told_of(story(lambda later: 30 if later >= 0 else 0))
    assert told.state == "opened"
    assert (told.seen_ms // BUCKET_MS - BEGIN) - WAVE <= 3, "within fifteen minutes"
    wave = told.wave
    assert wave is not None
    assert (wave.scope, wave.region, wave.by_newcomers) == ("region", "US", True)
    assert told.ratio is not None
    assert told.ratio < 1.5
    assert wave.young is not None
    assert wave.young_usual is not None
    assert 15 <= wave.young <= 45
    assert 0.5 < wave.young_usual < 5


def test_a_wave_told_by_age_lasts_as_long_as_they_come_and_is_one_incident() -> None:
    chunks = story(lambda later: 40 if 0 <= later < 14 else 0, buckets=34)
    told = told_of(chunks)
    assert [one.state for one in told] == ["opened", "closed"]
    closed = told[1].seen_ms // BUCKET_MS - BEGIN - WAVE
    assert 14 + 5 <= closed <= 14 + 9, "half an hour after the last of them"


def test_those_who_receive_most_are_named_though_no_partition_sees_a_wave(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Waves, "may_be_lifted", False)
    chunks = story(lambda later: 24 if later >= 0 else 0)
    partitions = [follow_partition(10**9) for _ in range(8)]
    fleet, told = FleetWaves(8), list[Surge]()
    for chunk in chunks:
        whose = np.array([int(name[2:]) for name in chunk.creator_ids])
        for number, partition in enumerate(partitions):
            outcome = partition.take(taken(chunk, (whose % 8 == number).nonzero()[0]))
            reports = [one.of_partition(number) for one in outcome.reports]
            told += fleet.take(ReportChunk(reports)).surges
    assert told[0].wave is not None
    assert told[0].wave.receivers


def test_as_many_new_followers_of_one_creator_are_her_own_surge() -> None:
    waves = told_of(story(lambda later: 300 if later >= 0 else 0, target=7))
    assert waves == []


def test_where_ages_are_not_told_newcomers_are_told_by_their_number_alone() -> None:
    chunks = story(lambda later: 30 if later >= 0 else 0)
    untold = [
        FollowChunk(one.creator_ids, one.at_ms, one.unfollows, None, one.audiences)
        for one in chunks
    ]
    assert told_of(untold) == []


def test_reports_of_partly_told_records_do_not_hang_on_the_chunks() -> None:
    """Half of the chunks tell neither language nor region: alone they are not even looked at."""
    draw, chunks = np.random.default_rng(10), list[FollowChunk]()
    for bucket in range(12):
        for half in range(2):
            creators = draw.integers(0, 60, 40).tolist()
            chunk = chunk_of(creators, [bucket] * 40, [half] * 40, [3_600_000] * 40)
            audiences = chunk.audiences if half else np.zeros(40, np.uint64)
            at_ms = np.sort(chunk.at_ms // 2 + (BEGIN + bucket) * BUCKET_MS // 2)
            at_ms = (BEGIN + bucket) * BUCKET_MS + half * 100_000 + at_ms % 100_000
            chunks.append(FollowChunk(
                chunk.creator_ids, np.sort(at_ms), chunk.unfollows, None, audiences, chunk.accounts
            ))  # fmt: skip

    def reported(some: list[FollowChunk]) -> tuple[list[WaveReport], object]:
        partition, reports = follow_partition(10**9), list[WaveReport]()
        for chunk in some:
            reports += partition.take(chunk).reports
        change = partition.drain()
        return reports, (contents_of(change), change.surges)

    one_by_one, contents = reported(chunks)
    together, same = reported([joined(chunks)])
    assert [b for r in one_by_one for b in r.buckets] == [b for r in together for b in r.buckets]
    assert contents == same


def test_a_fleet_restarted_in_the_middle_tells_the_same() -> None:
    chunks = story(lambda later: 30 if later >= 0 else 0)
    partition, reports = follow_partition(10**9), list[list[WaveReport]]()
    for chunk in chunks:
        reports.append([*partition.take(chunk).reports])
    straight, through, stored = FleetWaves(1), FleetWaves(1), dict[str, bytes]()
    for some in reports:
        expected = straight.take(ReportChunk(some)).surges
        assert through.take(ReportChunk(some)).surges == expected
        for name, content in through.drain().surges.items():
            if content is None:
                del stored[name]
            else:
                stored[name] = content
        through = FleetWaves(1)
        through.restore(StoredState(surges=dict(stored)))


def test_a_wave_by_age_of_two_days_is_the_usual_then() -> None:
    waves, names = Waves(young=Young.of_none()), [("und", "und"), ("en", "US")]
    draw, begun = np.random.default_rng(11), list[int]()
    for bucket in range(60 + 2 * 288 + 20):
        sums = nothing(2)
        groups = draw.poisson(15.0 if bucket >= 60 else 0.2, GROUPS)
        sums[:RAW, 1], sums[RAW, 1] = 16 * 400, 400
        sums[FIRST, 1] = sums[TOLD, 1] = 400
        sums[YOUNG_GROUPS, 1] = groups
        seen = waves.close(5_000_000 + bucket, sums, names)
        if len(seen.begun):
            begun.append(bucket)
        if waves.lasting is None and begun:
            assert bucket >= 60 + 2 * 288
    assert waves.lasting is None
    assert max(begun) < 60 + 2 * 288 + 2
