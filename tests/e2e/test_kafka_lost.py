"""Kafka lost under a running worker: it says so, goes on by itself, and every count is right."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.sender import Sender, assert_exact
from tests.servers import KafkaServer, RedisServer
from tests.workers import Site, WorkerProcess, wait_until

pytestmark = pytest.mark.alone  # limits of time after a fault


@pytest.mark.slow
@pytest.mark.parametrize("how", ["killed", "frozen"])
def test_a_lost_kafka_is_named_with_its_beginning_and_reading_goes_on_when_it_is_back(
    kafka_factory: Callable[..., KafkaServer],
    redis_server: RedisServer,
    fresh_name: Callable[[str], str],
    start: Callable[[Site, str], WorkerProcess],
    tmp_path: Path,
    how: str,
) -> None:
    kafka = kafka_factory()
    site = Site(kafka.bootstrap, redis_server.url, fresh_name("site"), tmp_path).make_topics()
    sender = Sender(site, 20_000)
    asyncio.run(sender.send(0.5))
    worker = start(site, "worker")
    wait_until(sender.all_stored, 40, worker.text)
    kafka.kill() if how == "killed" else kafka.pause()
    wait_until(lambda: "has not answered since" in worker.text(), 30, worker.text)
    kafka.start() if how == "killed" else kafka.resume()
    wait_until(lambda: "answers again after" in worker.text(), 30, worker.text)
    asyncio.run(sender.send(0.5))
    wait_until(sender.all_stored, 60, worker.text)
    assert_exact(sender)
    assert worker.text().count("has not answered since") < 3
    assert worker.stop() == 0


@pytest.mark.slow
def test_a_worker_with_lag_that_kafka_leaves_alone_for_too_long_ends_itself_with_70(
    kafka_factory: Callable[..., KafkaServer],
    redis_factory: Callable[..., RedisServer],
    fresh_name: Callable[[str], str],
    start: Callable[[Site, str], WorkerProcess],
    tmp_path: Path,
) -> None:
    kafka, redis = kafka_factory(), redis_factory()
    site = Site(kafka.bootstrap, redis.url, fresh_name("site"), tmp_path).make_topics()
    short = {"SURGEWATCH_WATCHDOG_SECONDS": "15", "SURGEWATCH_FLUSH_CREATORS_MAX": "100"}
    site = replace(site, more={**short, "SURGEWATCH_CHUNK_RECORDS_MAX": "100"})
    sender = Sender(site, 150_000)
    asyncio.run(sender.send(0.01))
    worker = start(site, "worker")
    wait_until(sender.all_stored, 40, worker.text)
    redis.pause()  # so that more waits than the client has fetched when Kafka goes
    asyncio.run(sender.send(0.99))
    wait_until(lambda: "waiting for the store" in worker.text(), 30, worker.text)
    kafka.kill()
    redis.resume()
    assert worker.wait(60) == 70, worker.text()
    assert "has not answered since" in worker.text()
    kafka.start()
    again = start(replace(site, more={}), "again")  # small chunks were the first one's
    wait_until(sender.all_stored, 120, again.text)
    assert_exact(sender)
