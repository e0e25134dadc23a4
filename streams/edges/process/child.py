"""A server process that ends with its parent: for the demo's embedded servers and the tests."""

from __future__ import annotations

import atexit
import contextlib
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

LOG_TAIL_BYTES = 4_000
POLL_SECONDS = 0.02
PORTS = range(20_000, 32_001)

# Runs in the child before the server's program: the kernel ends it when the parent is gone, kill -9
# included. Linux only; elsewhere atexit must do. The parent is looked at after the call, since it
# may have ended before it.
_LAUNCHER = """
import ctypes, os, signal, sys
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)
    if os.getppid() != int(sys.argv[1]):
        os._exit(1)
os.execvpe(sys.argv[2], sys.argv[2:], os.environ)
"""


class ChildFailed(Exception):
    """A server that ended or did not answer in time; the message holds its log's last lines."""

    def __init__(self, name: str, reason: str, log_tail: str) -> None:
        self.name = name
        self.reason = reason
        self.log_tail = log_tail
        super().__init__(f"{name} {reason}; the end of its log:\n{log_tail or '(empty)'}")


class NoFreePort(Exception):
    """Every port from 20000 to 32000 of 127.0.0.1 is in use."""


class ChildProcess:
    """One server process in a session of its own, its output in one log file.

    A session of its own keeps Ctrl-C from it, so that the parent ends its servers in order.
    The parent's exit ends it; on Linux also the parent's death and that of the thread that
    started it.
    """

    def __init__(self, name: str, command: Sequence[str], log: Path) -> None:
        self.name = name
        self._command = tuple(command)
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """The process id, or None when it does not run."""
        return self._process.pid if self._process is not None and self.runs else None

    @property
    def runs(self) -> bool:
        """Whether the process is there, and not merely waiting to be reaped."""
        return self._process is not None and self._process.poll() is None

    @property
    def exit_code(self) -> int | None:
        """What it ended with, below 0: a signal's number; None: it runs, or never did."""
        return None if self._process is None else self._process.poll()

    def start(self, environment: Mapping[str, str] | None = None) -> None:
        """Start it; `environment` is the whole one, the parent's when None."""
        assert not self.runs, f"{self.name} runs already"
        launcher = [sys.executable, "-I", "-S", "-c", _LAUNCHER, str(os.getpid())]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - the command is the caller's, no shell
                [*launcher, *self._command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                cwd=self._log.parent,
                env=None if environment is None else dict(environment),
            )
        atexit.register(self.kill)

    def wait_until(self, ready: Callable[[], bool], limit_seconds: float) -> None:
        """Return when `ready()`; raises ChildFailed when it ends before or takes too long."""
        deadline = time.monotonic() + limit_seconds
        while not ready():
            if not self.runs:
                raise ChildFailed(self.name, "ended while starting", self.log_tail())
            if time.monotonic() > deadline:
                reason = f"did not answer within {limit_seconds:g} s"
                raise ChildFailed(self.name, reason, self.log_tail())
            time.sleep(POLL_SECONDS)

    def end(self, limit_seconds: float = 10.0) -> None:
        """Ask it to end, and kill it when it has not within the limit; nothing if it is gone."""
        self._signal(signal.SIGTERM)
        if self._process is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(limit_seconds)
        self.kill()

    def kill(self) -> None:
        """Kill it (SIGKILL), with what it started, and reap it; nothing if it is gone."""
        self._signal(signal.SIGKILL)
        if self._process is not None:
            self._process.wait()
            atexit.unregister(self.kill)

    def pause(self) -> None:
        """Stop it in its tracks (SIGSTOP): connections stay open and nothing answers."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let a paused one go on (SIGCONT)."""
        self._signal(signal.SIGCONT)

    def log_tail(self) -> str:
        """Read the last 4,000 bytes of its log, undecodable ones replaced; empty without one."""
        if not self._log.exists():
            return ""
        return self._log.read_bytes()[-LOG_TAIL_BYTES:].decode(errors="replace").strip()

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None and self.runs:
            with contextlib.suppress(ProcessLookupError):  # it ended between the two lines
                os.killpg(self._process.pid, number)


def free_port() -> int:
    """Return a port of 127.0.0.1, 20000 to 32000, free now; another may still take it.

    Below the range of outgoing connections: a client that reconnects to a dead server's port in
    that range can be given the very same port, meet itself, and keep the server from its place.
    """
    for port in random.sample(PORTS, k=len(PORTS)):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            return port
    raise NoFreePort
