"""The simulated records of a world, in order of arrival, a five-minute step at a time.

The story: a newcomer's one video brings her most of her followers in a day, another
creator's post draws comments in a language that is not hers, and at the same time a wave of
new users from one other country follows everybody. Same world, same records.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

import numpy as np

from streams.core.time.buckets import BUCKET_MS
from streams.core.worlds.platform import (
    DAY_MS,
    HOUR_MS,
    LANGS,
    POSTS_EACH,
    REGIONS,
    World,
    audience_of,
    rhythm_of,
)
from streams.core.worlds.simulated_delivery import Delivery, OldUsers, WorldStep, posts_drawn
from streams.core.worlds.simulated_rows import NO_POST, EventRows, Ints, joined_of, rows_of

NEWCOMER_WAVE_SHARE: Final = 0.5
"""Share of the newcomer's new followers who have come with the wave, if there is one."""
FOLLOW_POST_SHARE: Final = 0.3
"""Share of usual follows that say from which post they came."""
WAVE_STAY_MS: Final = 2 * HOUR_MS
"""How long after their arrival a wave's users follow and comment."""
HOME: Final = REGIONS.index("CN")
"""Region of the old users who follow the newcomer."""
AWAY: Final = REGIONS.index("US")
"""Region that the wave comes from."""


def _ramp_of(rng: np.random.Generator, count: int, start_ms: int, hours: int) -> Ints:
    """Sorted times with an s-shaped cumulation: the median of three uniforms is Beta(2, 2)."""
    draws = np.sort(rng.integers(start_ms, start_ms + hours * HOUR_MS, (count, 3)), axis=1)
    return np.sort(draws[:, 1])


