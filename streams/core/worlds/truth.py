"""What a simulation must be told to have held: who crossed a rule, and at which record.

Independent of the product's own counts on purpose: a dense total for each creator and post,
old buckets taken away, and a plain walk over the records where a total comes near the number.
"""

from collections import deque
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from streams.core.time.buckets import BUCKET_MS, WINDOW_BUCKETS
from streams.core.worlds.events import EventWorld
from streams.core.worlds.named_truth import WorldTruth, world_truth_of
from streams.core.worlds.platform import (
    HOUR_MS,
    LANGS,
    POSTS_EACH,
    REGION_LANG,
    REGIONS,
    World,
    creator_id_of,
    post_id_of,
)
from streams.core.worlds.simulated_delivery import WorldStep
from streams.core.worlds.simulated_rows import NO_POST, EventRows
from streams.core.worlds.simulation import AWAY

_POST_LANGS: Final = np.array(REGION_LANG)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrueSurge:
    """A total of 24 hours that reached a rule's number for the first time.

    ``opened_ms`` is the time of the record with which it did; ``total`` counts all of the run.
    ``model_start_ms`` is when a story creator's or post's surge began, None for the others.
    """

    kind: Literal["followers", "comments"]
    creator_id: str
    post_id: str | None
    threshold: int
    opened_ms: int
    total: int
    model_start_ms: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TrueStory:
    """A creator or post that surges because the story says so, rule crossed or not."""

    kind: Literal["followers", "comments"]
    creator_id: str
    post_id: str
    start_ms: int
    end_ms: int
    total: int
    foreign_share: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TrueWave:
    """The wave of new users from one other country."""

    region: str
    lang: str
    start_ms: int
    end_ms: int
    users: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """What is true of a whole simulation."""

    seed: int
    start_ms: int
    end_ms: int
    follows: int
    unfollows: int
    comments: int
    bad_records: int
    surges: list[TrueSurge]
    stories: list[TrueStory]
    wave: TrueWave | None
    world: WorldTruth | None = None
    """What is true of a named world; None for the story, which ``stories`` and ``wave`` tell."""


class _Totals:
    """Exact rolling totals of numbered keys; first moments at which they reach a number."""

    def __init__(self, key_count: int, threshold: int) -> None:
        self._threshold = threshold
        self._rolling: NDArray[np.int64] = np.zeros(key_count, np.int64)
        self._buckets: deque[tuple[int, NDArray[np.int64]]] = deque()
        self.total: NDArray[np.int64] = np.zeros(key_count, np.int64)
        self.opened: dict[int, int] = {}

    def take(self, start_ms: int, keys: NDArray[np.int64], at_ms: NDArray[np.int64]) -> None:
        """Count a step's records, in their order; those of the bucket before belong there."""
        open_bucket = start_ms // BUCKET_MS
        while self._buckets and self._buckets[0][0] <= open_bucket - WINDOW_BUCKETS:
            np.subtract.at(self._rolling, self._buckets.popleft()[1], 1)
        near = self._rolling + np.bincount(keys, minlength=len(self.total)) >= self._threshold
        for place in np.flatnonzero(near[keys]).tolist():
            key = int(keys[place])
            if key not in self.opened:
                seen = self._rolling[key] + np.count_nonzero(keys[: place + 1] == key)
                if seen >= self._threshold:
                    self.opened[key] = int(at_ms[place])
        np.add.at(self._rolling, keys, 1)
        np.add.at(self.total, keys, 1)
        bucket = at_ms // BUCKET_MS
        for number in np.unique(bucket).tolist():
            self._keep(number, keys[bucket == number])

    def _keep(self, number: int, keys: NDArray[np.int64]) -> None:
        for place in range(len(self._buckets) - 1, -1, -1):
            kept_number, kept = self._buckets[place]
            if kept_number == number:
                self._buckets[place] = (number, np.concatenate([kept, keys]))
                return
        self._buckets.append((number, keys))


