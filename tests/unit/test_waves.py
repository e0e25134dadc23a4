"""The mathematics of waves: sums that no key dominates, levels, factors, and the incident."""

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.core.detection.block_tables import FadingPowers, Ints
from streams.core.detection.cohorts import Votes
from streams.core.detection.policy import DetectorPolicy
from streams.core.waves.factors import Lifted, WaveFactors
from streams.core.waves.incident import Parts, WaveIncident
from streams.core.waves.lasting import Seen, Waves
from streams.core.waves.levels import BUCKETS_PER_HOUR, WEEK_HOURS, Levels
from streams.core.waves.span import LevelSpan
from streams.core.waves.sums import (
    FIRST,
    RAW,
    USUAL,
    Counted,
    WaveSums,
    nothing,
    totals_of,
    widened,
)

NAMES = [("und", "und"), ("zh", "CN"), ("en", "US")]
BUCKET = 5_000_000
NOWHERE = np.zeros(2, dtype=np.int64)


def sums_of(zh: int, en: int, first: tuple[int, int] = (0, 0)) -> Ints:
    """Sums of many small keys: nothing is held."""
    sums = nothing()
    sums[:RAW, 1:3] = np.array([zh, en]) * 16
    sums[RAW, 1:3] = zh, en
    sums[FIRST, 1:3] = first
    return sums


def warmed(buckets: int = 60) -> tuple[Waves, int]:
    draw = np.random.default_rng(3)
    waves = Waves()
    for bucket in range(BUCKET, BUCKET + buckets):
        counts = draw.poisson((900, 300))
        waves.close(bucket, sums_of(int(counts[0]), int(counts[1])), NAMES)
    return waves, BUCKET + buckets


@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(1, 400)), min_size=1, max_size=30),
    st.floats(0.01, 50.0),
)
def test_how_records_were_cut_leaves_no_trace_in_the_sums(
    parts: list[tuple[int, int]], expected: float
) -> None:
    whole, cut = WaveSums(), WaveSums()
    counts = np.zeros(3, dtype=np.int64)
    usual = np.full(3, expected)
    cohorts = np.array([0, 1, 1], dtype=np.uint8)
    for key, added in parts:
        before = counts.copy()
        counts[key] += added
        at = slice(key, key + 1)
        cut.add(7, Counted(cohorts[at], before[at], counts[at], usual[at]))
    whole.add(7, Counted(cohorts, np.zeros(3, dtype=np.int64), counts, usual))
    assert widened(whole.take(7), 3).tolist() == widened(cut.take(7), 3).tolist()
    assert not whole.take(7).any()


def test_one_creators_surge_makes_no_wave_and_one_of_all_keeps_its_factor() -> None:
    usual = np.full(200, 0.5)
    cohorts = np.ones(200, dtype=np.uint8)
    zeros = np.zeros(200, dtype=np.int64)
    calm = np.tile([0, 1], 100)
    alone = calm.copy()
    alone[7] = 50_000
    means = np.array([0.0, 100.0])
    places = cohorts.astype(np.int64)
    held = totals_of(Counted(cohorts, zeros, alone, usual).sums(places, 2), means)
    assert held[1] < 110
    lifted = totals_of(Counted(cohorts, zeros, calm * 20, usual).sums(places, 2), means)
    assert lifted[1] == 2000


def test_a_key_with_many_followers_weighs_as_one_with_two_a_bucket() -> None:
    one = np.ones(1, dtype=np.uint8)
    sums = Counted(one, np.zeros(1, dtype=np.int64), np.array([100]), np.array([100.0]))
    assert sums.sums(one.astype(np.int64), 2)[0, 1] == 2 * 16


def test_sums_are_restored_as_they_stood() -> None:
    sums, other = WaveSums(), WaveSums()
    sums.add_first(3, np.array([1, 2, 2], dtype=np.uint8))
    sums.add(4, Counted(np.array([5], dtype=np.uint8), np.array([0]), np.array([9]), np.ones(1)))
    other.restore(*sums.state())
    assert [other.take(n).tolist() for n in (3, 4)] == [sums.take(n).tolist() for n in (3, 4)]


