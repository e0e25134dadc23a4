"""River's own detectors work for the most active keys, and their state comes back safely."""

import pickle
import random
from typing import Any

import numpy as np
import pytest

from streams.core.detection.bank import BankPolicy, BankPolicyError, RiverBank
from streams.core.detection.key_detector import NoAlarmError
from streams.core.detection.river_models import (
    RiverDetectorError,
    RiverModel,
    RiverRecipe,
    RiverStateError,
)

_GAUSSIAN = RiverRecipe("river.anomaly.GaussianScorer", {"grace_period": 50})
_BIRTH = 1000

_RECIPES = [
    (_GAUSSIAN, 0.999),
    (RiverRecipe("river.anomaly.StandardAbsoluteDeviation"), 8.0),
    (RiverRecipe("river.anomaly.HalfSpaceTrees", {"n_trees": 5, "window_size": 50}), 0.9),
    (RiverRecipe("river.anomaly.HalfSpaceTrees", {"limits": {"count": (0, 99)}}), 0.9),
    (RiverRecipe("river.anomaly.PredictiveAnomalyDetection"), 0.9),
    (RiverRecipe("river.anomaly.LocalOutlierFactor", {"n_neighbors": 5}), 3.0),
    (RiverRecipe("river.anomaly.OneClassSVM"), 1.0),
    (RiverRecipe("river.anomaly.LODA"), 9.0),
]
_every_recipe = pytest.mark.parametrize(
    ("recipe", "threshold"), _RECIPES, ids=[recipe.path for recipe, _ in _RECIPES]
)


def _bank(size: int, keys_max: int = 10, **policy: Any) -> RiverBank:
    chosen: dict[str, Any] = {
        "recipe": _GAUSSIAN,
        "threshold": 0.999,
        "warm_up_buckets": 60,
    } | policy
    bank = RiverBank(BankPolicy(keys_max=keys_max, **chosen))
    bank.grow(size)
    bank.begin(np.arange(size), _BIRTH)
    return bank


def _play(bank: RiverBank, rows: list[list[int]], start: int = _BIRTH) -> int:
    """Close one bucket a row, with each slot's count (0: no event); gives the open bucket."""
    for bucket, row in enumerate(rows, start):
        slots = np.flatnonzero(row)
        counts = np.array(row)[slots]
        bank.advance(slots, np.full(slots.size, bucket), counts, bucket + 1)
    return start + len(rows)


def _usual(buckets: int, size: int = 1) -> list[list[int]]:
    draw = random.Random(3)
    return [[draw.randint(3, 9) for _ in range(size)] for _ in range(buckets)]


@_every_recipe
def test_every_river_detector_works_and_comes_back_from_its_bytes(
    recipe: RiverRecipe, threshold: float
) -> None:
    bank = _bank(1, recipe=recipe, threshold=threshold)
    opened = _play(bank, _usual(120))
    copy = _bank(1, recipe=recipe, threshold=threshold)
    states = bank.state_of(np.array([0]))
    copy.restore(np.array([0]), states)
    assert len(bank) == len(copy) == 1
    _play(bank, _usual(5), opened)
    _play(copy, _usual(5), opened)
    counts = np.array([0, 5, 20, 10**9])
    slots = np.zeros(4, np.int64)
    one = bank.score(slots, counts, opened=opened + 5)
    other = copy.score(slots, counts, opened=opened + 5)
    assert np.isfinite(one.score).all()
    assert one.score.tolist() == other.score.tolist()
    assert one.expected[0] == pytest.approx(6.0, rel=0.2)


def test_surge_alarms_and_its_first_alarming_count_is_found() -> None:
    bank = _bank(1)
    opened = _play(bank, _usual(200))
    seen = bank.score(np.array([0, 0]), np.array([7, 60]), opened=opened).score
    assert seen[0] < 1.0 <= seen[1]
    found = bank.alarm_count(0, 5, 60, opened)
    assert bank.alarm_count(0, 0, 5000, opened) == found
    around = bank.score(np.array([0, 0]), np.array([found - 1, found]), opened=opened).score
    assert around[0] < 1.0 <= around[1]
    with pytest.raises(NoAlarmError):
        bank.alarm_count(0, 0, found - 1, opened)


def test_cold_model_does_not_alarm_whatever_river_says() -> None:
    bank = _bank(1, recipe=RiverRecipe("river.anomaly.StandardAbsoluteDeviation"), threshold=3.0)
    opened = _play(bank, _usual(30))
    assert bank.score(np.array([0]), np.array([10**6]), opened=opened).score[0] == 0.0


def test_bucket_that_has_just_begun_does_not_alarm_for_being_low() -> None:
    recipe = RiverRecipe("river.anomaly.StandardAbsoluteDeviation")
    bank = _bank(1, recipe=recipe, threshold=1.0)
    opened = _play(bank, [[1000 + at % 3] for at in range(100)])
    assert bank.score(np.array([0]), np.array([1]), opened=opened).score[0] == 0.0


def test_idle_buckets_teach_zeros_but_at_most_a_day_of_them() -> None:
    bank = _bank(1)
    opened = _play(bank, _usual(100))
    bank.advance(np.array([0]), np.array([opened]), np.array([6]), opened + 10**6)
    expected = bank.score(np.array([0]), np.array([1]), opened=opened + 10**6).expected[0]
    # 99 buckets were learnt after admission, then this one and 288 empty ones.
    assert expected == pytest.approx(100 * 6 / 388, rel=0.1)


