"""A week after an outage nobody is told because that hour was quiet once."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.app.jobs import follow_partition_of
from streams.core.detection.rhythm import _without_falls
from streams.core.records.chunks import FollowChunk
from streams.core.records.texts import Texts
from streams.core.time.buckets import BUCKET_MS
from streams.edges.settings.reading import Settings

DAY = 288
BEGIN = 20_097 * DAY + 90
"""In the middle of a UTC day."""
CREATORS = 1_000


def told_by_day(outage: range) -> dict[int, int]:
    """Surges that opened, by UTC day, of 13 days of chance with an outage in these buckets."""
    draw = np.random.default_rng(3)
    rates = draw.gamma(2.0, 0.95, CREATORS)
    partition, names = (
        follow_partition_of(Settings()),
        Texts.of([f"c-{n}" for n in range(CREATORS)]),
    )
    told = dict.fromkeys(range(15), 0)
    for first in range(0, 13 * DAY, 72):
        who, at_ms = list[np.ndarray[tuple[int], np.dtype[np.int64]]](), []
        for bucket in range(first, first + 72):
            counts = draw.poisson(rates * (bucket not in outage))
            who.append(draw.permutation(np.repeat(np.arange(CREATORS), counts)))
            each = np.arange(len(who[-1])) * BUCKET_MS // max(len(who[-1]), 1)
            at_ms.append((BEGIN + bucket) * BUCKET_MS + each)
        columns = np.concatenate(who), np.concatenate(at_ms)
        chunk = FollowChunk(names.take(columns[0]), columns[1], np.zeros(len(columns[1]), np.bool_))
        for surge in partition.take(chunk).surges:
            if surge.state == "opened":
                told[surge.opened_ms // BUCKET_MS // DAY - BEGIN // DAY] += 1
    return told


def test_a_week_after_an_outage_as_few_are_told_as_ever() -> None:
    begin = 4 * DAY + 30
    told = told_by_day(range(begin, begin + 24))
    week_after = (BEGIN + begin) // DAY - BEGIN // DAY + 7
    assert told[week_after] <= 4, "a fifth of all of them if that hour were taken for a quiet one"
    assert sum(told.values()) <= 30, "13 are asked for"


def test_an_hour_of_an_outage_is_as_usual_and_what_is_only_quieter_is_kept() -> None:
    hours = 100.0 + 60.0 * np.sin(np.arange(24) / 24 * 2 * np.pi)
    lived = np.array([1.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0])
    by_day = np.tile(hours, (2, 7, 1)) * lived[:, None]
    by_day[0, 3] *= 0.5  # a quiet day
    gone = by_day.copy()
    gone[0, 3, 10:12], gone[0, 2, 5] = 0.0, 0.75 * by_day[0, 2, 5]
    whole = _without_falls(gone, lived)
    assert whole[0, 3, 10:12] == pytest.approx(by_day[0, 3, 10:12])
    assert whole[0, 2, 5] == gone[0, 2, 5]
    rest = np.ones_like(by_day, dtype=np.bool_)
    rest[0, 3, 10:12] = False
    assert (whole[rest] == gone[rest]).all()


@pytest.mark.parametrize("lived", [[0.0] * 7, [1.0, 1.0] + [0.0] * 5])
def test_of_fewer_than_three_days_nothing_is_said(lived: list[float]) -> None:
    by_day = np.zeros((9, 7, 24))
    by_day[:, 0] = 5.0
    assert _without_falls(by_day, np.array(lived)) is by_day


@given(st.lists(st.integers(0, 10**12), min_size=168, max_size=168))
def test_nothing_is_ever_less_or_not_finite(counts: list[int]) -> None:
    by_day = np.array(counts, dtype=np.float64).reshape(1, 7, 24)
    with np.errstate(all="raise", under="ignore"):
        whole = _without_falls(by_day, np.array([3.0, 2.5, 2.0, 1.0, 1.0, 1.0, 0.3]))
    assert np.isfinite(whole).all()
    assert (whole >= by_day).all()
