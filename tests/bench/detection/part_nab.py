"""NAB: five real series with labels, ours at budgets fixed beforehand, peers beside it."""

from __future__ import annotations

import random
from typing import Any, Final

from streams.core.detection.series import SeriesRow, SeriesWatch
from tests.bench.detection.nab import Labelled, labelled_series, peer_scores, score_of
from tests.bench.detection.part import Part
from tests.bench.detection.peers import PEERS

_BUDGETS_DAYS: Final = (4, 5, 6, 7, 8)


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
