"""Tells systemd what the worker does: ready, alive, stopping, and a line of status.

The protocol is sd_notify(3): datagrams of ``NAME=value`` lines to the socket that NOTIFY_SOCKET
names. Without one nothing is told, and there is no thread.
"""

import contextlib
import os
import socket
import threading
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Final, Self

from streams.edges.process.health import Health, Signs

TOLD_SECONDS: Final = 5.0
"""So often at least; more often where WatchdogSec asks for it."""
LOOKED_SECONDS: Final = 0.5
"""So often a change is looked for."""
STARTING_SECONDS_MORE: Final = 60.0
"""While a start gets on, systemd shall wait so much longer for it."""


def status_of(signs: Signs) -> str:
    """What ``systemctl status`` shows of a worker that is ready.

    >>> status_of(Signs(0.0, 0.0, joined=True, partitions_owned=4, lag_records=17))
    'partitions: 4, records waiting: 17'
    """
    waiting = "not known" if signs.lag_records is None else signs.lag_records
    return f"partitions: {signs.partitions_owned}, records waiting: {waiting}"


class SystemdNotifier:
    """Tells of one worker's health until ``stop``; a context manager does both."""

    def __init__(
        self,
        environ: Mapping[str, str],
        health: Health,
        clock: Callable[[], float] = time.monotonic,
        pid: int | None = None,
    ) -> None:
        address = environ.get("NOTIFY_SOCKET", "")
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        self._told_seconds = _told_seconds(environ, os.getpid() if pid is None else pid)
        self._health = health
        self._clock = clock
        self._told_at: float | None = None
        self._status = ""
        self._is_ready = self._is_stopping = False
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to tell, if systemd listens."""
        if self._address:
            self._thread = threading.Thread(
                target=self._run, name="surgewatch-systemd", daemon=True
            )
            self._thread.start()

    def stop(self) -> None:
        """End telling; again: nothing."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def lines(self, now_seconds: float) -> list[str]:
        """What is to be told now, if anything.

        WATCHDOG=1 only while the worker is not stalled: idle is alive, no progress with records
        waiting is not.
        """
        stalled = self._health.stalled(now_seconds)
        unready = self._health.unready(now_seconds)
        told = []
        if unready is None and not self._is_ready:
            self._is_ready = True
            told.append("READY=1")
        if self._health.signs.stopping_seconds is not None and not self._is_stopping:
            self._is_stopping = True
            told.append("STOPPING=1")
        status = stalled or unready or status_of(self._health.signs)
        is_due = self._told_at is None or now_seconds - self._told_at >= self._told_seconds
        if not (told or is_due):
            return []
        self._told_at = now_seconds
        if stalled is None:
            told.append("WATCHDOG=1")
            if not self._is_ready:
                told.append(f"EXTEND_TIMEOUT_USEC={STARTING_SECONDS_MORE * 1e6:.0f}")
        if status != self._status:
            self._status = status
            told.append(f"STATUS={status}")
        return told

    def _run(self) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as to_systemd:
            to_systemd.setblocking(False)
            is_last = False
            while True:
                lines = self.lines(self._clock())
                if lines:
                    # a manager that does not read must not stop the worker: the next may arrive
                    with contextlib.suppress(OSError):
                        to_systemd.sendto("\n".join(lines).encode(), self._address)
                if is_last:
                    return
                is_last = self._stop.wait(min(LOOKED_SECONDS, self._told_seconds))


def _told_seconds(environ: Mapping[str, str], pid: int) -> float:
    """How often to tell: in half of the time that systemd's watchdog gives this process."""
    for_us = environ.get("WATCHDOG_PID", str(pid)) == str(pid)
    limit_us = environ.get("WATCHDOG_USEC", "") if for_us else ""
    return min(TOLD_SECONDS, int(limit_us) / 2e6 if limit_us.isdigit() else TOLD_SECONDS)
