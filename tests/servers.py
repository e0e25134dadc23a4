"""Real servers for tests: Apache Kafka (KRaft, one node) and Redis, each in a folder of its own.

Tests get them from the fixtures in `conftest.py`; a script may use the classes directly.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import uuid
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from streams.edges.process.child import ChildFailed, ChildProcess, free_port
from streams.edges.process.embedded import kafka_answers, redis_answers
from streams.edges.redis.servers import PACKED

KAFKA_VERSION = "4.3.1"
PROVISION = "tests/provision.sh"
START_SECONDS_MAX = 60.0
PORT_TRIES = 5


class ServerMissing(Exception):
    """A program that the tests need is not on this machine; the message says what brings it."""

    def __init__(self, missing: str, provision: str = PROVISION) -> None:
        self.missing = missing
        super().__init__(f"{missing} is not on this machine; bring it with: {provision}")


def kafka_jars() -> Path:
    """Return the folder of Kafka's jars: in SURGEWATCH_CACHE, else in the checkout's `.cache`."""
    cache = os.environ.get("SURGEWATCH_CACHE") or Path(__file__).parent.parent / ".cache"
    return Path(cache) / f"kafka-{KAFKA_VERSION}"


def program_of(name: str) -> str:
    """Return the path of a program; raises ServerMissing when there is none."""
    found = shutil.which(name)
    if found is None:
        raise ServerMissing(name)
    return found


class Server:
    """One server in a folder: what Kafka and Redis have in common.

    `start` chooses free ports the first time and keeps them, so clients find it after a restart.
    """

    name = "server"

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = 0
        self._child: ChildProcess | None = None

    def start(self) -> None:
        """Start and wait until it answers; raises ChildFailed with the log's end when it fails."""
        assert self._child is None, f"{self.name} runs already"
        self.folder.mkdir(parents=True, exist_ok=True)
        tries_left = PORT_TRIES if self.port == 0 else 1
        while True:
            tries_left -= 1
            if self.port == 0:
                self._prepare()
            child = ChildProcess(self.name, self._command(), self.folder / "log.txt")
            child.start()
            try:
                child.wait_until(self._answers, START_SECONDS_MAX)
            except BaseException as error:  # Ctrl-C too: never leave it behind
                child.kill()
                taken = isinstance(error, ChildFailed) and "in use" in error.log_tail
                if not (taken and tries_left):
                    raise
                self.port = 0
            else:
                self._child = child
                return

    def kill(self) -> None:
        """End it by SIGKILL: what it had not written is lost."""
        if self._child is not None:
            self._child.kill()
            self._child = None

    def stop(self) -> None:
        """End it in order."""
        if self._child is not None:
            self._child.resume()  # a paused one does not see the request
            self._child.end()
            self._child = None

    def restart(self) -> None:
        """Start again on the same port and data; ends it in order first when it still runs."""
        self.stop()
        self.start()

    def pause(self) -> None:
        """Freeze it (SIGSTOP): connections stay open, nothing answers."""
        assert self._child is not None, f"{self.name} does not run"
        self._child.pause()

    def resume(self) -> None:
        """Let a frozen one go on."""
        assert self._child is not None, f"{self.name} does not run"
        self._child.resume()

    @property
    def runs(self) -> bool:
        """Whether its process is there."""
        return self._child is not None and self._child.runs

    @property
    def pid(self) -> int | None:
        """Its process id, or None when it does not run."""
        return None if self._child is None else self._child.pid

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

    def _prepare(self) -> None:
        """Choose ports and write the settings."""
        raise NotImplementedError

    def _command(self) -> list[str]:
        raise NotImplementedError

    def _answers(self) -> bool:
        raise NotImplementedError


