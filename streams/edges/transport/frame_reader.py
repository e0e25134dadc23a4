"""Reads Kafka's answers from a socket with one copy of their bytes.

aiokafka reads by asyncio's StreamReader: it adds each piece of an answer to one buffer, which is
moved as it grows, and copies the answer out of it. Here pieces are kept as they came and joined
once: for answers of some megabytes half the cost of reading.
"""

import asyncio
from typing import Any, Final

from aiokafka import conn

_NEEDED: Final = ("_wait_for_data", "_wakeup_waiter", "exception", "feed_eof")


class FrameReader(asyncio.StreamReader):
    """A stream of which only so many bytes at a time are read.

    The socket is never stopped: what comes is what was asked for, one answer a connection.
    """

    _pieces: list[bytes]
    _begin: int
    """Where the first piece goes on: what stands before was read."""
    _held: int
    _wanted: int

    @classmethod
    def taking_over(cls, reader: asyncio.StreamReader) -> "FrameReader":
        """Make a reader, to which nothing has come yet, one of these."""
        reader.__class__ = cls
        assert isinstance(reader, cls), "just made one"
        reader._pieces, reader._begin, reader._held, reader._wanted = [], 0, 0, 0
        return reader

    def feed_data(self, data: Any) -> None:
        """Take a piece that came."""
        if not data:
            return
        self._pieces.append(data)
        self._held += len(data)
        if self._held >= self._wanted:
            self._wakeup_waiter()  # type: ignore[attr-defined]  # untyped

    async def readexactly(self, n: int) -> bytes:
        """Wait for ``n`` bytes. Raises IncompleteReadError at the stream's end, and its error."""
        if (error := self.exception()) is not None:
            raise error
        self._wanted = n
        while self._held < n:
            if self._eof:  # type: ignore[attr-defined]  # untyped
                raise asyncio.IncompleteReadError(self._taken(self._held), n)
            await self._wait_for_data("readexactly")  # type: ignore[attr-defined]  # untyped
        return self._taken(n)

    def at_eof(self) -> bool:
        """Whether all was read, and no more comes."""
        return bool(self._eof) and not self._held  # type: ignore[attr-defined]  # untyped

    def _taken(self, size: int) -> bytes:
        """Take so many of the bytes that are here."""
        left, place, end = size, 0, self._begin
        parts: list[bytes | memoryview] = []
        while left:
            piece, begin = self._pieces[place], end
            end = min(begin + left, len(piece))
            whole = begin == 0 and end == len(piece)
            parts.append(piece if whole else memoryview(piece)[begin:end])
            left -= end - begin
            if end == len(piece):
                place, end = place + 1, 0
        del self._pieces[:place]
        self._begin = end
        self._held -= size
        return b"".join(parts)


class _Protocol(conn.AIOKafkaProtocol):  # type: ignore[misc]  # untyped
    def __init__(self, closed: Any, reader: asyncio.StreamReader, **options: Any) -> None:
        super().__init__(closed, FrameReader.taking_over(reader), **options)


def read_in_frames() -> bool:
    """Have aiokafka's connections read this way from now on.

    False where this Python's streams lack what is needed: they then read as before.
    """
    if not all(hasattr(asyncio.StreamReader, name) for name in _NEEDED):
        return False
    conn.AIOKafkaProtocol = _Protocol
    return True
