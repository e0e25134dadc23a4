"""The scalar detector on the five real series with labelled windows (Numenta's benchmark)."""

import csv
import gzip
import importlib.util
import json
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType

import pytest

from streams.core.detector import SurgeDetector
from tests.real_data import real_data

_QUIET_BUCKETS = 288

Series = tuple[list[float], list[float], list[tuple[float, float]]]


def _scorer(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("nab", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _epoch_seconds(text: str) -> float:
    return datetime.fromisoformat(text.split(".", maxsplit=1)[0]).replace(tzinfo=UTC).timestamp()


def _series(folder: Path) -> dict[str, Series]:
    windows = json.loads((folder / "windows.json").read_text())
    found = {}
    for path in sorted(folder.glob("*.csv.gz")):
        with gzip.open(path, "rt") as text:
            rows = list(csv.DictReader(text))
        name = next(key for key in windows if path.name.removesuffix(".csv.gz") in key)
        spans = [(_epoch_seconds(start), _epoch_seconds(end)) for start, end in windows[name]]
        times = [_epoch_seconds(row["timestamp"]) for row in rows]
        found[name] = (times, [float(row["value"]) for row in rows], spans)
    return found


def _alerts(counts: list[float]) -> list[float]:
    """One alert when the score reaches 1, then 24 hours of quiet."""
    detector, alerts, quiet_until = SurgeDetector(), [], 0
    for bucket, count in enumerate(counts):
        alarm = detector.score_one({"count": count}) >= 1.0 and bucket >= quiet_until
        if alarm:
            quiet_until = bucket + _QUIET_BUCKETS
        alerts.append(float(alarm))
        detector.learn_one({"count": count})
    return alerts


@pytest.mark.slow
def test_budget_of_one_in_six_days_finds_the_labelled_windows_of_five_real_series() -> None:
    nab, folder = _scorer(real_data("nab.py")), real_data("nab")
    series = _series(folder)
    assert len(series) == 5
    alerts = {name: _alerts(counts) for name, (_, counts, _) in series.items()}
    score, hits, windows, false_points, _ = nab.evaluate(series, alerts, fixed=(1.0,))["fixed 1"]
    print(f"NAB {score:.2f}, {hits} of {windows} windows, {false_points} false points")  # noqa: T201 - the figure is what one runs this for
    assert score >= 78.0
