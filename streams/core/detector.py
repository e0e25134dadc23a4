"""The detector as a River anomaly detector: one count series, plain Python.

This is the form for one series, for River's pipelines and for reading; a worker runs the same
formulas for thousands of keys in `detection/block.py`.
"""

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any, Final

from river import base

from streams.core.detection import evidence, tail
from streams.core.detection.policy import SINGLE_SERIES, DetectorPolicy

_NOTHING_SCORED: Final = (0.0, 0.0)
"""Count that was scored last, and its evidence: who scores and then learns wants it twice."""


class SurgeDetector(base.AnomalyDetector):  # type: ignore[misc]  # River: read without types
    """Says how much rarer than a budget of false alarms a bucket's count is.

    Score first, learn second: ``score_one`` tells of the open bucket's count, ``learn_one``
    closes it. A score >= 1 is an alarm; it never falls when the count grows, so an open bucket
    can be scored again as it fills. What is a surge after an alarm (quiet time, hysteresis) is
    the caller's matter. The policy's first ``settle_buckets`` (an hour) score 0: their median is
    what is usual then. A filter that keeps alarms from being learnt (`anomaly.ThresholdFilter`)
    would otherwise keep a busy series from ever being known.

    Parameters
    ----------
    policy
        Budget, windows and priors; None: `SINGLE_SERIES`, one false alarm in six days.
    feature
        Name of the feature that holds the count; None: the sum of all numeric ones. A count that
        is missing, negative or not a number is 0.

    Examples
    --------
    >>> from streams.core.detector import SurgeDetector
    >>> detector = SurgeDetector()
    >>> for count in [3, 5, 2, 4, 6, 3, 4, 5] * 72:
    ...     detector.learn_one({"follows": count})
    >>> detector.score_one({"follows": 9}) < 1 < detector.score_one({"follows": 80})
    True

    """

    def __init__(self, policy: DetectorPolicy | None = None, feature: str | None = None) -> None:
        self.policy = policy
        self.feature = feature
        self._in_force = policy or SINGLE_SERIES
        self._rate = evidence.RateState.newborn(self._in_force)
        self._tail = tail.TailState()
        self._tail_now = tail.tail_of(self._tail, self._in_force)
        self._top = 0.0
        self._scored = _NOTHING_SCORED
        self._age_buckets = 0
        self._known_buckets = 0
        self._first: list[float] = []
        self._settles = self._in_force.settle_buckets > 0

    def __getstate__(self) -> dict[str, Any]:
        """What was learnt: scoring leaves no trace in a pickle."""
        return {**self.__dict__, "_scored": _NOTHING_SCORED}

    @property
    def in_force(self) -> DetectorPolicy:
        """The policy given, or the default."""
        return self._in_force

    @property
    def expected(self) -> float:
        """Count that the open bucket would usually bring, 0 or more."""
        return statistics.median(self._first) if self._first else self._rate.rate

    @property
    def settles(self) -> bool:
        """Whether what is usual is still to be said by the first buckets: nothing is scored."""
        return self._settles

    def score_one(self, x: Mapping[Any, Any]) -> float:
        """Score of the open bucket; >= 1 alarms, 0 when the count is 0."""
        return self._score(self._count_in(x))

    def learn_one(self, x: Mapping[Any, Any]) -> None:
        """Close the open bucket with its count; the next one is open."""
        count = self._count_in(x)
        if self._settles:
            self._first.append(count)
            if len(self._first) >= self._in_force.settle_buckets:
                self.settle(self._first)
            return
        self._top = max(self._top, self._statistic(count))
        self._know(evidence.learnt(self._rate, count, self._in_force))
        self._known_buckets += 1
        self._age(1)

    def skip(self, buckets: int = 1) -> None:
        """Pass buckets of which nothing is known: time fades what was learnt, nothing is taught.

        Raises ValueError for fewer than none.
        """
        if buckets < 0:
            msg = f"buckets is {buckets}; allowed: 0 or more"
            raise ValueError(msg)
        self._know(evidence.faded(self._rate, buckets, self._in_force))
        self._age(buckets)

    def settle(self, counts: Sequence[float]) -> None:
        """Begin with a stretch of counts before which nothing is known, by its median.

        The prior's scale is one event a bucket: judged by it, the first hour of a series of
        thousands would be one alarm after the other. Only for a detector that has learnt nothing.
        Raises ValueError without counts.
        """
        if not counts:
            msg = "counts is empty; allowed: one or more"
            raise ValueError(msg)
        usual = evidence.held(statistics.median(counts))
        self._know(evidence.settled(usual, len(counts), self._in_force))
        self._known_buckets += len(counts)
        self._age(len(counts))
        self._first, self._settles = [], False

    def alarm_count(self, high: int) -> int | None:
        """Smallest count, at most ``high``, that alarms in the open bucket; None: none does."""
        low = 0
        if self._score(high) < 1.0:
            return None
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if self._score(middle) >= 1.0 else (middle, high)
        return high

    def _age(self, buckets: int) -> None:
        day = self._in_force.buckets_per_day
        ended = (self._age_buckets + buckets) // day - self._age_buckets // day
        if ended:
            # The first day does not know the rate yet: its evidence would ruin the tail. A day of
            # which less than half is known would teach too small a maximum.
            if self._age_buckets >= day and 2 * self._known_buckets >= day:
                self._tail = tail.learnt(self._tail, self._top, self._in_force)
                ended -= 1
            self._tail = tail.faded(self._tail, ended, self._in_force)
            self._tail_now = tail.tail_of(self._tail, self._in_force)
            self._top, self._known_buckets = 0.0, 0
        self._age_buckets += buckets

    def _score(self, count: float) -> float:
        if count <= 0.0 or self._settles:
            return 0.0
        return tail.score_of(self._statistic(count), self._tail_now, self._in_force)

    def _know(self, rate: evidence.RateState) -> None:
        self._rate, self._scored = rate, _NOTHING_SCORED

    def _statistic(self, count: float) -> float:
        if self._scored[0] != count:
            self._scored = count, evidence.statistic_of(self._rate, count, self._in_force)
        return self._scored[1]

    def _count_in(self, x: Mapping[Any, Any]) -> float:
        if self.feature is not None:
            return evidence.held(_number(x.get(self.feature)))
        # fsum: the order of the features must not matter.
        return evidence.held(math.fsum(evidence.held(_number(value)) for value in x.values()))


def _number(value: object) -> float:
    """Give a feature's value as a float; 0 for what is no number (text, None, NaN)."""
    try:
        return float(value)  # type: ignore[arg-type]  # River's features are of any type
    except (TypeError, ValueError, OverflowError):
        return 0.0
