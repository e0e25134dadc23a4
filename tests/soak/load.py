"""Sends follows at a pace, as a process of its own: argument ``Load`` as JSON.

Their event time goes ``SPEED`` times as fast as the clock, so that an hour is ten days of a
platform: windows turn over, surges open and close, days end. It begins so long ago that it is
never in the future.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from streams.core.time.buckets import BUCKET_MS, WINDOW_BUCKETS
from streams.edges.kafka.producer import RecordProducer
from streams.edges.settings.reading import read_settings
from tests.bench.job import Job, creator_of

SPEED: Final = 240
CREATORS: Final = 100_000
DRAWN: Final = 2_000_000
"""Creators drawn once, and sent in this order again and again."""
SURGING_EVERY: Final = 100
"""Of so many records one is of the creator who surges now."""
SURGING_BUCKETS: Final = 6
"""So long one creator surges, then the next."""
TICK_SECONDS: Final = 0.02
_SPARE_SECONDS: Final = 1800.0
_KEPT_BUCKETS: Final = WINDOW_BUCKETS + 12


class Load(NamedTuple):
    """What to send. In ``folder``: ``pace`` is read at each tick (records a second), ``sent`` told.

    It ends when ``pace`` is 0, and writes ``sent.npz``: what it sent in the last buckets.
    """

    folder: str
    topic: str
    environment: dict[str, str]
    begin_seconds: float
    hours: float

    def event_ms(self, seconds: float) -> int:
        """Event time of what is sent at a moment of the clock."""
        span_seconds = self.hours * 3600 + _SPARE_SECONDS
        ahead = (seconds - self.begin_seconds) - span_seconds
        return int((self.begin_seconds + ahead * SPEED) * 1000)

    def sent_seconds(self, event_ms: float) -> float:
        """The moment at which what has an event time was sent."""
        ahead = (event_ms / 1000 - self.begin_seconds) / SPEED
        return self.begin_seconds + self.hours * 3600 + _SPARE_SECONDS + ahead


class Sent:
    """What was sent in each of the last buckets, by creator."""

    def __init__(self) -> None:
        self._counts: dict[int, NDArray[np.int32]] = {}

    def add(self, bucket: int, ids: NDArray[np.int64]) -> None:
        """Count; forgets buckets that no window reaches any more."""
        known = self._counts.get(bucket)
        more = np.bincount(ids, minlength=CREATORS).astype(np.int32)
        self._counts[bucket] = more if known is None else known + more
        for old in [one for one in self._counts if one <= bucket - _KEPT_BUCKETS]:
            del self._counts[old]

    def save(self, path: Path) -> None:
        """Write it: ``buckets``, and ``counts`` with a row for each."""
        buckets = sorted(self._counts)
        np.savez(path, buckets=buckets, counts=np.array([self._counts[one] for one in buckets]))


def pace_in(folder: Path) -> float | None:
    """The pace that is asked for; None: not yet."""
    try:
        return float((folder / "pace").read_text())
    except (OSError, ValueError):  # not there, or just being written
        return None


def surging_in(bucket: int) -> int:
    """The creator who surges in a bucket: one of the smaller half."""
    half = CREATORS // 2
    return half + bucket // SURGING_BUCKETS * 7919 % half


async def send(load: Load) -> None:
    """Send at the pace, until it is 0."""
    folder = Path(load.folder)
    drawn, _ = Job(DRAWN, CREATORS, seed=2).columns()
    keys = [creator_of(number).encode() for number in range(CREATORS)]
    sent = Sent()
    async with RecordProducer(read_settings(load.environment)) as producer:
        await producer.open_topic(load.topic)
        total, due = 0, 0.0
        before = time.time()
        while (pace := pace_in(folder)) != 0.0:
            now = time.time()
            due += (pace or 0.0) * (now - before)
            before = now
            while total < int(due):
                size = min(int(due) - total, 10_000)
                numbers = np.arange(total, total + size)
                at = load.event_ms(time.time())
                bucket = at // BUCKET_MS
                ids = drawn[numbers % DRAWN]
                ids[numbers % SURGING_EVERY == 0] = surging_in(bucket)
                sent.add(bucket, ids)
                some = [keys[creator] for creator in ids.tolist()]
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
            (folder / "sent").write_text(str(total))
            await asyncio.sleep(TICK_SECONDS)
    sent.save(folder / "sent.npz")
    (folder / "done").touch()


if __name__ == "__main__":
    asyncio.run(send(Load(**json.loads(sys.argv[1]))))
