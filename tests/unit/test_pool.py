"""What creators share: learnt in any order, put in force at set moments, kept over restarts."""

import asyncio
import itertools
from collections import Counter
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.core.detection.alarm_tally import AlarmTally
from streams.core.detection.block_maths import rarity_of, tail_of
from streams.core.detection.block_tables import Floats
from streams.core.detection.policy import DetectorPolicy
from streams.core.detection.pool import Pool, PoolStateError
from streams.core.detection.tail_prior import Ended, Lived, Risen
from streams.core.partition import FollowPartition
from streams.core.records.chunks import FollowChunk
from streams.core.records.texts import Texts
from streams.core.surges.surge import Surge
from streams.core.time.buckets import BUCKET_MS
from streams.edges.store import MemoryStore, Place, Write
from tests.jobs import contents_of, follow_partition

BEGIN_MS = 1_736_726_400_000  # a Monday
DAY = 288
BEGIN = BEGIN_MS // BUCKET_MS
PLACE = Place("follows", 0)
CREATORS = 60
OFTEN = 0.2
"""A budget of which 60 creators are asked enough in six days."""


def days_of(number: int, seed: int, *, top: float = 9.0) -> Ended:
    draw = np.random.default_rng(seed)
    return Ended(
        np.full(number, 9),
        draw.exponential(top, number),
        np.full(number, 5.0),
        draw.exponential(1.0, number),
        np.ones(number, dtype=np.int64),
        np.zeros(number, dtype=np.bool_),
    )


def pool_after(days: int, ended: Ended) -> Pool:
    """A pool that was taught after the given number of days, and is one day older."""
    pool = Pool(DetectorPolicy())
    for day in range(days + 1):
        pool.enter(BEGIN + day * DAY)
    pool.take_ended(ended)
    pool.enter(BEGIN + (days + 1) * DAY)
    return pool


TALLY_BYTES = 32


def learnt_by(pool: Pool) -> bytes:
    """Its state but for the tally of alarms."""
    state = pool.packed()
    assert state is not None
    return state[:-TALLY_BYTES]


def rarity(pool: Pool, statistic: float, birth: int, age: int) -> float:
    rate: Floats = np.array([0.1])
    lived = Lived(np.array([birth]), np.array([age]))
    return float(pool.judged(np.array([5.0]), pool.of(rate), np.array([statistic]), lived)[0])


@settings(deadline=None, max_examples=30)
@given(st.lists(st.integers(0, 399), max_size=6), st.randoms(use_true_random=False))
def test_the_order_in_which_keys_teach_leaves_no_trace(cuts: list[int], draw: object) -> None:
    ended = days_of(400, 1)
    rows = np.arange(400)
    draw.shuffle(rows)  # type: ignore[attr-defined]
    whole, parts = Pool(DetectorPolicy()), Pool(DetectorPolicy())
    for pool in (whole, parts):
        pool.enter(BEGIN)
    whole.take_ended(ended)
    for part in np.split(rows, sorted(cuts)):
        parts.take_ended(ended.only(np.isin(np.arange(400), part)))
    assert parts.packed() == whole.packed()
    for pool in (whole, parts):
        pool.enter(BEGIN + DAY)
    assert parts.packed() == whole.packed()


def test_what_was_learnt_comes_into_force_with_the_next_day_and_not_before() -> None:
    pool = Pool(DetectorPolicy())
    for day in range(3):
        pool.enter(BEGIN + day * DAY)
    before = pool.of(np.array([0.1]))
    pool.take_ended(days_of(5_000, 3))
    pool.enter(BEGIN + 3 * DAY - 1)
    assert pool.of(np.array([0.1])) == before
    pool.enter(BEGIN + 3 * DAY)
    after = pool.of(np.array([0.1]))
    assert float(np.ravel(after.level)[0]) > float(np.ravel(before.level)[0]) + 2


def test_until_its_second_midnight_a_pool_learns_after_hours_that_grow_and_at_midnight() -> None:
    pool = Pool(DetectorPolicy())
    pool.enter(BEGIN + 100)
    epochs = pool.epochs_of(np.arange(BEGIN + 100, BEGIN + 4 * DAY))
    begins = np.unique(epochs) - BEGIN
    hours = [8, 9, 10, 11, 12, 14, 16, 20, 24, 28, 32, 40, 48, 72]
    # newcomers may come from bucket 388 on: as much finer steps while they are as young
    newcomers = [388 + age for age in (3, 6, 12, 24, 36, 48, 72, 96, 144, 192, 240)]
    assert begins.tolist() == sorted([12 * hour for hour in hours] + newcomers)