class TruthLedger:
    """Takes a simulation's steps one by one and says at the end what is true of them.

    Records that the simulation spoilt count as bad and nothing else. A rule's window is the
    bucket in which a record arrives and the 287 before it.
    """

    def __init__(self, world: World | EventWorld, followers_24h: int, comments_24h: int) -> None:
        self._world = world
        self._story = world if isinstance(world, World) else None
        self._thresholds = {"followers": followers_24h, "comments": comments_24h}
        self._followers = _Totals(world.policy.creators, followers_24h)
        self._posts = _Totals(world.policy.creators * POSTS_EACH, comments_24h)
        self._post_langs = [0] * len(LANGS)
        self._unfollows = self._bad = self._comments = 0

    def take(self, step: WorldStep) -> None:
        """Count one step. Steps come in order, each once."""
        follows, comments = self._good(step.follows), self._good(step.comments)
        self._unfollows += int(np.count_nonzero(follows.unfollow))
        self._comments += len(comments)
        follows = follows.at(~follows.unfollow)
        self._followers.take(step.start_ms, follows.creator, follows.at_ms)
        comments = comments.at(comments.post != NO_POST)
        keys = comments.creator * POSTS_EACH + comments.post
        self._posts.take(step.start_ms, keys, comments.at_ms)
        if self._story is not None:
            on_story = comments.at(keys == self._story.post_creator * POSTS_EACH)
            langs = np.bincount(_POST_LANGS[on_story.region], minlength=len(LANGS)).tolist()
            self._post_langs = [a + b for a, b in zip(self._post_langs, langs, strict=True)]

    def _good(self, rows: EventRows) -> EventRows:
        good = rows.fault == 0
        self._bad += len(rows) - int(np.count_nonzero(good))
        return rows.at(good)

    def truth(self) -> Truth:
        """Say what is true of the steps taken so far; surges in order of their opening."""
        world = self._world
        return Truth(
            seed=world.seed,
            start_ms=world.start_ms,
            end_ms=world.end_ms,
            follows=int(self._followers.total.sum()),
            unfollows=self._unfollows,
            comments=self._comments,
            bad_records=self._bad,
            surges=sorted(
                [*self._follower_surges(), *self._comment_surges()],
                key=lambda surge: (surge.opened_ms, surge.creator_id, surge.post_id or ""),
            ),
            stories=[] if self._story is None else self._stories(self._story),
            wave=None if self._story is None else _wave_of(self._story),
            world=world_truth_of(world.counts) if isinstance(world, EventWorld) else None,
        )

    def _follower_surges(self) -> list[TrueSurge]:
        story = self._story
        model_start_ms = {story.newcomer: story.newcomer_start_ms} if story else {}
        return [
            TrueSurge(
                kind="followers",
                creator_id=creator_id_of(creator),
                post_id=None,
                threshold=self._thresholds["followers"],
                opened_ms=opened_ms,
                total=int(self._followers.total[creator]),
                model_start_ms=model_start_ms.get(creator),
            )
            for creator, opened_ms in self._followers.opened.items()
        ]

    def _comment_surges(self) -> list[TrueSurge]:
        story = self._story
        post = story.post_creator * POSTS_EACH if story else None
        model_start_ms = {post: story.post_start_ms} if story else {}
        return [
            TrueSurge(
                kind="comments",
                creator_id=creator_id_of(key // POSTS_EACH),
                post_id=post_id_of(*divmod(key, POSTS_EACH)),
                threshold=self._thresholds["comments"],
                opened_ms=opened_ms,
                total=int(self._posts.total[key]),
                model_start_ms=model_start_ms.get(key),
            )
            for key, opened_ms in self._posts.opened.items()
        ]

    def _stories(self, world: World) -> list[TrueStory]:
        policy, langs = world.policy, self._post_langs
        own = langs[int(world.lang[world.post_creator])]
        drawn = sum(langs)
        newcomer = TrueStory(
            kind="followers",
            creator_id=creator_id_of(world.newcomer),
            post_id=post_id_of(world.newcomer, 0),
            start_ms=world.newcomer_start_ms,
            end_ms=world.newcomer_start_ms + policy.newcomer_hours * HOUR_MS,
            total=int(self._followers.total[world.newcomer]),
            foreign_share=None,
        )
        post = TrueStory(
            kind="comments",
            creator_id=creator_id_of(world.post_creator),
            post_id=post_id_of(world.post_creator, 0),
            start_ms=world.post_start_ms,
            end_ms=world.post_start_ms + policy.post_hours * HOUR_MS,
            total=drawn,
            foreign_share=(drawn - own) / drawn if drawn else None,
        )
        told = (policy.newcomer_follows > 0, policy.post_comments > 0)
        return [story for story, is_told in zip((newcomer, post), told, strict=True) if is_told]


def _wave_of(world: World) -> TrueWave | None:
    policy = world.policy
    if not policy.wave_users:
        return None
    return TrueWave(
        region=REGIONS[AWAY],
        lang=LANGS[REGION_LANG[AWAY]],
        start_ms=world.wave_start_ms,
        end_ms=world.wave_start_ms + policy.wave_hours * HOUR_MS,
        users=policy.wave_users,
    )
