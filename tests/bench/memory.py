"""Memory of a worker that met a million creators, and its restart.

Run alone: ``python -m tests.bench.memory``. Not a test.

The creators come in no order, each with one or two follows over 24 hours. Then the worker ends
(once in order, once by SIGKILL), new records come, and it is started again.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from redis import Redis
from rich.console import Console

from tests.bench.engines.protocol import memory_mb
from tests.bench.job import DAY_MS, START_MS, batches_of
from tests.bench.stage import Stage, stage_of
from tests.bench.worker_process import WorkerProcess

LIMIT_SECONDS = 600.0
NEW_RECORDS = 4_000
_NAME, _TOPIC = "memory", "follows-memory"


def measure(stage: Stage, creators: int) -> dict[str, Any]:
    """Run it; sizes in MB (10^6 bytes) and bytes, times in seconds."""
    draw = np.random.default_rng(2)
    ids = np.concatenate((np.arange(creators), draw.choice(creators, creators // 2, replace=False)))
    at_ms = np.sort(draw.integers(0, DAY_MS, len(ids))) + START_MS
    stage.fill(_TOPIC, batches_of(draw.permutation(ids), at_ms))
    stage.make_topics(_NAME, _TOPIC)
    stage.empty_redis()
    # A static member is let in again at once after a kill; a dynamic one waits its session out.
    name = {"SURGEWATCH_KAFKA_INSTANCE_ID": "bench-memory"}
    variables = stage.variables(_NAME, _TOPIC, 5_000) | name
    folder = stage.folder / "memory"
    folder.mkdir()
    before = redis_bytes(stage)
    with WorkerProcess(folder, variables, time_chunks=True) as worker:
        last = worker.wait_stored(len(ids), LIMIT_SECONDS)
        found: dict[str, Any] = {
            "creators": creators,
            "records": len(ids),
            "rss_mb": round(memory_mb("VmRSS", worker.pid), 1),
            "peak_rss_mb": round(memory_mb("VmHWM", worker.pid), 1),
        }
        worker.end()
        first = worker.first
    cpu_seconds = last.cpu_seconds - first.cpu_seconds
    found["cpu_us_a_record"] = round(cpu_seconds / len(ids) * 1e6, 2)
    found["redis_bytes_a_creator"] = round((redis_bytes(stage) - before) / creators, 1)
    found |= _chunk_times(worker.chunk_seconds)
    total = len(ids)
    for how in ("ended", "killed"):
        total += _add_records(stage, creators, total)
        with WorkerProcess(folder, variables) as worker:
            found[f"restart_after_{how}"] = _restart(worker, total)
            if how == "ended":
                worker.kill()
            else:
                worker.end()
    return found


def _restart(worker: WorkerProcess, offset_sum: int) -> dict[str, float]:
    last = worker.wait_stored(offset_sum, LIMIT_SECONDS)
    first = worker.first
    return {
        "first_records_seconds": round(first.at_seconds - worker.began_at, 2),
        "all_stored_seconds": round(last.at_seconds - worker.began_at, 2),
        "cpu_seconds": round(first.cpu_seconds, 2),
        "rss_mb": round(memory_mb("VmRSS", worker.pid), 1),
    }


def _add_records(stage: Stage, creators: int, sent: int) -> int:
    draw = np.random.default_rng(sent)
    ids = draw.integers(0, creators, NEW_RECORDS)
    at_ms = np.sort(draw.integers(0, 60_000, NEW_RECORDS)) + START_MS + DAY_MS
    stage.fill(_TOPIC, batches_of(ids, at_ms, first_event=sent))
    return NEW_RECORDS


def _chunk_times(seconds: Sequence[float]) -> dict[str, Any]:
    """Median and worst of a chunk's decoding and counting, first tenth against last tenth."""
    tenth = max(1, len(seconds) // 10)
    return {
        "chunks": len(seconds),
        "chunk_ms_p50": _ms(statistics.median(seconds)),
        "chunk_ms_p50_first_tenth": _ms(statistics.median(seconds[:tenth])),
        "chunk_ms_p50_last_tenth": _ms(statistics.median(seconds[-tenth:])),
        "chunk_ms_max": _ms(max(seconds)),
    }


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 3)


def redis_bytes(stage: Stage) -> int:
    """Bytes that Redis has allocated."""
    with Redis.from_url(stage.redis.url) as client:
        time.sleep(1.0)  # freed pages are counted late
        return int(client.info("memory")["used_memory"])


def print_memory(console: Console, found: Mapping[str, Any]) -> None:
    """Print it as lines."""
    console.print(f"memory with {found['creators']:,} creators met:")
    for name, value in found.items():
        told = ", ".join(f"{k} {v}" for k, v in value.items()) if isinstance(value, dict) else value
        console.print(f"  {name}: {told}")


def main() -> None:
    """Run the memory part alone."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.memory", description=__doc__)
    parser.add_argument("--creators", type=int, default=1_000_000)
    parser.add_argument("--redis", choices=("unix", "tcp"), default="unix")
    options = parser.parse_args()
    with stage_of(options.redis) as stage:
        print_memory(Console(soft_wrap=True), measure(stage, options.creators))


if __name__ == "__main__":
    main()
