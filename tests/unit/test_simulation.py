"""The simulated platform: the same from the same seed, and true to its own truth."""

import json
from collections import Counter
from dataclasses import replace
from importlib.resources import files
from typing import Any

import jsonschema
import numpy as np
import pytest

from streams.core.records.chunks import RawChunk, Reason
from streams.core.time.buckets import bucket_of
from streams.core.worlds.platform import (
    HOUR_MS,
    LANGS,
    PolicyOutOfRange,
    World,
    WorldPolicy,
    creator_id_of,
    post_id_of,
    rhythm_of,
    world_of,
)
from streams.core.worlds.simulated_delivery import WorldStep
from streams.core.worlds.simulated_rows import FAULTS
from streams.core.worlds.simulation import Simulation
from streams.core.worlds.truth import Truth, TruthLedger
from streams.edges.codec.events import Limits, decode_comments, decode_follows
from streams.edges.codec.simulated import SimulatedJson

START_MS = 1_736_899_200_000
SMALL = WorldPolicy(
    creators=300,
    hours=26,
    follows_per_day=30_000,
    comments_per_day=8_000,
    creator_follows_per_day_max=1_500,
    newcomer_follows=6_000,
    post_comments=1_200,
    wave_users=3_000,
)


def small_world(seed: int = 7, policy: WorldPolicy = SMALL) -> World:
    return world_of(policy, seed, START_MS)


def steps_of(world: World) -> list[WorldStep]:
    return list(Simulation(world).steps())


def lines_of(world: World) -> tuple[list[bytes], list[bytes]]:
    encoder = SimulatedJson(world)
    follows: list[bytes] = []
    comments: list[bytes] = []
    for step in Simulation(world).steps():
        follows += encoder.encode_follows(step.follows)
        comments += encoder.encode_comments(step.comments)
    return follows, comments


def truth_of(world: World, followers_24h: int, comments_24h: int) -> Truth:
    ledger = TruthLedger(world, followers_24h, comments_24h)
    for step in Simulation(world).steps():
        ledger.take(step)
    return ledger.truth()


def openings_of(lines: list[bytes], key: str, threshold: int) -> dict[str, int]:
    """Walk the JSON records one by one, with the window that ends in the record's bucket."""
    seen: dict[str, Counter[int]] = {}
    opened: dict[str, int] = {}
    for line in lines:
        record = json.loads(line)
        if record.get("kind") == "unfollow":
            continue
        buckets = seen.setdefault(record[key], Counter())
        bucket = bucket_of(record["at_ms"])
        buckets[bucket] += 1
        total = sum(n for b, n in buckets.items() if bucket - 288 < b <= bucket)
        if total >= threshold:
            opened.setdefault(record[key], record["at_ms"])
    return opened


def test_same_seed_gives_the_same_bytes_and_another_seed_others() -> None:
    first, again, other = (lines_of(small_world(seed)) for seed in (7, 7, 8))
    assert first == again
    assert first[0] != other[0]
    assert first[1] != other[1]


def test_truth_agrees_with_a_walk_over_the_json_records() -> None:
    world = small_world(policy=replace(SMALL, jitter_ms=0))
    truth = truth_of(world, 1_000, 100)
    follows, comments = lines_of(world)
    told = {(s.creator_id, s.opened_ms) for s in truth.surges if s.kind == "followers"}
    assert told == set(openings_of(follows, "creator_id", 1_000).items())
    told_posts = {(s.post_id, s.opened_ms) for s in truth.surges if s.kind == "comments"}
    assert told_posts == set(openings_of(comments, "post_id", 100).items())
    assert len(told) > 3
    assert len(told_posts) > 3
    unfollows = sum(json.loads(line)["kind"] == "unfollow" for line in follows)
    assert (truth.follows, truth.unfollows) == (len(follows) - unfollows, unfollows)
    assert truth.comments == len(comments)