def test_a_wave_begins_of_whom_it_lifts_and_ends() -> None:
    waves, bucket = warmed()
    seen = waves.close(bucket, sums_of(900, 900), NAMES)
    assert {waves.nodes.all[column // 2] for column in seen.begun} >= {("en", "US"), ("en", None)}
    assert seen.factors is not None
    assert 0.9 < seen.factors[1] < 1.1
    assert 2.5 < seen.factors[2] < 3.2
    for later in range(1, 7):
        assert waves.lasting is not None
        seen = waves.close(bucket + later, sums_of(900, 300), NAMES)
    assert waves.lasting is None
    assert seen.factors is None


def test_a_wave_that_fades_is_not_told_as_one_that_grows() -> None:
    waves, bucket = warmed()
    seen = waves.close(bucket, sums_of(900, 900), NAMES)
    incident = WaveIncident.of("follows", seen, waves.nodes)
    (told,) = incident.tell(seen, waves.nodes, Parts(1, []))
    assert told.wave is not None
    assert told.wave.scope != "platform"
    for later in range(1, 5):
        fading = waves.close(bucket + later, sums_of(600, 300), NAMES)
        assert fading.factors is not None
        assert incident.tell(fading, waves.nodes, Parts(1, [])) == []
    platform = waves.close(bucket + 5, sums_of(2700, 900), NAMES)
    (told,) = incident.tell(platform, waves.nodes, Parts(1, []))
    assert (told.state, told.revision) == ("grown", 1)


def test_newcomers_are_seen_by_who_came_even_if_no_cohort_is_lifted() -> None:
    draw, waves = np.random.default_rng(4), Waves()
    for bucket in range(BUCKET, BUCKET + 60):
        zh, en = draw.poisson((400, 100)).tolist()
        waves.close(bucket, sums_of(900, 300, (zh, en)), NAMES)
    seen = waves.close(BUCKET + 60, sums_of(930, 310, (380, 220)), NAMES)
    assert seen.begun.tolist()
    assert all(column % 2 for column in seen.begun)
    incident = WaveIncident.of("follows", seen, waves.nodes)
    (told,) = incident.tell(seen, waves.nodes, Parts(1, []))
    assert told.wave is not None
    assert told.wave.by_newcomers
    assert told.observed == 220


@pytest.mark.parametrize("counts", [(40, 120), (900, 301)])
def test_few_events_and_little_more_than_usual_are_no_wave(counts: tuple[int, int]) -> None:
    draw, waves = np.random.default_rng(5), Waves()
    scale = counts[0] / 900
    for bucket in range(BUCKET, BUCKET + 80):
        zh, en = draw.poisson((900 * scale, 300 * scale)).tolist()
        seen = waves.close(bucket, sums_of(zh, en), NAMES)
        assert seen.factors is None
    assert waves.close(BUCKET + 80, sums_of(counts[0], counts[1]), NAMES).factors is None


@pytest.mark.parametrize(("zh", "en", "may"), [(900, 20, False), (900, 50, True), (1200, 20, True)])
def test_a_bucket_may_belong_to_a_wave_that_only_the_fleet_can_tell(
    zh: int, en: int, may: bool
) -> None:
    draw, waves = np.random.default_rng(3), Waves()
    assert not waves.may_be_lifted
    for bucket in range(BUCKET, BUCKET + 60):
        counts = draw.poisson((900, 20))  # of the second too few to be judged here
        waves.close(bucket, sums_of(int(counts[0]), int(counts[1])), NAMES)
    waves.close(BUCKET + 60, sums_of(zh, en), NAMES)
    assert (waves.lasting, waves.may_be_lifted) == (None, may)


def calm(zh: int, en: int, buckets: int = 60) -> tuple[Waves, int]:
    """Levels that know chance alone."""
    draw, waves = np.random.default_rng(6), Waves()
    for bucket in range(BUCKET, BUCKET + buckets):
        counts = draw.poisson((zh, en)).tolist()
        assert waves.close(bucket, sums_of(*counts), NAMES).factors is None
    return waves, BUCKET + buckets


def begins_after(waves: Waves, bucket: int, totals: list[tuple[int, int]]) -> int | None:
    """How many of these buckets close until a wave begins; None: none does."""
    for nth, (zh, en) in enumerate(totals):
        if waves.close(bucket + nth, sums_of(zh, en), NAMES).factors is not None:
            return nth + 1
    return None


@pytest.mark.parametrize(
    ("totals", "after"),
    [
        ([(900, 80)] * 4, 3),  # so few events say it only by three buckets together
        ([(900, 52)] * 4, None),
        ([(900, 160), (900, 44), (900, 44), (900, 44)], None),  # it is over
        ([(900, 90), (900, 40), (900, 90)], None),
    ],
    ids=["three", "less", "over", "up and down"],
)
def test_a_total_of_few_events_begins_a_wave_when_it_is_far_above_for_three_buckets(
    totals: list[tuple[int, int]], after: int | None
) -> None:
    assert begins_after(*calm(900, 40), totals) == after


def test_a_slow_rise_begins_a_wave_by_four_buckets_together() -> None:
    rise = [(9_000, round(500 * factor)) for factor in (1.36, 1.38, 1.44, 1.52, 1.52)]
    assert begins_after(*calm(9_000, 500), rise) == 4


def test_what_has_become_the_usual_does_not_begin_again() -> None:
    waves, bucket = calm(900, 100)
    lasts = [
        waves.close(bucket + nth, sums_of(900, 250), NAMES).factors is not None
        for nth in range(900)
    ]
    assert lasts.index(True) == 0
    end = lasts.index(False)
    assert end == 2 * 288
    assert not any(lasts[end:])


def test_an_outage_is_no_wave_and_its_rush_is() -> None:
    waves, bucket = warmed()
    for later in range(24):
        assert waves.close(bucket + later, nothing(), NAMES).factors is None
    seen = waves.close(bucket + 24, sums_of(2700, 900), NAMES)
    (told,) = WaveIncident.of("follows", seen, waves.nodes).tell(seen, waves.nodes, Parts(1, []))
    assert told.wave is not None
    assert told.wave.scope == "platform"


def test_the_course_of_the_week_is_learnt() -> None:
    levels = Levels()
    levels.grow(1)
    week = WEEK_HOURS * BUCKETS_PER_HOUR
    worst = 0.0
    for bucket in range(3 * week):
        part = bucket % (24 * BUCKETS_PER_HOUR) / (24 * BUCKETS_PER_HOUR)
        weekend = 1.5 if bucket % week >= 5 * 24 * BUCKETS_PER_HOUR else 1.0
        totals = np.array([[1000 * weekend * (1 + 0.8 * np.cos(2 * np.pi * part))]])
        span = LevelSpan(levels, bucket, totals, 1.0)
        span.see(0)
        if bucket > 2 * week:
            worst = max(worst, abs(float(span.above.excess[0, 0])))
        span.learn(0, None)
        levels = span.after[0]
    assert worst < 0.3  # the weekend's first hour jumps by 0.4


def test_levels_and_waves_are_restored_to_the_last_bit() -> None:
    waves, bucket = warmed()
    waves.close(bucket, sums_of(900, 900), NAMES)
    other = Waves()
    other.restore(msgspec.json.decode(msgspec.json.encode(waves.state())), NAMES)
    for later in range(1, 20):
        sums = sums_of(900 + later, 900 - 20 * later)
        first, second = (one.close(bucket + later, sums, NAMES) for one in (waves, other))
        assert seen_values(first) == seen_values(second)
    assert msgspec.json.encode(other.state()) == msgspec.json.encode(waves.state())


def history(seed: int, buckets: int) -> list[Ints]:
    """A week and more without a wave, with all else that there is.

    A cohort that comes late, a small one in which a key surges, outages, busy buckets.
    """
    draw, history = np.random.default_rng(seed), []
    for bucket in range(buckets):
        is_outage = bucket % 500 in (300, 301)
        counts = draw.poisson((2.0, 9000.0, 3000.0)) // (50 if is_outage else 1)
        counts *= (1, 1, bucket > 70)
        sums = nothing(int(draw.integers(1, 4)) if bucket % 50 == 49 else 3)
        width = sums.shape[1]
        sums[: RAW + 1] = counts[:width]
        sums[:RAW] *= 16
        sums[FIRST] = sums[RAW] // 3
        if draw.random() < 0.05:  # of a cohort's only key less is held for the lower lifts
            sums[RAW, 0], sums[:RAW, 0] = 40, (160, 320, 480, 640)
        sums[USUAL] = sums[USUAL + 1] = 500 * sums[RAW]
        if bucket > 900:
            sums[USUAL + 1] = sums[USUAL] * (1 + bucket % 7) // 4
        history.append(sums)
    return history


@pytest.mark.parametrize("seed", [1, 2])
def test_buckets_that_close_together_leave_what_they_leave_one_by_one(seed: int) -> None:
    draw, buckets = np.random.default_rng(seed), 12 * 24 * 8
    sums, alone, together = history(seed, buckets), Waves(), Waves()
    begin = closed_together = 0
    while begin < buckets:
        end = begin + int(draw.integers(1, 30))
        after = together.calm_after(BUCKET + begin, sums[begin:end], NAMES)
        chosen = int(draw.integers(0, len(after) + 1))
        for later, some in enumerate(sums[begin : begin + chosen]):
            alone.close(BUCKET + begin + later, some, NAMES)
        if chosen:
            together, begin = after[chosen - 1], begin + chosen
            closed_together += chosen > 1
        else:
            for waves in (alone, together):
                assert waves.close(BUCKET + begin, sums[begin], NAMES).factors is None
            begin += 1
        assert msgspec.json.encode(together.state()) == msgspec.json.encode(alone.state())
    assert closed_together > 50


def test_buckets_close_together_up_to_one_in_which_a_wave_begins() -> None:
    waves, bucket = warmed()
    calm, lifted = sums_of(900, 300), sums_of(900, 900)
    after = waves.calm_after(bucket, [calm, calm, lifted, calm], NAMES)
    assert len(after) == 2
    seen = after[-1].close(bucket + 2, lifted, NAMES)
    assert seen.factors is not None


def test_a_waves_bucket_says_how_busy_it_is_for_each_cohort() -> None:
    waves, bucket = warmed()
    sums = sums_of(5400, 600)
    sums[USUAL, 1:3] = np.array([900, 300]) * 1024
    sums[USUAL + 1, 1:3] = np.array([1800, 150]) * 1024
    seen = waves.close(bucket, sums, NAMES)
    assert seen.factors is not None
    assert seen.busy is not None
    assert seen.busy[1:3] == pytest.approx([2.0, 0.5], rel=0.03)
    assert seen.factors[1:3] == pytest.approx([3.0, 4.0], rel=0.05)


def seen_values(seen: Seen) -> list[object]:
    factors = None if seen.factors is None else seen.factors.tolist()
    return [seen.above.excess.tolist(), seen.lifted.tolist(), seen.begun.tolist(), factors]


def test_factors_add_to_windows_what_their_buckets_count_more() -> None:
    policy = DetectorPolicy()
    powers, votes = FadingPowers(policy), Votes()
    votes.grow(2)
    votes.take(np.array([1]), np.array([1], dtype=np.uint8))
    factors = WaveFactors(votes)
    factors.use(powers, None)
    keys = Lifted(np.array([0, 1]), NOWHERE, np.array([100, 103]), np.full(2, 1e6))
    assert factors.open_of(keys, np.array([100, 104]), 1.0) is None
    drawn = np.random.default_rng(8).uniform(1, 9, 12)
    for place, factor in enumerate(drawn.tolist()):
        factors.close(102 + place, np.array([1.0, factor]))
    open_now = factors.open_of(keys, 114, 1.0)
    assert open_now is not None
    assert open_now.tolist() == [1.0, drawn[-1]]
    more = factors.more_of(keys, np.array([114, 112]))
    assert more is not None
    assert more[:, 0].tolist() == [0.0, 0.0, 0.0]
    for row, factor in enumerate(powers.factors[:3, 0].tolist()):
        wanted = sum(
            factor ** (111 - bucket) * (drawn[bucket - 102] - 1) for bucket in range(103, 112)
        )
        assert more[row, 1] == pytest.approx(wanted)


def test_factors_are_forgotten_a_day_after_the_wave() -> None:
    factors = WaveFactors(Votes())
    factors.use(FadingPowers(DetectorPolicy()), None)
    factors.close(5, np.array([2.0]))
    for bucket in range(6, 5 + 288):
        factors.close(bucket, None)
        assert not factors.are_plain
    factors.close(5 + 289, None)
    assert factors.are_plain
