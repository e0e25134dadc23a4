"""A store that is slower than the counting: when its writes begin, and that they get away."""

import asyncio

from streams.app.worker.pipeline import AHEAD_FLUSHES, Pipeline
from streams.edges.store import Fence, MemoryStore, Place, Write
from tests.unit.test_pipeline import FOLLOWS, Loudspeaker, event, many, pipeline_on, run


class SlowStore(MemoryStore):
    """Takes a write in pieces, one a turn of the loop, and stores it when it is let."""

    def __init__(self, pieces: int) -> None:
        super().__init__()
        self.pieces, self.begun, self.arrived = pieces, 0, 0
        self.let = asyncio.Semaphore(0)
        self.offsets: list[int] = []

    def let_all(self) -> None:
        """Hold up no write from now on."""
        for _ in range(100):
            self.let.release()

    async def write(self, place: Place, fence: Fence, write: Write) -> int:
        """See Store."""
        self.begun += 1
        self.offsets.append(write.next_offset)
        for _ in range(self.pieces):
            await asyncio.sleep(0)
        self.arrived += 1
        await self.let.acquire()
        return await super().write(place, fence, write)


async def taking(store: MemoryStore) -> Pipeline:
    pipeline = pipeline_on(store, Loudspeaker(), flush_records_max=10)
    await pipeline.take_over({FOLLOWS}, 1)
    return pipeline


def test_a_write_has_left_before_the_next_chunk_is_counted() -> None:
    async def body() -> None:
        store = SlowStore(pieces=12)
        pipeline = await taking(store)
        await pipeline.take(event(0, many("ann", 10)))
        assert store.arrived == 1
        store.let_all()
        await pipeline.give_up({FOLLOWS})

    run(body)


def test_the_next_write_begins_as_one_ends_and_takes_all_that_waited() -> None:
    async def body() -> None:
        store = SlowStore(pieces=1)
        pipeline = await taking(store)
        for nth in range(AHEAD_FLUSHES):
            await pipeline.take(event(10 * nth, many("ann", 10)))
        assert store.begun == 1
        offset = 10 * AHEAD_FLUSHES
        last = asyncio.create_task(pipeline.take(event(offset, many("ann", 10))))
        await asyncio.sleep(0.05)
        assert not last.done(), "so many writes' worth of records wait"
        store.let.release()
        await last
        assert store.begun == 2
        store.let_all()
        await pipeline.give_up({FOLLOWS})
        assert store.offsets[:2] == [10, offset + 10]

    run(body)
