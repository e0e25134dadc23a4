"""An append-only file cut anywhere inside a write: the counts are right after all that follows.

A Redis 7.0 whose file ends inside a transaction goes on with the open MULTI in it, so the half
that was left of it is carried out at a later start, together with what was written since.
"""

import asyncio
import time
from collections.abc import Callable, Iterable

import pytest
from faust.types import TP
from redis import Redis
from redis.asyncio import Redis as AsyncRedis

from streams.app.worker.lane import PipelinePolicy, Trade
from streams.app.worker.pipeline import Pipeline
from streams.core.records.dead_letter_limit import DeadLetterLimit
from streams.edges.codec.events import Limits, decode_follows
from streams.edges.metrics.progress import Silence
from streams.edges.redis.store import RedisStore, RedisStorePolicy
from streams.edges.store import Place
from tests.jobs import follow_partition, stored_of
from tests.servers import RedisServer
from tests.unit.test_partition import BEGIN_MS
from tests.unit.test_pipeline import Loudspeaker, event, follow

FOLLOWS = TP("follows", 0)
PLACE = Place("follows", 0)
RECORDS = [follow(f"c-{i % 7 + i // 30}", BEGIN_MS + 40_000 * i) for i in range(120)]
"""New creators all the way, and the rule's surges: every list of a write is in use."""
Bytes = dict[str, dict[str, bytes]]


class Recounts(Silence):
    """Counts how often a partition was counted anew."""

    def __init__(self) -> None:
        self.count = 0

    def recounts(self) -> None:
        """See Progress."""
        self.count += 1


class Bench:
    """One Redis whose file is cut, and workers that go on after it."""

    def __init__(self, server: RedisServer) -> None:
        self.server = server
        self.recounts = Recounts()
        self.generation = 0
        [self._file] = (server.folder / "appendonlydir").glob("*.incr.aof")

    def count(self, ends: Iterable[int]) -> None:
        """Have a new worker count and store up to each of these offsets."""
        asyncio.run(asyncio.wait_for(self._count(list(ends)), 20))

    async def _count(self, ends: list[int]) -> None:
        store = self._store()
        trade = Trade(
            lambda chunk: decode_follows(chunk, BEGIN_MS + 10**9, Limits()),
            lambda: follow_partition(10),
        )
        policy = PipelinePolicy(0.01, 10_000, DeadLetterLimit(0.5, 100, 20))
        pipeline = Pipeline({"follows": trade}, store, Loudspeaker(), policy, self.recounts)
        for end in ends:
            self.generation += 1
            begin = (await pipeline.take_over({FOLLOWS}, self.generation))[FOLLOWS] or 0
            if begin < end:
                await pipeline.take(event(begin, RECORDS[begin:end]))
            await pipeline.give_up({FOLLOWS})
        await store.close()

    def state(self) -> tuple[int | None, Bytes, dict[str, bytes]]:
        """Offset, values of all series and open surges, as a worker reads them."""

        async def read() -> tuple[int | None, Bytes, dict[str, bytes]]:
            store = self._store()
            held = await store.read(PLACE)
            await store.close()
            return held.next_offset, stored_of(held.state), held.state.surges

        return asyncio.run(read())

    def file(self) -> bytes:
        """The append-only file."""
        return self._file.read_bytes()

    def restart(self, content: bytes | None = None) -> None:
        """Kill Redis and start it again; with ``content``, on a file that was left so."""
        self.server.kill()
        if content is not None:
            self._file.write_bytes(content)
        self.server.start()

    def flush(self) -> None:
        """Empty Redis."""
        with Redis.from_url(self.server.url) as client:
            client.flushall()

    def _store(self) -> RedisStore:
        policy = RedisStorePolicy("t", 86_400, self.server.url)
        return RedisStore(AsyncRedis.from_url(self.server.url), policy, time.monotonic)


@pytest.fixture
def bench(redis_factory: Callable[..., RedisServer]) -> Bench:
    settings = {
        "appendfsync": "always",
        # the worst case: no worker may have the file written anew, and so heal it beforehand
        "rename-command": 'BGREWRITEAOF ""',
        "auto-aof-rewrite-percentage": "0",
    }
    return Bench(redis_factory(settings=settings))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("begin", "end", "step"),
    # a write of three creators, cut in each command (the shortest has 15 bytes): Redis leaves the
    # same files as of cuts at every byte; a large write with surges
    [(40, 43, 7), (40, 90, 41)],
)
def test_a_file_cut_anywhere_inside_a_write_never_leads_to_a_wrong_count(
    bench: Bench, begin: int, end: int, step: int
) -> None:
    bench.count([len(RECORDS)])
    expected = bench.state()
    bench.flush()
    bench.count([begin])
    first = len(bench.file())
    bench.count([end])
    whole = bench.file()
    left_over: set[bytes] = set()
    for size in range(first, len(whole), step):
        bench.restart(whole[:size])
        if bench.file() in left_over:
            continue  # Redis cut it shorter, to where it has been cut before: all goes on as then
        left_over.add(bench.file())
        bench.count([begin + 1])  # less than the write that was cut: other keys, in other groups
        bench.restart()
        bench.count([end + 7, len(RECORDS)])
        assert bench.state() == expected, f"cut at byte {size - first} of {len(whole) - first}"
    assert len(left_over) > 5
    assert bench.recounts.count > 0, "no cut was one that Redis carries out later"
