"""Stock Faust with a Table: each creator's count of each bucket, changelog in Kafka.

Totals and crossings are kept in a dictionary beside it, as nothing else would be quicker.
"""

import asyncio
import sys
from typing import Any

from tests.bench.engines.faust_stock import app_of, run_until
from tests.bench.engines.protocol import Order, Stamp, answer, order_of, stamp
from tests.bench.engines.tally_dict import BUCKET_MS, decode


async def run(order: Order) -> None:
    """Read the topic once."""
    app, done = app_of(order, store="memory://"), asyncio.Event()
    counts = app.Table("counts", default=int, partitions=order.partitions, key_type=str)
    totals: dict[str, int] = {}
    crossed: dict[str, int] = {}
    stamps: list[Stamp] = []

    @app.agent(app.topic(order.topic))  # type: ignore[untyped-decorator]  # faust has no types
    async def count(stream: Any) -> None:
        left = order.records
        async for value in stream:
            if left == order.records:
                stamps.append(stamp())
            follow = decode(value)
            creator = follow.creator_id
            counts[f"{creator}|{follow.at_ms // BUCKET_MS}"] += 1
            totals[creator] = total = totals.get(creator, 0) + 1
            if total == order.threshold:
                crossed[creator] = follow.at_ms
            left -= 1
            if not left:
                stamps.append(stamp())
                done.set()

    def report() -> None:
        first, last = stamps
        total, largest = sum(counts.values()), max(totals.values())
        answer(total=total, largest=largest, crossed=crossed, first=first, last=last)

    await run_until(app, done, report)


if __name__ == "__main__":
    asyncio.run(run(order_of(sys.argv)))
