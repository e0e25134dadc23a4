"""The jobs of partitions as the settings want them: for the worker and the back-test alike."""

from typing import Any

from streams.core.detection.bank import BankPolicy, RiverBank
from streams.core.detection.block import DetectorBlock
from streams.core.detection.block_ahead import Course
from streams.core.detection.block_maths import ScoreColumns
from streams.core.detection.block_tables import Ints
from streams.core.detection.key_detector import Ahead, KeyDetector
from streams.core.detection.policy import DetectorPolicy
from streams.core.detection.pool import Pool
from streams.core.detection.rhythm import Rhythm
from streams.core.detection.river_models import RiverDetectorError, RiverRecipe
from streams.core.partition import CommentPartition, FollowPartition
from streams.core.records.hold import LatenessPolicy
from streams.core.records.repeats import RepeatPolicy
from streams.core.surges.paging import PagePolicy
from streams.core.surges.rules import Rule
from streams.core.surges.surge import Kind
from streams.core.surges.watch import Watch
from streams.core.surges.watch_policy import WatchPolicy
from streams.edges.codec.events import Limits
from streams.edges.errors import SettingsError
from streams.edges.metrics.progress import Progress, Silence
from streams.edges.settings.list import Settings

OWN_DETECTOR = "surgewatch"


class TimedDetector:
    """A detector whose time is told as the stage "score"."""

    def __init__(self, detector: KeyDetector[Any], progress: Progress) -> None:
        self._detector = detector
        self._progress = progress
        self.grow = detector.grow
        self.keep = detector.keep
        self.are_over = detector.are_over
        self.state_of = detector.state_of
        self.restore = detector.restore
        self.epochs_of = detector.epochs_of
        self.enter = detector.enter
        self.lift_by = detector.lift_by
        self.shared_state = detector.shared_state
        self.restore_shared = detector.restore_shared
        self.take_alarms = detector.take_alarms

    @property
    def seen_over_asked(self) -> float | None:
        """See KeyDetector."""
        return self._detector.seen_over_asked

    def begin(self, slots: Ints, bucket: int) -> None:
        """See KeyDetector."""
        with self._progress.stage("score"):
            self._detector.begin(slots, bucket)

    def advance(self, slots: Ints, opened: Ints, counts: Ints, bucket: Ints | int) -> None:
        """See KeyDetector."""
        with self._progress.stage("score"):
            self._detector.advance(slots, opened, counts, bucket)

    def amend(self, slots: Ints, late_bucket: Ints, opened: Ints, counts: Ints) -> None:
        """See KeyDetector."""
        with self._progress.stage("score"):
            self._detector.amend(slots, late_bucket, opened, counts)

    def score(
        self, slots: Ints, counts: Ints, *, opened: Ints | int, lift: float = 1.0
    ) -> ScoreColumns:
        """See KeyDetector."""
        with self._progress.stage("score"):
            return self._detector.score(slots, counts, opened=opened, lift=lift)

    def run_ahead(self, course: Course) -> Ahead | None:
        """See KeyDetector."""
        with self._progress.stage("score"):
            return self._detector.run_ahead(course)

    def alarm_count(self, slot: int, low: int, high: int, opened: int, lift: float = 1.0) -> int:
        """See KeyDetector."""
        with self._progress.stage("score"):
            return self._detector.alarm_count(slot, low, high, opened, lift)

    def alarm_counts(
        self, slots: Ints, lows: Ints, highs: Ints, opened: Ints, lift: float = 1.0
    ) -> Ints:
        """See KeyDetector."""
        with self._progress.stage("score"):
            return self._detector.alarm_counts(slots, lows, highs, opened, lift)


def check_detector(settings: Settings) -> None:
    """Make the detector once. Raises SettingsError if it cannot be made."""
    _detector(settings)


def follow_partition_of(settings: Settings, progress: Progress | None = None) -> FollowPartition:
    """A new job for a partition of the follows topic."""
    threshold = settings.rule_followers_24h
    watch = _watch(settings, progress, ("follows", "followers", threshold))
    return FollowPartition(watch, _repeats(settings), _lateness(settings))


def comment_partition_of(settings: Settings, progress: Progress | None = None) -> CommentPartition:
    """A new job for a partition of the comments topic."""
    return CommentPartition(
        _watch(settings, progress, ("comments", "comments", None)),
        _watch(settings, progress, ("posts", "comments", settings.rule_comments_24h)),
        _repeats(settings),
        _lateness(settings),
    )


def limits_of(settings: Settings) -> Limits:
    """What a record may be, and what is read of it."""
    return Limits(
        settings.record_bytes_max, settings.future_skew_ms, settings.repeats_horizon_ms > 0
    )


def _repeats(settings: Settings) -> RepeatPolicy | None:
    if not settings.repeats_horizon_ms:
        return None
    return RepeatPolicy(settings.repeats_horizon_ms, settings.repeats_ids_max)


def _lateness(settings: Settings) -> LatenessPolicy | None:
    if not settings.allowed_lateness_ms:
        return None
    return LatenessPolicy(settings.allowed_lateness_ms, settings.held_records_max)


def _watch(
    settings: Settings, progress: Progress | None, series: tuple[str, Kind, int | None]
) -> Watch:
    name, kind, threshold = series
    budget = settings.budget_notices_per_creator_day
    rule, page = Rule(threshold), _page(settings)
    policy = WatchPolicy(name, kind, rule, settings.detector, budget, page)
    detector = _detector(settings, short_lived=name == "posts")
    return Watch(policy, TimedDetector(detector, progress or Silence()))


def _page(settings: Settings) -> PagePolicy | None:
    """When a surge is a page; None: scores of another detector are no rates."""
    if settings.detector != OWN_DETECTOR:
        return None
    bar = settings.budget_notices_per_creator_day / settings.budget_pages_per_creator_day
    return PagePolicy(bar, settings.page_excess_min, settings.page_ratio_min)


def policy_of(budget: float, *, short_lived: bool = False) -> DetectorPolicy:
    """Policy of a crowd of keys; ``short_lived`` ones (posts) rise and fall within the hour.

    ``budget``: false alarms a key and day. With the windows of creators a real post gone viral was
    told by the rule alone (docs/detection.md, "The floor").
    """
    if not short_lived:
        return DetectorPolicy(alarms_per_day=budget)
    return DetectorPolicy(
        alarms_per_day=budget, window_buckets=(3, 12, 72), dispersion=0.05, short_lived=True
    )


def _detector(settings: Settings, *, short_lived: bool = False) -> KeyDetector[Any]:
    if settings.detector == OWN_DETECTOR:
        budget = settings.budget_notices_per_creator_day
        own = policy_of(budget, short_lived=short_lived)
        return DetectorBlock(own, Pool(own), rhythm=Rhythm(own))
    try:
        recipe = RiverRecipe(settings.detector, dict(settings.detector_parameters))
        policy = BankPolicy(
            recipe=recipe,
            threshold=settings.detector_threshold,
            keys_max=settings.detector_keys_max,
        )
        return RiverBank(policy)
    except RiverDetectorError as error:
        msg = f"detector: {error}"
        raise SettingsError(msg) from error
