"""A producer that keeps a pace, as a process of its own: argument ``PacedOrder`` as JSON.

All records are made before the first is sent, so that making them costs the run nothing.
"""

import asyncio
import json
import sys
import time
from pathlib import Path
from typing import Final, NamedTuple

from streams.edges.kafka.producer import RecordProducer
from streams.edges.settings.reading import read_settings
from tests.bench.job import Job

TICK_SECONDS: Final = 0.02
_POLL_SECONDS: Final = 0.01


class PacedOrder(NamedTuple):
    """What to send. ``folder``: ``ready`` is made there, ``go`` awaited, ``sent.json`` written."""

    folder: str
    records: int
    threshold: int
    topic: str
    records_per_second: float
    environment: dict[str, str]


async def send(order: PacedOrder) -> None:
    """Make the records, wait for the word, send a tick's worth fifty times a second."""
    folder = Path(order.folder)
    batches = list(Job(order.records, threshold=order.threshold, topic=order.topic).batches())
    keys = [key for batch in batches for key in batch[0]]
    values = [value for batch in batches for value in batch[1]]
    async with RecordProducer(read_settings(order.environment)) as producer:
        await producer.open_topic(order.topic)
        (folder / "ready").touch()
        while not (folder / "go").exists():
            await asyncio.sleep(_POLL_SECONDS)
        began, done = time.time(), 0
        while done < order.records:
            due = min(order.records, int((time.time() - began) * order.records_per_second) + 1)
            await producer.send(order.topic, keys[done:due], values[done:due])
            await producer.push()
            done = due
            await asyncio.sleep(TICK_SECONDS)
        await producer.flush()
        (folder / "sent.json").write_text(json.dumps([began, time.time()]))


if __name__ == "__main__":
    asyncio.run(send(PacedOrder(**json.loads(sys.argv[1]))))
