"""A named world as records: its counts, event by event, as follows and comments.

The follows of each creator and bucket are as many as the counts say; comments are counts of
their own, a fifth as many, lifted by the same waves. Same seed, same records.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from streams.core.time.buckets import BUCKET_MS
from streams.core.worlds.count_columns import Floats, Ints, Jumps, Lifts
from streams.core.worlds.counts import CountStep, CountWorld, count_world_of
from streams.core.worlds.mixes import MixStep, foreign_lang_of, mix_steps_of
from streams.core.worlds.plans import WorldPlan
from streams.core.worlds.platform import (
    DAY_MS,
    HOUR_MS,
    POSTS_EACH,
    REGION_LANG,
    REGION_WEIGHTS,
    World,
    WorldPolicy,
)
from streams.core.worlds.simulated_delivery import Delivery, OldUsers, WorldStep, posts_drawn
from streams.core.worlds.simulated_rows import NO_POST, EventRows, joined_of, rows_of
from streams.core.worlds.simulation import AWAY, FOLLOW_POST_SHARE, Simulation

COMMENT_SHARE: Final = 0.2
"""Usual comments for each usual follow."""
_HOME_REGION: Final = np.array([REGION_LANG.index(n) for n in range(max(REGION_LANG) + 1)])
"""The first region of each language: where the other language of a mix comes from."""


@dataclass(frozen=True, slots=True)
class EventWorld:
    """A plan with its counts, and of ``policy`` what concerns users and delivery."""

    policy: WorldPolicy
    counts: CountWorld

    @property
    def seed(self) -> int:
        """Seed of the counts and of the records."""
        return self.counts.seed

    @property
    def start_ms(self) -> int:
        """Start of the first bucket."""
        return self.counts.first * BUCKET_MS

    @property
    def end_ms(self) -> int:
        """First millisecond after the last event."""
        return self.counts.after * BUCKET_MS


def event_world_of(plan: WorldPlan, policy: WorldPolicy, seed: int, start_ms: int) -> EventWorld:
    """Draw a plan with the policy's creators and hours. Raises PolicyOutOfRange."""
    counts = count_world_of(
        plan, seed=seed, start_ms=start_ms, creators=policy.creators, hours=policy.hours
    )
    return EventWorld(policy, counts)


def steps_of(world: World | EventWorld) -> Iterator[WorldStep]:
    """The steps of a world's run, the story's or a named one's."""
    return Simulation(world).steps() if isinstance(world, World) else _Events(world).steps()


