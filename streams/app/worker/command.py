"""The command ``surgewatch worker``: the long-running worker against real servers."""

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, Final

import click

from streams.edges.logs.output import set_up_logs
from streams.edges.process.allocator import keep_freed_memory
from streams.edges.process.systemd import SystemdNotifier
from streams.edges.process.watchdog import STALLED_EXIT_CODE
from streams.edges.settings.reading import READ_SETTINGS, Settings, read_settings

CLOSE_SECONDS_MAX: Final = 10.0
"""How long tasks may take to end once the worker has stored and left."""


def run_quickly(main: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine to its end under uvloop, or asyncio where there is none."""
    runner = asyncio.Runner(loop_factory=_loop_factory())
    try:
        runner.run(main)
    finally:
        # a task of a library that will not be cancelled must not leave a worker up and idle
        last_resort = threading.Timer(CLOSE_SECONDS_MAX, os._exit, [STALLED_EXIT_CODE])
        last_resort.daemon = True
        last_resort.start()
        runner.close()
        last_resort.cancel()


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    if sys.platform == "win32":
        return None
    try:
        import uvloop  # noqa: PLC0415 it may be absent
    except ImportError:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory


@click.command(epilog="Example: surgewatch --config surgewatch.toml worker")
@click.pass_context
def worker(context: click.Context) -> None:
    """Count, score and announce until it is ended.

    Reads the topics of follows and comments; SIGTERM finishes what was begun, then leaves; SIGHUP
    reads the settings again. Run as many as there are partitions, or fewer: they share the work.
    """
    from streams.app.worker.worker import Worker  # noqa: PLC0415 Faust takes 2 s; the help needs none

    settings = context.find_object(Settings) or read_settings(os.environ)
    read = context.meta.get(READ_SETTINGS) or partial(read_settings, os.environ)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until the loop hears it
    logs = set_up_logs(settings)
    keep_freed_memory()
    long_running = Worker(settings, logs=logs, read=read)
    try:
        with SystemdNotifier(os.environ, long_running.health):
            run_quickly(long_running.run())
    finally:
        logs.close()