def test_truth_forgets_what_is_older_than_a_day() -> None:
    policy = replace(SMALL, hours=60, wave_users=0, post_comments=0, newcomer_follows=0)
    world = small_world(policy=replace(policy, jitter_ms=0))
    busiest = int(np.argmax(world.size))
    threshold = int(world.size[busiest] // 1000 * 3 // 2)
    truth = truth_of(world, threshold, 10**9)
    [total] = [sum(int(np.count_nonzero(s.follows.creator == busiest)) for s in steps_of(world))]
    assert total > threshold
    assert creator_id_of(busiest) not in {s.creator_id for s in truth.surges}


def test_story_brings_its_newcomer_from_nothing_to_all_her_followers() -> None:
    world = small_world()
    newcomer = [s.follows.at(s.follows.creator == world.newcomer) for s in steps_of(world)]
    before = newcomer[: world.policy.newcomer_start_hour * 12]
    assert sum(len(rows) for rows in before) == 0
    follows = [rows.at(~rows.unfollow) for rows in newcomer]
    assert sum(len(rows) for rows in follows) == SMALL.newcomer_follows
    assert all((rows.post == 0).all() for rows in follows)
    followers = np.concatenate([rows.user for rows in follows])
    assert len(np.unique(followers)) == SMALL.newcomer_follows
    truth = truth_of(world, 5_000, 1_000)
    [surge] = [s for s in truth.surges if s.creator_id == creator_id_of(world.newcomer)]
    assert world.newcomer_start_ms < surge.opened_ms < world.newcomer_start_ms + 24 * HOUR_MS
    assert surge.model_start_ms == world.newcomer_start_ms


def test_story_post_draws_most_comments_in_another_language_than_its_creators() -> None:
    world = small_world()
    _, comments = lines_of(world)
    post_id = post_id_of(world.post_creator, 0)
    langs = Counter(r["lang"] for r in map(json.loads, comments) if r["post_id"] == post_id)
    assert LANGS[int(world.lang[world.post_creator])] == "zh"
    assert langs["en"] / langs.total() > 0.7
    [story] = [s for s in truth_of(world, 10**9, 1_000).stories if s.kind == "comments"]
    assert story.foreign_share is not None
    assert story.foreign_share == pytest.approx(1 - langs["zh"] / langs.total())
    assert story.total == langs.total()


def test_wave_lifts_all_but_unevenly_by_language() -> None:
    usual = small_world(policy=replace(SMALL, wave_users=0))
    lifted = small_world(policy=replace(SMALL, wave_users=30_000))
    lifts = {}
    for lang in (LANGS.index("zh"), LANGS.index("en")):
        told = []
        for world in (usual, lifted):
            steps = steps_of(world)
            creators = np.concatenate([s.follows.creator for s in steps])
            keep = (creators != world.newcomer) & (world.lang[creators] == lang)
            told.append(np.count_nonzero(keep))
        lifts[lang] = told[1] / told[0]
    assert lifts[LANGS.index("zh")] > 2
    assert lifts[LANGS.index("en")] > 2 * lifts[LANGS.index("zh")]


def test_wave_users_accounts_are_made_in_the_run_and_all_others_weeks_before() -> None:
    world = small_world()
    for step in steps_of(world):
        follows = step.follows.at(step.follows.creator != world.newcomer)
        new = follows.user >= world.policy.users
        assert (follows.account_created_ms[new] >= world.wave_start_ms).all()
        assert (follows.account_created_ms <= follows.at_ms).all()
        assert (follows.account_created_ms[~new] < START_MS - 30 * 24 * HOUR_MS).all()


def test_usual_follows_have_the_rhythm_of_their_region() -> None:
    policy = replace(SMALL, hours=24, wave_users=0, newcomer_follows=0, unfollow_share=0.0)
    follows = [s.follows for s in steps_of(small_world(policy=policy))]
    region = np.concatenate([rows.region for rows in follows])
    hour = np.concatenate([rows.at_ms for rows in follows]) // HOUR_MS % 24
    at_home = np.bincount(hour[region == 0], minlength=24)
    expected = np.array([rhythm_of(h * HOUR_MS)[0] for h in range(24)])
    assert np.corrcoef(at_home, expected)[0, 1] > 0.95
    assert at_home[12] > 3 * at_home[20]  # 20 and 4 o'clock in China


def test_sizes_have_a_heavy_tail_that_ends_at_the_maximum() -> None:
    size = world_of(WorldPolicy(), 7, START_MS).size
    assert size.max() == 6_000_000
    assert np.sort(size)[-200:].sum() > 0.25 * size.sum()


def test_large_platform_has_as_many_follows_as_it_is_large() -> None:
    drawn = []
    for follows_per_day in (4_000_000, 40_000_000):
        policy = replace(
            SMALL,
            hours=1,
            follows_per_day=follows_per_day,
            creator_follows_per_day_max=follows_per_day,
        )
        drawn.append(len(next(iter(Simulation(small_world(policy=policy)).steps())).follows))
    assert drawn[1] / drawn[0] == pytest.approx(10, rel=0.05)


def test_sizes_of_the_largest_platforms_add_up() -> None:
    whole = 2_000_000_000
    policy = replace(
        SMALL, creators=900_000, follows_per_day=whole, creator_follows_per_day_max=whole
    )
    world = small_world(policy=policy)
    assert world.size.min() >= 0
    assert world.size.sum() / 1000 == pytest.approx(whole, rel=0.01)


def test_share_of_unfollows_is_that_of_the_policy_and_each_had_followed() -> None:
    rows = [s.follows for s in steps_of(small_world(policy=replace(SMALL, hours=40)))]
    followed: set[tuple[int, int]] = set()
    unfollows = 0
    for step in rows:
        pairs = list(zip(step.creator.tolist(), step.user.tolist(), strict=True))
        followed.update(
            p for p, gone in zip(pairs, step.unfollow.tolist(), strict=True) if not gone
        )
        for pair, gone in zip(pairs, step.unfollow.tolist(), strict=True):
            unfollows += gone
            assert not gone or pair in followed
    assert unfollows / (sum(map(len, rows)) - unfollows) == pytest.approx(0.04, abs=0.006)


def test_records_arrive_in_order_of_arrival_and_at_most_the_jitter_late() -> None:
    world = small_world(policy=replace(SMALL, jitter_ms=120_000))
    highest_ms, disorder = 0, 0
    for step in steps_of(world):
        rows = step.follows
        assert (np.diff(rows.arrival_ms) >= 0).all()
        assert (rows.at_ms < world.end_ms).all()
        for at_ms in rows.at_ms.tolist():
            assert at_ms > highest_ms - 120_000
            disorder += at_ms < highest_ms
            highest_ms = max(highest_ms, at_ms)
    assert disorder > 1000


def test_event_numbers_count_up_and_repeat_only_in_duplicates() -> None:
    steps = steps_of(small_world(policy=replace(SMALL, duplicate_share=0.1)))
    numbers = np.concatenate([s.follows.event_no for s in steps])
    assert np.array_equal(np.unique(numbers), np.arange(numbers.max() + 1))
    assert len(numbers) / (numbers.max() + 1) == pytest.approx(1.1, abs=0.01)
    plain = np.concatenate([s.comments.event_no for s in steps_of(small_world())])
    assert np.array_equal(plain, np.arange(len(plain)))


def test_every_good_record_fits_its_schema() -> None:
    follows, comments = lines_of(small_world(policy=replace(SMALL, follows_per_day=1_000)))
    for lines, name in ((follows, "follow"), (comments, "comment")):
        schema = json.loads((files("streams") / "schemas" / f"{name}.json").read_text("utf-8"))
        validator = jsonschema.Draft202012Validator(schema)
        for line in lines[::7]:
            validator.validate(json.loads(line))


def test_spoilt_records_are_counted_apart_and_of_every_sort() -> None:
    world = small_world(policy=replace(SMALL, bad_share=0.02))
    rows = [s.follows for s in steps_of(world)] + [s.comments for s in steps_of(world)]
    bad = sum(int(np.count_nonzero(r.fault)) for r in rows)
    assert set(np.concatenate([r.fault for r in rows]).tolist()) == set(range(len(FAULTS) + 1))
    truth = truth_of(world, 5_000, 1_000)
    assert truth.bad_records == bad
    assert truth.follows + truth.unfollows + truth.comments == sum(map(len, rows)) - bad
    [step] = [s for s in steps_of(world) if (s.follows.fault == 1).any()][:1]
    lines = SimulatedJson(world).encode_follows(step.follows)
    assert FAULTS[0] is Reason.EMPTY
    assert lines[int(np.argmax(step.follows.fault == 1))] == b""


def test_codec_takes_every_record_but_the_spoilt_and_finds_their_reasons() -> None:
    world = small_world(policy=replace(SMALL, bad_share=0.05))
    encoder, limits = SimulatedJson(world), Limits(record_bytes_max=65_536, future_skew_ms=0)
    for step in steps_of(world)[::10]:
        lines = encoder.encode_follows(step.follows), encoder.encode_comments(step.comments)
        chunks = [RawChunk("t", 0, v, range(len(v)), len(v), -1, len(v)) for v in lines]
        follows = decode_follows(chunks[0], world.end_ms, limits)
        comments = decode_comments(chunks[1], world.end_ms, limits)
        for rows, dead in ((step.follows, follows.dead), (step.comments, comments.dead)):
            expected = {n: FAULTS[f - 1] for n, f in enumerate(rows.fault.tolist()) if f}
            assert {record.offset: record.reason for record in dead} == expected
        good = step.follows.at(step.follows.fault == 0)
        assert np.array_equal(follows.chunk.at_ms, good.at_ms)
        assert np.array_equal(follows.chunk.unfollows, good.unfollow)


def test_keys_are_the_creators_of_the_records() -> None:
    world = small_world()
    step = steps_of(world)[100]
    encoder = SimulatedJson(world)
    ids = [json.loads(line)["creator_id"].encode() for line in encoder.encode_follows(step.follows)]
    assert encoder.keys(step.follows) == ids


@pytest.mark.parametrize(
    ("name", "value"),
    [("creators", 1), ("bad_share", 1.5), ("hours", 0), ("post_hours", 0), ("users", 5)],
)
def test_policy_out_of_range_names_the_field(name: str, value: Any) -> None:
    with pytest.raises(PolicyOutOfRange, match=f"{name} is {value}"):
        replace(SMALL, **{name: value})


def test_start_is_moved_back_to_the_start_of_its_bucket() -> None:
    assert world_of(SMALL, 7, START_MS + 299_999).start_ms == START_MS