def test_rare_days_correct_what_the_tail_promises_once_the_pool_is_warm() -> None:
    born, old = BEGIN - 9_000, 9_000
    cold, warm = (pool_after(days, days_of(50_000, 2)) for days in (2, 8))
    # e**-1 exceedances a nat: where one in 30 was promised, that is what was seen
    assert rarity(warm, 99.0, born, old) == pytest.approx(5.0, rel=0.05)
    assert rarity(cold, 99.0, born, old) == 5.0
    ended = days_of(50_000, 2)._replace(rarity=days_of(50_000, 2).rarity * 1.4)
    often = pool_after(8, ended)
    assert rarity(often, 99.0, born, old) == pytest.approx(5.0 / 1.4, rel=0.05)
    assert rarity(pool_after(2, ended), 99.0, born, old) == 5.0


def corrected(pool: Pool, promised: Floats) -> Floats:
    """What keys past their first day are judged by, for what their tails promise."""
    size = len(promised)
    lived = Lived(np.full(size, BEGIN - 9_000), np.full(size, 9_000))
    return pool.judged(promised.copy(), pool.of(np.full(size, 0.1)), np.ones(size), lived)


def test_days_are_as_rare_as_they_were_whatever_the_tails_promised() -> None:
    draw = np.random.default_rng(8)
    seen = draw.exponential(1.0, 400_000)
    for promised in (seen + seen**2 / 24, 3.0 * np.sqrt(1.0 + seen) - 3.0):
        pool = pool_after(8, days_of(400_000, 2)._replace(rarity=promised))
        for share in (0.2, 1 / 30, 1e-3, 1e-4):
            reached = float(np.quantile(promised, 1.0 - share))
            told = float(corrected(pool, np.array([reached]))[0])
            assert told == pytest.approx(-np.log(share), abs=0.35)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.floats(0.0, 60.0), max_size=80), st.lists(st.floats(0.0, 80.0), min_size=2))
def test_more_promised_is_never_less_rare_and_surges_leave_a_way_to_be_told(
    tops: list[float], asked: list[float]
) -> None:
    pool = pool_after(8, days_of(len(tops), 2)._replace(rarity=np.array(tops)))
    promised = np.sort(np.array(asked))
    told = corrected(pool, promised)
    assert (np.diff(told) >= 0.65 * np.diff(promised) - 1e-9).all()
    assert (told >= 0.65 * promised - 1e-9).all()
    assert (told <= 4.0 * promised + 1e-9).all()


def test_days_of_surges_do_not_teach_that_surges_are_usual() -> None:
    calm = days_of(40_000, 2)
    rarity_of_days = calm.rarity.copy()
    rarity_of_days[:200] = 40.0  # one in two hundred
    surging = pool_after(8, calm._replace(rarity=rarity_of_days))
    rest = pool_after(8, calm.only(np.arange(40_000) >= 200))
    for promised in (3.0, 7.0, 12.0):
        asked = np.array([promised])
        assert corrected(surging, asked) == pytest.approx(corrected(rest, asked))
    # what one cannot be sure of counts
    rarity_of_days[:200] = 12.0
    often = pool_after(8, calm._replace(rarity=rarity_of_days))
    assert corrected(often, np.array([7.0]))[0] < 0.9 * corrected(rest, np.array([7.0]))[0]


def test_a_first_weekend_teaches_nothing_and_makes_nothing_rarer() -> None:
    pool = Pool(DetectorPolicy())
    for day in range(5):
        pool.enter(BEGIN + day * DAY)
    friday = corrected(pool, np.array([5.0]))[0]
    pool.enter(BEGIN + 5 * DAY)
    saturday, before = corrected(pool, np.array([5.0]))[0], learnt_by(pool)
    pool.take_ended(days_of(2_000, 1, top=90.0))
    assert learnt_by(pool) == before
    assert saturday == pytest.approx(0.6 * friday)
    for day in (6, 7, 8, 12):  # the next Saturday is like other days
        pool.enter(BEGIN + day * DAY)
    assert corrected(pool, np.array([5.0]))[0] == friday
    pool.take_ended(days_of(2_000, 1, top=90.0))
    assert learnt_by(pool) != before


def test_a_young_pool_forgets_its_first_week() -> None:
    def level_after(days: int, wild: int) -> float:
        pool = Pool(DetectorPolicy())
        for day in range(days):
            pool.enter(BEGIN + day * DAY)
            pool.take_ended(days_of(2_000, day, top=30.0 if day < wild else 3.0))
        pool.enter(BEGIN + days * DAY)
        return float(np.ravel(pool.of(np.array([0.1])).level)[0])

    calm = level_after(21, 0)
    assert level_after(8, 7) > 4 * calm
    assert level_after(21, 7) < 1.5 * calm


