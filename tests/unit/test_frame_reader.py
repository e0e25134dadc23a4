"""Answers are read as they were sent, however the socket cut them."""

import asyncio
from collections.abc import Sequence
from itertools import accumulate, pairwise

import pytest
from aiokafka import conn
from hypothesis import given
from hypothesis import strategies as st

from streams.edges.transport.frame_reader import FrameReader, read_in_frames


def reader_of(pieces: Sequence[bytes]) -> FrameReader:
    reader = FrameReader.taking_over(asyncio.StreamReader())
    for piece in pieces:
        reader.feed_data(piece)
    return reader


def cut(data: bytes, places: Sequence[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[begin:end] for begin, end in pairwise(edges)]


@given(st.lists(st.integers(0, 30)), st.lists(st.integers(0, 300)), st.integers(0, 10))
def test_answers_are_read_whole_and_in_order_however_they_came(
    sizes: list[int], places: list[int], ahead: int
) -> None:
    data = bytes(place % 251 for place in range(sum(sizes)))
    pieces = cut(data, places)

    async def read() -> list[bytes]:
        reader = reader_of(pieces[:ahead])

        async def feed() -> None:
            for piece in pieces[ahead:]:
                await asyncio.sleep(0)
                reader.feed_data(piece)
            reader.feed_eof()

        feeding = asyncio.create_task(feed())
        found = [await reader.readexactly(size) for size in sizes]
        await feeding
        assert reader.at_eof()
        return found

    ends = [*accumulate(sizes, initial=0)]
    assert asyncio.run(read()) == [data[begin:end] for begin, end in pairwise(ends)]


def test_a_stream_that_ends_in_an_answer_says_so_with_what_it_had() -> None:
    async def read() -> bytes:
        reader = reader_of([b"ab", b"cde"])
        reader.feed_eof()
        assert await reader.readexactly(1) == b"a"
        assert not reader.at_eof()
        with pytest.raises(asyncio.IncompleteReadError) as ended:
            await reader.readexactly(5)
        assert ended.value.expected == 5
        return ended.value.partial

    assert asyncio.run(read()) == b"bcde"


def test_a_broken_connection_is_told_to_who_waits_and_to_who_asks_later() -> None:
    async def read() -> None:
        reader = reader_of([b"ab"])
        waiting = asyncio.create_task(reader.readexactly(3))
        await asyncio.sleep(0)
        reader.set_exception(ConnectionResetError("gone"))
        for asked in (waiting, reader.readexactly(1)):
            with pytest.raises(ConnectionResetError, match="gone"):
                await asked

    asyncio.run(read())


def test_aiokafka_reads_this_way_once_told_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conn, "AIOKafkaProtocol", conn.AIOKafkaProtocol)

    async def made() -> asyncio.StreamReader:
        assert read_in_frames()
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(loop=loop)
        conn.AIOKafkaProtocol(loop.create_future(), reader, loop=loop)
        return reader

    assert isinstance(asyncio.run(made()), FrameReader)


def test_a_python_with_other_streams_reads_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    before = conn.AIOKafkaProtocol
    monkeypatch.delattr(asyncio.StreamReader, "_wakeup_waiter")
    assert not read_in_frames()
    assert conn.AIOKafkaProtocol is before
