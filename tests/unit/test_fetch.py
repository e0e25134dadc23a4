"""Chunks taken below the record object, against aiokafka's own unpacking as the oracle."""

import ast
import asyncio
import gc
import inspect
import re
import struct
import weakref
from collections.abc import Iterator
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.consumer.fetcher import FetchError, FetchResult, PartitionRecords
from aiokafka.errors import CorruptRecordException, KafkaError
from aiokafka.record.legacy_records import LegacyRecordBatchBuilder
from hypothesis import given
from hypothesis import strategies as st

from streams.core.records.chunks import RawChunk
from streams.edges.transport import fetch, fetch_batches, fetch_parts
from streams.edges.transport.fetch import check_aiokafka, fetch_public
from tests.unit.fetch_desk import (
    ONE,
    TRANSACTIONAL,
    TWO,
    Desk,
    batch_of,
    marker_of,
    on_desk,
    reading_together,
    responses,
    value_of,
)


@pytest.fixture(autouse=True, scope="module", params=["walked", "together"])
def _way(request: pytest.FixtureRequest) -> Iterator[None]:
    """Every claim of this file holds for both ways in which batches are read."""
    with reading_together() if request.param == "together" else nullcontext():
        yield


def test_installed_aiokafka_has_every_name_that_is_relied_on() -> None:
    async def look(desk: Desk) -> None:
        assert check_aiokafka(desk.fetcher) == ()

    on_desk(look)


def test_a_missing_name_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(FetchResult, "_update_position")
    monkeypatch.delattr(PartitionRecords, "_contains_abort_marker")
    assert check_aiokafka() == (
        "PartitionRecords._contains_abort_marker",
        "FetchResult._update_position",
    )


def test_contiguous_batches_make_one_range() -> None:
    async def take(desk: Desk) -> None:
        desk.put(batch_of(0, [0, 1, 2]) + batch_of(3, [0, 1]))
        start, chunk = (await desk.take())[ONE]
        assert (start, chunk.offsets, chunk.next_offset) == (0, range(5), 5)
        assert chunk.values == [value_of(offset) for offset in range(5)]
        assert (chunk.topic, chunk.partition) == ("t", 0)
        assert (chunk.appended_ms, chunk.end_offset) == (1004, 99)
        assert desk.position() == 5
        assert ONE not in desk.fetcher._records

    on_desk(take)


@pytest.mark.parametrize("records_max", [2, 100])
def test_a_response_that_was_taken_is_let_go_at_once(records_max: int) -> None:
    async def take(desk: Desk) -> None:
        desk.put(batch_of(0, [0, 1, 2]) + batch_of(3, [0, 1]))
        held = weakref.ref(desk.fetcher._records[ONE]._partition_records)
        gc.disable()
        try:
            while ONE in desk.fetcher._records:
                assert held() is not None
                await desk.take(records_max=records_max)
            assert held() is None
        finally:
            gc.enable()

    on_desk(take)


def test_taking_a_whole_response_wakes_the_fetch_routine() -> None:
    async def take(desk: Desk) -> None:
        desk.put(batch_of(0, [0, 1]))
        waits = desk.fetcher._wait_consume_future = asyncio.get_running_loop().create_future()
        await desk.take(records_max=1)
        assert not waits.done()
        await desk.take(records_max=1)
        assert await desk.take() == {}
        assert waits.done()

    on_desk(take)


def test_compaction_holes_keep_offsets_and_move_past_the_hole_at_the_end() -> None:
    async def take(desk: Desk) -> None:
        desk.put(batch_of(10, [1, 4], last_delta=9) + batch_of(25, [0]), position=10)
        start, chunk = (await desk.take())[ONE]
        assert start == 10
        assert list(chunk.offsets) == [11, 14, 25]
        assert chunk.next_offset == 26

    on_desk(take)


def test_records_below_the_position_are_left_out() -> None:
    async def take(desk: Desk) -> None:
        desk.put(batch_of(0, range(10), codec=1), position=7)
        start, chunk = (await desk.take())[ONE]
        assert (start, list(chunk.offsets)) == (7, [7, 8, 9])
        assert chunk.values == [value_of(7), value_of(8), value_of(9)]

    on_desk(take)


