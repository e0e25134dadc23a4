"""The pace of told time: event time over real time, and a bar that shows how far it is."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

SLICE_SECONDS: Final = 0.2
"""Real time of one slice of told time: records go out five times a second."""
QUICK_SLICE_MS: Final = 60_000
"""Event time of one slice when there is no pace to keep."""


class Pace:
    """Holds records back until they are due; without a speed it holds back nothing.

    ``speed`` is event time over real time: 3600 tells an hour in a second.
    """

    def __init__(self, speed: float | None) -> None:
        self.speed = speed
        self._begin: tuple[int, float] | None = None

    @property
    def slice_ms(self) -> int:
        """Event time to send at once, 1 ms or more."""
        if self.speed is None:
            return QUICK_SLICE_MS
        return max(1, int(self.speed * SLICE_SECONDS * 1000))

    async def wait(self, at_ms: int) -> None:
        """Wait until an event time is due; the first one asked for is due at once."""
        if self.speed is None:
            return
        now = asyncio.get_running_loop().time()
        if self._begin is None:
            self._begin = (at_ms, now)
        begin_ms, begin = self._begin
        due = begin + (at_ms - begin_ms) / 1000 / self.speed
        if due > now:
            await asyncio.sleep(due - now)


class Bar(Protocol):
    """Shows how much is done."""

    def show(self, done: float, words: str) -> None:
        """Show the share done, 0..1, and what there is to say."""


class _NoBar:
    def show(self, done: float, words: str) -> None:
        """Show nothing: there is no terminal."""


class _RichBar:
    def __init__(self, progress: Progress, title: str) -> None:
        self._progress = progress
        self._task = progress.add_task(title, total=1.0, words="")

    def show(self, done: float, words: str) -> None:
        """Move the bar."""
        self._progress.update(self._task, completed=done, words=words)


@contextmanager
def progress_bar(console: Console, title: str) -> Iterator[Bar]:
    """Show a bar on a terminal, nothing elsewhere."""
    if not console.is_terminal:
        yield _NoBar()
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %  {task.fields[words]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        yield _RichBar(progress, title)
