"""Fixtures for end-to-end tests: a site of its own for each test, and workers that end with it."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.e2e.secure_stage import SecureStage, secure_stage
from tests.e2e.told_worker import ToldWorker
from tests.servers import KafkaServer, RedisServer
from tests.workers import Site, WorkerProcess


@pytest.fixture
def site_of(
    kafka: KafkaServer, redis_server: RedisServer, fresh_name: Callable[[str], str], tmp_path: Path
) -> Callable[..., Site]:
    """Makes a site with settings of its own on the shared servers, topics included."""

    def make(redis_url: str | None = None, **more: str) -> Site:
        small = {"SURGEWATCH_RULE_FOLLOWERS_24H": "500", "SURGEWATCH_RULE_COMMENTS_24H": "200"}
        url = redis_url or redis_server.url
        return Site(kafka.bootstrap, url, fresh_name("site"), tmp_path, small | more).make_topics()

    return make


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[Site, str], WorkerProcess]]:
    """Starts workers; the test's end kills those that still run."""
    with ExitStack() as stack:

        def started(site: Site, name: str) -> WorkerProcess:
            worker = WorkerProcess(site, name)
            stack.callback(worker.kill)
            return worker

        yield started


@pytest.fixture
def told() -> Iterator[Callable[[Site, str], ToldWorker]]:
    """Starts workers that tell their counters; the test's end kills those that still run."""
    with ExitStack() as stack:

        def started(site: Site, name: str, shift_ms: int = 0) -> ToldWorker:
            worker = ToldWorker(site, name, shift_ms)
            stack.callback(worker.kill)
            return worker

        yield started


@pytest.fixture(scope="session")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecureStage]:
    """One Kafka and one Redis that ask who one is, with the documented rights; never end them."""
    with secure_stage(tmp_path_factory.mktemp("secure")) as made:
        yield made