def test_first_days_are_judged_by_first_days() -> None:
    pool = Pool(DetectorPolicy())
    for day in range(3):
        pool.enter(BEGIN + day * DAY)
    born = np.full(10_000, BEGIN + 2 * DAY)
    calm = rarity(pool, 60.0, BEGIN + 2 * DAY, 5)
    pool.take_births(born)
    tops = 8.0 * np.random.default_rng(5).pareto(2.0, 10_000)
    age = np.full(10_000, 9)
    pool.take_risen(Risen(born, age, np.zeros(10_000), tops / 2))
    pool.take_risen(Risen(born, age, tops / 2, tops))
    for day in (3, 4):  # a first day counts in full when it is over
        pool.enter(BEGIN + day * DAY)
    share = (tops >= 64.0).mean()
    told = np.exp(-rarity(pool, 64.0, BEGIN + 2 * DAY, 5))
    assert told == pytest.approx(2 * share, rel=0.2)  # half the budget is for the first minutes
    assert rarity(pool, 60.0, BEGIN + 4 * DAY, 5) < calm - 2
    assert rarity(pool, 60.0, BEGIN + 3 * DAY, 300) == 5.0  # no first day any more


def test_a_partition_that_starts_is_silent_and_a_true_newcomer_later_is_told() -> None:
    pool = Pool(DetectorPolicy())
    pool.enter(BEGIN)
    # 100 events in a first bucket are evidence of 18, a large creator met at its top of 100
    assert rarity(pool, 100.0, BEGIN, 3) < np.log(1_000)
    tops = 6.0 * np.random.default_rng(5).pareto(2.6, 3_000)
    born = np.full(3_000, BEGIN)
    pool.take_met(born)
    pool.take_births(born)
    pool.take_risen(Risen(born, np.zeros(3_000, np.int64), np.zeros(3_000), tops))
    for day in range(1, 4):
        pool.enter(BEGIN + day * DAY)
    # her second bucket of 174 is evidence of 155 and more
    assert rarity(pool, 155.0, BEGIN + 3 * DAY, 1) > np.log(1_000_000)


def test_a_level_that_few_days_pass_does_not_make_the_tail_heavy() -> None:
    low = days_of(20_000, 6, top=1.0)
    pool = pool_after(2, low)
    prior = pool.of(np.array([0.1]))
    assert float(np.ravel(prior.share)[0]) < 0.05
    tail = tail_of(np.zeros((3, 1)), np.zeros(1), prior, DetectorPolicy())
    assert rarity_of(np.array([150.0]), tail)[0] > np.log(1_000_000)


def test_a_pool_comes_back_from_the_store_byte_by_byte_and_a_damaged_one_is_refused() -> None:
    pool, other = pool_after(7, days_of(900, 4)), Pool(DetectorPolicy())
    state = pool.packed()
    assert state is not None
    other.restore(state)
    assert other.packed() == state
    assert rarity(other, 9.0, 0, 9_000) == rarity(pool, 9.0, 0, 9_000)
    for damaged in (state[:-1], b"\x09" + state[1:], state[:-1] + b"\xff"):
        with pytest.raises(PoolStateError, match="stored pool"):
            Pool(DetectorPolicy()).restore(damaged)


def test_a_pool_of_before_there_was_a_tally_is_taken_up() -> None:
    pool, other = pool_after(7, days_of(900, 4)), Pool(DetectorPolicy())
    pool.take_alarms(3)
    other.take_alarms(8)
    other.restore(b"\x02" + learnt_by(pool)[1:])
    assert learnt_by(other) == learnt_by(pool)
    assert other.seen_over_asked is None
    with pytest.raises(PoolStateError, match="stored pool"):
        other.restore(b"\x02" + learnt_by(pool)[1:-1])


def test_alarms_seen_are_held_against_those_asked_for_once_a_day_is_over() -> None:
    pool = Pool(DetectorPolicy(alarms_per_day=0.01))
    pool.enter(BEGIN)
    pool.take_met(np.full(700, BEGIN))
    assert pool.seen_over_asked is None
    pool.enter(BEGIN + DAY)
    pool.take_ended(days_of(700, 1))
    pool.take_ended(days_of(300, 1)._replace(is_first=np.ones(300, dtype=np.bool_)))
    pool.take_alarms(7)
    assert pool.seen_over_asked == 0.0, "7 were asked for, and none told, up to midnight"
    pool.enter(BEGIN + 2 * DAY)
    faded = np.exp(-1 / (1 + 2 / 3))
    assert pool.seen_over_asked == pytest.approx(7 / (7 + 7 * faded), rel=1e-4)
    again = Pool(DetectorPolicy(alarms_per_day=0.01))
    state = pool.packed()
    assert state is not None
    again.restore(state)
    assert again.seen_over_asked == pool.seen_over_asked