def test_room_goes_to_the_most_active_keys() -> None:
    bank = _bank(4, keys_max=2)
    _play(bank, [[1, 50, 2, 60]] * 5)
    assert set(bank._members) == {1, 3}


def test_newcomer_displaces_the_least_active_only_when_twice_as_active() -> None:
    bank = _bank(3, keys_max=2)
    opened = _play(bank, [[10, 50, 0]] * 40)
    opened = _play(bank, [[10, 50, 15]] * 40, opened)
    assert set(bank._members) == {0, 1}
    _play(bank, [[10, 50, 200]] * 10, opened)
    assert set(bank._members) == {1, 2}


def test_cuts_into_batches_leave_no_trace() -> None:
    rows = _usual(100, size=6)
    recipe = RiverRecipe("river.anomaly.StandardAbsoluteDeviation")
    whole, single = (_bank(6, keys_max=3, recipe=recipe) for _ in range(2))
    _play(whole, rows)
    for bucket, row in enumerate(rows, _BIRTH):
        for slot in (5, 2, 0, 1, 4, 3):
            count = np.array([row[slot]])
            single.advance(np.array([slot]), np.array([bucket]), count, bucket + 1)
    assert whole.state_of(np.arange(6)) == single.state_of(np.arange(6))


def test_more_stored_models_than_room_keep_the_most_active() -> None:
    wide = _bank(4, keys_max=4)
    _play(wide, [[1, 50, 2, 60]] * 5)
    narrow = _bank(4, keys_max=2)
    narrow.restore(np.arange(4), wide.state_of(np.arange(4)))
    assert set(narrow._members) == {1, 3}


def test_last_bucket_without_alarm_means_over() -> None:
    bank = _bank(1)
    opened = _play(bank, _usual(200))
    buckets, counts = np.array([opened, opened + 1, opened + 1, opened + 13]), [500, 500, 6, 500]
    every = np.zeros(4, dtype=np.int64)
    over = bank.are_over(every, buckets, opened=every + opened, counts=np.array(counts))
    assert over.tolist() == [False, False, True, True]


@pytest.mark.parametrize(
    ("path", "parameters", "message"),
    [
        ("os.system", {}, "begins with river"),
        ("riverside.Detector", {}, "begins with river"),
        ("river.anomaly.Nothing", {}, "River has no such class; river.anomaly has: Gauss"),
        ("river.nothing.Nothing", {}, "no such class"),
        ("river.linear_model.LinearRegression", {}, "not an anomaly detector"),
        ("river.anomaly.GaussianScorer", {"no_such": 1}, "bad detector_parameters: .*no_such"),
        ("river.anomaly.QuantileFilter", {}, "not an anomaly detector"),
        ("river.anomaly.StandardAbsoluteDeviation", {"sub_stat": "mean"}, "cannot work on"),
    ],
)
def test_detector_that_cannot_be_used_is_named(
    path: str, parameters: dict[str, Any], message: str
) -> None:
    with pytest.raises(RiverDetectorError, match=message) as caught:
        RiverBank(BankPolicy(recipe=RiverRecipe(path, parameters), threshold=1.0))
    assert caught.value.path == path


@pytest.mark.parametrize(
    ("field", "value"), [("threshold", 0.0), ("keys_max", 0), ("warm_up_buckets", 0)]
)
def test_bank_policy_out_of_range_is_named(field: str, value: float) -> None:
    numbers: dict[str, Any] = {"recipe": _GAUSSIAN, "threshold": 1.0} | {field: value}
    with pytest.raises(BankPolicyError, match=field):
        BankPolicy(**numbers)


class _Acts:
    def __init__(self, name: str) -> None:
        self._name = name

    def __reduce__(self) -> Any:
        import os

        return (os.system, (self._name,))


def _named(module: bytes, name: bytes) -> bytes:
    return (
        b"\x80\x04\x8c"
        + bytes([len(module)])
        + module
        + b"\x8c"
        + bytes([len(name)])
        + name
        + b"\x93."
    )


@pytest.mark.parametrize(
    "raw",
    [
        pickle.dumps(_Acts("true")),
        _named(b"river.datasets.base", b"os"),
        _named(b"river.anomaly.gaussian", b"base.os"),
        _named(b"river.datasets", b"CreditCard"),
        _named(b"river.stream", b"iter_csv"),
        _named(b"builtins", b"eval"),
        _named(b"river.anomaly", b"GaussianScorer"),
        pickle.dumps([1, 2]),
        b"",
        b"\x00\x01",
    ],
)
def test_stored_bytes_that_are_no_river_model_are_refused(raw: bytes) -> None:
    with pytest.raises(RiverStateError, match="empty the store"):
        RiverModel.load(raw)


def test_stored_state_of_another_layout_is_refused() -> None:
    bank = _bank(1)
    with pytest.raises(RiverStateError, match="layout 1"):
        bank.restore(np.array([0]), [b"\x09" * 40])
    with pytest.raises(RiverStateError, match="layout 1"):
        bank.restore(np.array([0]), [b""])
