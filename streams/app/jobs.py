"""The jobs of partitions as the settings want them: for the worker and the back-test alike."""

from streams.core.detector_block import DetectorBlock
from streams.core.detector_policy import DetectorPolicy
from streams.core.partition import CommentPartition, FollowPartition
from streams.core.rules import Rule
from streams.core.surges import Kind
from streams.core.watch import Watch, WatchPolicy
from streams.edges.settings_list import Settings


def follow_partition_of(settings: Settings) -> FollowPartition:
    """A new job for a partition of the follows topic."""
    return FollowPartition(_watch(settings, "follows", "followers", settings.rule_followers_24h))


def comment_partition_of(settings: Settings) -> CommentPartition:
    """A new job for a partition of the comments topic."""
    return CommentPartition(
        _watch(settings, "comments", "comments", None),
        _watch(settings, "posts", "comments", settings.rule_comments_24h),
    )


def _watch(settings: Settings, name: str, kind: Kind, threshold: int | None) -> Watch:
    budget = settings.budget_notices_per_creator_day
    policy = WatchPolicy(name, kind, Rule(threshold), settings.detector, budget)
    return Watch(policy, DetectorBlock(DetectorPolicy(alarms_per_day=budget)))
