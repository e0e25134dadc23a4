"""Speed and memory on real Kafka and Redis: ``python -m tests.bench``. Not a test.

Engines take turns within each round; the figures are medians over the rounds. Every engine's
total, largest creator and threshold crossings are held against the truth: a wrong answer of ours
ends the benchmark; a peer's is told, its run is in no median, and it is compared with nothing. CPU
is user and system time of the engine's whole process from the moment the first records are in hand;
what its start costs stands beside it.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from tests.bench import floor, latency, memory, picture, report
from tests.bench.engines import ENGINES, OURS, Engine
from tests.bench.rounds import MANY, run_rounds, turns_of
from tests.bench.stage import Stage, stage_of
from tests.bench.turns import WrongAnswer, run_engine
from tests.bench.worker_process import WorkerFailed
from tests.servers import KAFKA_VERSION, ServerMissing


def engines_of(text: str) -> list[Engine]:
    """Engines by their names, in the order of the table. Raises ArgumentTypeError."""
    known = {engine.name: engine for engine in ENGINES}
    unknown = [name for name in text.split(",") if name not in known]
    if unknown:
        message = f"no such engine: {', '.join(unknown)}; there are {', '.join(known)}"
        raise argparse.ArgumentTypeError(message)
    return [engine for name, engine in known.items() if name in text.split(",")]


def told_options(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line. What ``make bench`` measures is the default, but for the peers."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--engines", type=engines_of, default=list(ENGINES), help="a,b,…")
    parser.add_argument("--records", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--redis", choices=("unix", "tcp"), default="unix")
    parser.add_argument(
        "--records-many", type=int, default=0, help="surgewatch on so many too; 0: not"
    )
    parser.add_argument(
        "--latency-seconds", type=float, default=0.0, help="length of that part; 0: no such part"
    )
    parser.add_argument("--memory-creators", type=int, default=1_000_000, help="0: no memory part")
    parser.add_argument("--json", type=Path, default=Path("build/bench.json"))
    parser.add_argument("--picture", type=Path, help="PNG to draw")
    return parser.parse_args(argv)


def measure(stage: Stage, options: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Every part that the options ask for."""
    found: dict[str, Any] = {"date": report.now(), "machine": report.machine()}
    found["versions"] = report.versions(KAFKA_VERSION, stage.redis_version)
    found |= {"redis_by": options.redis, "rounds": options.rounds}
    turns = turns_of(options.engines, options.records, options.records_many)
    runs, skipped, wrong = run_rounds(stage, turns, options.rounds, run_engine, console)
    summaries = {
        name: report.summary_of(name, of, wrong.get(name, [])) for name, of in runs.items()
    }
    found["many"] = summaries.pop(MANY, None)
    found["engines"] = list(summaries.values())
    found |= {"skipped": skipped, "wrong": wrong}
    found["ratios"] = report.ratios_of(found["engines"])
    report.print_engines(console, found["engines"], wrong)
    if options.latency_seconds and "surgewatch" in summaries:
        half = summaries["surgewatch"]["events_per_second"] / 2
        found["latency"] = latency.measure(stage, half, options.latency_seconds)
        latency.print_latency(console, found["latency"])
    rows = floor.speed_rows(found)
    found["floor"] = floor.as_dicts(rows)
    floor.print_floor(console, rows)
    if options.memory_creators:
        found["memory"] = memory.measure(stage, options.memory_creators)
        memory.print_memory(console, found["memory"])
    return found


def main(argv: Sequence[str] | None = None) -> int:
    """Run, print, write."""
    options, console = told_options(argv), Console(soft_wrap=True, width=140)
    try:
        with stage_of(options.redis) as stage:
            found = measure(stage, options, console)
    except (WrongAnswer, ServerMissing, WorkerFailed) as error:
        console.print(f"bench: {error}")
        return 1
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(found, indent=2) + "\n")
    console.print(f"written: {options.json}")
    if options.picture:
        picture.draw_bench(found, options.picture)
        console.print(f"written: {options.picture}")
    ours_are_absent = not (OURS | {MANY}).isdisjoint(found["skipped"])
    return 1 if ours_are_absent else 0  # peers may be absent, we may not


if __name__ == "__main__":
    sys.exit(main())
