"""A server that does not answer a check is counted and told, at the start and while running."""

import asyncio
import time
from typing import Any, cast

import pytest
from prometheus_client import CollectorRegistry

from streams.app.worker.checks import WorkerChecks
from streams.edges.errors import KafkaUnreachable, RedisUnreachable, UnreachableError
from streams.edges.kafka.source_guard import SourceGuard
from streams.edges.metrics.progress import WorkerProgress
from streams.edges.metrics.worker import Build, Metrics
from streams.edges.process.clock import Clocks, SteadyClock
from streams.edges.process.health import Health
from streams.edges.redis.servers import RedisServers
from streams.edges.settings.list import Settings
from streams.edges.store import MemoryStore

NO_REDIS = RedisUnreachable("redis://h", "refused")
NO_KAFKA = KafkaUnreachable("h:9092", "refused")


class Servers:
    """Redis servers that answer when they are to."""

    def __init__(self) -> None:
        self.answer = False
        self.asked = asyncio.Event()

    async def check(self) -> None:
        """See RedisServers."""
        self.asked.set()
        if not self.answer:
            raise NO_REDIS

    async def advise(self) -> None:
        """See RedisServers."""

    async def clock_off_ms(self, _: object) -> None:
        """See RedisServers."""

    async def be_asked(self) -> None:
        """Wait until the answer to one more question is taken."""
        for _ in range(2):
            self.asked.clear()
            await asyncio.wait_for(self.asked.wait(), 10)


class Checks(WorkerChecks):
    """Checks of a worker whose Kafka answers as ``kafka`` says."""

    kafka: UnreachableError | None = None

    async def _check_kafka(self) -> None:
        if self.kafka is not None:
            raise self.kafka

    async def _ask_source(self) -> None:
        pass


class Desk:
    """A worker's checks, and what comes of them."""

    def __init__(self, **changes: int) -> None:
        self.registry = CollectorRegistry()
        metrics = Metrics(self.registry, ("follows",), Build("0", "surgewatch"), lambda: 0)
        self.health = Health(time.monotonic(), 60)
        self.progress = WorkerProgress(metrics, self.health)
        self.progress.owns([("follows", 0)])
        self.progress.loaded()
        self.servers = Servers()
        self.checks = Checks(
            Settings(**cast("Any", changes)),
            self.progress,
            cast("Any", None),
            MemoryStore(),
            cast("RedisServers", self.servers),
            SteadyClock(Clocks(), lambda *_: None),
        )

    def errors(self, server: str) -> float | None:
        """Calls to this server that failed."""
        name = f"surgewatch_{server}_errors_total"
        return self.registry.get_sample_value(name, {"operation": "connect"})


@pytest.mark.parametrize("server", ["redis", "kafka"])
def test_each_try_at_the_start_that_fails_is_counted(server: str) -> None:
    async def start() -> Desk:
        desk = Desk(start_seconds_max=0)
        desk.checks.kafka = NO_KAFKA if server == "kafka" else None
        with pytest.raises(UnreachableError):
            await desk.checks.at_start(asyncio.Event())
        return desk

    desk = asyncio.run(start())
    assert {one: desk.errors(one) for one in ("redis", "kafka")} == {
        "redis": float(server == "redis"),
        "kafka": float(server == "kafka"),
    }


def test_a_worker_with_nothing_to_write_tells_of_a_dead_redis_until_it_is_back(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def run() -> None:
        desk = Desk(check_interval_ms=100)
        assert desk.health.unready(time.monotonic()) is None
        guard = cast("SourceGuard", cast("Any", desk.servers))
        cast("Any", guard).confirm = desk.servers.advise  # it has nothing to tell
        *others, look = desk.checks.watches(guard)
        for other in others:
            other.close()
        looking = asyncio.create_task(look)
        await desk.servers.be_asked()
        assert (desk.errors("redis") or 0) >= 1
        assert desk.health.unready(time.monotonic()) == NO_REDIS.brief
        assert "not checked: cannot reach Redis" in caplog.text
        desk.servers.answer = True
        await desk.servers.be_asked()
        assert desk.health.unready(time.monotonic()) is None
        looking.cancel()

    asyncio.run(run())


def test_what_a_write_has_met_is_not_over_when_a_check_is_answered() -> None:
    desk = Desk()
    desk.progress.redis_failed("write", NO_REDIS)
    desk.progress.redis_checked()
    assert desk.health.unready(time.monotonic()) == NO_REDIS.brief
