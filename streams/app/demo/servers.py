"""The demo's own broker, Valkey, topics and worker: up inside, gone outside."""

import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from streams.edges.errors import SettingsError, UnreachableError
from streams.edges.kafka.topics import create_topics
from streams.edges.process.child import ChildProcess, NoFreePort, free_port
from streams.edges.process.embedded import EmbeddedBroker, EmbeddedServer, EmbeddedValkey
from streams.edges.settings.list import Settings
from streams.edges.settings.reading import PREFIX

_WORKER_END_SECONDS_MAX: Final = 5.0
_KEPT: Final = (
    "rule_followers_24h",
    "rule_comments_24h",
    "detector",
    "detector_parameters",
    "detector_keys_max",
    "detector_threshold",
    "budget_notices_per_creator_day",
    "budget_pages_per_creator_day",
    "page_excess_min",
    "page_ratio_min",
)
"""Settings of the user that the demo keeps: what is a surge. All others are its own."""


class DemoServerGone(UnreachableError):
    """A server or the worker of the demo ended by itself; the line has the last of its log."""

    def __init__(self, name: str, log_tail: str) -> None:
        self.name = name
        self.log_tail = log_tail
        last = (log_tail.splitlines() or ["it logged nothing"])[-1].strip()
        super().__init__(f"{name} ended by itself: {last}")


class NoRoomForServers(SettingsError):
    """There is no free port, or no folder for temporary files."""


@dataclass(frozen=True, slots=True)
class DemoServers:
    """What runs; ``settings`` reach it."""

    settings: Settings
    servers: tuple[EmbeddedServer, ...]
    worker: ChildProcess

    def check(self) -> None:
        """Raise DemoServerGone when one of them has ended; a worker without its server too."""
        for server in self.servers:
            if not server.runs:
                self.worker.kill()  # it would look for the server for some seconds
                raise DemoServerGone(
                    server.name, "its data was in memory only: start the demo anew"
                )
        if not self.worker.runs:
            raise DemoServerGone(self.worker.name, self.worker.log_tail())


@contextmanager
def demo_servers(user: Settings, phase: Callable[[str], None]) -> Iterator[DemoServers]:
    """Start all of it, and end it in the other order; ``phase`` is told what is being done.

    Enter it in the main thread: on Linux the servers end with the thread that started them.
    Raises EmbeddedServerMissing, EmbeddedServerFailed, NoRoomForServers, KafkaUnreachable.
    """
    with ExitStack() as stack:
        folder = stack.enter_context(_temporary_folder())
        try:
            phase("starting a Kafka-protocol broker (Tansu)")
            broker = stack.enter_context(EmbeddedBroker())
            phase("starting a Valkey")
            valkey = stack.enter_context(EmbeddedValkey())
            metrics_port = free_port()
        except NoFreePort as error:
            message = "no port from 20000 to 32000 of 127.0.0.1 is free: end what uses them"
            raise NoRoomForServers(message) from error
        settings = demo_settings(user, (broker.bootstrap, valkey.url), metrics_port)
        phase("making the topics")
        create_topics(settings)
        phase("starting a worker")
        command = [sys.executable, "-m", "streams.app.cli", "worker"]
        worker = ChildProcess("the worker", command, folder / "worker.log")
        stack.callback(worker.end, _WORKER_END_SECONDS_MAX)
        worker.start(environment_of(settings, os.environ) | {"TMPDIR": str(folder)})
        yield DemoServers(settings, (broker, valkey), worker)


def demo_settings(user: Settings, servers: tuple[str, str], metrics_port: int) -> Settings:
    """Settings of the demo: the user's idea of a surge, and servers of its own."""
    bootstrap, redis_url = servers
    return Settings(
        **{name: getattr(user, name) for name in _KEPT},
        kafka_bootstrap_servers=bootstrap,
        kafka_session_timeout_ms=6_000,  # the broker's join takes half of it
        redis_url=redis_url,
        metrics_port=metrics_port,
        kafka_timeout_ms=5_000,
    )


def environment_of(settings: Settings, environ: Mapping[str, str]) -> dict[str, str]:
    """Variables for a worker with these settings, and none of the user's own.

    >>> environment_of(Settings(topic_partitions=8), {"A": "1", "SURGEWATCH_REDIS_URL": "x"})
    {'A': '1', 'SURGEWATCH_TOPIC_PARTITIONS': '8'}
    """
    passed = {key: value for key, value in environ.items() if not key.startswith(PREFIX)}
    plain = Settings()
    for field in msgspec.structs.fields(Settings):
        value = getattr(settings, field.name)
        if field.name != "origins" and value != getattr(plain, field.name):
            text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
            passed[PREFIX + field.name.upper()] = text
    return passed


@contextmanager
def _temporary_folder() -> Iterator[Path]:
    try:
        folder = tempfile.TemporaryDirectory(prefix="surgewatch-")
    except OSError as error:
        message = "no folder for temporary files can be made: set TMPDIR to one that can be written"
        raise NoRoomForServers(message) from error
    with folder as name:
        yield Path(name)
