"""The watchdog: ends a worker that stands still, so that whatever runs it starts it again."""

import faulthandler
import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from streams.edges.process.health import Health

STALLED_EXIT_CODE: Final = 70
"""EX_SOFTWARE of sysexits.h."""
SAY_SECONDS_MAX: Final = 5.0
STDERR: Final = 2


class Watchdog:
    """A thread that looks at ``health`` and, when it is stalled, dumps all stacks and exits.

    The exit is ``os._exit``: nothing is flushed or stored, and Redis holds what was acked.
    """

    def __init__(
        self,
        health: Health,
        clock: Callable[[], float] = time.monotonic,
        end_process: Callable[[int], None] = os._exit,
    ) -> None:
        self._health = health
        self._clock = clock
        self._end_process = end_process
        self._interval_seconds = min(5.0, health.limit_seconds / 4)
        self._looked_seconds = clock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to look, four times in the limit and every 5 s at least."""
        assert self._thread is None, "the watchdog runs already"
        self._looked_seconds = self._clock()
        self._thread = threading.Thread(target=self._run, name="surgewatch-watchdog", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End looking; again: nothing."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def look(self) -> str | None:
        """Look once: why the worker must end, or None.

        When this thread itself was not run for half the limit, the whole process was paused
        (a debugger, a frozen container): the worker gets its time anew.
        """
        now_seconds = self._clock()
        away_seconds = now_seconds - self._looked_seconds
        self._looked_seconds = now_seconds
        if away_seconds > self._interval_seconds + self._health.limit_seconds / 2:
            self._health.forgive(now_seconds)
        return self._health.stalled(now_seconds)

    def _run(self) -> None:
        while not self._stop.wait(self._interval_seconds):
            reason = self.look()
            if reason is not None:
                # nobody may read stderr any more: neither a full pipe nor a closed one holds it up
                last = threading.Thread(target=_say_why, args=(reason,), daemon=True)
                last.start()
                last.join(SAY_SECONDS_MAX)
                self._end_process(STALLED_EXIT_CODE)
                return


def _say_why(reason: str) -> None:
    line = f"surgewatch: {reason}: ending with code {STALLED_EXIT_CODE}; all stacks:\n"
    with suppress(OSError, ValueError):
        os.write(STDERR, line.encode())  # sys.stderr's lock may be held by what hangs
        faulthandler.dump_traceback(file=STDERR, all_threads=True)
