"""The producer: sends records through every fault, and keeps what was acknowledged."""

import asyncio
import logging
import threading
import time
import zlib
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from streams.edges.producer import aiokafka_quiet, partition_of
from tests.chaos.records import Records

log = logging.getLogger(__name__)
_TICK_SECONDS = 0.05
_LOT = 2000
_IN_FLIGHT_MAX = 64


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """One batch that Kafka acknowledged: its place, and a checksum of each value."""

    topic: str
    partition: int
    base_offset: int
    checksums: list[int]


class Stream:
    """A producer in a thread of its own. A batch that fails is of unknown outcome: see Truth."""

    def __init__(
        self, bootstrap: str, topics: dict[str, str], partitions: int, records: Records
    ) -> None:
        self.per_second = 0
        self.acknowledged: list[Acknowledged] = []
        self.unknown = 0
        self._owed = 0
        self._ends = False
        self._bootstrap, self._topics, self._partitions = bootstrap, topics, partitions
        self._records = records
        self._futures: dict[asyncio.Future[Any], Callable[[int], Acknowledged]] = {}
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)
        self._thread.start()

    def pause(self) -> None:
        """What is sent from now on is later than all that was sent."""
        self._records.pause()

    def owe(self, records: int) -> None:
        """Send so many records as fast as it goes."""
        self._owed += records

    @property
    def settled(self) -> bool:
        """Whether nothing is to be sent, nor of unknown outcome."""
        return not self.per_second and not self._owed and not self._futures

    def stop(self) -> None:
        """End it; what is in flight is dropped."""
        self._ends = True
        self._thread.join(30)

    async def _run(self) -> None:
        with aiokafka_quiet([]):
            while not self._ends:
                producer = AIOKafkaProducer(
                    bootstrap_servers=self._bootstrap,
                    acks="all",
                    enable_idempotence=True,
                    max_batch_size=1_000_000,
                    request_timeout_ms=10_000,
                )
                try:
                    await producer.start()
                    await self._send_until_failure(producer)
                except (KafkaError, OSError) as error:
                    log.info("producer begins anew after %s", type(error).__name__)
                finally:
                    await self._drop(producer)

    async def _drop(self, producer: AIOKafkaProducer) -> None:
        """End a producer at once: nothing of it may be sent later."""
        for future in self._futures:
            future.cancel()
        self.unknown += len(self._futures)
        self._futures.clear()
        if producer._sender is not None:
            with suppress(KafkaError, OSError):
                await producer._sender.close()
        await producer.client.close()
        producer._closed = True

    async def _send_until_failure(self, producer: AIOKafkaProducer) -> None:
        due = 0.0
        last = time.monotonic()
        while not self._ends:
            await asyncio.sleep(_TICK_SECONDS)
            self._collect()
            now = time.monotonic()
            due += min(now - last, 1.0) * self.per_second
            last = now
            if len(self._futures) < _IN_FLIGHT_MAX:
                extra = min(self._owed, _LOT)
                await self._send(producer, int(due) + extra)
                self._owed -= extra
                due -= int(due)

    async def _send(self, producer: AIOKafkaProducer, count: int) -> None:
        lots: dict[tuple[str, int], list[tuple[bytes, bytes]]] = defaultdict(list)
        for _ in range(count):
            name, key, value = self._records.next()
            lots[self._topics[name], partition_of(key, self._partitions)].append((key, value))
        for (topic, partition), lot in lots.items():
            builder = producer.create_batch()
            taken: list[int] = []
            for key, value in lot:
                if builder.append(timestamp=None, key=key, value=value) is None:
                    await self._submit(producer, (topic, partition), builder, taken)
                    builder, taken = producer.create_batch(), []
                    builder.append(timestamp=None, key=key, value=value)
                taken.append(zlib.crc32(value))
            await self._submit(producer, (topic, partition), builder, taken)

    async def _submit(
        self, producer: AIOKafkaProducer, place: tuple[str, int], builder: Any, sums: list[int]
    ) -> None:
        builder.close()
        topic, partition = place
        future = await producer.send_batch(builder, topic, partition=partition)
        self._futures[future] = lambda base: Acknowledged(topic, partition, base, sums)

    def _collect(self) -> None:
        """Keep what is acknowledged; raises what failed."""
        for future in [future for future in self._futures if future.done()]:
            booked = self._futures.pop(future)
            try:
                metadata = future.result()
            except KafkaError:
                self.unknown += 1
                raise
            self.acknowledged.append(booked(metadata.offset))
