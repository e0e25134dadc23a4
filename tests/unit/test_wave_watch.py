"""A partition's waves as buckets close: however far, and in how many steps, time goes on."""

import numpy as np
import pytest

from streams.core.detection.cohorts import Cohorts, Votes
from streams.core.records.keys import Keys
from streams.core.records.texts import Ints
from streams.core.waves.sums import RAW, nothing
from streams.core.waves.watch import WaveWatch

BUCKET = 5_000_000
YEARS = 2_000_000


def some_sums() -> Ints:
    sums = nothing(1)
    sums[: RAW + 1] = 160
    return sums


def watch_at(bucket: int) -> WaveWatch:
    watch = WaveWatch("follows", Keys(), Votes())
    watch.name_by(Cohorts())
    watch.advance(bucket)
    watch.count_ahead({bucket: some_sums()})
    return watch


@pytest.mark.parametrize("gap", [1, 287, 288, 289, 575, 576, 577, 1500, YEARS])
@pytest.mark.parametrize("foresees", [False, True])
def test_a_gap_is_closed_the_same_in_one_step_and_in_many(gap: int, foresees: bool) -> None:
    once, often = watch_at(BUCKET), watch_at(BUCKET)
    if foresees:
        assert once.foresee({BUCKET + gap: some_sums()}, BUCKET + gap + 1)
    once.count_ahead({BUCKET + gap: some_sums()})
    once.advance(BUCKET + gap + 1)
    draw = np.random.default_rng(gap)
    for at in sorted({*draw.integers(1, gap + 1, 9).tolist(), gap}):
        often.advance(BUCKET + at)
    often.count_ahead({BUCKET + gap: some_sums()})
    often.advance(BUCKET + gap + 1)
    assert once.drain() == often.drain()
