"""How simulated events reach their topics: late by the jitter, some unfollowed, some spoilt."""

from dataclasses import dataclass, replace

import numpy as np

from streams.core.time.buckets import BUCKET_MS
from streams.core.worlds.platform import DAY_MS, REGION_WEIGHTS, WorldPolicy
from streams.core.worlds.simulated_rows import FAULTS, NO_POST, EventRows, Ints, Pending


@dataclass(frozen=True, slots=True)
class WorldStep:
    """What arrived in [start_ms, end_ms): follows and unfollows, and comments."""

    start_ms: int
    end_ms: int
    follows: EventRows
    comments: EventRows


class Delivery:
    """Events of one run on their way; every draw is from the run's own generator."""

    def __init__(self, policy: WorldPolicy, rng: np.random.Generator) -> None:
        self._policy, self._rng = policy, rng
        self._follows, self._comments = Pending(), Pending()

    def add_follows(self, follows: EventRows) -> None:
        """Send follows on their way, and an unfollow after some of them."""
        self._follows.add(self._late(follows))
        gone = follows.at(self._rng.random(len(follows)) < self._policy.unfollow_share)
        delay_ms = self._rng.integers(1000, self._policy.unfollow_delay_ms_max + 1001, len(gone))
        self.add_unfollows(replace(gone, at_ms=gone.at_ms + delay_ms))

    def add_unfollows(self, gone: EventRows) -> None:
        """Send unfollows on their way."""
        unfollow, post = np.ones(len(gone), np.bool_), np.full(len(gone), NO_POST)
        self._follows.add(self._late(replace(gone, unfollow=unfollow, post=post)))

    def add_exact(self, follows: EventRows) -> None:
        """Send follows on their way that nobody takes back."""
        self._follows.add(self._late(follows))

    def add_comments(self, comments: EventRows) -> None:
        """Send comments on their way."""
        self._comments.add(self._late(comments))

    def step(self, start_ms: int, end_ms: int) -> WorldStep:
        """What arrives in the five minutes from ``start_ms``; the run's last brings the rest."""
        step_end_ms = start_ms + BUCKET_MS
        last = step_end_ms >= end_ms
        until_ms = step_end_ms + self._policy.jitter_ms + 1 if last else step_end_ms
        follows, comments = (
            self._spoilt(pending.take(until_ms)) for pending in (self._follows, self._comments)
        )
        if last:
            follows = follows.at(follows.at_ms < end_ms)
            comments = comments.at(comments.at_ms < end_ms)
        return WorldStep(start_ms, step_end_ms, follows, comments)

    def _late(self, rows: EventRows) -> EventRows:
        delay_ms = self._rng.integers(0, self._policy.jitter_ms + 1, len(rows))
        return replace(rows, arrival_ms=rows.at_ms + delay_ms)

    def _spoilt(self, rows: EventRows) -> EventRows:
        """Repeat and spoil the shares of the rows that the policy asks for."""
        policy = self._policy
        if policy.duplicate_share:
            twice = self._rng.random(len(rows)) < policy.duplicate_share
            rows = rows.at(np.repeat(np.arange(len(rows)), 1 + twice))
        if policy.bad_share:
            bad = self._rng.random(len(rows)) < policy.bad_share
            fault = self._rng.integers(1, len(FAULTS) + 1, len(rows))
            rows = replace(rows, fault=np.where(bad, fault, 0))
        return rows


class OldUsers:
    """Users who were there before the run: a block of numbers for each region."""

    def __init__(self, policy: WorldPolicy, start_ms: int) -> None:
        self._start_ms = start_ms
        block_to = np.cumsum(REGION_WEIGHTS) * policy.users // sum(REGION_WEIGHTS)
        self.block_to = np.concatenate([[0], block_to]).astype(np.int64)

    def drawn(self, rng: np.random.Generator, region: Ints) -> Ints:
        """A user of each region."""
        start = self.block_to[region]
        return start + rng.integers(0, self.block_to[region + 1] - start)

    def created_ms(self, user: Ints) -> Ints:
        """When an old user's account was made: 30 to 1,530 days before the world's start."""
        age_ms = (30 + user * 7919 % 1500) * DAY_MS + user * 104_729 % DAY_MS
        return self._start_ms - age_ms


def posts_drawn(rng: np.random.Generator, count: int, posts_each: int) -> Ints:
    """Which of a creator's posts: the cube of a uniform favours the first ones."""
    draw = rng.random(count)
    return (draw * draw * draw * posts_each).astype(np.int64)
