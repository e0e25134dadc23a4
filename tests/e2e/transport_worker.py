"""A Faust worker on the batch transport for tests, and the records that it reads."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

import faust
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic, RecordsToDelete
from faust.types import TP

from streams.core.records.chunks import RawChunk
from streams.edges.transport.batch import TransportOptions, faust_settings

WAIT_SECONDS_MAX = 30.0


class Store:
    """Stands for the state store: what was applied, each partition without hole or overlap."""

    def __init__(self) -> None:
        self.offsets: dict[TP, list[int]] = {}
        self.next_offset: dict[TP, int] = {}

    def apply(self, tp: TP, chunks: Sequence[RawChunk]) -> None:
        for chunk in chunks:
            assert not len(chunk.offsets) or chunk.offsets[0] >= self.next_offset.get(tp, 0)
            self.offsets.setdefault(tp, []).extend(chunk.offsets)
            self.next_offset[tp] = chunk.next_offset

    @property
    def count(self) -> int:
        return sum(map(len, self.offsets.values()))


class Owner:
    """Keeps chunks in memory and stores them at a flush; flushes by itself after each chunk."""

    def __init__(self, store: Store, *, flushes: bool = True) -> None:
        self.store = store
        self.flushes = flushes
        self.ready = asyncio.Event()
        self.taken: list[tuple[set[TP], int]] = []
        self.given_up: list[set[TP]] = []
        self.held: dict[TP, list[RawChunk]] = {}
        self.events: list[Any] = []
        self.app: Any = None
        self.rereads: Mapping[TP, tuple[int, int]] = {}

    async def take_over(self, partitions: set[TP], generation: int) -> Mapping[TP, int | None]:
        self.held.clear()
        self.taken.append((set(partitions), generation))
        self.ready.set()
        return {tp: self.store.next_offset.get(tp) for tp in partitions}

    async def give_up(self, partitions: set[TP]) -> None:
        self.given_up.append(set(partitions))
        self.flush()

    async def on_event(self, event: Any) -> None:
        tp = event.message.tp
        assert self.taken, "nothing may be handed over before take_over"
        assert tp in self.taken[-1][0]
        self.held.setdefault(tp, []).append(event.value)
        self.events.append(event)
        if self.flushes:
            self.flush()

    def flush(self) -> None:
        for tp, chunks in self.held.items():
            self.store.apply(tp, chunks)
            if chunks:
                self.app.consumer.ack_to(tp, chunks[-1].next_offset)
        self.held.clear()


class SlowOwner(Owner):
    """An owner whose calls hang once they are told to."""

    hangs_in = ""
    cancelled = False

    async def take_over(self, partitions: set[TP], generation: int) -> Mapping[TP, int | None]:
        if self.hangs_in == "take_over":
            self.hangs_in = ""
            try:
                await asyncio.Event().wait()
            finally:
                self.cancelled = True
        return await super().take_over(partitions, generation)

    async def give_up(self, partitions: set[TP]) -> None:
        if self.hangs_in == "give_up":
            await asyncio.Event().wait()
        await super().give_up(partitions)


class Desk:
    """Topics, records and workers on one Kafka."""

    def __init__(self, bootstrap: str, folder: Path) -> None:
        self.bootstrap = bootstrap
        self.folder = folder

    async def make_topic(self, name: str, partitions: int = 4, **config: str) -> str:
        admin = AIOKafkaAdminClient(bootstrap_servers=self.bootstrap)
        await admin.start()
        try:
            await admin.create_topics([NewTopic(name, partitions, 1, topic_configs=config)])
            # The broker answers before it knows the topic itself: a group that begins meanwhile
            # leaves it out, until its leader looks again minutes later.
            await asyncio.wait_for(_wait_known(admin, name, partitions), WAIT_SECONDS_MAX)
        finally:
            await admin.close()
        return name

    @asynccontextmanager
    async def producer(self, **options: Any) -> AsyncIterator[AIOKafkaProducer]:
        producer = AIOKafkaProducer(bootstrap_servers=self.bootstrap, linger_ms=5, **options)
        await producer.start()
        try:
            yield producer
        finally:
            await producer.stop()

    async def produce(self, topic: str, count: int, partitions: int = 4) -> None:
        async with self.producer() as producer:
            for i in range(count):
                await producer.send(topic, b"v%d" % i, partition=i % partitions)

    def app(
        self,
        group: str,
        topics: Iterable[str],
        owner: Owner | None,
        *,
        on_event: Callable[[Any], Awaitable[None]] | None = None,
        options: TransportOptions | None = None,
        settings: Mapping[str, Any] = MappingProxyType({}),
    ) -> faust.App:
        """An app with an agent for each topic, not started."""
        app = faust.App(group, **{**faust_settings(self.bootstrap, str(self.folder)), **settings})
        app.partition_owner = owner
        app.transport_options = options
        if owner is not None:
            owner.app = app
            on_event = on_event or owner.on_event
        assert on_event is not None
        for topic in topics:
            app.agent(app.topic(topic), name=topic)(_agent_of(on_event))
        return app

    @asynccontextmanager
    async def worker(
        self, group: str, topics: Iterable[str], owner: Owner | None, **options: Any
    ) -> AsyncIterator[faust.App]:
        """A worker that runs until the block ends; takes what `app` takes."""
        app = self.app(group, topics, owner, **options)
        try:
            await asyncio.wait_for(app.start(), WAIT_SECONDS_MAX)
            yield app
        finally:
            await asyncio.wait_for(app.stop(), WAIT_SECONDS_MAX)

    async def committed(self, group: str) -> dict[TP, int]:
        admin = AIOKafkaAdminClient(bootstrap_servers=self.bootstrap)
        await admin.start()
        try:
            found = await admin.list_consumer_group_offsets(group)
        finally:
            await admin.close()
        return {TP(*tp): meta.offset for tp, meta in found.items()}

    async def delete_before(self, topic: str, offset: int) -> None:
        admin = AIOKafkaAdminClient(bootstrap_servers=self.bootstrap)
        await admin.start()
        try:
            await admin.delete_records({TopicPartition(topic, 0): RecordsToDelete(offset)})
        finally:
            await admin.close()

    async def read(self, topic: str, partition: int, **options: Any) -> list[int]:
        """Offsets that a plain consumer reads, up to the partition's end now."""
        tp = TopicPartition(topic, partition)
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self.bootstrap, auto_offset_reset="earliest", **options
        )
        await consumer.start()
        try:
            consumer.assign([tp])
            end = (await consumer.end_offsets([tp]))[tp]
            await consumer.seek_to_beginning(tp)
            offsets: list[int] = []
            while await consumer.position(tp) < end:
                found = await consumer.getmany(tp, timeout_ms=200)
                offsets += [record.offset for record in found.get(tp, [])]
            return offsets
        finally:
            await consumer.stop()


async def _wait_known(admin: AIOKafkaAdminClient, topic: str, partitions: int) -> None:
    while True:
        [told] = await admin.describe_topics([topic])
        if [each["error_code"] for each in told["partitions"]] == [0] * partitions:
            return
        await asyncio.sleep(0.02)


def _agent_of(on_event: Callable[[Any], Awaitable[None]]) -> Any:
    async def agent(stream: Any) -> None:
        async for event in stream.noack().events():
            await on_event(event)

    return agent


async def until(condition: Callable[[], object], what: str = "") -> None:
    """Wait for a condition, within the limit."""

    async def poll() -> None:
        while not condition():
            await asyncio.sleep(0.01)

    try:
        await asyncio.wait_for(poll(), WAIT_SECONDS_MAX)
    except TimeoutError:
        raise AssertionError(what or "the condition never held") from None
