"""Surgewatch's whole job: ``surgewatch worker`` as a process, Redis, detector, rules, surges."""

import asyncio
import sys
from pathlib import Path

from tests.bench.engines.protocol import Order, answer, memory_mb, order_of
from tests.bench.stored import opened_of, stored_of
from tests.bench.worker_process import WorkerProcess

LIMIT_SECONDS = 600.0


def run(order: Order) -> None:
    """Run a worker over the topic."""
    with WorkerProcess(Path(order.folder), order.environment) as worker:
        last = worker.wait_stored(order.records, LIMIT_SECONDS)
        peak_rss_mb = memory_mb("VmHWM", worker.pid)
        worker.end()
        first = worker.first
    totals = stored_of(order.environment).totals
    answer(
        total=int(totals.sum()),
        largest=int(totals.max(initial=0)),
        crossed=asyncio.run(opened_of(order.environment)),
        first=first,
        last=last,
        peak_rss_mb=peak_rss_mb,
    )


if __name__ == "__main__":
    run(order_of(sys.argv))
