"""What remembering event ids costs: off, on, and on with a horizon full of them, in turn."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np

from tests.bench.job import START_MS, Job
from tests.bench.scaling_run import Follows, Size, follows_of_job, run_worker
from tests.bench.stage import Stage

RECORDS: Final = 1_000_000
ROUNDS: Final = 3
HORIZON_MS: Final = 600_000
OFF: Final = {"SURGEWATCH_REPEATS_HORIZON_MS": "0"}
ON: Final = {"SURGEWATCH_REPEATS_HORIZON_MS": str(HORIZON_MS)}
_MEDIANS: Final = ("records_per_second", "cpu_us_a_record", "redis_cpu_us_a_record", "rss_mb")


def by_repeats(stage: Stage, size: Size) -> list[dict[str, Any]]:
    """The benchmark's job over 24 hours, and within one horizon (ten minutes of event time).

    Over 24 hours few ids are remembered at a time, within one horizon every record's is. Each
    with event ids remembered and not, in turn, three rounds, medians.
    """
    records = size.of(RECORDS)
    day = follows_of_job("repeats-day", records, threshold=5_000)
    at_ms = np.sort(np.random.default_rng(9).integers(0, HORIZON_MS, records)) + START_MS
    dense = Follows("repeats-dense", Job(records).columns()[0], at_ms, threshold=5_000)
    # of one generation half is kept: enough that no id must go for want of room
    room = {"SURGEWATCH_REPEATS_IDS_MAX": str(max(1_000, 2 * records))}
    turns = [
        ("24 hours, off", replace(day, settings=OFF)),
        ("24 hours, on", replace(day, settings=ON)),
        ("one horizon, off", replace(dense, settings=OFF)),
        ("one horizon, on", replace(dense, settings=ON | room)),
    ]
    turns = list(size.first(turns))
    for topic in {follows.topic: follows for _, follows in turns}.values():
        topic.fill(stage)
    runs: dict[str, list[dict[str, Any]]] = {what: [] for what, _ in turns}
    rounds = ROUNDS if size.points is None else 1  # a test's
    for round_no in range(rounds):
        for number, (what, follows) in enumerate(turns):
            runs[what].append(run_worker(stage, f"repeats-{number}-{round_no}", follows))
    rows = [{"what": what, "ids_held": 0, **_median(of)} for what, of in runs.items()]
    for row, (_, follows) in zip(rows, turns, strict=True):
        row["ids_held"] = ids_held(follows) if "on" in row["what"].split() else 0
    return [row | _against(row, rows) for row in rows]


def ids_held(follows: Follows) -> int:
    """Event ids within the last horizon of the records."""
    return int(np.count_nonzero(follows.at_ms > follows.at_ms[-1] - HORIZON_MS))


def _median(runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    digits = {"records_per_second": None, "rss_mb": 1}
    row = {
        name: round(statistics.median(run[name] for run in runs), digits.get(name, 3))
        for name in _MEDIANS
    }
    return {"records": runs[0]["records"], **row, "runs": [dict(run) for run in runs]}


def _against(row: dict[str, Any], rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """How much slower than the same records with ids not remembered, and the ids' memory."""
    [off] = [one for one in rows if one["what"] == row["what"].replace(", on", ", off")]
    slower = off["records_per_second"] / row["records_per_second"]
    dearer = row["cpu_us_a_record"] / off["cpu_us_a_record"]
    is_full = row["ids_held"] == row["records"]
    more_bytes = (row["rss_mb"] - off["rss_mb"]) * 1e6
    return {
        "times_slower": round(slower, 3),
        "times_the_cpu": round(dearer, 3),
        "bytes_an_id": round(more_bytes / row["records"]) if is_full else None,
    }
