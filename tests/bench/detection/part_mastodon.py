"""Mastodon's hourly new users: its waves, the artefacts of its counter, and the rate.

Others beside it: they get the increase of each row, a falling counter as none (ours takes it, and
what a gap brought, as unknown), and the same gate. Their threshold is chosen on the series itself,
so that it alarms as often as asked: ours knows less.
"""

from __future__ import annotations

import csv
import gzip
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from streams.app.commands.score import ScoreTask, Told, run_score
from tests.bench.detection.nab import gated
from tests.bench.detection.part import Part, data
from tests.bench.detection.part_peers import threshold_of
from tests.bench.detection.peers import PEERS, Counted

_WAVES: Final = ("2019-11-08", "2022-04-25", "2022-10-28")
_ARTEFACTS: Final = ("2018-08-30", "2019-07-04", "2021-01-07")


@dataclass(frozen=True, slots=True)
class Hourly:
    """New users of each hour that has a row, and when it was."""

    name: str
    times_ms: list[int]
    counts: list[float]


def run() -> Part:
    """Score it as the command does."""
    path = data("mastodon_hourly.csv.gz")
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "out.csv")
        task = ScoreTask(series=path, out=out, column="usercount", running_total=True)
        summary = run_score(task)
    alerts, jumps = ([_day_of(told) for told in rows] for rows in (summary.alerts, summary.jumps))
    reached = {
        "mastodon_waves": float(len(set(_WAVES) & set(alerts))),
        "mastodon_jumps": float(len(set(_ARTEFACTS) & set(jumps))),
        "mastodon_false": float(len(set(_ARTEFACTS) & set(alerts))),
        "mastodon_rate": round(summary.alerts_per_day / summary.budget_per_day, 3),
    }
    rows: list[dict[str, Any]] = [
        {"what": day, "told as": "jump" if day in jumps else "surge", "alarms": alerts.count(day)}
        for day in sorted({*_WAVES, *_ARTEFACTS, *jumps})
        if day in alerts or day in jumps
    ]
    hourly, asked = _hourly_of(path), summary.budget_per_day * summary.days
    rows += [_row_of("surgewatch", alerts, asked)]
    rows += [_row_of(name, _theirs(scored, hourly, asked), asked) for name, scored in PEERS.items()]

    def draw(folder: Path) -> list[Path]:
        picture = folder / "detection_mastodon.png"
        with tempfile.TemporaryDirectory() as scratch:
            out = Path(scratch, "out.csv")
            run_score(
                ScoreTask(
                    series=path, out=out, plot=picture, column="usercount", running_total=True
                )
            )
        return [picture]

    return Part(reached, rows, draw)


def _row_of(name: str, days: Sequence[str], asked: float) -> dict[str, Any]:
    """Alarms of a detector, by day: waves on their first day, artefacts told as surges."""
    waves, artefacts = (len({*known} & {*days}) for known in (_WAVES, _ARTEFACTS))
    return {
        "what": name,
        "told as": f"{waves} of 3 waves, {artefacts} of 3 artefacts",
        "alarms": f"{len(days)}, asked {asked:.0f}",
    }


def _hourly_of(path: Path) -> Hourly:
    with gzip.open(path, "rt") as text:
        told = [(int(row["timestamp"]), float(row["usercount"])) for row in csv.DictReader(text)]
    counts = [max(now - before, 0.0) for (_, before), (_, now) in pairwise(told)]
    return Hourly("mastodon", [at * 1000 for at, _ in told[1:]], counts)


def _theirs(scored: Callable[[Counted], list[float]], hourly: Hourly, asked: float) -> list[str]:
    scores = scored(hourly)
    threshold = threshold_of([(hourly.times_ms, scores)], asked)
    rows = gated(hourly.times_ms, scores, threshold)
    return [_day(hourly.times_ms[row] // 1000) for row in rows]


def _day_of(told: Told) -> str:
    return _day(int(told.timestamp))


def _day(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).date().isoformat()
