"""Writes the record of a surge from what is remembered, counted and scored."""

import math
from typing import NamedTuple

from streams.core.block_maths import ScoreColumns
from streams.core.buckets import BUCKET_MS, start_ms_of
from streams.core.surges import Measured, OpenSurge, State, Surge
from streams.core.watch_policy import WatchPolicy


class Moment(NamedTuple):
    """Event time of what is told, and the partition's watermark when it is told."""

    at_ms: int
    seen_ms: int


def measured_of(columns: ScoreColumns, row: int, observed: int, window_buckets: int) -> Measured:
    """What entry ``row`` of the detector's answer and the events of a window amount to."""
    usual = float(columns.expected[row])
    # what a key is expected to bring in a window is not known before it has lived one: its
    # whole history would be the surge itself
    known = columns.history_buckets[row] >= window_buckets and not math.isnan(usual)
    return Measured(
        observed=observed,
        expected_own=_rounded(usual * window_buckets) if known else None,
        score=_rounded(float(columns.score[row])),
        prior_weight=_rounded(float(columns.prior_weight[row])),
    )


def record_of(
    policy: WatchPolicy, surge: OpenSurge, state: State, moment: Moment, measured: Measured
) -> Surge:
    """Tell a surge: its next revision, with the late records that are told by then."""
    surge.revision += state != "opened"
    expected = measured.expected_own
    return Surge(
        surge_id=surge.surge_id,
        revision=surge.revision,
        kind=policy.kind,
        trigger=surge.trigger,
        state=state,
        severity=surge.severity,
        creator_id=surge.creator_id,
        post_id=surge.post_id,
        opened_ms=surge.opened_ms,
        at_ms=moment.at_ms,
        seen_ms=moment.seen_ms,
        window_ms=surge.window_buckets * BUCKET_MS,
        observed=measured.observed,
        threshold=policy.rule.threshold if surge.trigger == "rule" else None,
        expected_own=expected,
        expected_in_wave=None,
        ratio=_rounded(measured.observed / expected) if expected else None,
        score=measured.score,
        detector=policy.detector,
        false_alarm_rate=policy.false_alarm_rate,
        prior_weight=measured.prior_weight,
        late_records=surge.late_told,
        closed_ms=None if surge.closing is None else start_ms_of(surge.closing.bucket),
    )


def _rounded(value: float) -> float:
    """Six significant digits: what is told does not hang on the last bits of an exponential."""
    return float(f"{value:.6g}")
