"""Fetch responses for tests: real batches, put into a real Fetcher that reaches nobody."""

import asyncio
import struct
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.consumer.fetcher import Fetcher, FetchResult, PartitionRecords
from aiokafka.consumer.subscription_state import SubscriptionState
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.record.util import calc_crc32c
from hypothesis import strategies as st

from streams.edges.transport import fetch_batches
from streams.edges.transport.fetch import Fetched, fetch_chunks

ONE, TWO = TopicPartition("t", 0), TopicPartition("t", 1)
LOG_APPEND_TIME, TRANSACTIONAL, CONTROL = 0x08, 0x10, 0x20
COMMITTED, UNCOMMITTED = 1, 0


def value_of(offset: int) -> bytes:
    """What a record of ``batch_of`` holds."""
    return b'{"v":%d}' % offset


def with_crc(batch: bytearray) -> bytes:
    """The batch with the checksum of what it holds."""
    struct.pack_into(">I", batch, 17, calc_crc32c(bytes(batch[21:])))
    return bytes(batch)


def batch_of(
    base: int,
    deltas: Sequence[int],
    *,
    last_delta: int | None = None,
    attributes: int = 0,
    producer: int = -1,
    codec: int = 0,
    values: Sequence[bytes | None] | None = None,
    append_ms: int | None = None,
) -> bytes:
    """A record batch of format v2 whose records lie at ``base + delta``.

    ``append_ms``: the time that a broker puts on it where topics bear its own (LogAppendTime).
    """
    builder = DefaultRecordBatchBuilder(2, codec, 0, producer, 0, 0, 1 << 20)
    for i, delta in enumerate(deltas):
        value = value_of(base + delta) if values is None else values[i]
        key = struct.pack(">hh", 0, 0 if value == b"abort" else 1)
        builder.append(delta, 1000 + base + delta, key, value, [])
    raw = bytearray(builder.build())
    struct.pack_into(">q", raw, 0, base)
    (attributes_set,) = struct.unpack_from(">h", raw, 21)
    if append_ms is not None:
        attributes |= LOG_APPEND_TIME
        struct.pack_into(">q", raw, 35, append_ms)
    struct.pack_into(">h", raw, 21, attributes_set | attributes)
    struct.pack_into(
        ">i", raw, 23, (deltas[-1] if deltas else 0) if last_delta is None else last_delta
    )
    return with_crc(raw)


def marker_of(base: int, producer: int, kind: bytes) -> bytes:
    """A control batch that ends a transaction."""
    return batch_of(base, [0], attributes=TRANSACTIONAL | CONTROL, producer=producer, values=[kind])


class Subscriptions(SubscriptionState):  # type: ignore[misc]  # aiokafka is untyped here
    """Subscriptions whose rebalance the test begins and ends."""

    rebalances = False

    @property
    def reassignment_in_progress(self) -> bool:
        return self.rebalances


class Desk:
    """A real Fetcher over a client that reaches nobody; tests put responses into it.

    ``holder`` is the class that holds a response's batches, as aiokafka makes it.
    """

    holder: type[MemoryRecords] = MemoryRecords

    def __init__(self, isolation: str = "read_uncommitted") -> None:
        loop = asyncio.get_running_loop()
        client = SimpleNamespace(
            _loop=loop,
            _metadata_max_age_ms=1000,
            cluster=SimpleNamespace(leader_for_partition=lambda tp: None),
            force_metadata_update=loop.create_future,
        )
        self.subscriptions = Subscriptions(loop=loop)
        self.subscriptions.assign_from_user({ONE, TWO})
        self.fetcher = Fetcher(client, self.subscriptions, isolation_level=isolation)
        self.isolation = COMMITTED if isolation == "read_committed" else UNCOMMITTED

    def put(
        self,
        data: bytes,
        *,
        tp: TopicPartition = ONE,
        position: int = 0,
        aborted: Sequence[tuple[int, int]] = (),
    ) -> None:
        assignment = self.subscriptions.subscription.assignment
        state = assignment.state_value(tp)
        state.seek(position)
        state.highwater = 99
        records = PartitionRecords(
            tp, self.holder(data), list(aborted), position, None, None, True, self.isolation
        )
        self.fetcher._records[tp] = FetchResult(
            tp, assignment=assignment, partition_records=records, backoff=0
        )

    def position(self, tp: TopicPartition = ONE) -> int:
        position: int = self.subscriptions.subscription.assignment.state_value(tp).position
        return position

    async def take(self, records_max: int = 1000) -> dict[TopicPartition, Fetched]:
        return await fetch_chunks(self.fetcher, {ONE, TWO}, 0.0, records_max)

    async def take_all(self, records_max: int) -> list[Fetched]:
        found = []
        while taken := await self.take(records_max):
            found.append(taken[ONE])
        return found


def on_desk(
    test: Callable[[Desk], Coroutine[Any, Any, None]], isolation: str = "read_uncommitted"
) -> None:
    async def run() -> None:
        desk = Desk(isolation)
        while desk.fetcher._wait_consume_future is None:  # its routine empties _records first
            await asyncio.sleep(0)
        try:
            await test(desk)
        finally:
            await desk.fetcher.close()

    asyncio.run(run())


@contextmanager
def reading_together() -> Iterator[None]:
    """Have batches read together, however few records they have."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Desk, "holder", fetch_batches.KeptRecords)
        patch.setattr(fetch_batches, "TOGETHER_RECORDS_MIN", 1)
        yield


@st.composite
def responses(draw: st.DrawFn) -> tuple[bytes, list[tuple[int, int]]]:
    """A fetch response of any mix of batches, and its list of aborted transactions."""
    data, base, aborted = b"", 0, []
    for _ in range(draw(st.integers(1, 6))):
        span = draw(st.integers(1, 6))
        deltas = sorted(draw(st.sets(st.integers(0, span - 1), min_size=1)))
        producer = draw(st.sampled_from([-1, 7, 8]))
        kind = draw(st.sampled_from(["plain", "transactional", "control"]))
        if kind == "control":
            data += marker_of(base, 7, draw(st.sampled_from([b"abort", b"commit"])))
            span = 1
        else:
            transactional = TRANSACTIONAL if kind == "transactional" else 0
            if transactional and producer >= 0 and draw(st.booleans()):
                aborted.append((producer, base))
            data += batch_of(
                base,
                deltas,
                last_delta=span - 1,
                attributes=transactional,
                producer=producer,
                codec=draw(st.sampled_from([0, 1])),
                append_ms=draw(st.sampled_from([None, 5_000, 7_000])),
            )
        base += span + draw(st.integers(0, 2))
    return data, aborted
