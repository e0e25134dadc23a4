"""First days: minutes after birth apart from the rest, learnt in fine steps, never forgotten."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.core.detection.block import DetectorBlock
from streams.core.detection.block_ahead import Course
from streams.core.detection.block_maths import Outlook, put_early
from streams.core.detection.block_tables import FadingPowers
from streams.core.detection.first_days import (
    EARLY,
    EARLY_BUCKETS,
    EDGES,
    LATE,
    SHAPE,
    FirstDays,
    early_by_total,
)
from streams.core.detection.policy import DetectorPolicy
from streams.core.detection.pool import Pool
from streams.core.detection.tail_prior import Lived, Risen

DAY = 288
BEGIN = 1_736_899_200_000 // 300_000
HISTORIES = st.lists(
    st.lists(st.tuples(st.integers(1, 4), st.integers(1, 300)), min_size=1, max_size=9),
    min_size=1,
    max_size=8,
)


def pool_at(day: int, *, short_lived: bool = False) -> Pool:
    pool = Pool(DetectorPolicy(short_lived=short_lived))
    for n in range(day + 1):
        pool.enter(BEGIN + n * DAY)
    return pool


def newcomers(pool: Pool, birth: int, early: np.ndarray, late: np.ndarray) -> None:
    """Teach first days with these largest evidences in each span."""
    born = np.full(len(early), birth)
    pool.take_met(born)
    pool.take_births(born)
    for age, tops in ((0, early), (9, late)):
        pool.take_risen(Risen(born, np.full(len(born), age), np.zeros(len(born)), tops))


def rarity(pool: Pool, statistic: float, birth: int, age: int) -> float:
    lived = Lived(np.array([birth]), np.array([age]))
    return float(
        pool.judged(np.array([5.0]), pool.of(np.array([0.1])), np.array([statistic]), lived)[0]
    )


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.integers(0, 100_000), min_size=4, max_size=4),
    st.lists(st.floats(0, 1), min_size=4 * EDGES, max_size=4 * EDGES),
    st.booleans(),
)
def test_rarity_never_falls_with_the_evidence_and_is_finite(
    days: list[int], falls: list[float], short_lived: bool
) -> None:
    counts = np.zeros(SHAPE)
    counts[:, :, 0] = np.reshape(days, SHAPE[:2])
    counts[:, :, 1:] = counts[:, :, :1] * np.cumprod(np.reshape(falls, (*SHAPE[:2], EDGES)), axis=2)
    first = FirstDays(DetectorPolicy(short_lived=short_lived))
    first.settle(counts)
    evidence = np.concatenate((np.zeros(1), 2.0 ** np.linspace(0, 40, 400)))
    for kind, is_early in itertools.product((0, 1), (True, False)):
        told = first.rarity_of(
            evidence, np.full(len(evidence), kind), np.full(len(evidence), is_early)
        )
        assert np.isfinite(told).all()
        assert told[0] >= 0.0
        assert (np.diff(told) >= -1e-9).all()


def test_first_minutes_are_judged_by_first_minutes_and_what_follows_by_what_follows() -> None:
    pool, birth = pool_at(2), BEGIN + 2 * DAY
    draw = np.random.default_rng(3)
    late = 6.0 * draw.pareto(2.0, 20_000)
    newcomers(pool, birth, 0.2 * draw.pareto(2.0, 20_000), late)
    for day in (3, 4, 5):
        pool.enter(BEGIN + day * DAY)
    share = (late >= 30.0).mean()
    # each counts double: a first day is judged twice
    assert math.exp(-rarity(pool, 30.0, birth, 9)) == pytest.approx(2 * share, rel=0.2)
    assert rarity(pool, 30.0, birth, 3) > rarity(pool, 30.0, birth, 4) + 3


def test_a_large_newcomer_is_usual_a_quarter_of_an_hour_after_some_were_seen() -> None:
    pool, birth = pool_at(1), BEGIN + DAY
    before = rarity(pool, 100.0, birth, 1)
    newcomers(pool, birth, np.repeat((1.0, 150.0), (950, 50)), np.zeros(1_000))
    pool.enter(birth + 2)
    assert rarity(pool, 100.0, birth, 1) == before
    pool.enter(birth + 3)
    assert rarity(pool, 100.0, birth, 1) == pytest.approx(-math.log(2 * 50 / 1_100), abs=0.1)
    assert before > 10


def test_what_was_seen_as_the_partition_began_is_not_forgotten() -> None:
    pool = pool_at(0)
    draw = np.random.default_rng(3)
    newcomers(pool, BEGIN, 0.5 * draw.pareto(2.0, 1_500), 2.0 * draw.pareto(2.0, 1_500))
    told = []
    for day in range(1, 90):
        pool.enter(BEGIN + day * DAY)
        told.append(rarity(pool, 165.0, BEGIN + day * DAY, 1))
    assert max(told) == pytest.approx(min(told), abs=0.01)
    assert min(told) > math.log(1_000_000)


def test_keys_that_never_come_again_count_among_first_minutes_but_not_without_limit() -> None:
    birth = BEGIN + 2 * DAY
    told = []
    for silent in (0, 3_000, 12_000, 50_000):
        pool = pool_at(2)
        newcomers(pool, birth, np.repeat((0.0, 20.0), (3_980, 20)), np.zeros(4_000))
        pool.take_met(np.full(silent, birth))
        pool.enter(BEGIN + 3 * DAY)
        told.append(math.exp(-rarity(pool, 16.0, birth, 0)))
    assert told[0] > 1.6 * told[1] > told[2]
    assert told[2] == told[3]  # of those that come once it is not heard what they reached


def test_first_days_of_short_lived_keys_count_as_they_begin() -> None:
    told = []
    for short_lived in (False, True):
        pool, birth = pool_at(2, short_lived=short_lived), BEGIN + 2 * DAY
        newcomers(pool, birth, np.zeros(5_000), np.repeat((0.0, 20.0), (4_980, 20)))
        pool.enter(BEGIN + 3 * DAY)
        told.append(rarity(pool, 16.0, birth, 9))
    assert told[1] > told[0] + 0.5


@settings(deadline=None, max_examples=60)
@given(HISTORIES, st.lists(st.booleans(), min_size=8, max_size=8), st.booleans())
def test_keys_run_ahead_teach_what_they_teach_bucket_by_bucket(
    histories: list[list[tuple[int, int]]], kept: list[bool], short_lived: bool
) -> None:
    histories.sort(key=len, reverse=True)
    keys, policy = len(histories), DetectorPolicy(short_lived=short_lived)
    birth = BEGIN + 2 * DAY
    blocks = [DetectorBlock(policy, pool_at(2, short_lived=short_lived)) for _ in range(2)]
    one_by_one, ahead = blocks
    for block in blocks:
        block.grow(keys)
    steps = [np.cumsum([0, *(step for step, _ in history[:-1])]) for history in histories]
    layers = [
        [i for i, history in enumerate(histories) if len(history) > n]
        for n in range(len(histories[0]))
    ]
    course = Course(
        slots=np.arange(keys),
        are_new=np.ones(keys, dtype=np.bool_),
        begins=np.cumsum([0, *map(len, layers)]).tolist(),
        buckets=np.array([birth + steps[i][n] for n, who in enumerate(layers) for i in who]),
        counts=np.array([histories[i][n][1] for n, who in enumerate(layers) for i in who]),
    )
    chosen = np.array(kept[:keys])
    ahead.run_ahead(course).keep(chosen)
    for key in np.flatnonzero(chosen).tolist():
        slot = np.array([key])
        one_by_one.begin(slot, birth)
        for n, (_, count) in enumerate(histories[key][:-1]):
            opened, after = (np.array([birth + steps[key][n + at]]) for at in (0, 1))
            one_by_one.advance(slot, opened, np.array([count]), after)
    assert ahead.shared_state() == one_by_one.shared_state()
    mine = np.flatnonzero(chosen)
    assert ahead.state_of(mine).tobytes() == one_by_one.state_of(mine).tobytes()


def test_being_born_large_hides_no_later_evidence() -> None:
    block = DetectorBlock(DetectorPolicy(), pool_at(2))
    block.grow(1)
    slot, birth = np.array([0]), BEGIN + 2 * DAY
    block.begin(slot, birth)
    buckets = [*((age, 200) for age in range(5)), *((age, 60) for age in range(60, 66)), (80, 1)]
    for (age, count), (later, _) in itertools.pairwise(buckets):
        block.advance(slot, np.array([birth + age]), np.array([count]), birth + later)
    size = int(np.prod(SHAPE))
    sums = np.frombuffer(block.shared_state()["pool"], "<i8", offset=24)
    running = sums[-6 - size : -6].reshape(SHAPE)
    reached = (running[1, :, 1:] > 0).sum(axis=1)
    assert reached[EARLY] > reached[LATE] > 4


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.integers(0, 40), min_size=EARLY_BUCKETS, max_size=EARLY_BUCKETS),
    st.integers(1, EARLY_BUCKETS - 1),
    st.integers(1, 20),
)
def test_a_short_lived_keys_first_minutes_are_judged_by_what_they_brought_in_all(
    counts: list[int], gap: int, more: int
) -> None:
    """A post begins anywhere in a bucket: cut in two, its first rush is nearly what it is whole."""
    counts[0] += 1
    policy, birth = DetectorPolicy(short_lived=True), BEGIN + 2 * DAY

    def evidence(buckets: list[int]) -> list[float]:
        block = DetectorBlock(policy, pool_at(2, short_lived=True))
        block.grow(1)
        slot, told = np.array([0]), []
        block.begin(slot, birth)
        for age, count in enumerate(buckets):
            opened = np.array([birth + age])
            told += block.score(slot, np.array([count]), opened=opened).statistic.tolist()
            block.advance(slot, opened, np.array([count]), birth + age + 1)
        return told

    plain = evidence(counts)
    for age, count in enumerate(counts):
        total = sum(counts[: age + 1])
        if count:  # an open bucket without events has no evidence
            assert 0.5 * total <= 2 * plain[age] <= total * (1 + 1e-6)
    higher = evidence([count + more * (age == gap) for age, count in enumerate(counts)])
    assert all(one >= other for one, other in zip(higher, plain, strict=True))
    assert higher[gap] > plain[gap]
    whole = evidence([counts[0] + counts[1]])[0]
    parts = evidence([counts[0], counts[1]])[1]
    assert not counts[1] or parts > 0.85 * whole


@pytest.mark.parametrize("layout", [2, 3])
def test_first_minutes_of_posts_that_a_version_before_counted_are_carried_over(layout: int) -> None:
    """They were counted by other evidence, by which every post would be rare now."""
    birth = BEGIN + 2 * DAY
    tops = np.repeat((0.0, 1.0, 4.0, 16.0), (4_940, 40, 15, 5))
    by_brought = np.repeat((2.0, 3.0, 12.0, 48.0), (4_940, 40, 15, 5))
    pools = []
    for early in (tops, by_brought):
        pool = pool_at(2, short_lived=True)
        newcomers(pool, birth, early, np.repeat((0.0, 20.0), (4_980, 20)))
        pool.enter(BEGIN + 3 * DAY)
        pools.append(pool)
    before, told = pools
    state = before.packed()
    assert state is not None
    again, creators = Pool(DetectorPolicy(short_lived=True)), Pool(DetectorPolicy())
    tally = 4 * 8 if layout == 2 else 0
    stored = bytes([layout, 0]) + state[2 : len(state) - tally]
    again.restore(stored)
    creators.restore(stored)
    assert rarity(again, 16.0, birth, 9) == rarity(before, 16.0, birth, 9)
    for evidence in (8.0, 12.0, 24.0, 48.0):
        moved, right = (rarity(one, evidence, birth, 0) for one in (again, told))
        assert moved == pytest.approx(right, abs=1.0)
    assert rarity(before, 12.0, birth, 0) > rarity(again, 12.0, birth, 0) + 0.5
    assert rarity(again, 2.0, birth, 0) < 5.0, "what is usual is not rare"
    kept = np.frombuffer(learnt(creators), "<i8"), np.frombuffer(learnt(before), "<i8")
    assert len(kept[0]) == len(kept[1])
    assert (kept[0][: -4 if layout == 2 else None] == kept[1][: -4 if layout == 2 else None]).all()
    other = Pool(DetectorPolicy(short_lived=True))
    other.restore(state)
    assert other.packed() == state, "what this version stored is as it was"


def learnt(pool: Pool) -> bytes:
    """What a pool stores, without its head."""
    state = pool.packed()
    assert state is not None
    return state[24:]


@settings(deadline=None, max_examples=60)
@given(st.lists(st.floats(0, 1), min_size=EDGES, max_size=EDGES), st.integers(0, 10**6))
def test_counts_carried_over_never_rise_from_edge_to_edge(falls: list[float], days: int) -> None:
    counts = days * np.concatenate(([1.0], np.cumprod(falls)))[None]
    moved = early_by_total(counts)
    assert moved.shape == counts.shape
    assert np.isfinite(moved).all()
    assert (np.diff(moved[:, :4]) <= 0).all()
    assert (np.diff(moved[:, 4:]) <= 0).all()
    assert moved[0, 0] <= 5_000.0 * (1 + 1e-9)


def test_a_waves_edge_makes_no_evidence_of_a_posts_first_minutes() -> None:
    """Counts are held against how busy their own buckets were, not the open one alone."""
    policy = DetectorPolicy(short_lived=True)
    powers, birth = FadingPowers(policy), 0
    lifts = np.array([12.0, 12.0, 1.0, 1.0])
    told = []
    for lift in (np.ones(4), lifts):
        windows, exposure = np.zeros((3, 1)), np.zeros((3, 1))
        for age, busy in enumerate(lift.tolist()):
            windows = windows * powers.factors[:3] + 5.0 * busy
            faded = exposure * powers.factors[:3]
            outlook = Outlook(np.ones(1), np.ones(1), faded)
            statistic = np.zeros(1)
            put_early(statistic, windows, busy, outlook, np.array([birth + age]), powers)
            told.append(float(statistic[0]))
            exposure = faded + busy
    assert told[:4] == pytest.approx(told[4:])
