"""Writes the record of a surge from what is remembered, counted and scored."""

from collections.abc import Iterator, Sequence
from itertools import repeat
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from streams.core.detection.block_maths import ScoreColumns
from streams.core.detection.rounding import all_rounded, rounded
from streams.core.records.texts import Ints
from streams.core.surges.surge import (
    MODEL_WINDOW_BUCKETS,
    Measured,
    OpenSurge,
    Severity,
    State,
    Surge,
    Trigger,
)
from streams.core.surges.watch_policy import WatchPolicy
from streams.core.time.buckets import BUCKET_MS, WINDOW_BUCKETS, start_ms_of


class Moment(NamedTuple):
    """Event time of what is told, and the partition's watermark when it is told."""

    at_ms: int
    seen_ms: int


class MeasuredColumns(NamedTuple):
    """What is told of many surges' windows: `Measured`'s fields in their order, and the ratio."""

    observed: list[int]
    expected_own: list[float | None]
    score: list[float]
    prior_weight: list[float]
    expected_in_wave: list[float | None]
    ratio: list[float | None]


class Openings(NamedTuple):
    """What opens at once, by the same trigger; entry by entry."""

    trigger: Trigger
    surge_ids: list[str]
    creator_ids: list[str]
    post_ids: Sequence[str | None]
    at_ms: list[int]
    seen_ms: list[int]
    severities: Sequence[Severity]


def measured_of(columns: ScoreColumns, observed: Ints, windows: Ints | int) -> list[Measured]:
    """What the detector's answer and the events of windows of so many buckets amount to."""
    return [*map(Measured, *measured_columns_of(columns, observed, windows)[:5])]


def measured_columns_of(
    columns: ScoreColumns, observed: Ints, windows: Ints | int
) -> MeasuredColumns:
    """As `measured_of`.

    What a key is expected to bring in a window is not known before it has lived one: its whole
    history would be the surge itself.
    """
    known = columns.history_buckets >= windows
    known &= ~np.isnan(columns.expected)
    usual = np.array(all_rounded(columns.expected * windows))
    above = known & (usual != 0.0)
    ratio = all_rounded(observed[above] / usual[above])
    return MeasuredColumns(
        observed.tolist(),
        _spread(usual[known].tolist(), known),
        all_rounded(columns.score),
        all_rounded(columns.prior_weight),
        _in_wave(columns, windows, known),
        _spread(ratio, above),
    )


def _in_wave(
    columns: ScoreColumns, windows: Ints | int, known: NDArray[np.bool_]
) -> list[float | None]:
    if columns.in_wave is None:
        return [None] * len(known)
    return _spread(all_rounded((columns.in_wave * windows)[known]), known)


def _spread(values: list[float], known: NDArray[np.bool_]) -> list[float | None]:
    """The values where they are known, None elsewhere."""
    if len(values) == len(known):
        return [*values]
    if not values:
        return [None] * len(known)
    left = iter(values)
    return [next(left) if is_known else None for is_known in known.tolist()]


def records_of_opened(
    policy: WatchPolicy, opened: Openings, measured: MeasuredColumns, seen_over_asked: float | None
) -> Iterator[Surge]:
    """Tell surges that open now, as `record_of` would: in columns at a fifth of its cost."""
    by_rule = opened.trigger == "rule"
    window = WINDOW_BUCKETS if by_rule else MODEL_WINDOW_BUCKETS
    return map(
        Surge,
        opened.surge_ids,
        repeat(0),
        repeat(policy.kind),
        repeat(opened.trigger),
        repeat("opened"),
        opened.severities,
        opened.creator_ids,
        opened.post_ids,
        opened.at_ms,
        opened.seen_ms,
        opened.at_ms,
        repeat(window * BUCKET_MS),
        measured.observed,
        repeat(policy.rule.threshold if by_rule else None),
        measured.expected_own,
        measured.expected_in_wave,
        measured.ratio,
        measured.score,
        repeat(policy.detector),
        repeat(policy.false_alarm_rate),
        measured.prior_weight,
        repeat(seen_over_asked),
    )


def record_of(
    policy: WatchPolicy,
    surge: OpenSurge,
    state: State,
    moment: Moment,
    measured: Measured,
    seen_over_asked: float | None,
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
        measured.expected_in_wave,
        rounded(measured.observed / expected) if expected else None,
        measured.score,
        policy.detector,
        policy.false_alarm_rate,
        measured.prior_weight,
        seen_over_asked,
        None,  # langs and
        None,  # usual_lang: of posts, added by those who know them
        surge.late_told,
        None if surge.closing is None else start_ms_of(surge.closing.bucket),
    )
