"""Redis killed, emptied or taken back to an older moment: the counts are right again."""

import asyncio
import shutil
from collections.abc import Callable

import pytest
from redis import Redis

from tests.sender import Sender, assert_exact
from tests.servers import RedisServer
from tests.workers import Site, WorkerProcess, wait_until

pytestmark = pytest.mark.alone  # limits of time after a fault


def stored(site: Site) -> int:
    settings = site.settings
    topics = (settings.topic_follows, settings.topic_comments)
    return sum(sum(site.stored_offsets(topic).values()) for topic in topics)


def generations(server: RedisServer) -> set[bytes | None]:
    """Generations of the claims that Redis holds."""
    with Redis.from_url(server.url) as client:
        return {client.hget(key, "generation") for key in client.scan_iter(match="*:meta")}


@pytest.mark.slow
def test_counts_are_rebuilt_after_redis_is_emptied_under_a_running_worker(
    site_of: Callable[..., Site],
    redis_factory: Callable[..., RedisServer],
    start: Callable[[Site, str], WorkerProcess],
) -> None:
    server = redis_factory()
    site = site_of(redis_url=server.url)
    sender = Sender(site, 40_000)
    asyncio.run(sender.send(0.5))
    worker = start(site, "worker")
    wait_until(lambda: stored(site) > 15_000, 40, worker.text)
    with Redis.from_url(server.url) as client:
        client.flushall()
    asyncio.run(sender.send(0.5))
    wait_until(sender.all_stored, 60, worker.text)
    assert_exact(sender)
    assert worker.stop() == 0


@pytest.mark.slow
def test_kill_9_of_redis_in_the_middle_loses_and_doubles_nothing(
    site_of: Callable[..., Site],
    redis_factory: Callable[..., RedisServer],
    start: Callable[[Site, str], WorkerProcess],
) -> None:
    server = redis_factory()
    site = site_of(redis_url=server.url)
    sender = Sender(site, 60_000)
    asyncio.run(sender.send(0.4))
    worker = start(site, "worker")
    wait_until(lambda: stored(site) > 2_000, 40, worker.text)
    server.kill()
    asyncio.run(sender.send(0.3))
    wait_until(lambda: "waiting for the store" in worker.text(), 20, worker.text)
    server.restart()
    asyncio.run(sender.send(0.3))
    wait_until(sender.all_stored, 60, worker.text)
    assert_exact(sender)
    assert worker.stop() == 0


@pytest.mark.slow
def test_redis_taken_back_to_an_older_moment_is_read_on_from_there(
    site_of: Callable[..., Site],
    redis_factory: Callable[..., RedisServer],
    start: Callable[[Site, str], WorkerProcess],
) -> None:
    server = redis_factory()
    site = site_of(redis_url=server.url)
    sender = Sender(site, 60_000)
    asyncio.run(sender.send(0.5))
    worker = start(site, "worker")
    wait_until(sender.all_stored, 60, worker.text)
    kept = server.folder.with_name("kept")
    with Redis.from_url(server.url) as client:
        client.config_set("appendfsync", "always")
    shutil.copytree(server.folder / "appendonlydir", kept)
    asyncio.run(sender.send(0.3))
    wait_until(sender.all_stored, 60, worker.text)
    server.kill()
    shutil.rmtree(server.folder / "appendonlydir")
    shutil.copytree(kept, server.folder / "appendonlydir")
    server.restart()
    asyncio.run(sender.send(0.2))
    wait_until(sender.all_stored, 60, worker.text)
    assert "restored from an older moment" in worker.text()
    assert_exact(sender)
    assert worker.stop() == 0


@pytest.mark.slow
def test_redis_taken_back_to_before_the_last_claims_is_claimed_again(
    site_of: Callable[..., Site],
    redis_factory: Callable[..., RedisServer],
    start: Callable[[Site, str], WorkerProcess],
) -> None:
    server = redis_factory()
    site = site_of(redis_url=server.url)
    sender = Sender(site, 40_000)
    asyncio.run(sender.send(0.5))
    first = start(site, "first")
    wait_until(sender.all_stored, 60, first.text)
    with Redis.from_url(server.url) as client:
        client.config_set("appendfsync", "always")
    kept = server.folder.with_name("kept")
    shutil.copytree(server.folder / "appendonlydir", kept)
    second = start(site, "second")
    wait_until(lambda: generations(server) == {b"2"}, 60, second.text)
    server.kill()
    shutil.rmtree(server.folder / "appendonlydir")
    shutil.copytree(kept, server.folder / "appendonlydir")
    server.restart()
    asyncio.run(sender.send(0.5))
    wait_until(sender.all_stored, 60, lambda: first.text() + second.text())
    for worker in (first, second):  # one that was fenced off ends itself after 30 s
        assert worker.runs
        assert "fenced off" not in worker.text()
    assert_exact(sender)
    assert (first.stop(), second.stop()) == (0, 0)


def tear(server: RedisServer) -> None:
    """Cut the append-only file in the middle of its last write, behind its first commands."""
    [path] = (server.folder / "appendonlydir").glob("*.incr.aof")
    content = path.read_bytes()
    last_write = content.rindex(b"$7\r\nHINCRBY")
    behind = content.index(b"$4\r\nHSET", last_write) + 20
    path.write_bytes(content[:behind])


@pytest.mark.slow
def test_a_write_cut_in_half_is_found_by_the_worker_that_goes_on_and_counted_anew(
    site_of: Callable[..., Site],
    redis_factory: Callable[..., RedisServer],
    start: Callable[[Site, str], WorkerProcess],
) -> None:
    # the worst case: Redis may not write its file anew, which would heal it after the first start
    server = redis_factory(settings={"rename-command": 'BGREWRITEAOF ""'})
    site = site_of(redis_url=server.url)
    sender = Sender(site, 60_000)
    asyncio.run(sender.send(0.4))
    worker = start(site, "worker")
    wait_until(sender.all_stored, 60, worker.text)
    server.kill()
    tear(server)
    server.start()
    asyncio.run(sender.send(0.3))
    wait_until(sender.all_stored, 60, worker.text)
    server.restart()  # it now carries the half out, before what was written since
    asyncio.run(sender.send(0.3))
    wait_until(sender.all_stored, 60, worker.text)
    # the torn write may be of a partition to which no record comes: found by its next write
    wait_until(lambda: "is dropped and counted anew" in worker.text(), 30, worker.text)
    wait_until(sender.all_stored, 60, worker.text)
    assert_exact(sender)
    assert worker.text().count("is dropped and counted anew") == 1
    assert worker.stop() == 0


@pytest.mark.slow
def test_a_worker_that_makes_no_progress_with_lag_dumps_its_stacks_and_exits_with_70(
    site_of: Callable[..., Site],
    redis_factory: Callable[..., RedisServer],
    start: Callable[[Site, str], WorkerProcess],
) -> None:
    server = redis_factory()
    site = site_of(redis_url=server.url, SURGEWATCH_WATCHDOG_SECONDS="5")
    sender = Sender(site, 20_000)
    asyncio.run(sender.send(0.2))
    worker = start(site, "worker")
    wait_until(sender.all_stored, 40, worker.text)
    server.pause()
    asyncio.run(sender.send(0.8))
    code = worker.wait(60)
    server.resume()
    assert code == 70, worker.text()
    assert "no progress" in worker.text()
    assert "Current thread" in worker.text() or "Thread 0x" in worker.text()
    again = start(site, "again")
    wait_until(sender.all_stored, 40, again.text)
    assert_exact(sender)