def test_old_message_formats_are_read() -> None:
    builder = LegacyRecordBatchBuilder(1, 0, 1 << 16)
    builder.append(0, 1234, None, b"v0")

    async def take(desk: Desk) -> None:
        desk.put(bytes(builder.build()))
        chunk = (await desk.take())[ONE].chunk
        assert (chunk.values, list(chunk.offsets)) == ([b"v0"], [0])
        assert (chunk.next_offset, chunk.appended_ms) == (1, 1234)
        assert chunk.append_ms is None, "it is the producer's time"

    on_desk(take)


def test_a_tombstone_is_none() -> None:
    async def take(desk: Desk) -> None:
        desk.put(batch_of(0, [0, 1], values=[None, b""]))
        assert (await desk.take())[ONE].chunk.values == [None, b""]

    on_desk(take)


def test_a_control_batch_alone_travels_as_an_empty_chunk() -> None:
    async def take(desk: Desk) -> None:
        desk.put(marker_of(5, 7, b"commit"), position=5)
        start, chunk = (await desk.take())[ONE]
        assert (start, chunk.values, len(chunk.offsets)) == (5, [], 0)
        assert (chunk.next_offset, chunk.appended_ms) == (6, -1)
        assert desk.position() == 6

    on_desk(take)


@pytest.mark.parametrize(
    ("isolation", "wanted"),
    [("read_committed", [2, 3, 6]), ("read_uncommitted", [0, 1, 2, 3, 4, 6])],
)
def test_aborted_transactions_are_left_out_when_committed_ones_are_read(
    isolation: str, wanted: list[int]
) -> None:
    data = (
        batch_of(0, [0, 1], attributes=TRANSACTIONAL, producer=7)
        + batch_of(2, [0, 1], attributes=TRANSACTIONAL, producer=8)
        + batch_of(4, [0], attributes=TRANSACTIONAL, producer=7)
        + marker_of(5, 7, b"abort")
        + batch_of(6, [0], attributes=TRANSACTIONAL, producer=7)
        + marker_of(7, 7, b"commit")
        + marker_of(8, 8, b"commit")
    )

    async def take(desk: Desk) -> None:
        desk.put(data, aborted=[(7, 0)])
        chunk = (await desk.take())[ONE].chunk
        assert list(chunk.offsets) == wanted
        assert chunk.next_offset == 9

    on_desk(take, isolation)


def test_what_came_before_a_corrupt_batch_is_handed_over_and_then_the_error() -> None:
    bad = bytearray(batch_of(2, [0, 1]))
    bad[-1] ^= 1

    async def take(desk: Desk) -> None:
        desk.put(batch_of(0, [0, 1]) + bytes(bad))
        assert (await desk.take())[ONE].chunk.offsets == range(2)
        assert desk.position() == 2
        with pytest.raises(CorruptRecordException):
            await desk.take()
        assert await desk.take() == {}
        assert desk.position() == 2

    on_desk(take)


def test_an_error_of_one_partition_does_not_swallow_anothers_records() -> None:
    bad = bytearray(batch_of(0, [0]))
    bad[-1] ^= 1

    async def take(desk: Desk) -> None:
        desk.put(batch_of(0, [0, 1]), tp=TWO)
        desk.put(bytes(bad), tp=ONE)
        desk.fetcher._records.move_to_end(TWO)
        with pytest.raises(CorruptRecordException):
            await desk.take()
        assert list(await desk.take()) == [TWO]
        desk.put(batch_of(0, [0, 1]), tp=TWO)
        desk.put(bytes(bad), tp=ONE)
        assert list(await desk.take()) == [TWO]
        with pytest.raises(CorruptRecordException):
            await desk.take()

    on_desk(take)


