"""Fixtures: one engine with all images, and sites on real servers that a container reaches."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from streams.edges.process.child import free_port
from tests.containers.engine import Container, Engine
from tests.servers import KafkaServer, RedisServer
from tests.workers import Site


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    """The engine, with the stand-ins and the worker's image built."""
    # A short name: a Unix socket's path has 107 bytes at most.
    with tempfile.TemporaryDirectory(prefix="swc-") as folder, Engine(Path(folder)) as started:
        started.build_stand_ins()
        started.build_image()
        yield started


@pytest.fixture
def site(
    kafka: KafkaServer, redis_server: RedisServer, fresh_name: Callable[[str], str], tmp_path: Path
) -> Site:
    """A site on real Kafka and Redis, topics included."""
    more = {
        "SURGEWATCH_RULE_FOLLOWERS_24H": "500",
        "SURGEWATCH_METRICS_PORT": str(free_port()),
    }
    return Site(kafka.bootstrap, redis_server.url, fresh_name("site"), tmp_path, more).make_topics()


@pytest.fixture
def start(engine: Engine) -> Iterator[Callable[[Site, str], Container]]:
    """Starts workers in containers; the test's end removes them."""
    yield lambda site, name: Container(engine, name, site.environ)
    engine.remove_all()
