"""A socket that has just closed is a broken connection to aiokafka, on uvloop too."""

import asyncio

import pytest
import uvloop
from aiokafka import conn
from aiokafka.errors import KafkaConnectionError

from streams.edges.transport.closed_socket import take_closed_for_broken


class Request:
    """Stands for any: what is asked makes no difference."""

    def prepare(self, versions: object) -> "Request":
        return self

    def build_request_header(self, **told: object) -> "Request":
        return self

    def encode(self) -> bytes:
        return b"asked"


async def ask_over_a_socket_that_closed(host: str = "127.0.0.1") -> None:
    """A connection of aiokafka's on a real socket that is closed, asked once more."""
    server = await asyncio.start_server(lambda _, theirs: theirs.close(), host, 0)
    port = server.sockets[0].getsockname()[1]
    reader, writer = await asyncio.open_connection(host, port)
    connection = conn.AIOKafkaConnection(host, port)
    connection._reader, connection._writer = reader, writer
    reads = connection._read_task = asyncio.ensure_future(asyncio.sleep(60))
    writer.transport.abort()
    await asyncio.sleep(0.05)
    try:
        connection.send(Request())
    finally:
        reads.cancel()
        server.close()
        await server.wait_closed()


def test_a_write_to_a_closed_socket_is_a_broken_connection() -> None:
    take_closed_for_broken()
    with pytest.raises(KafkaConnectionError, match=r"broken: .*closed"):
        uvloop.run(ask_over_a_socket_that_closed())


def test_other_errors_stay_what_they_are() -> None:
    take_closed_for_broken()

    class Writer:
        def write(self, data: bytes) -> None:
            msg = "no such thing"
            raise RuntimeError(msg)

    async def body() -> None:
        connection = conn.AIOKafkaConnection("127.0.0.1", 1)
        connection._writer = Writer()
        try:
            connection.send(Request())
        finally:
            connection._writer = None

    with pytest.raises(RuntimeError, match="no such thing"):
        asyncio.run(body())
