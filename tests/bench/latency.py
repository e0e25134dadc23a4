"""From a record's arrival in Kafka to its surge announced, at half of the full rate. Not a test.

A real worker reads what a paced producer sends; creators cross a small threshold all along the
run, evenly. A delay begins with the crossing record's LogAppendTime (the broker's clock when it
took the record) and ends when a consumer of ``surges`` has the record in hand: one machine, one
clock. Run alone: ``python -m tests.bench.latency --rate 150000``.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from aiokafka import AIOKafkaConsumer, TopicPartition
from redis import Redis
from rich.console import Console

from streams.edges.process.child import ChildProcess
from tests.bench.job import Job
from tests.bench.paced_producer import PacedOrder
from tests.bench.stage import PARTITIONS, Stage, stage_of
from tests.bench.turns import WrongAnswer
from tests.bench.worker_process import ROOT, WorkerProcess, claimed_of

THRESHOLD: Final = 100
"""The creator of rank k has one record in about 12 k, so she crosses after some 1,200 k records:
the crossings are spread evenly over the run."""
_NAME: Final = "latency"
_READY_SECONDS_MAX: Final = 300.0
_LATE_SECONDS_MAX: Final = 60.0


def measure(stage: Stage, records_per_second: float, seconds: float) -> dict[str, Any]:
    """Run it; delays in milliseconds. Raises WrongAnswer when a surge is missing or differs."""
    records = int(records_per_second * seconds)
    job = Job(records, threshold=THRESHOLD, topic=f"follows-{_NAME}")
    variables = stage.variables(_NAME, job.topic, job.threshold)
    stage.empty_redis()
    stage.make_topics(_NAME, job.topic)
    folder = stage.folder / _NAME
    folder.mkdir()
    order = PacedOrder(
        str(folder), records, job.threshold, job.topic, records_per_second, variables
    )
    command = [sys.executable, "-m", "tests.bench.paced_producer", json.dumps(order._asdict())]
    producer = ChildProcess("producer", command, folder / "producer.log")
    producer.start({**os.environ, "PYTHONPATH": str(ROOT)})
    try:
        with WorkerProcess(folder, variables) as worker:
            producer.wait_until(lambda: _ready(folder, variables), _READY_SECONDS_MAX)
            crossed = job.truth().crossed
            seen = asyncio.run(_watch(stage, folder, len(crossed), seconds))
            worker.wait_stored(records, _LATE_SECONDS_MAX)
            worker.end()
    finally:
        producer.kill()
    opened = {creator: opened_ms for creator, (opened_ms, _) in seen.items()}
    if opened != crossed:
        message = f"latency: {len(opened)} surges told, {len(crossed)} creators crossed"
        raise WrongAnswer(message)
    arrived = asyncio.run(_arrivals(stage, job, set(crossed)))
    delays_ms = [(at - arrived[creator] / 1000) * 1000 for creator, (_, at) in seen.items()]
    began, ended = json.loads((folder / "sent.json").read_text())
    return _summary(records_per_second, records / (ended - began), delays_ms)


def _ready(folder: Path, variables: Mapping[str, str]) -> bool:
    with Redis.from_url(variables["SURGEWATCH_REDIS_URL"]) as client:
        return (folder / "ready").exists() and claimed_of(client, variables) == PARTITIONS


async def _watch(
    stage: Stage, folder: Path, surges: int, seconds: float
) -> dict[str, tuple[int, float]]:
    """Give the word and read the surges topic: creator to the opening and when it was seen."""
    consumer = await _reader(stage, f"{_NAME}-surges")
    (folder / "go").touch()
    deadline = time.time() + 2 * seconds + _LATE_SECONDS_MAX
    seen: dict[str, tuple[int, float]] = {}
    while len(seen) < surges and time.time() < deadline:
        batches = (await consumer.getmany(timeout_ms=1000)).values()
        at = time.time()
        for surge in (json.loads(record.value) for batch in batches for record in batch):
            if (surge["trigger"], surge["state"]) == ("rule", "opened"):
                seen.setdefault(surge["creator_id"], (surge["opened_ms"], at))
    await consumer.stop()
    return seen


async def _arrivals(stage: Stage, job: Job, creators: set[str]) -> dict[str, int]:
    """LogAppendTime, ms since 1970, of each creator's crossing record: its threshold-th."""
    consumer = await _reader(stage, job.topic)
    left, counts, arrived = job.records, dict.fromkeys((c.encode() for c in creators), 0), {}
    while left:
        for records in (await consumer.getmany(timeout_ms=1000)).values():
            left -= len(records)
            for record in records:
                if record.key in counts:
                    counts[record.key] += 1
                    if counts[record.key] == job.threshold:
                        arrived[record.key.decode()] = record.timestamp
    await consumer.stop()
    return arrived


async def _reader(stage: Stage, topic: str) -> AIOKafkaConsumer:
    """A consumer of the whole topic, in no group."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=stage.kafka.bootstrap, auto_offset_reset="earliest"
    )
    await consumer.start()
    places = [TopicPartition(topic, number) for number in range(PARTITIONS)]
    consumer.assign(places)
    await consumer.seek_to_beginning(*places)
    return consumer


def _summary(asked: float, reached: float, delays_ms: list[float]) -> dict[str, Any]:
    p50, p99 = np.percentile(delays_ms, [50, 99])
    return {
        "from": "LogAppendTime of the crossing record",
        "to": "a consumer of surges has the record",
        "records_per_second_asked": round(asked),
        "records_per_second": round(reached),
        "surges": len(delays_ms),
        "p50_ms": round(float(p50), 1),
        "p99_ms": round(float(p99), 1),
        "max_ms": round(max(delays_ms), 1),
    }


def print_latency(console: Console, found: Mapping[str, Any]) -> None:
    """Print it as a line."""
    console.print(
        f"from a record's arrival in Kafka to its surge announced, at "
        f"{found['records_per_second']:,} of {found['records_per_second_asked']:,} records/s: "
        f"p50 {found['p50_ms']:.0f} ms, p99 {found['p99_ms']:.0f} ms, "
        f"at most {found['max_ms']:.0f} ms ({found['surges']:,} surges)"
    )


def main() -> None:
    """Run the latency part alone."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.latency", description=__doc__)
    parser.add_argument("--rate", type=float, default=150_000.0, help="records a second")
    parser.add_argument("--seconds", type=float, default=20.0)
    options = parser.parse_args()
    with stage_of() as stage:
        print_latency(Console(soft_wrap=True), measure(stage, options.rate, options.seconds))


if __name__ == "__main__":
    main()
