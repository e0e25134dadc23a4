"""A TCP proxy that can be slow, black, or cut connections in the middle of a reply."""

import asyncio
import random
import threading
from contextlib import suppress

from streams.edges.process.child import free_port

_READ_BYTES = 65_536
_CUT_SHARE = 0.3


class Proxy:
    """Listens on `port` of 127.0.0.1 and passes on to `target_port`, in a thread of its own.

    Black: nothing passes either way, and connections stay; what waits goes on afterwards, as it
    does when a cable is back. Cut: of each three replies or so, one ends half way.
    """

    def __init__(self, seed: int) -> None:
        self.port = free_port()
        self.target_port = 0
        self._delay_seconds = 0.0
        self._cutting = False
        self._chance = random.Random(seed)
        self._loop = asyncio.new_event_loop()
        self._open = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        """Listen; the port is taken when this returns."""
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(10)

    def stop(self) -> None:
        """Drop every connection."""
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def slow(self, delay_seconds: float) -> None:
        """Hold every piece back for so long, each way."""
        self._delay_seconds = delay_seconds

    def black(self) -> None:
        """Let nothing pass."""
        self._loop.call_soon_threadsafe(self._open.clear)

    def cut(self) -> None:
        """Cut connections in the middle of replies."""
        self._cutting = True

    def clear(self) -> None:
        """Pass everything on again."""
        self._delay_seconds, self._cutting = 0.0, False
        self._loop.call_soon_threadsafe(self._open.set)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()

    async def _listen(self) -> None:
        self._open.set()
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)

    async def _close(self) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._open.wait()
            with suppress(OSError):  # the server behind is down: so are we, to the client
                there = await asyncio.open_connection("127.0.0.1", self.target_port)
                await self._join((reader, writer), there)
        except asyncio.CancelledError:
            pass  # `stop`: a handler that ends cancelled is reported as an error by asyncio
        finally:
            self._tasks.discard(task)
            writer.transport.abort()

    async def _join(
        self,
        here: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        there: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    ) -> None:
        pumps = [
            asyncio.create_task(self._pump(here[0], there[1], reply=False)),
            asyncio.create_task(self._pump(there[0], here[1], reply=True)),
        ]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
            there[1].transport.abort()

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, reply: bool
    ) -> None:
        with suppress(OSError):
            while piece := await reader.read(_READ_BYTES):
                if self._delay_seconds:
                    await asyncio.sleep(self._delay_seconds)
                await self._open.wait()
                if reply and self._cutting and self._chance.random() < _CUT_SHARE:
                    writer.write(piece[: len(piece) // 2])
                    await writer.drain()
                    return
                writer.write(piece)
                await writer.drain()