class Simulation:
    """One run over a world; ``steps`` may be walked once."""

    def __init__(self, world: World) -> None:
        policy = world.policy
        self._world = world
        self._policy = policy
        story = np.random.default_rng([world.seed, 1])
        self._rng = np.random.default_rng([world.seed, 2])
        self._newcomer_at = _ramp_of(
            story, policy.newcomer_follows, world.newcomer_start_ms, policy.newcomer_hours
        )
        self._post_at = _ramp_of(
            story, policy.post_comments, world.post_start_ms, policy.post_hours
        )
        self._wave_at = _ramp_of(story, policy.wave_users, world.wave_start_ms, policy.wave_hours)
        self._old = OldUsers(policy, world.start_ms)
        self._locals = story.choice(self._old.block_to[HOME + 1], policy.newcomer_follows, False)
        self._audience = audience_of(policy)
        self._delivery = Delivery(policy, self._rng)

    def steps(self) -> Iterator[WorldStep]:
        """Walk the steps of five minutes; the last holds what is still under way."""
        end_ms = self._world.end_ms
        for start_ms in range(self._world.start_ms, end_ms, BUCKET_MS):
            self._draw_follows(start_ms)
            self._draw_comments(start_ms)
            yield self._delivery.step(start_ms, end_ms)

    def _draw_follows(self, start_ms: int) -> None:
        follows = joined_of(
            [self._usual_follows(start_ms), self._newcomer_follows(start_ms), self._wave(start_ms)]
        )
        self._delivery.add_follows(follows)

    def _draw_comments(self, start_ms: int) -> None:
        usual = self._usual(start_ms, self._policy.comments_per_day)
        usual = replace(usual, post=self._posts(len(usual)))
        self._delivery.add_comments(joined_of([usual, self._story_comments(start_ms)]))
        self._delivery.add_comments(self._wave_comments(start_ms))

    def _usual(self, start_ms: int, per_day: int) -> EventRows:
        """Events of the usual audiences: Poisson for each language and region."""
        rng, world = self._rng, self._world
        totals = world.size_to[:, -1]
        day_share = BUCKET_MS / DAY_MS / 1_000_000 / 1000
        scale = per_day * day_share / max(1, int(world.size.sum()))
        # their product with the rhythm has more than 63 bits from 13 million follows a day on
        audience = (totals[:, None] * self._audience).astype(np.float64)
        rates = audience * np.array(rhythm_of(start_ms)) * scale
        counts = rng.poisson(rates)
        creators, regions = [], []
        for lang in range(len(LANGS)):
            picks = rng.integers(0, max(1, totals[lang]), int(counts[lang].sum()))
            creators.append(np.searchsorted(world.size_to[lang], picks, side="right"))
            regions.append(np.repeat(np.arange(len(REGIONS)), counts[lang]))
        region = np.concatenate(regions)
        at_ms = rng.integers(start_ms, start_ms + BUCKET_MS, len(region))
        user = self._users(region)
        return rows_of(
            at_ms, np.concatenate(creators), user, region, account_created_ms=self._created(user)
        )

    def _usual_follows(self, start_ms: int) -> EventRows:
        usual = self._usual(start_ms, int(self._world.size.sum()) // 1000)
        told = self._rng.random(len(usual)) < FOLLOW_POST_SHARE
        return replace(usual, post=np.where(told, self._posts(len(usual)), NO_POST))

    def _newcomer_follows(self, start_ms: int) -> EventRows:
        first, after = np.searchsorted(self._newcomer_at, [start_ms, start_ms + BUCKET_MS])
        at_ms = self._newcomer_at[first:after]
        number = np.arange(first, after)
        share = NEWCOMER_WAVE_SHARE if self._policy.wave_users else 0.0
        away = self._rng.random(len(at_ms)) < share
        new_user = self._policy.users + self._policy.wave_users + number
        new_ms = at_ms - self._rng.integers(1000, HOUR_MS, len(at_ms))
        user = np.where(away, new_user, self._locals[first:after])
        return rows_of(
            at_ms,
            self._world.newcomer,
            user,
            np.where(away, AWAY, HOME),
            post=0,
            account_created_ms=np.where(away, new_ms, self._created(user)),
        )

    def _wave(self, start_ms: int) -> EventRows:
        if not self._world.wave_to[-1]:
            return joined_of([])
        first, after = np.searchsorted(self._wave_at, [start_ms, start_ms + BUCKET_MS])
        each = self._rng.poisson(self._policy.wave_follows_each, after - first)
        arrival = np.repeat(np.arange(first, after), each)
        created_ms = self._wave_at[arrival]
        at_ms = created_ms + self._rng.integers(1000, WAVE_STAY_MS, len(arrival))
        picks = self._rng.integers(0, self._world.wave_to[-1], len(arrival))
        creator = np.searchsorted(self._world.wave_to, picks, side="right")
        user = self._policy.users + arrival
        return rows_of(at_ms, creator, user, AWAY, account_created_ms=created_ms)

    def _wave_comments(self, start_ms: int) -> EventRows:
        if not self._world.wave_to[-1]:
            return joined_of([])
        first, after = np.searchsorted(self._wave_at, [start_ms, start_ms + BUCKET_MS])
        each = self._rng.poisson(self._policy.wave_comments_each, after - first)
        arrival = np.repeat(np.arange(first, after), each)
        at_ms = self._wave_at[arrival] + self._rng.integers(1000, WAVE_STAY_MS, len(arrival))
        picks = self._rng.integers(0, self._world.wave_to[-1], len(arrival))
        creator = np.searchsorted(self._world.wave_to, picks, side="right")
        user = self._policy.users + arrival
        return rows_of(at_ms, creator, user, AWAY, post=self._posts(len(at_ms)))

    def _story_comments(self, start_ms: int) -> EventRows:
        first, after = np.searchsorted(self._post_at, [start_ms, start_ms + BUCKET_MS])
        at_ms = self._post_at[first:after]
        away = self._rng.random(len(at_ms)) < self._policy.post_foreign_share
        region = np.where(away, AWAY, HOME)
        return rows_of(at_ms, self._world.post_creator, self._users(region), region, post=0)

    def _posts(self, count: int) -> Ints:
        return posts_drawn(self._rng, count, POSTS_EACH)

    def _users(self, region: Ints) -> Ints:
        return self._old.drawn(self._rng, region)

    def _created(self, user: Ints) -> Ints:
        return self._old.created_ms(user)
