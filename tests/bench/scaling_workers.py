"""One against two workers over the same partitions, all records there before they begin."""

from __future__ import annotations

import time
from contextlib import ExitStack
from typing import Any, Final

from redis import Redis

from tests.bench.engines.protocol import stamp
from tests.bench.scaling_run import (
    LIMIT_SECONDS,
    Follows,
    Size,
    check,
    check_surges,
    follows_of_job,
)
from tests.bench.stage import Stage
from tests.bench.worker_process import WorkerProcess, owners_of

WORKER_COUNTS: Final = (1, 2)
RECORDS: Final = 4_000_000
PARTITIONS: Final = 16
_READY_SECONDS_MAX: Final = 120.0
_PATIENT: Final = {
    # The workers are stopped while the topic is filled: nobody may think them dead meanwhile.
    "SURGEWATCH_KAFKA_SESSION_TIMEOUT_MS": "300000",
    "SURGEWATCH_WATCHDOG_SECONDS": "3600",
}


def by_workers(stage: Stage, size: Size) -> list[dict[str, Any]]:
    """Speed of all workers together, from the moment they are let go to the last record stored."""
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
    with ExitStack() as stack:
        workers = []
        for number in range(count):
            folder = stage.folder / f"{name}-{number}"
            folder.mkdir()
            workers.append(stack.enter_context(WorkerProcess(folder, variables)))
        _wait_owned(variables, count)
        for worker in workers:
            worker.pause()
        follows.fill(stage)
        began, before = time.time(), [stamp(worker.pid).cpu_seconds for worker in workers]
        for worker in workers:
            worker.resume()
        workers[0].wait_stored(records, LIMIT_SECONDS)
        seconds = time.time() - began
        after = [stamp(worker.pid).cpu_seconds for worker in workers]
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
        "cpu_seconds_by_worker": [round(one, 2) for one in spent],
    }


def _wait_owned(variables: dict[str, str], count: int) -> None:
    """Wait until every partition is claimed, by so many workers, and a second longer."""
    deadline = time.monotonic() + _READY_SECONDS_MAX
    with Redis.from_url(variables["SURGEWATCH_REDIS_URL"]) as client:
        while True:
            owners = owners_of(client, variables)
            if len(owners) == PARTITIONS and len(set(owners)) == count:
                time.sleep(1.0)
                return
            if time.monotonic() > deadline:
                message = f"{len(owners)} partitions owned by {len(set(owners))} workers"
                raise TimeoutError(message)
            time.sleep(0.05)
