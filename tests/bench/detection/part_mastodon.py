"""Mastodon's hourly new users: its waves, the artefacts of its counter, and the rate."""

from __future__ import annotations

import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from streams.app.commands.score import ScoreTask, Told, run_score
from tests.bench.detection.part import Part, data

_WAVES: Final = ("2019-11-08", "2022-04-25", "2022-10-28")
_ARTEFACTS: Final = ("2018-08-30", "2019-07-04", "2021-01-07")


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
    rows = [
        {"day": day, "told as": "jump" if day in jumps else "surge", "alerts": alerts.count(day)}
        for day in sorted({*_WAVES, *_ARTEFACTS, *jumps})
        if day in alerts or day in jumps
    ]

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


def _day_of(told: Told) -> str:
    return datetime.fromtimestamp(int(told.timestamp), UTC).date().isoformat()
