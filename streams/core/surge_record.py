"""Writes the record of a surge from what is remembered, counted and scored."""

from typing import NamedTuple

import numpy as np

from streams.core.block_maths import ScoreColumns
from streams.core.buckets import BUCKET_MS, start_ms_of
from streams.core.rounding import all_rounded, rounded
from streams.core.surges import Measured, OpenSurge, State, Surge
from streams.core.texts import Ints
from streams.core.watch_policy import WatchPolicy


class Moment(NamedTuple):
    """Event time of what is told, and the partition's watermark when it is told."""

    at_ms: int
    seen_ms: int


def measured_of(columns: ScoreColumns, observed: Ints, windows: Ints | int) -> list[Measured]:
    """What the detector's answer and the events of windows of so many buckets amount to.

    What a key is expected to bring in a window is not known before it has lived one: its whole
    history would be the surge itself.
    """
    known = columns.history_buckets >= windows
    known &= ~np.isnan(columns.expected)
    usual: list[float | None] = [*all_rounded(columns.expected * windows)]
    if not known.all():
        usual = [
            one if is_known else None for one, is_known in zip(usual, known.tolist(), strict=True)
        ]
    scores, weights = all_rounded(columns.score), all_rounded(columns.prior_weight)
    return [*map(Measured, observed.tolist(), usual, scores, weights)]


def record_of(
    policy: WatchPolicy, surge: OpenSurge, state: State, moment: Moment, measured: Measured
) -> Surge:
    """Tell a surge: its next revision, with the late records that are told by then."""
    surge.revision += state != "opened"
    by_rule, expected = surge.trigger == "rule", measured.expected_own
    # by position: names cost as much again as all the rest of an announcement
    return Surge(
        surge.surge_id,
        surge.revision,
        policy.kind,
        surge.trigger,
        state,
        surge.severity,
        surge.creator_id,
        surge.post_id,
        surge.opened_ms,
        moment.seen_ms,
        moment.at_ms,
        surge.window_buckets * BUCKET_MS,
        measured.observed,
        policy.rule.threshold if by_rule else None,
        expected,
        None,  # expected_in_wave
        rounded(measured.observed / expected) if expected else None,
        measured.score,
        policy.detector,
        policy.false_alarm_rate,
        measured.prior_weight,
        None,  # langs and
        None,  # usual_lang: of posts, added by those who know them
        surge.late_told,
        None if surge.closing is None else start_ms_of(surge.closing.bucket),
    )
