"""What a wave makes of keys: busy as its own hours, and evidence as for their size in it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.core.detection.block import DetectorBlock
from streams.core.detection.block_maths import Outlook
from streams.core.detection.block_tables import FadingPowers, Floats, Ints
from streams.core.detection.cohorts import Votes
from streams.core.detection.policy import DetectorPolicy
from streams.core.detection.rhythm import DIRECTIONS, Rhythm
from streams.core.detection.tail_prior import ConstantPrior, Prior
from streams.core.waves.factors import Lifted, WaveFactors
from streams.core.waves.size import size_of, wildness_of

POLICY = DetectorPolicy()
BEGIN = 5_000_004
LARGE = 2.0
MANY, FEW = 1e6, 9.0
"""Events that taught a key's rate."""


class Hours(Rhythm):
    """Another number for every hour and direction."""

    def open_of(self, direction: Ints, opened: Ints | int) -> Floats:
        busy: Floats = 0.2 + (np.asarray(opened) // 12 % 5) * (1.0 + direction)
        return busy


class WilderWhereLarge(ConstantPrior):
    """Days of large keys reach three times as far."""

    def of(self, rate: Floats) -> Prior:
        more = np.where(rate >= LARGE, 3.0, 1.0)
        return Prior(4.0 * more, np.full(len(rate), 0.4), 3.0 * more)


def of_two_cohorts(
    factors: list[float], begin: int, rhythm: Rhythm | None, busy: list[float] | None = None
) -> WaveFactors:
    """Factors of bucket ``begin`` and those after it: 1 for slot 0, these for slot 1.

    Slot 1's cohort is so ``busy`` in each of them; None: as any other hour.
    """
    votes = Votes()
    votes.grow(2)
    votes.take(np.array([1]), np.array([1], dtype=np.uint8))
    found = WaveFactors(votes)
    found.use(FadingPowers(POLICY), rhythm)
    for place, factor in enumerate(factors):
        hours = None if busy is None else np.array([1.0, busy[place]])
        found.close(begin + place, np.array([1.0, factor]), hours)
    return found


def lifted(direction: Ints, birth: Ints, rate_count: float = MANY) -> Lifted:
    """The keys of slots 0 and 1."""
    return Lifted(np.array([0, 1]), direction, birth, np.full(2, rate_count))


@settings(max_examples=50, deadline=None)
@given(
    begin=st.integers(BEGIN, BEGIN + 15),
    factors=st.lists(st.floats(0.2, 20.0), min_size=1, max_size=40),
    birth=st.integers(-5, 45), age=st.integers(0, 60), direction=st.integers(0, DIRECTIONS - 1),
)  # fmt: skip
def test_a_wave_adds_what_is_usual_of_its_own_hours(
    begin: int, factors: list[float], birth: int, age: int, direction: int
) -> None:
    rhythm = Hours(POLICY)
    of_both = of_two_cohorts(factors, begin, rhythm)
    born, opened = np.full(2, begin + birth), np.full(2, begin + birth + age)
    directions = np.full(2, direction)
    more = of_both.more_of(lifted(directions, born), opened)
    assert more is not None
    assert more[:, 0].tolist() == [0.0, 0.0, 0.0]
    buckets = np.arange(max(birth, 0), min(birth + age, len(factors))) + begin
    busy = rhythm.open_of(np.full(len(buckets), direction), buckets)
    added = busy * (np.array(factors)[buckets - begin] - 1.0)
    for row, kept in enumerate(POLICY.window_factors):
        wanted = float((added * kept ** (opened[0] - 1 - buckets)).sum())
        assert more[row, 1] == pytest.approx(wanted, rel=1e-9, abs=1e-9)


@settings(max_examples=25, deadline=None)
@given(begin=st.integers(BEGIN, BEGIN + 15), count=st.integers(1, 40), split=st.integers(0, 40))
def test_what_is_read_again_adds_the_same(begin: int, count: int, split: int) -> None:
    factors, busy = np.random.default_rng(count).uniform(0.5, 12.0, (2, count)).tolist()
    whole = of_two_cohorts(factors, begin, Hours(POLICY), busy)
    first = of_two_cohorts(factors[:split], begin, Hours(POLICY), busy)
    again = of_two_cohorts([], begin, Hours(POLICY))
    again.restore({bucket: first.row_of(bucket) for bucket in first.buckets}, first.last)
    for place, factor in list(enumerate(factors))[split:]:
        again.close(begin + place, np.array([1.0, factor]), np.array([1.0, busy[place]]))
    for rate_count in (MANY, FEW):
        keys = lifted(np.array([3, 4]), np.full(2, begin - 2), rate_count)
        asked, wanted = (one.more_of(keys, np.full(2, begin + count)) for one in (again, whole))
        assert asked is not None
        assert wanted is not None
        assert asked.tolist() == wanted.tolist()


@settings(max_examples=50, deadline=None)
@given(
    begin=st.integers(BEGIN, BEGIN + 15),
    factors=st.lists(st.floats(1.1, 20.0), min_size=1, max_size=40),
    birth=st.integers(-5, 45), age=st.integers(0, 60), direction=st.integers(0, DIRECTIONS - 1),
    ended=st.integers(0, 20),
)  # fmt: skip
def test_keys_with_few_events_are_as_busy_as_their_cohort_while_a_wave_lasts(
    begin: int, factors: list[float], birth: int, age: int, direction: int, ended: int
) -> None:
    rhythm = Hours(POLICY)
    busy = np.random.default_rng(len(factors)).uniform(0.1, 3.0, len(factors))
    of_both = of_two_cohorts(factors, begin, rhythm, busy.tolist())
    for later in range(ended):  # as any other again
        of_both.close(begin + len(factors) + later, None)
    born, opened = np.full(2, begin + birth), np.full(2, begin + birth + age)
    keys = lifted(np.full(2, direction), born, FEW)
    more = of_both.more_of(keys, opened)
    assert more is not None
    buckets = np.arange(max(birth, 0), min(birth + age, len(factors))) + begin
    own = rhythm.open_of(np.full(len(buckets), direction), buckets)
    added = busy[buckets - begin] * np.array(factors)[buckets - begin] - own
    for row, kept in enumerate(POLICY.window_factors):
        wanted = float((added * kept ** (opened[0] - 1 - buckets)).sum())
        assert more[row, 1] == pytest.approx(wanted, rel=1e-9, abs=1e-9)
    own_now = rhythm.open_of(keys.direction, begin + len(factors) - 1)
    factor = of_both.open_of(keys, begin + len(factors) - 1, own_now)
    assert factor is not None
    assert factor[1] * own_now[1] == pytest.approx(factors[-1] * busy[-1])
    after = of_both.open_of(keys, begin + len(factors) + 20, own_now)
    assert after is not None
    assert after[1] == (1.0 if ended else pytest.approx(factors[-1] * busy[-1] / own_now[1]))


@given(factor=st.floats(0.1, 100.0), busy=st.floats(0.05, 5.0), age=st.integers(1, 1_000))
def test_a_key_has_the_size_that_its_wave_gives_it_as_that_fills_its_windows(
    factor: float, busy: float, age: int
) -> None:
    faded = FadingPowers(POLICY).sums_of_age(np.array([age]))[:3] * busy
    brought = max(factor - 1.0, 0.0)
    size = size_of(faded * factor, faded * (factor - 1.0), busy, factor)
    assert size[0] == pytest.approx(1.0 + brought * brought / (1.0 + brought))
    begun = size_of(faded, faded * 0.0, busy, factor)
    assert 1.0 <= begun[0] <= size[0] * (1.0 + 1e-12)


def test_far_days_are_those_of_keys_of_the_lifted_size_and_never_nearer() -> None:
    rates, size = np.array([0.1, 1.0, 5.0]), np.array([12.0, 12.0, 12.0])
    outlook = Outlook(rates, rates, np.zeros((3, 3)))
    assert wildness_of(ConstantPrior(POLICY), outlook, size).tolist() == [1, 1, 1]
    assert wildness_of(WilderWhereLarge(POLICY), outlook, size).tolist() == [1, 3, 1]
    assert wildness_of(WilderWhereLarge(POLICY), outlook, 1.0 / size).tolist() == [1, 1, 1]


def scores_of(prior: ConstantPrior, factor: float) -> Floats:
    """Scores of keys of half an event a bucket, for counts from 1 on, in a wave of six hours."""
    block, votes, slots = DetectorBlock(POLICY, prior), Votes(), np.arange(40)
    votes.grow(len(slots))
    factors = WaveFactors(votes)
    block.grow(len(slots))
    block.lift_by(factors)
    block.begin(slots, 0)
    counts, opened = np.ones(len(slots), dtype=np.int64), np.zeros(len(slots), dtype=np.int64)
    for bucket in range(2, 1_200, 2):
        block.advance(slots, opened, counts, bucket)
        opened[:] = bucket
        if bucket > 1_100 and factor > 1.0:
            factors.close(bucket - 2, np.array([factor]))
            factors.close(bucket - 1, np.array([factor]))
            counts[:] = factor
    scores = block.score(slots, 1 + slots * 25, opened=opened).score
    return scores


def test_a_key_in_a_wave_needs_what_a_key_of_its_lifted_size_needs() -> None:
    calm, wild = ConstantPrior(POLICY), WilderWhereLarge(POLICY)
    assert scores_of(wild, 1.0).tolist() == scores_of(calm, 1.0).tolist()
    plain, sized = scores_of(calm, 12.0), scores_of(wild, 12.0)
    assert (np.diff(sized) >= 0.0).all()
    first = int(np.argmax(plain >= 1.0))
    assert plain[first] >= 1.0 > sized[first]
    assert sized[-1] >= 1.0