def test_a_fetch_error_is_raised_after_what_others_gave() -> None:
    async def take(desk: Desk) -> None:
        desk.put(batch_of(0, [0]), tp=TWO)
        desk.fetcher._records[ONE] = FetchError(error=KafkaError("no"), backoff=0)
        assert list(await desk.take()) == [TWO]
        with pytest.raises(KafkaError, match="no"):
            await desk.take()
        assert await desk.take() == {}

    on_desk(take)


def test_a_response_is_dropped_when_the_position_has_moved_away() -> None:
    async def take(desk: Desk) -> None:
        desk.put(batch_of(0, [0, 1, 2]))
        desk.subscriptions.seek(ONE, 1)
        assert await desk.take() == {}
        assert (desk.position(), ONE in desk.fetcher._records) == (1, False)

    on_desk(take)


def test_the_public_path_gives_the_same_records_with_no_start() -> None:
    async def take(desk: Desk) -> None:
        async def getmany(*tps: TopicPartition, timeout_ms: int, max_records: int) -> Any:
            return await desk.fetcher.fetched_records(set(tps), timeout_ms, max_records)

        async def position(tp: TopicPartition) -> int:
            return desk.position(tp)

        consumer = SimpleNamespace(getmany=getmany, position=position, highwater=lambda tp: 99)
        desk.put(
            batch_of(0, [0, 2]) + marker_of(3, 7, b"commit") + batch_of(4, [0], append_ms=9_000)
        )
        start, chunk = (await fetch_public(consumer, {ONE}, 0.0, 9))[ONE]
        assert start is None
        assert (chunk.values, list(chunk.offsets)) == ([*map(value_of, (0, 2, 4))], [0, 2, 4])
        assert (chunk.next_offset, chunk.appended_ms, chunk.end_offset) == (5, 9_000, 99)
        assert times_of(chunk) == [-1, -1, 9_000]
        assert await fetch_public(consumer, {ONE}, 0.0, 9) == {}

    on_desk(take)


def times_of(chunk: RawChunk) -> list[int]:
    """When the broker took each record, -1: it does not say."""
    return [-1] * len(chunk.offsets) if chunk.append_ms is None else chunk.append_ms.tolist()


@given(responses(), st.integers(1, 9), st.integers(0, 9), st.sampled_from([0, 1]))
def test_chunks_hold_what_aiokafka_would_give_whatever_the_chunk_size(
    response: tuple[bytes, list[tuple[int, int]]], records_max: int, position: int, committed: int
) -> None:
    data, aborted = response
    position %= struct.unpack_from(">i", data, 23)[0] + 1  # a broker begins with its batch
    isolation = "read_committed" if committed else "read_uncommitted"

    async def compare(desk: Desk) -> None:
        desk.put(data, position=position, aborted=aborted)
        records = await desk.fetcher.fetched_records({ONE})
        wanted = [
            (record.offset, record.value, record.timestamp if record.timestamp_type == 1 else -1)
            for record in records.get(ONE, [])
        ]
        end = desk.position()
        desk.put(data, position=position, aborted=aborted)
        found = await desk.take_all(records_max)
        chunks = [fetched.chunk for fetched in found]
        rows = [row for c in chunks for row in zip(c.offsets, c.values, times_of(c), strict=True)]
        assert rows == wanted
        assert desk.position() == end
        assert all(len(chunk.values) <= records_max for chunk in chunks)
        starts = [fetched.start_offset for fetched in found]
        assert starts == [position, *(chunk.next_offset for chunk in chunks)][: len(starts)]
        assert not chunks or chunks[-1].next_offset == end

    on_desk(compare, isolation)


def test_every_private_name_that_is_used_is_checked_at_the_start() -> None:
    checked = set(re.findall(r"\b_[a-z_]+", inspect.getsource(check_aiokafka)))
    for module in (fetch, fetch_batches, fetch_parts):
        tree = ast.parse(inspect.getsource(module))
        named = [node for node in ast.walk(tree) if isinstance(node, ast.Attribute)]
        theirs = [node for node in named if getattr(node.value, "id", "") != "self"]
        used = {node.attr for node in theirs if node.attr[0] == "_"}
        assert used - {"__name__", "__init__", "_replace"} <= checked
