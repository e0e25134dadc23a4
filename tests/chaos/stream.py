"""The producer: sends records through every fault, and keeps what was acknowledged."""

import asyncio
import logging
import threading
import time
import zlib
from collections import defaultdict, deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from streams.edges.kafka.producer import aiokafka_quiet, partition_of
from tests.chaos.records import Records

log = logging.getLogger(__name__)
_TICK_SECONDS = 0.05
_LOT = 2000
_IN_FLIGHT_MAX = 64
_MAKE_LOT = 10_000


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """One batch that Kafka acknowledged: its place, and a checksum of each value."""

    topic: str
    partition: int
    base_offset: int
    checksums: list[int]


@dataclass(slots=True)
class _Packed:
    """A batch that is ready to be sent, and a checksum of each value."""

    place: tuple[str, int]
    batch: Any
    checksums: list[int]


class Stream:
    """A producer in a thread of its own. A batch that fails is of unknown outcome: see Truth."""

    def __init__(
        self, bootstrap: str, topics: dict[str, str], partitions: int, records: Records
    ) -> None:
        self.per_second = 0
        self.acknowledged: list[Acknowledged] = []
        self.unknown = 0
        self._owed = self._to_make = 0
        self._burst: deque[_Packed] = deque()
        self._released = False
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

    def make_burst(self, records: int) -> None:
        """Make so many records and pack them, and send none: `release_burst` does.

        To make them takes longer than to send them, so a burst is as fast as Kafka takes it.
        Nothing else may be sent meanwhile: what is made first is first in event time.
        """
        assert self.settled, "records would be out of their order"
        self._records.hurry(hurries=True)
        self._to_make = records

    @property
    def burst_made(self) -> bool:
        """Whether the burst is ready to be released."""
        return not self._to_make

    def release_burst(self) -> None:
        """Send the burst, as fast as it goes and before anything else."""
        self._records.hurry(hurries=False)
        self._released = True

    @property
    def settled(self) -> bool:
        """Whether nothing is to be sent, nor of unknown outcome."""
        return not (self.per_second or self._owed or self._futures or self._to_make or self._burst)

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
            self._make_some(producer)
            if self._released:
                await self._send_burst(producer)
            now = time.monotonic()
            due += min(now - last, 1.0) * self.per_second
            last = now
            if len(self._futures) < _IN_FLIGHT_MAX:
                extra = min(self._owed, _LOT)
                await self._send(producer, int(due) + extra)
                self._owed -= extra
                due -= int(due)

    def _make_some(self, producer: AIOKafkaProducer) -> None:
        count = min(self._to_make, _MAKE_LOT)
        self._burst += self._packed(producer, count)
        self._to_make -= count

    async def _send_burst(self, producer: AIOKafkaProducer) -> None:
        """Send all that is made; what a failure leaves is sent by the next producer."""
        while self._burst and not self._ends:
            await self._submit(producer, self._burst[0])
            self._burst.popleft()  # only now: one that was not taken is still to be sent
        self._released = False

    async def _send(self, producer: AIOKafkaProducer, count: int) -> None:
        for packed in self._packed(producer, count):
            await self._submit(producer, packed)

    def _packed(self, producer: AIOKafkaProducer, count: int) -> list[_Packed]:
        """Make so many records, in batches for the partitions of their keys."""
        lots: dict[tuple[str, int], list[tuple[bytes, bytes]]] = defaultdict(list)
        for _ in range(count):
            name, key, value = self._records.next()
            lots[self._topics[name], partition_of(key, self._partitions)].append((key, value))
        done: list[_Packed] = []
        for place, lot in lots.items():
            packed = _Packed(place, producer.create_batch(), [])
            for key, value in lot:
                if packed.batch.append(timestamp=None, key=key, value=value) is None:
                    done.append(packed)
                    packed = _Packed(place, producer.create_batch(), [])
                    packed.batch.append(timestamp=None, key=key, value=value)
                packed.checksums.append(zlib.crc32(value))
            done.append(packed)
        return done

    async def _submit(self, producer: AIOKafkaProducer, packed: _Packed) -> None:
        packed.batch.close()
        (topic, partition), sums = packed.place, packed.checksums
        future = await producer.send_batch(packed.batch, topic, partition=partition)
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
