"""Fixtures for every test: real Kafka and Redis, and names that no other test uses."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from tests.servers import KafkaServer, RedisServer, Server, ServerMissing, program_of

# Hypothesis' limit of 200 ms an example is a limit on a loaded machine, not on our code.
hypothesis.settings.register_profile("surgewatch", deadline=None)
hypothesis.settings.load_profile("surgewatch")


def start_or_say(server: Server) -> None:
    """Start it; without its program the test skips on a desk and fails in CI."""
    with saying_what_is_missing():
        server.start()


def program_or_say(name: str) -> str:
    """Path of a program; without it the test skips on a desk and fails in CI."""
    with saying_what_is_missing():
        return program_of(name)


@contextmanager
def saying_what_is_missing() -> Iterator[None]:
    """Without a program that is needed within, the test skips on a desk and fails in CI."""
    try:
        yield
    except ServerMissing as missing:
        if os.environ.get("CI", "").lower() in {"1", "true"}:
            pytest.fail(str(missing), pytrace=False)
        pytest.skip(str(missing))


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaServer]:
    """One Kafka for the whole run: use fresh topics and groups, and never end it."""
    server = KafkaServer(tmp_path_factory.mktemp("kafka"))
    start_or_say(server)
    yield server
    server.stop()


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """One Redis for the whole run: use fresh key prefixes, and never flush or end it."""
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    start_or_say(server)
    yield server
    server.stop()


@pytest.fixture
def fresh_name() -> Callable[[str], str]:
    """`fresh_name("follows")` is `follows-` and 8 hex digits that no other test has."""

    def name_of(stem: str) -> str:
        return f"{stem}-{uuid.uuid4().hex[:8]}"

    return name_of


@pytest.fixture
def kafka_factory(tmp_path: Path) -> Iterator[Callable[..., KafkaServer]]:
    """Make started Kafkas that the test may kill; takes KafkaServer's keyword arguments."""
    with ExitStack() as servers:

        def make(**options: Any) -> KafkaServer:
            server = KafkaServer(tmp_path / f"kafka-{uuid.uuid4().hex[:8]}", **options)
            servers.callback(server.stop)
            start_or_say(server)
            return server

        yield make


@pytest.fixture
def redis_factory(tmp_path: Path) -> Iterator[Callable[..., RedisServer]]:
    """Make started Redises that the test may kill; takes RedisServer's keyword arguments."""
    with ExitStack() as servers:

        def make(**options: Any) -> RedisServer:
            server = RedisServer(tmp_path / f"redis-{uuid.uuid4().hex[:8]}", **options)
            servers.callback(server.stop)
            start_or_say(server)
            return server

        yield make
