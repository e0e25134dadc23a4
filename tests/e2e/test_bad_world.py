"""A port that is taken, a full Redis, no DNS, a full disk: a line each, and nothing is lost."""

import asyncio
import re
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest
from redis import Redis

from tests.e2e.faulty_worker import DNS_GONE, FaultyWorker
from tests.sender import Sender, assert_exact
from tests.servers import RedisServer
from tests.workers import Site, WorkerProcess, wait_until

SPAN_MS = 600_000
WRITES_FAILED = 'surgewatch_redis_errors_total{operation="write"}'


def test_a_port_that_is_taken_is_told_and_harms_no_worker_that_runs(
    site_of: Callable[..., Site], start: Callable[[Site, str], WorkerProcess]
) -> None:
    site = site_of()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        site.more = {**site.more, "SURGEWATCH_METRICS_PORT": str(port)}
        second = start(site, "second")
        assert second.wait(40) == 2
    lines = second.text().splitlines()
    assert len(lines) == 1
    assert f"metrics_port = {port}: 127.0.0.1:{port} is in use: end what uses it" in lines[0]


@pytest.mark.slow
def test_a_full_redis_is_told_and_counted_and_what_waited_is_stored_once_it_has_room(
    site_of: Callable[..., Site],
    redis_factory: Callable[..., RedisServer],
    start: Callable[[Site, str], WorkerProcess],
) -> None:
    server = redis_factory()
    site = site_of(redis_url=server.url)
    sender = Sender(site, 8_000, SPAN_MS)
    asyncio.run(sender.send(0.25))
    worker = start(site, "worker")
    wait_until(sender.all_stored, 60, worker.text)
    with Redis.from_url(server.url) as client:
        client.config_set("maxmemory-policy", "noeviction")
        client.config_set("maxmemory", 1)
        asyncio.run(sender.send(0.75))
        wait_until(
            lambda: "its memory is full (maxmemory): raise" in worker.text(), 40, worker.text
        )
        wait_until(lambda: worker.metrics()[WRITES_FAILED] >= 2, 20, worker.text)
        assert not sender.all_stored()
        assert worker.runs
        client.config_set("maxmemory", 0)
    wait_until(sender.all_stored, 60, worker.text)
    assert_exact(sender)
    assert worker.stop() == 0


@pytest.mark.slow
def test_names_that_are_not_resolved_for_a_while_are_told_and_nothing_is_lost(
    site_of: Callable[..., Site], redis_factory: Callable[..., RedisServer]
) -> None:
    server = redis_factory()
    site = site_of(redis_url=server.url.replace("127.0.0.1", "localhost"))
    sender = Sender(site, 8_000, SPAN_MS)
    asyncio.run(sender.send(0.25))
    worker = FaultyWorker(site, DNS_GONE)
    try:
        wait_until(lambda: "broken now" in worker.text(), 60, worker.text)
        with Redis.from_url(server.url) as client:
            for one in client.client_list():
                if one["addr"] != client.client_info()["addr"]:
                    client.client_kill(one["addr"])
        site.more = {**site.more, "SURGEWATCH_REDIS_URL": server.url}
        asyncio.run(sender.send(0.75))
        words = "Temporary failure in name resolution"
        wait_until(lambda: words in worker.text(), 40, worker.text)
        line = next(line for line in worker.text().splitlines() if words in line)
        assert "waiting for the store: cannot reach Redis at redis://localhost" in line
        assert worker.metrics()[WRITES_FAILED] >= 1
        wait_until(sender.all_stored, 60, worker.text)
        assert_exact(sender)
        assert worker.stop() == 0
    finally:
        worker.kill()


class OnFullDisk(WorkerProcess):
    """A worker whose lines go to a disk that is full."""

    def __init__(self, site: Site) -> None:
        self.log = Path("/dev/full")
        with self.log.open("wb") as full:
            self._process = subprocess.Popen(
                [sys.executable, *self.arguments], env=site.environ, stdout=full, stderr=full
            )


@pytest.mark.slow
def test_a_worker_counts_on_though_its_lines_find_no_room_on_the_disk(
    site_of: Callable[..., Site],
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    site = site_of(SURGEWATCH_LOG_LEVEL="debug", SURGEWATCH_METRICS_PORT=str(port))
    sender = Sender(site, 4_000, SPAN_MS)
    asyncio.run(sender.send(1))
    worker = OnFullDisk(site)
    try:
        wait_until(sender.all_stored, 60, "all stored")
        assert_exact(sender)
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
            found = re.search(rb"\nsurgewatch_log_lines_lost_total (\S+)", answer.read())
        assert found is not None
        assert float(found[1]) > 10
        assert worker.stop() == 0
    finally:
        worker.kill()


def test_kafka_whose_name_nobody_knows_is_told_in_one_line(
    site_of: Callable[..., Site], start: Callable[[Site, str], WorkerProcess]
) -> None:
    site = site_of()
    site.more = {
        **site.more,
        "SURGEWATCH_KAFKA_BOOTSTRAP_SERVERS": "no-such-host.invalid:9092",
        "SURGEWATCH_START_SECONDS_MAX": "0",
    }
    worker = start(site, "worker")
    assert worker.wait(60) == 3
    (line,) = [one for one in worker.text().splitlines() if "metrics on" not in one]
    assert "cannot reach Kafka at no-such-host.invalid:9092 (" in line
    assert "is SURGEWATCH_KAFKA_BOOTSTRAP_SERVERS right?" in line
