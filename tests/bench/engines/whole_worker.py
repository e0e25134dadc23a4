"""Surgewatch's whole job: ``surgewatch worker`` as a process, Redis, detector, rules, surges."""

import asyncio
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import numpy as np
from aiokafka import AIOKafkaConsumer
from redis import Redis

from streams.core.block_state import STATE_DTYPE
from streams.core.packing import ENTRY_DTYPE, head_dtype_of
from tests.bench.engines.protocol import Order, answer, memory_mb, order_of
from tests.bench.worker_process import WorkerProcess

LIMIT_SECONDS = 600.0


def counts_of(client: Redis, order: Order) -> Iterator[int]:
    """Follows of 24 hours of each creator, read from the stored bytes."""
    prefix = order.environment["SURGEWATCH_REDIS_PREFIX"]
    head_bytes = head_dtype_of(STATE_DTYPE).itemsize
    for key in client.scan_iter(match=f"{prefix}:*:s:follows:*", count=10_000):
        values = cast("list[bytes]", client.hvals(key))
        for value in values:
            yield int(np.frombuffer(value[head_bytes:], ENTRY_DTYPE)["count"].sum())


async def crossed_of(order: Order) -> dict[str, int]:
    """Creators whose surge was announced by the rule, and when it opened."""
    topic = order.environment["SURGEWATCH_TOPIC_SURGES"]
    consumer = AIOKafkaConsumer(
        topic, bootstrap_servers=order.bootstrap, auto_offset_reset="earliest"
    )
    await consumer.start()
    crossed = {}
    left = sum((await consumer.end_offsets(consumer.assignment())).values())
    while left:
        for records in (await consumer.getmany(timeout_ms=1000)).values():
            left -= len(records)
            for surge in (json.loads(record.value) for record in records):
                if (surge["trigger"], surge["state"]) == ("rule", "opened"):
                    crossed[surge["creator_id"]] = surge["opened_ms"]
    await consumer.stop()
    return crossed


def run(order: Order) -> None:
    """Run a worker over the topic."""
    with WorkerProcess(Path(order.folder), order.environment) as worker:
        last = worker.wait_stored(order.records, LIMIT_SECONDS)
        peak_rss_mb = memory_mb("VmHWM", worker.pid)
        worker.end()
        first = worker.first
    with Redis.from_url(order.environment["SURGEWATCH_REDIS_URL"]) as client:
        counts = list(counts_of(client, order))
    answer(
        total=sum(counts),
        largest=max(counts),
        crossed=asyncio.run(crossed_of(order)),
        first=first,
        last=last,
        peak_rss_mb=peak_rss_mb,
    )


if __name__ == "__main__":
    run(order_of(sys.argv))
