"""The named worlds: same seed same world, counts as stated, records that agree with the counts."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.core.time.buckets import BUCKET_MS
from streams.core.worlds.counts import CountStep, CountWorld, count_world_of
from streams.core.worlds.events import EventWorld, event_world_of, steps_of
from streams.core.worlds.mixes import mix_steps_of
from streams.core.worlds.named_truth import world_truth_of
from streams.core.worlds.plans import BURSTY_NOISE, STORY, WORLDS, NoisePlan, WorldPlan
from streams.core.worlds.platform import (
    LANGS,
    REGIONS,
    PolicyOutOfRange,
    WorldPolicy,
    creator_id_of,
)
from streams.core.worlds.rhythm import WEEK_BUCKETS, local_activity_of
from streams.core.worlds.series import series_creator_of, series_of
from streams.core.worlds.simulated_rows import EventRows, joined_of
from streams.core.worlds.simulation import AWAY
from streams.core.worlds.truth import TruthLedger

NAMED = [name for name in WORLDS if name != STORY]
ONE_RATE = replace(WORLDS["quiet"], rate_median=2.0, rate_sigma=0.001, rate_min=1.9, rate_max=2.1)


def small(name: str, seed: int = 7, hours: int = 24, creators: int = 400) -> CountWorld:
    return count_world_of(WORLDS[name], seed=seed, creators=creators, hours=hours)


def matrix_of(world: CountWorld) -> np.ndarray[tuple[int, int], np.dtype[np.int64]]:
    return np.stack([step.dense(world.plan.creators) for step in world.buckets()])


def events_of(name: str, policy: WorldPolicy | None = None) -> EventWorld:
    policy = policy or WorldPolicy(creators=300, hours=16)
    return event_world_of(WORLDS[name], policy, 7, 1_736_899_200_000)


def good_follows_of(world: EventWorld) -> EventRows:
    return joined_of([step.follows for step in steps_of(world)])


@pytest.mark.parametrize("name", list(WORLDS))
def test_same_seed_gives_the_same_counts_and_another_seed_others(name: str) -> None:
    first, other = small(name), small(name, seed=8)
    once, again = matrix_of(first), matrix_of(first)
    assert np.array_equal(once, again)
    assert np.array_equal(once, matrix_of(small(name)))
    assert not np.array_equal(once, matrix_of(other))


@given(
    name=st.sampled_from(list(WORLDS)),
    seed=st.integers(0, 2**32),
    hours=st.integers(1, 9),
    creators=st.integers(100, 400),
)
def test_steps_are_in_order_and_hold_no_empty_count_nor_one_before_birth(
    name: str, seed: int, hours: int, creators: int
) -> None:
    world = count_world_of(WORLDS[name], seed=seed, creators=creators, hours=hours)
    steps = list(world.buckets())
    assert [step.bucket for step in steps] == list(range(world.first, world.after))
    assert (np.diff(world.rate) >= 0).all()
    for step in steps:
        assert (np.diff(step.creators) > 0).all()
        assert (step.counts != 0).all()
        assert name == "put-back" or (step.counts > 0).all()
        assert (world.birth[step.creators] <= step.bucket).all()
    world_truth_of(world)


def _moments(plan: WorldPlan, creators: int, hours: int) -> tuple[float, float, float]:
    """Mean over what is stated; squared variation beyond Poisson; autocorrelation at 12."""
    world = count_world_of(plan, seed=3, creators=creators, hours=hours)
    rhythm = np.stack([world.rhythm_of(b) for b in range(world.first, world.after)])
    expected = rhythm[:, world.region] * world.rate
    counts = matrix_of(world)
    off = counts / expected - 1
    extra = float((off**2 - 1 / expected).mean())
    later = float((off[12:] * off[:-12]).mean())
    return float(counts.sum() / expected.sum()), extra, later / max(extra, 1e-9)


def test_quiet_counts_have_the_stated_mean_and_no_more_than_chance() -> None:
    mean, extra, _ = _moments(ONE_RATE, 2_000, 48)
    assert mean == pytest.approx(1.0, abs=0.01)
    assert extra == pytest.approx(0.0, abs=0.02)


def test_gamma_noise_has_the_stated_dispersion_and_lasts_an_hour() -> None:
    noise = replace(BURSTY_NOISE, bursts_a_day=0.0, drift_a_day=0.0)
    mean, extra, hour_later = _moments(replace(ONE_RATE, noise=noise), 3_000, 72)
    assert mean == pytest.approx(1.0, abs=0.02)
    assert extra == pytest.approx(0.35, abs=0.04)  # squared variation 0.2 to 0.5, uniform
    assert hour_later == pytest.approx((11 / 12) ** 12, abs=0.08)


def test_drift_moves_log_rates_by_its_step_a_day() -> None:
    noise = NoisePlan(cv2_min=0.001, cv2_max=0.0011, drift_a_day=0.1)
    plan = replace(ONE_RATE, rate_median=80, rate_min=70, rate_max=90, noise=noise)
    world = count_world_of(plan, seed=3, creators=1_000, hours=10 * 24)
    counts = matrix_of(world)
    last = counts[-288:].sum(axis=0) / (world.rate * 288)
    first = counts[:288].sum(axis=0) / (world.rate * 288)
    assert np.std(np.log(last / first)) == pytest.approx(0.3, abs=0.05)  # 9 days


def test_low_rates_that_are_dealt_out_are_poisson() -> None:
    plan = replace(ONE_RATE, rate_median=0.2, rate_min=0.19, rate_max=0.21)
    counts = matrix_of(count_world_of(plan, seed=5, creators=3_000, hours=24))
    weekday = np.array([local_activity_of(n) for n in range(288)])
    expected = (0.2 * weekday[:, None]).mean()
    assert counts.mean() == pytest.approx(expected, rel=0.02)
    two = (counts == 2).mean() / (counts == 1).mean()
    mean_of_squares = (0.2 * weekday) ** 2 / 2 * np.exp(-0.2 * weekday)
    assert two == pytest.approx(
        mean_of_squares.mean() / (0.2 * weekday * np.exp(-0.2 * weekday)).mean(), rel=0.05
    )


def test_rhythm_is_one_on_average_and_a_weekend_is_unlike_a_weekday() -> None:
    week = [local_activity_of(n) for n in range(WEEK_BUCKETS)]
    assert np.mean(week) == pytest.approx(1.0, abs=1e-9)
    assert max(week[:1440]) == pytest.approx(0.95 * 1.8, abs=0.01)
    assert min(week[:1440]) == pytest.approx(0.95 * 0.2, abs=0.01)
    assert abs(week[0] - week[5 * 288]) > 0.1


def test_cohorts_of_the_uneven_wave_are_one_creator_in_ten() -> None:
    world = count_world_of(WORLDS["uneven-wave"], seed=7, hours=30)
    lift = world.lift_of(world.happens + 20)
    assert np.mean(lift[world.lang] == 12.0) == pytest.approx(0.1, abs=0.01)
    assert set(lift.tolist()) == {1.2, 12.0}
    assert len(world.columns.surges) == 300
    assert world.without_surge().sum() == 60_000 - 300


@pytest.mark.parametrize("name", ["even-wave", "uneven-wave", "newcomers", "outage"])
def test_lifts_lift_the_counts_as_the_truth_says(name: str) -> None:
    plan = replace(WORLDS[name], surges=(), noise=NoisePlan(), rate_median=1.0, rate_sigma=0.5)
    lifted = count_world_of(plan, seed=7, creators=4_000, hours=48)
    usual = count_world_of(replace(plan, lifts=()), seed=7, creators=4_000, hours=48)
    at = slice(lifted.happens - lifted.first, None)
    seen, plain = matrix_of(lifted), matrix_of(usual)
    assert seen[: at.start].sum() == plain[: at.start].sum()
    for lang in range(2):
        mine = lifted.lang == lang
        for bucket in (8, 20, 25, 50):
            place = slice(at.start + bucket, at.start + bucket + 1)
            factor = lifted.lift_of(lifted.happens + bucket)[lang]
            ratio = seen[place][:, mine].sum() / plain[place][:, mine].sum()
            assert ratio == pytest.approx(factor, rel=0.25, abs=0.05)
    if name == "outage":
        assert seen[at][:24].sum() == 0
        assert seen[at][24].sum() > 2 * plain[at][24].sum()


def test_clocks_go_forward_in_one_region_only() -> None:
    world = small("daylight-saving", hours=16 * 24)
    before, after = world.happens - 288 * 7, world.happens
    change = world.rhythm_of(after + 144) - world.rhythm_of(before + 144)
    assert [REGIONS[n] for n in np.flatnonzero(change)] == ["US"]
    assert world.rhythm_of(after + 144)[2] == world.rhythm_of(before + 156)[2]


def test_own_surges_reach_their_multiple_after_their_ramp() -> None:
    world = count_world_of(WORLDS["surges"], seed=7, creators=20_000, hours=48)
    truth = world_truth_of(world)
    counts = matrix_of(world)
    expected = seen = 0.0
    for surge in truth.surges:
        creator = int(surge.creator_id[2:])
        full, end = (t // BUCKET_MS for t in (surge.full_ms, surge.end_ms))
        assert full - surge.start_ms // BUCKET_MS == 6
        rhythm = [world.rhythm_of(b)[world.region[creator]] for b in range(full, end)]
        expected += surge.usual * surge.multiple * sum(rhythm)
        seen += counts[full - world.first : end - world.first, creator].sum()
    assert seen / expected == pytest.approx(1.0, abs=0.15)
    assert {3.0, 10.0, 30.0, 300.0} == {surge.multiple for surge in truth.surges}


def test_story_has_surges_with_history_and_with_none() -> None:
    world = count_world_of(WORLDS[STORY], seed=7, creators=1_000)
    truth = world_truth_of(world)
    assert (world.happens - world.first) == 25 * 288
    assert {surge.newborn for surge in truth.surges} == {True, False}
    assert all(surge.usual < 1 for surge in truth.surges)
    for surge in truth.surges:
        assert surge.extra * 288 == pytest.approx(50_000)


def test_bought_and_put_back_amounts_stand_exactly_where_the_truth_says() -> None:
    for name, amounts in (("bought", {500, 1000}), ("put-back", {-20_000, 300_000})):
        world = small(name, hours=48)
        drawn = {step.bucket: step for step, _ in world.parts()}
        for step in world.buckets():
            more = step.dense(400) - drawn[step.bucket].dense(400)
            told = [
                (int(a.creator_id[2:]), a.amount)
                for a in world_truth_of(world).artefacts
                if a.amount is not None
                and a.creator_id is not None
                and a.start_ms == step.bucket * BUCKET_MS
            ]
            assert [(n, int(more[n])) for n in np.flatnonzero(more).tolist()] == sorted(told)
        assert {a.amount for a in world_truth_of(world).artefacts} == amounts


def test_bursts_are_nobodys_surge_and_as_many_as_stated() -> None:
    world = small("bursty", creators=30_000, hours=48)
    assert len(world.bursts) == pytest.approx(2_000, rel=0.1)
    assert world.without_surge().all()
    assert world.bursts.multiple.max() <= BURSTY_NOISE.burst_max


def test_newborns_are_born_throughout_the_run() -> None:
    world = small("newborns", hours=240)
    born = world.birth > world.first
    assert born.mean() == pytest.approx(0.9, abs=0.05)
    share = (world.birth[born] - world.first) / (world.after - world.first)
    assert np.quantile(share, [0.25, 0.75]) == pytest.approx([0.25, 0.75], abs=0.08)


def test_mixed_posts_keep_their_number_and_shift_their_languages() -> None:
    world = small("mix", creators=2_000, hours=48)
    steps = list(mix_steps_of(world))
    counts = np.stack([step.counts for step in steps])
    assert len(steps) == world.after - world.first
    assert counts.sum(axis=2).mean() * 12 == pytest.approx(100, rel=0.02)
    cut = world.happens - world.first
    for part, share in ((counts[:cut], 0.03), (counts[cut:], 0.40)):
        assert part[:, :, 1].sum() / part.sum() == pytest.approx(share, abs=0.01)


def keyed(rows: EventRows, world: EventWorld) -> Iterator[CountStep]:
    for bucket in range(world.counts.first, world.counts.after):
        creators = rows.creator[rows.at_ms // BUCKET_MS == bucket]
        found, counts = np.unique(creators, return_counts=True)
        yield CountStep(bucket, found, counts)


@pytest.mark.parametrize("name", NAMED)
def test_records_are_as_many_as_the_counts_say(name: str) -> None:
    world = events_of(name)
    rows = good_follows_of(world)
    follows = rows.at(~rows.unfollow)
    for seen, (drawn, jumps) in zip(keyed(follows, world), world.counts.parts(), strict=True):
        expected = drawn.dense(300)
        np.add.at(expected, jumps.creator, np.maximum(jumps.amount, 0))
        assert np.array_equal(seen.dense(300), expected)
    exact = np.maximum(-world.counts.columns.jumps.amount, 0).sum()
    assert np.count_nonzero(rows.unfollow) >= exact


@pytest.mark.parametrize("name", NAMED)
def test_ledger_tells_the_truth_of_a_named_world(name: str) -> None:
    world = events_of(name, WorldPolicy(creators=300, hours=8))
    ledger = TruthLedger(world, 10**9, 10**9)
    follows = 0
    for step in steps_of(world):
        ledger.take(step)
        follows += int(np.count_nonzero(~step.follows.unfollow))
    truth = ledger.truth()
    assert truth.follows == follows
    assert truth.world == world_truth_of(world.counts)
    assert (truth.stories, truth.wave) == ([], None)


def test_newcomers_of_the_wave_come_from_one_region_with_new_accounts() -> None:
    world = events_of("newcomers", WorldPolicy(creators=300, hours=32))
    rows = good_follows_of(world)
    new = rows.user >= world.policy.users
    assert (rows.region[new] == AWAY).all()
    assert (rows.account_created_ms[new] > rows.at_ms[new] - 8 * 3_600_000).all()
    [wave] = world_truth_of(world.counts).waves
    assert wave.from_region == REGIONS[AWAY]
    assert rows.at_ms[new & ~rows.unfollow].min() >= wave.start_ms
    high = (rows.at_ms >= wave.full_ms) & (rows.at_ms < wave.full_ms + 3_600_000)
    mine = world.counts.lang[rows.creator] == LANGS.index("zh")
    share = np.mean(new[high & mine & ~rows.unfollow])
    assert share == pytest.approx(2 / 3, abs=0.05)


def test_comments_on_a_mixed_post_are_those_of_its_counts() -> None:
    world = events_of("mix", WorldPolicy(creators=300, hours=10))
    rows = joined_of([step.comments for step in steps_of(world)])
    on = np.isin(rows.creator, world.counts.columns.mix_creators) & (rows.post == 0)
    total = sum(int(step.counts.sum()) for step in mix_steps_of(world.counts))
    assert np.count_nonzero(on) == total


def test_series_is_of_the_creator_to_whom_it_happens_or_of_all() -> None:
    world = small("put-back", hours=48)
    values = [value for _, value in series_of(world)]
    assert len(values) == 576
    assert min(values) < -19_000
    assert max(values) > 290_000
    creator = series_creator_of(world)
    assert creator is not None
    named = {a.creator_id for a in world_truth_of(world).artefacts}
    assert creator_id_of(creator) in named
    outage = small("outage", hours=48)
    assert series_creator_of(outage) is None
    silent = [at_ms for at_ms, value in series_of(outage) if not value]
    assert len([at for at in silent if at >= outage.happens * BUCKET_MS]) >= 24


def test_worlds_that_cannot_be_name_what_is_wrong() -> None:
    with pytest.raises(PolicyOutOfRange, match="creators is 1"):
        count_world_of(WORLDS["quiet"], seed=1, creators=1)
    with pytest.raises(PolicyOutOfRange, match="hours is 0"):
        count_world_of(WORLDS["quiet"], seed=1, hours=0)
    with pytest.raises(PolicyOutOfRange, match="more, for all that happens to some"):
        count_world_of(WORLDS["surges"], seed=1, creators=10, hours=4)
