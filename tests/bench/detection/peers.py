"""Other detectors, on the same inputs: River's, plain rules, and random scores as a control."""

from __future__ import annotations

import math
import random
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

from river import linear_model, preprocessing, time_series

from streams.core.detection.river_models import RiverRecipe

_DAY_ROWS: Final = 288


class Counted(Protocol):
    """A series of counts, five minutes each."""

    @property
    def name(self) -> str:
        """Name, from which the control draws."""

    @property
    def counts(self) -> Sequence[float]:
        """Counts, none missing."""


def _river(name: str, **parameters: Any) -> Callable[[Counted], list[float]]:
    def scored(one: Counted) -> list[float]:
        model = RiverRecipe(f"river.anomaly.{name}", parameters).model()
        scores = []
        for count in one.counts:
            scores.append(model.score(count))
            model.learn(count)
        return scores

    return scored


def _predictive(one: Counted) -> list[float]:
    parameters = {"p": 12, "d": 1, "q": 12, "m": 12, "sp": 0, "sq": 0}
    made = preprocessing.StandardScaler() | linear_model.LinearRegression()
    forecaster = time_series.SNARIMAX(regressor=made, **parameters)
    return _river(
        "PredictiveAnomalyDetection", predictive_model=forecaster, warmup_period=_DAY_ROWS
    )(one)


def _fixed_rule(one: Counted) -> list[float]:
    return list(one.counts)


def _rolling_z(one: Counted) -> list[float]:
    last: deque[float] = deque(maxlen=_DAY_ROWS)
    scores, total, squares = [], 0.0, 0.0
    for count in one.counts:
        mean = total / max(len(last), 1)
        spread = math.sqrt(max(squares / max(len(last), 1) - mean * mean, 0.0))
        scores.append((count - mean) / (spread + 1.0) if len(last) == _DAY_ROWS else 0.0)
        if len(last) == _DAY_ROWS:
            total, squares = total - last[0], squares - last[0] ** 2
        last.append(count)
        total, squares = total + count, squares + count * count
    return scores


def _random(one: Counted) -> list[float]:
    draw = random.Random(one.name)
    return [draw.random() for _ in one.counts]


PEERS: Final[dict[str, Callable[[Counted], list[float]]]] = {
    "River HalfSpaceTrees": _river("HalfSpaceTrees", n_trees=25, height=8, window_size=250),
    "River GaussianScorer, window 6,400": _river("GaussianScorer", window_size=6400),
    "River StandardAbsoluteDeviation": _river("StandardAbsoluteDeviation"),
    "River PredictiveAnomalyDetection (SNARIMAX)": _predictive,
    "fixed rule: count over a threshold": _fixed_rule,
    "rolling z-score, 288 rows": _rolling_z,
    "random scores": _random,
}
