"""The pace of told time: event time over real time, and a bar that shows how far it is."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

SLICE_SECONDS: Final = 0.2
"""Real time of one slice of told time: records go out five times a second."""
_LIVE_SLICE_MS: Final = int(SLICE_SECONDS * 1000)
QUICK_SLICE_MS: Final = 60_000
"""Event time of one slice when there is no pace to keep."""


class Pace:
    """Holds records back until they are due; without a speed it holds back nothing.

    ``speed`` is event time over real time: 3600 tells an hour in a second. With a clock, which
    tells the time in milliseconds, nothing goes out before its time by it: what is past is told at
    the speed, and what is to come when it comes.
    """

    def __init__(self, speed: float | None, clock_ms: Callable[[], int] | None = None) -> None:
        self.speed = speed
        self._clock_ms = clock_ms
        self._begin: tuple[int, float] | None = None

    @property
    def holds(self) -> bool:
        """Whether it ever holds a record back."""
        return self.speed is not None or self._clock_ms is not None

    def slice_before(self, end_ms: int) -> int:
        """Event time to send at once, 1 ms or more, of records from before ``end_ms``."""
        if self._clock_ms is not None and end_ms > self._clock_ms():
            return _LIVE_SLICE_MS
        return self.slice_ms

    @property
    def slice_ms(self) -> int:
        """Event time to send at once, 1 ms or more, of records from before now."""
        if self.speed is None:
            return QUICK_SLICE_MS
        return max(1, int(self.speed * SLICE_SECONDS * 1000))

    async def wait(self, at_ms: int) -> None:
        """Wait until a slice that begins so is due; by the speed, the first one is so at once."""
        now = asyncio.get_running_loop().time()
        if self._begin is None:
            self._begin = (at_ms, now)
        begin_ms, begin = self._begin
        due = now if self.speed is None else begin + (at_ms - begin_ms) / 1000 / self.speed
        if self._clock_ms is not None:
            due = max(due, now + (at_ms + _LIVE_SLICE_MS - self._clock_ms()) / 1000)
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
