"""NAB: five real series with labels, ours at budgets fixed beforehand, peers beside it."""

from __future__ import annotations

import math
import random
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from river import linear_model, preprocessing, time_series

from streams.core.detector_river import RiverRecipe
from streams.core.series import SeriesRow, SeriesWatch
from tests.bench.detection.nab import Labelled, labelled_series, peer_scores, score_of
from tests.bench.detection.part import Part

_BUDGETS_DAYS: Final = (4, 5, 6, 7, 8)
_DAY_ROWS: Final = 288


def run() -> Part:
    """Score ours and the peers."""
    series = labelled_series()
    ours = {days: {one.name: _alerts(one, days) for one in series} for days in _BUDGETS_DAYS}
    scores = {days: score_of(series, alerts) for days, alerts in ours.items()}
    mean = sum(scores.values()) / len(scores)
    told = [one.raw(ours[6][one.name]) for one in series]
    hits, false = sum(hit for _, hit, _ in told), sum(bad for _, _, bad in told)
    windows = sum(len(one.windows) for one in series)
    low, high = _bootstrap(series, ours[6])
    rows: list[dict[str, Any]] = [
        {
            "detector": f"surgewatch score, one in {days} days",
            "best threshold": "-",
            "fixed or leave-one-out": round(score, 1),
        }
        for days, score in scores.items()
    ]
    rows[2]["detector"] += f": {hits} of {windows} windows, {false} false; files 90 % "
    rows[2]["detector"] += f"{low:.0f} to {high:.0f}"
    for name, scored in PEERS.items():
        best, honest = peer_scores(series, scored)
        rows.append(
            {
                "detector": name,
                "best threshold": round(best, 1),
                "fixed or leave-one-out": round(honest, 1),
            }
        )
    return Part({"nab_six": round(scores[6], 2), "nab_mean": round(mean, 2)}, rows)


def _alerts(one: Labelled, days: float) -> list[int]:
    watch = SeriesWatch(300_000, 1 / days)
    rows = map(SeriesRow, one.times_ms, one.counts)
    return [n for n, row in enumerate(rows) if watch.take(row).alert]


def _bootstrap(series: list[Labelled], alerts: dict[str, list[int]]) -> tuple[float, float]:
    """5 % and 95 % of the score over drawings of files: what five files can tell."""
    draw = random.Random(1)
    drawn = sorted(score_of(draw.choices(series, k=len(series)), alerts) for _ in range(2000))
    return drawn[100], drawn[1900]


def _river(name: str, **parameters: Any) -> Callable[[Labelled], list[float]]:
    def scored(one: Labelled) -> list[float]:
        model = RiverRecipe(f"river.anomaly.{name}", parameters).model()
        scores = []
        for count in one.counts:
            scores.append(model.score(count))
            model.learn(count)
        return scores

    return scored


def _predictive(one: Labelled) -> list[float]:
    parameters = {"p": 12, "d": 1, "q": 12, "m": 12, "sp": 0, "sq": 0}
    made = preprocessing.StandardScaler() | linear_model.LinearRegression()
    forecaster = time_series.SNARIMAX(regressor=made, **parameters)
    return _river(
        "PredictiveAnomalyDetection", predictive_model=forecaster, warmup_period=_DAY_ROWS
    )(one)


def _fixed_rule(one: Labelled) -> list[float]:
    return one.counts


def _rolling_z(one: Labelled) -> list[float]:
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


def _random(one: Labelled) -> list[float]:
    draw = random.Random(one.name)
    return [draw.random() for _ in one.counts]


PEERS: Final[dict[str, Callable[[Labelled], list[float]]]] = {
    "River HalfSpaceTrees": _river("HalfSpaceTrees", n_trees=25, height=8, window_size=250),
    "River GaussianScorer, window 6,400": _river("GaussianScorer", window_size=6400),
    "River StandardAbsoluteDeviation": _river("StandardAbsoluteDeviation"),
    "River PredictiveAnomalyDetection (SNARIMAX)": _predictive,
    "fixed rule: count over a threshold": _fixed_rule,
    "rolling z-score, a day": _rolling_z,
    "random scores": _random,
}
