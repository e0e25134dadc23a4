"""Speed and memory on real Kafka and Redis: ``python -m tests.bench``. Not a test.

Engines take turns within each round; the figures are medians over the rounds. Every engine's
total, largest creator and threshold crossings are held against the truth: a wrong answer ends
the benchmark. CPU is user and system time of the engine's whole process from the moment the
first records are in hand; what its start costs stands beside it.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from tests.bench import memory, report
from tests.bench.engines import ENGINES, Engine
from tests.bench.job import Job, Truth
from tests.bench.stage import Stage, stage_of
from tests.bench.turns import EngineSkipped, Run, WrongAnswer, run_engine
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
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--engines", type=engines_of, default=list(ENGINES), help="a,b,…")
    parser.add_argument("--records", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--redis", choices=("unix", "tcp"), default="unix")
    parser.add_argument("--memory-creators", type=int, default=1_000_000, help="0: no memory part")
    parser.add_argument("--json", type=Path, default=Path("build/bench.json"))
    return parser.parse_args(argv)


def job_of(engine: Engine, records: int) -> Job:
    """The job of an engine: slow ones get a shorter one of the same kind."""
    records = min(records, engine.records_max or records)
    return Job(records, topic=f"follows-{records}")


def run_rounds(
    stage: Stage, options: argparse.Namespace, console: Console
) -> tuple[dict[str, list[Run]], dict[str, str]]:
    """All rounds: runs by engine, and the reasons of the skipped ones."""
    engines: list[Engine] = options.engines
    jobs = {engine.name: job_of(engine, options.records) for engine in engines}
    truths: dict[str, Truth] = {}
    for job in jobs.values():
        if job.topic not in truths:
            console.print(f"filling {job.topic}: records of {job.record_bytes:.0f} bytes")
            stage.fill(job.topic, job.batches())
            truths[job.topic] = job.truth()
    runs: dict[str, list[Run]] = {}
    skipped: dict[str, str] = {}
    for round_no in range(options.rounds):
        for engine in engines:
            if engine.name in skipped:
                continue
            job = jobs[engine.name]
            try:
                run = run_engine(stage, engine, job, truths[job.topic], round_no)
            except EngineSkipped as reason:
                skipped[engine.name] = str(reason)
                console.print(f"round {round_no + 1}: {engine.name} skipped: {reason}")
                continue
            runs.setdefault(engine.name, []).append(run)
            console.print(
                f"round {round_no + 1}: {engine.name}: {run.records / run.wall_seconds:,.0f} "
                f"events/s, {run.cpu_seconds / run.records * 1e6:.2f} µs CPU a record, "
                f"load before {run.load_1m:.1f}"
            )
    return {name: of for name, of in runs.items() if name not in skipped}, skipped


def main(argv: Sequence[str] | None = None) -> int:
    """Run, print, write."""
    options, console = told_options(argv), Console(soft_wrap=True, width=140)
    found: dict[str, Any] = {"date": report.now(), "machine": report.machine()}
    try:
        with stage_of(options.redis) as stage:
            found["versions"] = report.versions(KAFKA_VERSION, stage.redis_version)
            found |= {"redis_by": options.redis, "rounds": options.rounds}
            runs, skipped = run_rounds(stage, options, console)
            found["engines"] = [report.summary_of(name, of) for name, of in runs.items()]
            found["ratios"] = report.ratios_of(found["engines"])
            found["skipped"] = skipped
            report.print_engines(console, found["engines"])
            if options.memory_creators:
                found["memory"] = memory.measure(stage, options.memory_creators)
                memory.print_memory(console, found["memory"])
            if any(name.startswith("surgewatch") for name in skipped):
                return 1  # peers may be absent, we may not
    except (WrongAnswer, ServerMissing) as error:
        console.print(f"bench: {error}")
        return 1
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(found, indent=2) + "\n")
    console.print(f"written: {options.json}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
