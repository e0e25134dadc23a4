"""Each direction of the day learns its own rhythm; what was said of a bucket stays."""

from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.core.detection.block import DetectorBlock
from streams.core.detection.block_tables import FadingPowers, Floats, Ints
from streams.core.detection.policy import DetectorPolicy
from streams.core.detection.pool import Pool
from streams.core.detection.rhythm import DAILY, RUNNING, Rhythm, RhythmStateError

DAY = 288
BEGIN = 5_789_952 // DAY * DAY
POLICY = DetectorPolicy()
KEYS = 200


def awake(bucket: int) -> Floats:
    """Events a bucket: even keys by day, odd keys by night (UTC)."""
    busy = np.array([1.0 + 0.9 * np.sin(2 * np.pi * (bucket + lag) / DAY) for lag in (0, DAY // 2)])
    return 0.5 * busy[np.arange(KEYS) % 2]


def played(days: int) -> tuple[DetectorBlock, Rhythm, Ints]:
    """A block after some days, and each key's open bucket."""
    rhythm = Rhythm(POLICY)
    block = DetectorBlock(POLICY, Pool(POLICY), rhythm=rhythm)
    block.grow(KEYS)
    block.enter(BEGIN)
    block.begin(np.arange(KEYS), BEGIN)
    draw, opened = np.random.default_rng(3), np.full(KEYS, BEGIN)
    counts = np.ones(KEYS, dtype=np.int64)
    for bucket in range(BEGIN + 1, BEGIN + days * DAY):
        block.enter(bucket)
        drawn = draw.poisson(awake(bucket))
        keys = drawn.nonzero()[0]
        block.advance(keys, opened[keys], counts[keys], bucket)
        opened[keys], counts[keys] = bucket, drawn[keys]
    return block, rhythm, opened


@cache
def week() -> tuple[DetectorBlock, Rhythm, Ints]:
    return played(9)


@pytest.fixture(scope="module")
def learnt() -> tuple[DetectorBlock, Rhythm, Ints]:
    return week()


def test_keys_that_sleep_at_other_hours_are_expected_at_other_hours(
    learnt: tuple[DetectorBlock, Rhythm, Ints],
) -> None:
    block, _, _ = learnt
    every, ones = np.arange(KEYS), np.ones(KEYS, dtype=np.int64)
    begin = BEGIN + 8 * DAY
    at = {b: block.score(every, ones, opened=begin + b).expected for b in (DAY // 4, 3 * DAY // 4)}
    by_day, by_night = (
        np.median(at[DAY // 4][odd::2] / at[3 * DAY // 4][odd::2]) for odd in (0, 1)
    )
    assert by_day > 5.0
    assert by_night < 0.2
    level = np.median((at[DAY // 4] + at[3 * DAY // 4]) / 2)
    assert level == pytest.approx(0.5, rel=0.15)


def test_a_rhythm_has_mean_one_and_none_is_known_before_three_whole_days(
    learnt: tuple[DetectorBlock, Rhythm, Ints],
) -> None:
    _, rhythm, _ = learnt
    hours = BEGIN + np.arange(0, 9 * DAY, 12)
    for direction in range(9):
        found = rhythm.open_of(np.full(len(hours), direction), hours)
        assert (found[: 3 * 24] == 1.0).all()
        assert found[-24:].mean() == pytest.approx(1.0, abs=0.1)


@settings(deadline=None, max_examples=50)
@given(
    st.lists(
        st.tuples(st.integers(0, 8), st.integers(-2000, 9 * DAY - 1), st.integers(0, 3000)),
        min_size=1,
        max_size=20,
    )
)
def test_faded_means_are_those_of_a_plain_sum(asked: list[tuple[int, int, int]]) -> None:
    rhythm, factors = week()[1], FadingPowers(POLICY).factors
    direction, begin, age = (np.array(column) for column in zip(*asked, strict=True))
    opened = np.minimum(BEGIN + begin + age, BEGIN + 9 * DAY - 1)
    birth = np.minimum(BEGIN + begin, opened)
    means = rhythm.means_of(direction, birth, opened)
    for row in range(len(asked)):
        past = np.arange(birth[row], opened[row])
        weights = factors ** (opened[row] - 1 - past)
        said = rhythm.open_of(np.full(len(past), direction[row]), past)
        plain = (weights * said).sum(axis=1) / weights.sum(axis=1) if len(past) else np.ones(4)
        young = opened[row] - birth[row] < 3 * DAY
        # sums in another order: they were seen to differ by 1.005e-6
        assert means[:3, row] == pytest.approx(plain[:3], rel=1e-5)
        assert means[3, row] == pytest.approx(plain[3], rel=1e-5 if young else 0.25)


def test_what_was_said_of_a_bucket_stays(learnt: tuple[DetectorBlock, Rhythm, Ints]) -> None:
    _, rhythm, _ = learnt
    other = Rhythm(POLICY)
    other.restore(rhythm.packed())
    direction = np.repeat(np.arange(9), 50)
    opened = BEGIN + 5 * DAY + np.tile(np.arange(50) * 17, 9)
    before = other.open_of(direction, opened), other.means_of(direction, opened - 99, opened)
    other.enter(BEGIN + 11 * DAY)
    after = other.open_of(direction, opened), other.means_of(direction, opened - 99, opened)
    assert (before[0] == after[0]).all()
    assert before[1] == pytest.approx(after[1], rel=1e-6)


def test_a_rhythm_comes_back_from_the_store_and_a_damaged_one_is_refused(
    learnt: tuple[DetectorBlock, Rhythm, Ints],
) -> None:
    block, rhythm, _ = learnt
    parts = block.shared_state()
    assert parts[RUNNING]
    other = DetectorBlock(POLICY, Pool(POLICY), rhythm=Rhythm(POLICY))
    other.restore_shared(parts)
    assert other.shared_state() == parts
    other.restore_shared({})
    assert other.shared_state() == parts
    daily, running = parts[DAILY], parts[RUNNING]
    for damaged in (
        {DAILY: daily[:-4]},
        {DAILY: b"\x09" + daily[1:]},
        {DAILY: daily[:-4] + b"\x00\x00\xc0\x7f"},
        {DAILY: daily, RUNNING: running[:-1]},
        {DAILY: daily, RUNNING: b"\xff" * 16},
    ):
        with pytest.raises(RhythmStateError, match="stored rhythm"):
            Rhythm(POLICY).restore(damaged)
    assert rhythm.packed() == {DAILY: daily, RUNNING: running}


def test_a_rhythm_of_which_nothing_is_in_force_answers_1_as_its_tables_would() -> None:
    rhythm, draw = Rhythm(DetectorPolicy()), np.random.default_rng(1)
    rhythm.enter(5_000_000)
    opened = 5_000_000 + draw.integers(0, 288, 500)
    birth, direction = opened - draw.integers(0, 288, 500), draw.integers(0, 9, 500)
    assert rhythm.is_flat
    quick = rhythm.open_of(direction, opened), rhythm.means_of(direction, birth, opened)
    rhythm.is_flat = False
    assert (quick[0] == rhythm.open_of(direction, opened)).all()
    np.testing.assert_allclose(quick[1], rhythm.means_of(direction, birth, opened), rtol=1e-9)
