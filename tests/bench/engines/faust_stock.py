"""What both stock Faust engines share: the app, its start and its end.

Best honest settings: messages stay bytes and msgspec decodes them (Faust's own models are
slower), no web server, no leader topic, no sensors beyond the built-in, commits as by default.
"""

import asyncio
from collections.abc import Callable
from typing import Any

import faust

from tests.bench.engines.protocol import Order

STOP_SECONDS_MAX = 10.0


def app_of(order: Order, **settings: Any) -> faust.App:
    """Stock Faust 0.15.3 on its aiokafka driver."""
    return faust.App(
        order.name,
        broker=f"kafka://{order.bootstrap}",
        datadir=order.folder,
        key_serializer="raw",
        value_serializer="raw",
        web_enabled=False,
        topic_disable_leader=True,
        topic_partitions=order.partitions,
        topic_replication_factor=1,
        **settings,
    )


async def run_until(app: faust.App, done: asyncio.Event, report: Callable[[], None]) -> None:
    """Run the app until ``done``, report, stop."""
    await app.start()
    await done.wait()
    report()
    try:
        await asyncio.wait_for(app.stop(), STOP_SECONDS_MAX)
    except TimeoutError:
        return  # measured already; the process ends
