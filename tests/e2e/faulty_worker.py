"""A worker in which one thing breaks a while after it reads: run by ``FaultyWorker``.

The real worker otherwise.
"""

import asyncio
import os
import socket
import sys
import time
from typing import Any, Final

from streams.app.worker import faust_app
from streams.app.worker import worker as worker_module
from streams.app.worker.command import run_quickly
from streams.app.worker.worker import Worker
from streams.edges.logs.output import set_up_logs
from streams.edges.process import health
from streams.edges.settings.reading import read_settings
from tests.workers import Site, WorkerProcess

FAULTS: Final = (
    "loop_blocked",
    "fetch_ended",
    "consumer_loop_ended",
    "consumer_loop_blocked",
    "agents_hung",
    "deal_without_end",
    "stop_without_end",
)
"""Each leaves the process up, but idle."""
DNS_GONE: Final = "dns_gone"
DNS_GONE_SECONDS: Final = 5.0
"""No name is resolved for so long, then again."""
_FAULT: Final = "FAULTY_WORKER_FAULT"
_AFTER_SECONDS: Final = 1.0


class FaultyWorker(WorkerProcess):
    """The worker as a process."""

    arguments = ("-m", "tests.e2e.faulty_worker")

    def __init__(self, site: Site, fault: str) -> None:
        site.more = {**site.more, _FAULT: fault}
        super().__init__(site, fault)


async def hang(*_: object) -> None:
    """Never return."""
    await asyncio.Event().wait()


async def lose_dns() -> None:
    """Have every name unknown for a while."""
    resolve = socket.getaddrinfo

    def unknown(*_: object, **__: object) -> Any:
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    socket.getaddrinfo = unknown
    await asyncio.sleep(DNS_GONE_SECONDS)
    socket.getaddrinfo = resolve
    sys.stderr.write("mended now\n")
    sys.stderr.flush()


async def break_it(app: Any, fault: str) -> None:
    """Break one thing in a worker that reads."""
    thread = app.consumer._thread
    kafka = thread._ensure_consumer()
    match fault:
        case "loop_blocked":
            time.sleep(10_000)
        case "fetch_ended":
            thread.thread_loop.call_soon_threadsafe(kafka._fetcher._fetch_task.cancel)
        case "consumer_loop_ended":
            thread.thread_loop.call_soon_threadsafe(thread.thread_loop.stop)
        case "consumer_loop_blocked":
            thread.thread_loop.call_soon_threadsafe(time.sleep, 10_000)
        case "agents_hung":
            app.partition_owner.take = hang  # one that ends is begun again by Faust
        case "deal_without_end":
            app.consumer.gate.begin_dealing()
        case "dns_gone":
            await lose_dns()
        case _:
            os.kill(os.getpid(), 15)


def main() -> None:
    """Run the worker."""
    fault = os.environ[_FAULT]
    settings = read_settings({k: v for k, v in os.environ.items() if k != _FAULT})
    logs = set_up_logs(settings)
    build_app = faust_app.build_app

    def build_faulty(*arguments: Any) -> Any:
        app = build_app(*arguments)
        if fault == "stop_without_end":
            app.stop = hang

        async def wait_and_break() -> None:
            while not app.partition_owner.lanes:
                await asyncio.sleep(0.05)
            await asyncio.sleep(_AFTER_SECONDS)
            sys.stderr.write("broken now\n")
            sys.stderr.flush()
            await break_it(app, fault)

        app.fault = asyncio.get_running_loop().create_task(wait_and_break())
        return app

    worker_module.build_app = build_faulty  # type: ignore[attr-defined, assignment]  # imported there
    health.STOP_SECONDS_MAX = health.DEAL_SECONDS_MAX = 5.0  # type: ignore[misc]  # no test waits
    worker = Worker(settings, logs=logs)
    if fault == DNS_GONE:
        asyncio.run(worker.run())  # uvloop resolves names where no test can reach
    else:
        run_quickly(worker.run())


if __name__ == "__main__":
    main()
