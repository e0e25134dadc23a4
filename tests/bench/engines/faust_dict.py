"""Stock Faust with plain dictionaries: its most favourable form. Stores nothing."""

import asyncio
import sys
from typing import Any

from tests.bench.engines.faust_stock import app_of, run_until
from tests.bench.engines.protocol import Order, Stamp, answer, order_of, stamp
from tests.bench.engines.tally_dict import DictTally, answers_of


async def run(order: Order) -> None:
    """Read the topic once."""
    app, done = app_of(order), asyncio.Event()
    tallies = [DictTally(order.threshold) for _ in range(order.partitions)]
    stamps: list[Stamp] = []

    @app.agent(app.topic(order.topic))  # type: ignore[untyped-decorator]  # faust has no types
    async def count(stream: Any) -> None:
        left = order.records
        async for event in stream.events():
            if left == order.records:
                stamps.append(stamp())
            tallies[event.message.partition].take((event.value,))
            left -= 1
            if not left:
                stamps.append(stamp())
                done.set()

    first_last = ("first", "last")
    await run_until(
        app,
        done,
        lambda: answer(**answers_of(tallies), **dict(zip(first_last, stamps, strict=True))),
    )


if __name__ == "__main__":
    asyncio.run(run(order_of(sys.argv)))
