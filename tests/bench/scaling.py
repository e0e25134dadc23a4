"""Cost as the work grows, on real Kafka and Redis: ``python -m tests.bench.scaling``. Not a test.

Each part has servers of its own. Every creator's stored total and every surge by rule is held
against the records: a wrong answer ends the run. Some thirteen minutes; ``--parts`` runs some.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from tests.bench import floor, report
from tests.bench.floor import FloorRow
from tests.bench.part_names import names_among
from tests.bench.scaling_parts import PARTS, Rows
from tests.bench.scaling_picture import draw_parts
from tests.bench.scaling_platform import platform_rows
from tests.bench.scaling_run import Size
from tests.bench.scaling_tables import filled, table_of
from tests.bench.stage import stage_of
from tests.bench.turns import WrongAnswer
from tests.bench.worker_process import WorkerFailed
from tests.servers import KAFKA_VERSION, ServerMissing


def told_options(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.scaling", description=__doc__)
    parser.add_argument(
        "--parts", type=names_among(PARTS), default=list(PARTS), help=",".join(PARTS)
    )
    parser.add_argument(
        "--scale", type=float, default=1.0, help="times the records and creators; floors need 1"
    )
    parser.add_argument("--points", type=int, help="measure so many points of each part at most")
    parser.add_argument("--redis", choices=("unix", "tcp"), default="unix")
    parser.add_argument("--json", type=Path, default=Path("build/scaling.json"))
    parser.add_argument("--pictures", type=Path, default=Path("build"), help="folder")
    parser.add_argument("--document", type=Path, help="put the tables into it: docs/scaling.md")
    return parser.parse_args(argv)


def floor_rows(parts: Mapping[str, Rows]) -> list[FloorRow]:
    """Rows of the table for cost as the work grows, from full-size parts."""
    met = {row["creators"]: row for row in parts.get("creators", [])}
    million, ten = met.get(1_000_000, {}), met.get(10_000_000, {})
    speed = {size: row["records_per_second"] for size, row in met.items()}
    ten_against = floor.ratio(speed.get(10_000_000), speed.get(100_000))
    redis = {row["creators"]: row for row in parts.get("redis", [])}.get(1_000_000, {})
    hot = {row["share"]: row["records_per_second"] for row in parts.get("hottest", [])}
    even, surging = [row["records_per_second"] for row in parts.get("surging", [])] or (None, None)
    slower = "times slower than"
    return [
        FloorRow(
            *("Redis, a creator all told, median", "bytes", "at most", 160, 100),
            redis.get("bytes_a_creator_median"),
        ),
        FloorRow(
            *("worker, resident, a million creators met", "MB", "at most", 500, 300),
            _most(million, "rss_mb", "meeting_rss_mb"),
        ),
        FloorRow(
            *("worker, resident, ten million creators met", "MB", "at most", 4_000, 2_500),
            _most(ten, "rss_mb", "meeting_rss_mb"),
        ),
        FloorRow(
            "records a second at ten million creators against 100 thousand",
            *("times", "at least", 0.6, 0.8, ten_against),
        ),
        FloorRow(
            *("a scrape of a busy worker with a million creators, p99", "ms", "at most", 100, 50),
            max((row.get("scrape_ms_p99", 0.0) for row in parts.get("scrapes", [])), default=None),
        ),
        FloorRow(
            *("restart to first record counted, a million creators", "s", "at most", 10, 5),
            million.get("restart_seconds"),
        ),
        FloorRow(
            *(f"90 % of records for one creator: {slower} 0.01 %", "times", "at most", 2, 2),
            floor.ratio(hot.get(0.0001), hot.get(0.9)),
        ),
        FloorRow(
            *(f"100,000 surges in one minute: {slower} none", "times", "at most", 2, 2),
            floor.ratio(even, surging),
        ),
    ]


def _most(row: Mapping[str, Any], *names: str) -> float | None:
    """The largest of some figures of a row that may not be there."""
    return max((row[name] for name in names), default=None) if row else None


def print_table(console: Console, name: str, table: str) -> None:
    """Print a table as it stands in the document."""
    console.print(f"{name}:\n\n{table}\n", markup=False, highlight=False)


def when_of(found: Mapping[str, Any]) -> str:
    """When, where and of what versions it was measured, in a line."""
    machine, versions = found["machine"], found["versions"]
    return (
        f"{found['date'][:10]}, {machine['processor']}, {machine['cores']} virtual cores, "
        f"{machine['memory_gb']:.0f} GiB, Apache Kafka {versions['kafka']}, Redis "
        f"{versions['redis']}, Python {versions['python']}, surgewatch {versions['surgewatch']}"
    )


def fill_document(path: Path, found: Mapping[str, Any], tables: Mapping[str, str]) -> None:
    """Put the tables into the document, each with its date where it is no whole run."""
    if found["scale"] == 1.0 and set(found["parts"]) == set(PARTS):
        minutes = round(sum(found["seconds"].values()) / 60)
        texts = {**tables, "when": f"{when_of(found)}; the whole run takes {minutes} minutes."}
    else:
        parts = {name: tables[name] for name in found["parts"]}
        texts = {name: f"{table}\n\n{when_of(found)}" for name, table in parts.items()}
    path.write_text(filled(path.read_text(), texts))


def measure(options: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Every part that is asked for, printed as soon as it is there; the floor; a platform."""
    found: dict[str, Any] = {"date": report.now(), "machine": report.machine()}
    found |= {"scale": options.scale, "load_1m": {}, "seconds": {}, "parts": {}}
    for name in options.parts:
        began = time.monotonic()
        with stage_of(options.redis) as stage:
            found["versions"] = report.versions(KAFKA_VERSION, stage.redis_version)
            found["load_1m"][name] = round(os.getloadavg()[0], 2)
            found["parts"][name] = PARTS[name](stage, Size(options.scale, options.points))
        found["seconds"][name] = round(time.monotonic() - began, 1)
        print_table(console, name, table_of(name, found["parts"][name]))
    whole = found["parts"] if options.scale == 1.0 else {}
    found["floor"] = floor.as_dicts(floor_rows(whole))
    found["platform"] = platform_rows(whole)
    return found


def tables_of(found: Mapping[str, Any]) -> dict[str, str]:
    """All tables of the document that a run has."""
    told = {True: "yes", False: "NO", None: "not measured"}
    judged = [row | {"told": told[row["holds"]]} for row in found["floor"]]
    rows = {**found["parts"], "floor": judged, "platform": found["platform"]}
    return {name: table_of(name, of) for name, of in rows.items() if of}


def main(argv: Sequence[str] | None = None) -> int:
    """Run, print, write."""
    options, console = told_options(argv), Console(soft_wrap=True, width=200)
    try:
        found = measure(options, console)
    except (WrongAnswer, ServerMissing, WorkerFailed) as error:
        console.print(f"bench-scaling: {error}")
        return 1
    tables = tables_of(found)
    for name in ("floor", "platform"):
        if name in tables:
            print_table(console, name, tables[name])
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(found, indent=2) + "\n")
    written = [options.json, *draw_parts(found, options.pictures)]
    if options.document:
        fill_document(options.document, found, tables)
        written.append(options.document)
    console.print(f"written: {', '.join(map(str, written))}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
