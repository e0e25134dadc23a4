"""Partitions as tests want them: small rules, chunks from plain tuples, state moved by a store."""

import numpy as np

from streams.app.jobs import policy_of
from streams.core.detection.block import DetectorBlock
from streams.core.detection.pool import Pool
from streams.core.detection.rhythm import Rhythm
from streams.core.partition import CommentPartition, FollowPartition
from streams.core.partition_state import StateChange, StoredState
from streams.core.records.chunks import CommentChunk, FollowChunk
from streams.core.records.texts import Texts
from streams.core.surges.paging import PagePolicy
from streams.core.surges.rules import Rule
from streams.core.surges.surge import Kind, Surge
from streams.core.surges.watch import Watch
from streams.core.surges.watch_policy import WatchPolicy

Follow = tuple[str, int]
FollowKind = tuple[str, int, bool]
Comment = tuple[str, str, str, int]


def watch(
    name: str,
    kind: Kind,
    threshold: int | None,
    alarms_per_day: float = 0.001,
    *,
    short_lived: bool = False,
) -> Watch:
    page = PagePolicy(bar=alarms_per_day / 1e-6, excess_min=10, ratio_min=3.0)
    policy = WatchPolicy(name, kind, Rule(threshold), "surgewatch", alarms_per_day, page)
    detector = policy_of(alarms_per_day, short_lived=short_lived)
    return Watch(policy, DetectorBlock(detector, Pool(detector), rhythm=Rhythm(detector)))


def follow_partition(threshold: int = 10, alarms_per_day: float = 0.001) -> FollowPartition:
    return FollowPartition(watch("follows", "followers", threshold, alarms_per_day))


def comment_partition(threshold: int = 10) -> CommentPartition:
    return CommentPartition(
        watch("comments", "comments", None),
        watch("posts", "comments", threshold, short_lived=True),
    )


def follows(records: list[FollowKind]) -> FollowChunk:
    return FollowChunk(
        Texts.of([creator for creator, _, _ in records]),
        np.array([at for _, at, _ in records], dtype=np.int64),
        np.array([gone for _, _, gone in records], dtype=np.bool_),
    )


def comments(records: list[Comment]) -> CommentChunk:
    return CommentChunk(
        Texts.of([creator for creator, _, _, _ in records]),
        Texts.of([post for _, post, _, _ in records]),
        Texts.of([lang for _, _, lang, _ in records]),
        np.array([at for _, _, _, at in records], dtype=np.int64),
    )


def rule_surges(surges: list[Surge]) -> list[Surge]:
    return [surge for surge in surges if surge.trigger == "rule"]


def contents_of(change: StateChange) -> dict[str, dict[str, bytes]]:
    """Each series' keys and values."""
    return {s.name: dict(zip(s.names, s.values(), strict=True)) for s in change.series}


def stored_of(state: StoredState) -> dict[str, dict[str, bytes]]:
    """Each series' keys and values."""
    return {
        name: dict(zip(series.names, series.values, strict=True))
        for name, series in state.series.items()
    }