def test_a_ratio_of_few_alarms_is_not_told() -> None:
    tally = AlarmTally()
    tally.take_days(499)
    tally.take_alarms(3)
    tally.enter(1.0, 0.01)
    assert tally.ratio is None
    tally.take_days(1)
    tally.enter(1.0, 0.01)
    assert tally.ratio == pytest.approx(3 / 5, rel=1e-3)


@cache
def bursty() -> tuple[Texts, np.ndarray[tuple[int], np.dtype[np.int64]]]:
    """Six days of follows of creators of many sizes, in the order of time but for some."""
    draw = np.random.default_rng(8)
    names = Texts.of([f"c-{number}" for number in range(CREATORS)])
    rate = np.exp(draw.normal(1.0, 1.5, CREATORS))  # a day
    creators = np.repeat(np.arange(CREATORS), draw.poisson(6 * rate))
    at_ms = BEGIN_MS + draw.integers(0, 6 * DAY * BUCKET_MS, len(creators))
    wild = np.repeat(np.arange(8), 60)
    when = BEGIN_MS + np.repeat(draw.integers(0, 5 * DAY, 8), 60) * BUCKET_MS
    creators = np.concatenate((creators, wild))
    at_ms = np.concatenate((at_ms, when + draw.integers(0, BUCKET_MS, len(wild))))
    order = np.argsort(at_ms + draw.integers(0, 2 * BUCKET_MS, len(at_ms)), kind="stable")
    return names.take(creators[order]), at_ms[order]


def chunk_of(begin: int, end: int) -> FollowChunk:
    ids, at_ms = bursty()
    part = slice(begin, end)
    return FollowChunk(ids[part], at_ms[part], np.zeros(len(at_ms[part]), dtype=np.bool_))


@cache
def whole() -> tuple[list[Surge], dict[str, dict[str, bytes]]]:
    partition = follow_partition(40, OFTEN)
    surges = partition.take(chunk_of(0, len(bursty()[1]))).surges
    return surges, contents_of(partition.drain())


def test_six_days_teach_the_pool_in_the_partition() -> None:
    surges, contents = whole()
    assert {"rule", "model"} == {surge.trigger for surge in surges}
    announced = Counter(surge.surge_id for surge in surges if surge.state != "amended")
    assert max(announced.values()) <= 5
    ratios = {surge.seen_over_asked for surge in surges}
    assert None in ratios
    assert len(ratios) > 3, "another with each day, and kept over restarts (below)"
    pool, fresh = Pool(DetectorPolicy()), Pool(DetectorPolicy())
    pool.restore(contents["follows.shared"]["pool"])
    old = 9_000
    assert pool.of(np.array([0.02])).level != fresh.of(np.array([0.02])).level
    assert rarity(pool, 50.0, old, 3) != rarity(fresh, 50.0, old, 3)


@settings(deadline=None, max_examples=6)
@given(st.lists(st.integers(1, 2_000), max_size=20))
def test_cuts_leave_no_trace_in_what_creators_share(cuts: list[int]) -> None:
    surges, contents = whole()
    partition, told = follow_partition(40, OFTEN), []
    bounds = sorted({0, len(bursty()[1]), *(cut for cut in cuts if cut < len(bursty()[1]))})
    for begin, end in itertools.pairwise(bounds):
        told += partition.take(chunk_of(begin, end)).surges
    assert told == surges
    assert contents_of(partition.drain()) == contents


@settings(deadline=None, max_examples=4)
@given(st.lists(st.integers(1, 2_000), min_size=1, max_size=5))
def test_restarts_leave_no_trace_in_what_creators_share(cuts: list[int]) -> None:
    surges, contents = whole()
    store, told = MemoryStore(), []
    partition: FollowPartition = follow_partition(40, OFTEN)
    bounds = sorted({0, len(bursty()[1]), *(cut for cut in cuts if cut < len(bursty()[1]))})
    for generation, (begin, end) in enumerate(itertools.pairwise(bounds)):
        fence = asyncio.run(store.claim(PLACE, generation))
        partition = follow_partition(40, OFTEN)
        partition.restore(asyncio.run(store.read(PLACE)).state)
        told += partition.take(chunk_of(begin, end)).surges
        write = Write(partition.drain(), begin or None, end)
        asyncio.run(store.write(PLACE, fence, write))
    assert told == surges
    held = asyncio.run(store.read(PLACE)).state.series
    stored = {n: dict(zip(s.names, s.values, strict=True)) for n, s in held.items()}
    assert stored == contents