class KafkaServer(Server):
    """Apache Kafka in KRaft mode, broker and controller in one process.

    `settings` are added to server.properties. Topics are made by the tests, never by a first use.
    """

    name = "kafka"

    def __init__(
        self, folder: Path, *, heap: str = "512m", settings: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(folder)
        self._heap = heap
        self._settings = dict(settings or {})

    @property
    def bootstrap(self) -> str:
        """What clients take as `bootstrap_servers`."""
        return f"127.0.0.1:{self.port}"

    def _prepare(self) -> None:
        if not (kafka_jars() / ".complete").exists():
            missing = f"Kafka {KAFKA_VERSION} ({kafka_jars()})"
            raise ServerMissing(missing)
        self.port, controller_port = free_port(), free_port()
        listeners = [f"PLAINTEXT://{self.bootstrap}", *self._more_listeners()]
        data = self.folder / "data"
        shutil.rmtree(data, ignore_errors=True)  # a try on other ports: the format holds them
        properties = {
            "process.roles": "broker,controller",
            "node.id": "1",
            "controller.quorum.bootstrap.servers": f"127.0.0.1:{controller_port}",
            "controller.listener.names": "CONTROLLER",
            "listeners": ",".join([*listeners, f"CONTROLLER://127.0.0.1:{controller_port}"]),
            "advertised.listeners": ",".join(listeners),
            "log.dirs": str(data),
            "auto.create.topics.enable": "false",
            "default.replication.factor": "1",
            "offsets.topic.num.partitions": "4",
            "offsets.topic.replication.factor": "1",
            "transaction.state.log.num.partitions": "4",
            "transaction.state.log.replication.factor": "1",
            "transaction.state.log.min.isr": "1",
            "share.coordinator.state.topic.replication.factor": "1",
            "share.coordinator.state.topic.min.isr": "1",
            "group.initial.rebalance.delay.ms": "0",
            # A broker back from a kill waits until its former session has ended: 3 s, not 9 s.
            "broker.session.timeout.ms": "3000",
            "broker.heartbeat.interval.ms": "500",
            **self._settings,
        }
        text = "".join(f"{key}={value}\n" for key, value in properties.items())
        self._properties.write_text(text)
        self._format()

    def _more_listeners(self) -> list[str]:
        """Listeners beside the plain one, on free ports."""
        return []

    def _format_options(self) -> list[str]:
        """Options for the tool that formats the folder."""
        return []

    def _format(self) -> None:
        done = subprocess.run(
            [
                *self._java("256m"),
                "kafka.tools.StorageTool",
                *("format", "--standalone", "-t", uuid.uuid4().hex[:22]),
                *("-c", str(self._properties)),
                *self._format_options(),
            ],
            capture_output=True,
            text=True,
            timeout=START_SECONDS_MAX,
            check=False,
        )
        if done.returncode:
            reason = f"could not format its folder ({done.returncode})"
            raise ChildFailed(self.name, reason, done.stderr.strip())

    def _command(self) -> list[str]:
        return [*self._java(self._heap), "kafka.Kafka", str(self._properties)]

    def _java(self, heap: str) -> list[str]:
        # Serial collector and first compiler only where the heap is a test's: quicker to start.
        quick = ["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"] if heap.endswith("m") else []
        level = "-Dorg.apache.logging.log4j.level=WARN"
        return [program_of("java"), f"-Xmx{heap}", *quick, level, "-cp", f"{kafka_jars()}/*"]

    @property
    def _properties(self) -> Path:
        return self.folder / "server.properties"

    def _answers(self) -> bool:
        return kafka_answers(self.port)


class RedisServer(Server):
    """Redis with an append-only file synced each second, packing, never evicting: as we ship it.

    `settings` are added to redis.conf. `appendonly=False` keeps nothing over a restart.
    """

    name = "redis"

    def __init__(
        self,
        folder: Path,
        *,
        appendonly: bool = True,
        password: str | None = None,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(folder)
        self._appendonly = appendonly
        self._password = password
        self._settings = dict(settings or {})

    @property
    def url(self) -> str:
        """What redis-py takes; holds the password, if there is one."""
        login = f":{self._password}@" if self._password else ""
        return f"redis://{login}127.0.0.1:{self.port}/0"

    @property
    def socket(self) -> Path:
        """Its Unix socket."""
        return self.folder / "redis.sock"

    def _prepare(self) -> None:
        assert len(str(self.socket)) < 108, f"too long for a Unix socket: {self.socket}"
        self.port = free_port()
        settings = {
            "bind": "127.0.0.1",
            "port": str(self.port),
            "unixsocket": str(self.socket),
            "dir": str(self.folder),
            "appendonly": "yes" if self._appendonly else "no",
            "appendfsync": "everysec",
            "save": '""',
            "maxmemory-policy": "noeviction",
            **PACKED,
            **({"requirepass": self._password} if self._password else {}),
            **self._settings,
        }
        text = "".join(f"{key} {value}\n" for key, value in settings.items())
        (self.folder / "redis.conf").write_text(text)

    def _command(self) -> list[str]:
        return [program_of("redis-server"), str(self.folder / "redis.conf")]

    def _answers(self) -> bool:
        return redis_answers(self.port, self._password)
