"""What lanes let go of, and when they forget at last where it stood."""

import asyncio
from collections.abc import Mapping

from streams.app.worker.lane import PipelinePolicy, Trade
from streams.app.worker.pipeline import Pipeline
from streams.core.records.texts import Ints
from streams.core.time.buckets import BUCKET_MS
from streams.edges.codec.events import Limits, decode_follows
from streams.edges.metrics.progress import Silence
from streams.edges.store import Fence, MemoryStore, Place, Write
from tests.jobs import follow_partition, stored_of
from tests.unit.test_let_go_expiry import counts_of
from tests.unit.test_partition import BEGIN_MS
from tests.unit.test_pipeline import (
    FOLLOWS,
    LIMIT,
    PLACE,
    Loudspeaker,
    event,
    many,
    run,
    until,
)


class Asked(MemoryStore):
    """A store that can be slow to say what is gone."""

    def __init__(self) -> None:
        super().__init__()
        self.writes = 0
        self.asked: list[dict[str, list[int]]] = []
        self.answers = asyncio.Event()
        self.answers.set()

    async def read_gone(self, place: Place, groups: Mapping[str, Ints]) -> dict[str, Ints]:
        self.asked.append({name: held.tolist() for name, held in groups.items()})
        gone = await super().read_gone(place, groups)
        await self.answers.wait()
        return gone

    async def write(self, place: Place, fence: Fence, write: Write) -> int:
        self.writes += 1
        return await super().write(place, fence, write)

    def expire(self) -> None:
        """All that is held of followers is gone."""
        self._drawers[PLACE].series["follows"].clear()


class Told(Silence):
    """Hears how many keys are left out of memory."""

    left_out = -1

    def stands(self, places: object, keys: object, event_ids: object, left_out: object) -> None:
        assert isinstance(left_out, dict)
        self.left_out = left_out["follows"]


def pipeline_on(store: MemoryStore, forget_seconds: float, told: Told) -> Pipeline:
    """A pipeline that writes after each record and keeps no key in memory."""
    trade = Trade(
        lambda chunk: decode_follows(chunk, BEGIN_MS + 10**9, Limits()),
        lambda: follow_partition(100),
    )
    policy = PipelinePolicy(0.01, 1, LIMIT, keys_in_memory_max=0, forget_seconds=forget_seconds)
    return Pipeline({"follows": trade}, store, Loudspeaker(), policy, told)


def test_where_keys_stood_that_the_store_holds_no_more_is_forgotten() -> None:
    async def body() -> None:
        store, told = Asked(), Told()
        pipeline = pipeline_on(store, 0.0, told)
        await pipeline.take_over({FOLLOWS}, 1)
        await pipeline.take(event(0, many("ann", 5)))
        await until(lambda: store.asked == [{"follows": [0]}])
        pipeline.tell({}, {})
        assert told.left_out == 1
        store.expire()
        gone = b'{"creator_id":"ann","follower_id":"f","kind":"unfollow","at_ms":%d}' % BEGIN_MS
        await pipeline.take(event(5, [gone]))
        await until(lambda: len(store.asked) == 2)
        await until(lambda: not any(lane.waiting for lane in pipeline.lanes.values()))
        pipeline.tell({}, {})
        assert told.left_out == 0
        await pipeline.give_up({FOLLOWS})

    run(body)


def test_it_is_not_asked_before_its_time() -> None:
    async def body() -> None:
        store = Asked()
        pipeline = pipeline_on(store, 3_600.0, Told())
        await pipeline.take_over({FOLLOWS}, 1)
        await pipeline.take(event(0, many("ann", 5)))
        await pipeline.give_up({FOLLOWS})
        assert store.asked == []

    run(body)


def test_nothing_is_written_between_the_question_and_its_answer() -> None:
    async def body() -> None:
        store = Asked()
        pipeline = pipeline_on(store, 0.0, Told())
        await pipeline.take_over({FOLLOWS}, 1)
        store.answers.clear()
        await pipeline.take(event(0, many("ann", 1)))
        await until(lambda: len(store.asked) == 1)
        await pipeline.take(event(1, many("ann", 1)))
        for _ in range(20):
            await asyncio.sleep(0)
        assert store.writes == 1
        store.answers.set()
        await pipeline.give_up({FOLLOWS})
        assert store.writes == 2
        stored = stored_of((await store.read(PLACE)).state)
        bucket = BEGIN_MS // BUCKET_MS
        assert counts_of(stored, bucket) == {("follows", "ann"): [(bucket << 32) + 2]}

    run(body)
