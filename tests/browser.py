"""A headless Chromium that is told what to do: for pictures of other programs' pages."""

from __future__ import annotations

import asyncio
import base64
import itertools
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import aiohttp

from streams.edges.process.child import ChildProcess
from tests.servers import START_SECONDS_MAX, ServerMissing

READY_SECONDS_MAX: Final = 60.0
BYTES_MAX: Final = 64 * 1024 * 1024
_OPTIONS: Final = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run"),
    *("--disable-dev-shm-usage", "--disable-background-networking", "--disable-component-update"),
    *("--disable-sync", "--lang=en", "--remote-debugging-port=0", "about:blank"),
)


def browser_program() -> str:
    """Path of Chromium; raises ServerMissing when there is none."""
    program = shutil.which("chromium")
    if program is None:
        missing = "chromium"
        raise ServerMissing(missing, "apt-get install --no-install-recommends chromium")
    return program


class PageFailed(Exception):
    """A page is not what was waited for, or the browser refused a command."""


class Page:
    """One tab, by Chromium's protocol for developers: commands and answers over a web socket."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._numbers = itertools.count(1)

    async def _tell(self, method: str, **parameters: Any) -> Any:
        number = next(self._numbers)
        await self._socket.send_json({"id": number, "method": method, "params": parameters})
        while True:
            answer = await self._socket.receive_json(timeout=READY_SECONDS_MAX)
            if answer.get("id") == number:
                if "error" in answer:
                    message = f"{method}: {answer['error']['message']}"
                    raise PageFailed(message)
                return answer["result"]

    async def run(self, script: str) -> Any:
        """The value of an expression in the page."""
        answer = await self._tell("Runtime.evaluate", expression=script, returnByValue=True)
        if "exceptionDetails" in answer:
            message = f"{script}: {answer['result'].get('description')}"
            raise PageFailed(message)
        return answer["result"].get("value")

    async def open(self, url: str) -> None:
        """Go there; what is there comes later: `wait`."""
        await self._tell("Page.navigate", url=url)

    async def wait(self, script: str) -> None:
        """Wait until an expression is true."""
        async with asyncio.timeout(READY_SECONDS_MAX):
            while not await self.run(f"Boolean({script})"):
                await asyncio.sleep(0.1)

    async def picture(self, width: int, height_max: int) -> bytes:
        """A PNG of all of the page that has a place in this."""
        size = {"width": width, "height": height_max, "deviceScaleFactor": 1, "mobile": False}
        await self._tell("Emulation.setDeviceMetricsOverride", **size)
        await asyncio.sleep(1)  # what draws itself anew in another width
        bottom = await self.run("document.body.getBoundingClientRect().bottom + window.scrollY")
        clip = {"x": 0, "y": 0, "width": width, "height": min(int(bottom), height_max), "scale": 1}
        answer = await self._tell("Page.captureScreenshot", format="png", clip=clip)
        return base64.b64decode(answer["data"])


@asynccontextmanager
async def chromium(folder: Path) -> AsyncIterator[Page]:
    """A tab of a browser that has its profile in this folder and ends with the block."""
    folder.mkdir()
    told = folder / "DevToolsActivePort"
    command = [browser_program(), f"--user-data-dir={folder}", *_OPTIONS]
    browser = ChildProcess("chromium", command, folder / "log.txt")
    browser.start()
    try:
        browser.wait_until(lambda: told.exists() and told.read_text() != "", START_SECONDS_MAX)
        address = f"http://127.0.0.1:{told.read_text().splitlines()[0]}"
        async with aiohttp.ClientSession() as session:
            async with session.get(f"{address}/json/list") as answer:
                tabs = await answer.json()
            (url,) = [one["webSocketDebuggerUrl"] for one in tabs if one["type"] == "page"]
            async with session.ws_connect(url, max_msg_size=BYTES_MAX) as socket:
                yield Page(socket)
    finally:
        browser.end()
