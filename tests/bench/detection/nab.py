"""Numenta's scoring of alerts against labelled windows, and one gate for every detector."""

from __future__ import annotations

import csv
import gzip
import importlib.util
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from types import ModuleType
from typing import Final

from streams.core.detection.series import DAY_MS, QUIET_MS
from tests.bench.detection.part import data

_PROFILE: Final = "standard"


@dataclass(frozen=True, slots=True)
class Labelled:
    """A series with its windows; ``gains`` are the rows' weights as the scorer gives them."""

    name: str
    times_ms: list[int]
    counts: list[float]
    points: dict[int, tuple[int | None, float]]
    """By row past the probation: window and weight of an alert there."""
    windows: list[int]
    scorer: ModuleType

    def raw(self, alerts: Sequence[int]) -> tuple[float, int, int]:
        """Raw score, windows hit, false points of alerts at these rows."""
        told = [(1.0, *self.points[row]) for row in alerts if row in self.points]
        found: tuple[float, int, int] = self.scorer.raw(told, self.windows, 1.0, 1.0)
        return found


def labelled_series() -> list[Labelled]:
    """The five real series. Raises PartSkipped."""
    scorer, folder = _scorer(), data("nab")
    windows = json.loads((folder / "windows.json").read_text())
    found = []
    for path in sorted(folder.glob("*.csv.gz")):
        name = next(key for key in windows if path.name.removesuffix(".csv.gz") in key)
        with gzip.open(path, "rt") as text:
            rows = list(csv.DictReader(text))
        times = [_seconds(row["timestamp"]) for row in rows]
        spans = [(_seconds(begin), _seconds(end)) for begin, end in windows[name]]
        points, live = scorer.points(times, range(len(times)), spans, _PROFILE)
        weights = {row: (window, weight) for row, window, weight in points}
        counts = [float(row["value"]) for row in rows]
        stem = name.removesuffix(".csv").rpartition("_")[2]
        times_ms = [round(at * 1000) for at in times]
        found.append(Labelled(stem, times_ms, counts, weights, live, scorer))
    return found


def score_of(series: Sequence[Labelled], alerts: Mapping[str, Sequence[int]]) -> float:
    """NAB score: 0 says nothing, 100 is perfect."""
    total = sum(one.raw(alerts[one.name])[0] for one in series)
    windows = sum(len(one.windows) for one in series)
    return _score(total, windows)


def _score(raw: float, windows: int) -> float:
    """0 where nothing is said (each window then costs 1), 100 where each is hit at once."""
    return 100 * (raw + windows) / (2 * windows)


def gated(times_ms: Sequence[int], scores: Sequence[float], threshold: float) -> list[int]:
    """Rows where one alarm opens: the score reaches the threshold, then 24 hours of quiet."""
    alerts, quiet_until_ms = [], -DAY_MS
    for row, (at_ms, score) in enumerate(zip(times_ms, scores, strict=True)):
        if score >= threshold and at_ms >= quiet_until_ms:
            alerts.append(row)
            quiet_until_ms = at_ms + QUIET_MS
    return alerts


def peer_scores(
    series: Sequence[Labelled], scored: Callable[[Labelled], list[float]]
) -> tuple[float, float]:
    """NAB score of a peer with its best threshold, and leave-one-out.

    Leave-one-out: the threshold of a file is the best one of the other files. Thresholds tried:
    200 quantiles of its scores' upper tail.
    """
    scores = {one.name: scored(one) for one in series}
    pooled = sorted(value for values in scores.values() for value in values)
    tried = sorted({pooled[-1 - round(len(pooled) * 0.3 * (n / 200) ** 4)] for n in range(200)})
    raws = [
        [one.raw(gated(one.times_ms, scores[one.name], at))[0] for one in series] for at in tried
    ]
    windows = sum(len(one.windows) for one in series)

    def best_without(left_out: int) -> list[float]:
        return max(raws, key=lambda row: sum(row) - (row[left_out] if left_out >= 0 else 0.0))

    honest = sum(best_without(n)[n] for n in range(len(series)))
    optimum = sum(best_without(-1))
    return _score(optimum, windows), _score(honest, windows)


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text.split(".", maxsplit=1)[0]).replace(tzinfo=UTC).timestamp()


def _scorer() -> ModuleType:
    spec = importlib.util.spec_from_file_location("nab", data("nab.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
