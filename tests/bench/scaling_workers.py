"""One against two workers over the same partitions, all records there before they begin."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any, Final
from urllib.request import urlopen

from streams.edges.kafka.topics import input_topics
from streams.edges.process.child import free_port
from streams.edges.settings.list import Settings
from tests.bench.engines.protocol import stamp
from tests.bench.scaling_run import (
    LIMIT_SECONDS,
    Follows,
    Size,
    check,
    check_surges,
    follows_of_job,
    redis_seconds,
    resident_mb,
)
from tests.bench.stage import Stage
from tests.bench.worker_process import WorkerFailed, WorkerProcess

WORKER_COUNTS: Final = (1, 2)
RECORDS: Final = 4_000_000
PARTITIONS: Final = 16
_READY_SECONDS_MAX: Final = 120.0
_OWNED: Final = re.compile(r"^surgewatch_partitions_owned (\S+)$", re.MULTILINE)
_PATIENT: Final = {
    # The workers are stopped while the topic is filled: nobody may think them dead meanwhile.
    "SURGEWATCH_KAFKA_SESSION_TIMEOUT_MS": "300000",
    "SURGEWATCH_WATCHDOG_SECONDS": "3600",
}


def by_workers(stage: Stage, size: Size) -> list[dict[str, Any]]:
    """Speed of all workers together, from the moment they are let go to the last record stored.

    Memory is the largest worker's.
    """
    rows = []
    for count in WORKER_COUNTS:
        follows = follows_of_job(
            f"workers-{count}",
            size.of(RECORDS),
            partitions=PARTITIONS,
            threshold=5_000,
            settings=_PATIENT,
        )
        rows.append({"workers": count, **_run_workers(stage, follows, count)})
    return rows


def _run_workers(stage: Stage, follows: Follows, count: int) -> dict[str, Any]:
    name, records = follows.topic, len(follows.ids)
    stage.empty_redis()
    stage.make_topics(name, follows.topic, follows.partitions)
    variables = follows.variables(stage, name)
    ports = [free_port() for _ in range(count)]
    with ExitStack() as stack:
        workers = []
        for number in range(count):
            folder = stage.folder / f"{name}-{number}"
            folder.mkdir()
            port = {"SURGEWATCH_METRICS_PORT": str(ports[number])}
            workers.append(stack.enter_context(WorkerProcess(folder, variables | port)))
        _wait_owned(ports)
        for worker in workers:
            worker.pause()
        follows.fill(stage)
        began, before = time.time(), [stamp(worker.pid).cpu_seconds for worker in workers]
        redis_before = redis_seconds(stage)
        for worker in workers:
            worker.resume()
        workers[0].wait_stored(records, LIMIT_SECONDS)
        seconds = time.time() - began
        after = [stamp(worker.pid).cpu_seconds for worker in workers]
        redis_spent = redis_seconds(stage) - redis_before
        resident = {
            told: max(resident_mb(what, worker) for worker in workers)
            for told, what in (("rss_mb", "VmRSS"), ("peak_rss_mb", "VmHWM"))
        }
        for worker in workers:
            worker.end()
    check(name, variables, follows.ids)
    check_surges(name, variables, follows)
    spent = [end - begin for begin, end in zip(before, after, strict=True)]
    return {
        "records": records,
        "partitions": follows.partitions,
        "records_per_second": round(records / seconds),
        "cpu_us_a_record": round(sum(spent) / records * 1e6, 3),
        "redis_cpu_us_a_record": round(redis_spent / records * 1e6, 3),
        **resident,
        "cpu_seconds_by_worker": [round(one, 2) for one in spent],
    }


def _wait_owned(ports: Sequence[int]) -> None:
    """Wait until the workers have all partitions of what is read between them, for a second."""
    deadline = time.monotonic() + _READY_SECONDS_MAX
    every = len(input_topics(Settings())) * PARTITIONS
    since = None
    while since is None or time.monotonic() < since + 1.0:
        owned = [_owned(port) for port in ports]
        if sum(owned) != every or not all(owned):
            since = None
        elif since is None:
            since = time.monotonic()
        if time.monotonic() > deadline:
            message = f"the workers have {owned} partitions"
            raise WorkerFailed(message)
        time.sleep(0.1)


def _owned(port: int) -> int:
    """Partitions that the worker with this metrics port has; 0 when it does not answer yet."""
    try:
        with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5.0) as answer:
            found = _OWNED.search(answer.read().decode())
    except OSError:
        return 0
    return int(float(found[1])) if found else 0
