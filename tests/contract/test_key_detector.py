"""Both bodies of `KeyDetector` keep the same promises."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from streams.core.detection.bank import BankPolicy, RiverBank
from streams.core.detection.block import DetectorBlock
from streams.core.detection.key_detector import KeyDetector, NoAlarmError
from streams.core.detection.policy import DetectorPolicy
from streams.core.detection.river_models import RiverRecipe

Build = Callable[[], KeyDetector[Any]]
_SIZE = 6
_BIRTH = 5_000
_EVERY = np.arange(_SIZE)


def _block() -> KeyDetector[Any]:
    return DetectorBlock(DetectorPolicy())


def _bank() -> KeyDetector[Any]:
    recipe = RiverRecipe("river.anomaly.StandardAbsoluteDeviation")
    return RiverBank(BankPolicy(recipe=recipe, threshold=6.0, warm_up_buckets=50))


@pytest.fixture(params=[_block, _bank], ids=["block", "river"])
def build(request: pytest.FixtureRequest) -> Build:
    """Builder of fresh, equal detectors."""
    made: Build = request.param
    return made


def _counts() -> list[np.ndarray[Any, np.dtype[np.int64]]]:
    draw = np.random.default_rng(4)
    return [draw.poisson(5.0, _SIZE) for _ in range(400)]


def _played(build: Build, slots: np.ndarray[Any, np.dtype[np.int64]] = _EVERY) -> KeyDetector[Any]:
    detector = build()
    detector.grow(_SIZE)
    detector.begin(_EVERY, _BIRTH)
    opened = np.full(_SIZE, _BIRTH)
    for bucket, row in enumerate(_counts(), _BIRTH):
        for part in np.array_split(slots, 1 if slots is _EVERY else 4):
            some = part[row[part] > 0]
            detector.advance(some, opened[some], row[some], bucket + 1)
            opened[some] = bucket + 1
    return detector


_OPEN = _BIRTH + 400


def _scores(detector: KeyDetector[Any], count: int) -> list[float]:
    counts = np.full(_SIZE, count)
    scores: list[float] = detector.score(_EVERY, counts, opened=_OPEN).score.tolist()
    return scores


def test_surge_alarms_and_the_usual_does_not(build: Build) -> None:
    detector = _played(build)
    assert min(_scores(detector, 300)) >= 1.0
    assert max(_scores(detector, 6)) < 1.0
    assert _scores(detector, 0) == [0.0] * _SIZE


def test_scoring_twice_gives_the_same(build: Build) -> None:
    detector = _played(build)
    first = [_scores(detector, count) for count in (3, 30, 10**9)]
    assert [_scores(detector, count) for count in (3, 30, 10**9)] == first


def test_order_and_size_of_batches_leave_no_trace(build: Build) -> None:
    whole, parts = _played(build), _played(build, np.array([4, 0, 5, 2, 1, 3]))
    for count in (3, 30, 10**9):
        assert _scores(whole, count) == _scores(parts, count)


def test_restored_detector_scores_and_learns_on_as_before(build: Build) -> None:
    one, other = _played(build), build()
    other.grow(_SIZE)
    other.restore(_EVERY, one.state_of(_EVERY))
    for detector in (one, other):
        detector.advance(_EVERY, np.full(_SIZE, _OPEN), np.full(_SIZE, 9), _OPEN + 3)
    for count in (3, 30, 10**9):
        assert _scores(one, count) == _scores(other, count)


def test_alarm_count_is_the_first_that_alarms(build: Build) -> None:
    detector = _played(build)
    found = detector.alarm_count(2, 0, 300, _OPEN)
    pair = detector.score(np.array([2, 2]), np.array([found - 1, found]), opened=_OPEN).score
    assert pair[0] < 1.0 <= pair[1]
    with pytest.raises(NoAlarmError):
        detector.alarm_count(2, 0, found - 1, _OPEN)


def test_alarm_counts_of_many_keys_are_those_of_each(build: Build) -> None:
    detector = _played(build)
    slots, lows = np.array([4, 2, 0]), np.array([0, 3, 5])
    first = [detector.alarm_count(slot, 0, 300, _OPEN) for slot in slots.tolist()]
    highs = np.array(first) + np.array([0, 2, 90])
    opened = np.full(3, _OPEN)
    assert detector.alarm_counts(slots, lows, highs, opened).tolist() == first
    with pytest.raises(NoAlarmError):
        detector.alarm_counts(slots, lows, np.array(first) - np.array([0, 1, 0]), opened)


def test_surge_that_ended_is_over_and_one_that_lasts_is_not(build: Build) -> None:
    detector = _played(build)
    opened, counts = np.full(_SIZE, _OPEN), np.array([3_000, 3_000, 6, 3_000, 1, 3_000])
    soon = detector.are_over(_EVERY, _OPEN + 1, opened=opened, counts=counts)
    assert soon[counts == 3_000].tolist() == [False] * 4
    assert detector.are_over(_EVERY, _OPEN + 200, opened=opened, counts=counts).all()


def test_late_records_are_taken(build: Build) -> None:
    detector = _played(build)
    late = np.array([_OPEN - 3, _OPEN - 90, _OPEN - 3])
    detector.amend(np.array([1, 1, 2]), late, np.full(3, _OPEN), np.array([1, 2, 1]))
    assert np.isfinite(_scores(detector, 30)).all()
