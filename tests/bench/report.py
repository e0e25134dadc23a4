"""What the benchmark says: a table for people, JSON for machines."""

from __future__ import annotations

import os
import platform
import statistics
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from tests.bench.turns import Run

PACKAGES = ("surgewatch", "faust-streaming", "aiokafka", "msgspec", "numpy", "redis", "uvloop")


def summary_of(name: str, runs: Sequence[Run], wrong: Sequence[str] = ()) -> dict[str, Any]:
    """An engine's medians over its rounds; every run stands beside them.

    ``wrong`` tells what its other runs answered wrongly; they are in no median.
    """
    records = runs[0].records
    million = records / 1e6

    def median(values: Iterable[float]) -> float:
        return round(statistics.median(values), 4)

    return {
        "name": name,
        "records": records,
        "events_per_second": round(statistics.median(records / run.wall_seconds for run in runs)),
        "cpu_seconds_per_million": median(run.cpu_seconds / million for run in runs),
        "peak_rss_mb": round(statistics.median(run.peak_rss_mb for run in runs), 1),
        "total": runs[0].total,
        "largest": runs[0].largest,
        "crossed": runs[0].crossed,
        "wrong": list(wrong),
        "cpu_seconds_with_start": median(run.cpu_seconds + run.start_cpu_seconds for run in runs),
        "start_cpu_seconds": median(run.start_cpu_seconds for run in runs),
        "start_wall_seconds": median(run.start_wall_seconds for run in runs),
        "servers_cpu_seconds": {
            server: median(run.servers_cpu_seconds[server] for run in runs)
            for server in runs[0].servers_cpu_seconds
        },
        "load_1m": [round(run.load_1m, 2) for run in runs],
        "runs": [run.as_dict() for run in runs],
    }


def ratios_of(engines: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    """How many times the whole job's CPU a record, and its speed over theirs, by engine.

    An engine that answered wrongly is compared with nothing.
    """
    by_name = {engine["name"]: engine for engine in engines if not engine["wrong"]}
    whole = by_name.get("surgewatch")
    if whole is None:
        return {}
    return {
        name: {
            "cpu_against_surgewatch": round(
                engine["cpu_seconds_per_million"] / whole["cpu_seconds_per_million"], 2
            ),
            "surgewatch_speed_against_it": round(
                whole["events_per_second"] / engine["events_per_second"], 2
            ),
        }
        for name, engine in by_name.items()
        if name != "surgewatch"
    }


def machine() -> dict[str, Any]:
    """Processor, cores, memory, system."""
    names = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    memory_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "processor": names[0] if names else platform.machine(),
        "cores": os.cpu_count(),
        "memory_gb": round(memory_bytes / 2**30, 1),
        "system": f"{platform.system()} {platform.release()}",
    }


def versions(kafka: str, redis: str) -> dict[str, str]:
    """Versions of Python, the servers and the packages that matter."""
    found = {"python": platform.python_version(), "kafka": kafka, "redis": redis}
    for package in PACKAGES:
        try:
            # the server's version is there under the client's name
            found["redis-py" if package == "redis" else package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def now() -> str:
    """Time of the benchmark, UTC."""
    return datetime.now(tz=UTC).isoformat(timespec="seconds")


def print_engines(
    console: Console,
    engines: Sequence[Mapping[str, Any]],
    wrong: Mapping[str, Sequence[str]],
) -> None:
    """Print the engines' table; one without a right answer has a row without figures."""
    table = Table(box=box.MARKDOWN)
    table.add_column("engine")
    columns = ("records", "events/s", "CPU µs a record", "start CPU s", "start s", "peak MB")
    for column in (*columns, "crossed", "load before", "answers"):
        table.add_column(column, justify="right")
    for engine in engines:
        table.add_row(
            engine["name"],
            f"{engine['records']:,}",
            f"{engine['events_per_second']:,}",
            f"{engine['cpu_seconds_per_million']:.2f}",
            f"{engine['start_cpu_seconds']:.2f}",
            f"{engine['start_wall_seconds']:.1f}",
            f"{engine['peak_rss_mb']:.0f}",
            "-" if engine["crossed"] is None else str(engine["crossed"]),
            " ".join(f"{load:.1f}" for load in engine["load_1m"]),
            _answers(len(engine["load_1m"]), len(engine["wrong"])),
        )
    with_figures = {engine["name"] for engine in engines}
    for name in (one for one in wrong if one not in with_figures):
        table.add_row(name, *("-" for _ in columns), "-", "-", _answers(0, len(wrong[name])))
    console.print(table)
    for name, what in wrong.items():
        console.print(f"{name} answered WRONGLY and is not compared: {'; '.join(what)}")
    for name, ratio in ratios_of(engines).items():
        console.print(
            f"{name} takes {ratio['cpu_against_surgewatch']:.2f} times the CPU of surgewatch; "
            f"surgewatch is {ratio['surgewatch_speed_against_it']:.2f} times as fast"
        )
    for engine in engines:
        servers = engine["servers_cpu_seconds"].items()
        told = ", ".join(f"{name} {seconds:.2f} s" for name, seconds in servers)
        console.print(f"{engine['name']}: CPU of the servers meanwhile: {told}")


def _answers(right: int, wrong: int) -> str:
    return f"{wrong} of {right + wrong} WRONG" if wrong else "right"
