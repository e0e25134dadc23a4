"""Sends follows of now at a pace, as a process of its own: argument ``Load`` as JSON.

First the day before, as quickly as it goes, so that the worker holds what it holds after a day.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from streams.edges.kafka.producer import RecordProducer
from streams.edges.settings.reading import read_settings
from tests.bench.job import DAY_MS, Job, creator_of

CREATORS: Final = 100_000
HISTORY_RECORDS: Final = 3_000_000
"""Of the day before: each creator has some in it, the largest a quarter of a million."""
DRAWN: Final = 2_000_000
"""Creators drawn once, and sent in this order again and again."""
TICK_SECONDS: Final = 0.02


class Load(NamedTuple):
    """What to send. In ``folder``: ``pace`` is read at each tick (records a second), ``sent`` told.

    It ends when ``pace`` is 0, and writes ``sent.npz``: what it sent, by creator.
    """

    folder: str
    topic: str
    environment: dict[str, str]


def pace_in(folder: Path) -> float | None:
    """The pace that is asked for; None: not yet."""
    try:
        return float((folder / "pace").read_text())
    except (OSError, ValueError):  # not there, or just being written
        return None


async def send(load: Load) -> None:
    """Send the history, then at the pace."""
    folder = Path(load.folder)
    history = Job(HISTORY_RECORDS, CREATORS, topic=load.topic)
    ids, at_ms = history.columns()
    at_ms = at_ms - int(at_ms.max()) + int(time.time() * 1000)
    assert at_ms.min() > time.time() * 1000 - DAY_MS - 60_000
    drawn, _ = Job(DRAWN, CREATORS, seed=2).columns()
    keys = [creator_of(number).encode() for number in range(CREATORS)]
    counts = np.zeros(CREATORS, dtype=np.int64)
    async with RecordProducer(read_settings(load.environment)) as producer:
        await producer.open_topic(load.topic)
        for first in range(0, len(ids), 20_000):
            chosen = slice(first, first + 20_000)
            some = [keys[creator] for creator in ids[chosen].tolist()]
            values = [
                b'{"event_id":"h-%d","kind":"follow","creator_id":"%b","follower_id":"f","at_ms":%d}'
                % (number, key, at)
                for number, (key, at) in enumerate(
                    zip(some, at_ms[chosen].tolist(), strict=True), first
                )
            ]
            await producer.send(load.topic, some, values)
        await producer.flush()
        (folder / "sent").write_text(str(HISTORY_RECORDS))
        total, due = 0, 0.0
        before = time.time()
        while (pace := pace_in(folder)) != 0.0:
            now = time.time()
            due += (pace or 0.0) * (now - before)
            before = now
            while total < int(due):
                size = min(int(due) - total, 10_000)
                places = np.arange(total, total + size) % DRAWN
                chosen_ids = drawn[places]
                counts += np.bincount(chosen_ids, minlength=CREATORS)
                some = [keys[creator] for creator in chosen_ids.tolist()]
                at = int(time.time() * 1000)
                values = [
                    b'{"event_id":"e-%d","kind":"follow","creator_id":"%b","follower_id":"f",'
                    b'"at_ms":%d}' % (number, key, at)
                    for number, key in enumerate(some, total)
                ]
                await producer.send(load.topic, some, values)
                total += size
                if time.time() - now > 1.0:  # slower than asked: what is due is not made up for
                    due = min(due, float(total))
            await producer.push()
            (folder / "sent").write_text(str(HISTORY_RECORDS + total))
            await asyncio.sleep(TICK_SECONDS)
    np.savez(folder / "sent.npz", live=counts, ids=ids, at_ms=at_ms)
    (folder / "done").touch()


if __name__ == "__main__":
    asyncio.run(send(Load(**json.loads(sys.argv[1]))))