class _Events:
    """One run over a named world."""

    def __init__(self, world: EventWorld) -> None:
        self._world, self._counts = world, world.counts
        self._rng = np.random.default_rng([world.seed, 20])
        self._old = OldUsers(world.policy, world.start_ms)
        self._delivery = Delivery(world.policy, self._rng)
        self._regions_to = np.cumsum(REGION_WEIGHTS)
        self._new_user = world.policy.users

    def steps(self) -> Iterator[WorldStep]:
        comments = _comment_counts_of(self._counts).buckets()
        mixes = mix_steps_of(self._counts)
        parts = zip(self._counts.parts(), comments, mixes, strict=True)
        for (drawn, jumps), commented, mixed in parts:
            start_ms = drawn.bucket * BUCKET_MS
            self._delivery.add_follows(self._follows(drawn, start_ms))
            self._jump(jumps, start_ms)
            usual = self._comments(commented, start_ms)
            self._delivery.add_comments(joined_of([usual, *self._mixed(mixed, start_ms)]))
            yield self._delivery.step(start_ms, self._world.end_ms)

    def _follows(self, step: CountStep, start_ms: int) -> EventRows:
        rows = self._events(step, start_ms)
        told = self._rng.random(len(rows)) < FOLLOW_POST_SHARE
        posts = posts_drawn(self._rng, len(rows), POSTS_EACH)
        return replace(rows, post=np.where(told, posts, NO_POST))

    def _comments(self, step: CountStep, start_ms: int) -> EventRows:
        rows = self._events(step, start_ms)
        post = posts_drawn(self._rng, len(rows), POSTS_EACH)
        # A mixed post's comments are drawn apart: the usual ones go to the next post.
        mixed = (post == 0) & np.isin(rows.creator, self._counts.columns.mix_creators)
        return replace(rows, post=post + mixed)

    def _events(self, step: CountStep, start_ms: int) -> EventRows:
        """An event for each count: who, from where, when; by newcomers where they are."""
        creator = np.repeat(step.creators, step.counts)
        count, lang = len(creator), self._counts.lang[creator]
        at_ms = start_ms + self._rng.integers(0, BUCKET_MS, count)
        strange = self._rng.random(count) >= self._world.policy.own_language_share
        picks = self._rng.integers(0, self._regions_to[-1], count)
        anywhere = np.searchsorted(self._regions_to, picks, side="right")
        region = np.where(strange, anywhere, self._counts.region[creator]).astype(np.int64)
        user = self._old.drawn(self._rng, region)
        created_ms = self._old.created_ms(user)
        share = self._counts.newcomer_share_of(step.bucket)
        if share.any():
            new = self._rng.random(count) < share[lang]
            region, user = np.where(new, AWAY, region), np.where(new, self._new(new), user)
            age_ms = self._rng.integers(1000, 2 * HOUR_MS, count)
            created_ms = np.where(new, at_ms - age_ms, created_ms)
        return rows_of(at_ms, creator, user, region, account_created_ms=created_ms)

    def _new(self, new: NDArray[np.bool_]) -> Ints:
        users = self._new_user + np.cumsum(new) - 1
        self._new_user += int(np.count_nonzero(new))
        return users

    def _jump(self, jumps: Jumps, start_ms: int) -> None:
        """Exact amounts: at even distances, as a machine does it; below 0 they unfollow."""
        for creator, amount in zip(jumps.creator.tolist(), jumps.amount.tolist(), strict=True):
            count = abs(amount)
            at_ms = start_ms + np.arange(count) * BUCKET_MS // count
            if self._counts.plan.jumps[0].what == "bought":
                user = self._new(np.ones(count, np.bool_))
                created_ms = start_ms - DAY_MS + np.arange(count) * 60_000
                region = np.full(count, AWAY)
            else:
                region = np.full(count, int(self._counts.region[creator]))
                user = self._old.drawn(self._rng, region)
                created_ms = self._old.created_ms(user)
            rows = rows_of(at_ms, creator, user, region, account_created_ms=created_ms)
            if amount < 0:
                self._delivery.add_unfollows(rows)
            else:
                self._delivery.add_exact(rows)

    def _mixed(self, step: MixStep, start_ms: int) -> list[EventRows]:
        creators, parts = self._counts.columns.mix_creators, []
        own = self._counts.region[creators].astype(np.int64)
        foreign = np.array([foreign_lang_of(int(n)) for n in self._counts.lang[creators]], np.int64)
        for column, regions in enumerate((own, _HOME_REGION[foreign])):
            counts = step.counts[:, column]
            region = np.repeat(regions, counts)
            at_ms = start_ms + self._rng.integers(0, BUCKET_MS, len(region))
            user = self._old.drawn(self._rng, region)
            parts.append(rows_of(at_ms, np.repeat(creators, counts), user, region, post=0))
        return parts


def _comment_counts_of(world: CountWorld) -> CountWorld:
    """Counts of the comments: lower rates, no own surges, the same waves."""
    nothing = np.empty(0, np.int64)
    none: Floats = np.empty(0)
    columns = replace(
        world.columns,
        rate=world.rate * COMMENT_SHARE,
        surges=Lifts(nothing, nothing, nothing, nothing, none, none),
        jumps=Jumps(nothing, nothing, nothing),
    )
    return replace(world, columns=columns, bursts=world.bursts.at(nothing), stream=1)
