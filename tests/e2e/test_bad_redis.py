"""A Redis that would lose state, or that two fleets share, is told at the start and later."""

import urllib.error
import urllib.request
from collections.abc import Callable

import pytest
from redis import Redis

from streams.edges.kafka.topics import create_topics
from tests.e2e.desk import FollowsDesk
from tests.e2e.told_worker import ToldWorker, assert_plain
from tests.servers import RedisServer
from tests.workers import Site, WorkerProcess, wait_until

CREATORS = [f"c-{number % 50}" for number in range(300)]
QUICK = {"SURGEWATCH_CHECK_INTERVAL_MS": "200"}
MEGABYTE = 2**20


@pytest.mark.parametrize("policy", ["allkeys-lru", "volatile-ttl"])
def test_a_redis_that_may_evict_is_refused_at_the_start(
    site_of: Callable[..., Site],
    redis_factory: Callable[..., RedisServer],
    told: Callable[[Site, str], ToldWorker],
    policy: str,
) -> None:
    server = redis_factory(settings={"maxmemory": "100mb", "maxmemory-policy": policy})
    worker = told(site_of(redis_url=server.url), "worker")
    assert worker.wait(40) == 4, worker.text()
    assert_plain(worker, f"maxmemory-policy is {policy}", "Set maxmemory-policy noeviction")
    assert worker.counters()["bad_input:redis_evicts"] == 1
    with Redis.from_url(server.url) as client:
        assert client.dbsize() == 0


def test_a_redis_that_may_evict_from_now_on_stops_a_running_worker_before_it_does(
    site_of: Callable[..., Site],
    redis_factory: Callable[..., RedisServer],
    told: Callable[[Site, str], ToldWorker],
) -> None:
    server = redis_factory()
    desk = FollowsDesk(site_of(redis_url=server.url, **QUICK))
    desk.send(desk.follows(CREATORS, counted=True))
    worker = told(desk.site, "worker")
    desk.wait_stored(worker, len(CREATORS))
    with Redis.from_url(server.url) as client:
        client.config_set("maxmemory", 100 * MEGABYTE)
        client.config_set("maxmemory-policy", "allkeys-lru")
    assert worker.wait(20) == 4, worker.text()
    assert_plain(worker, "maxmemory-policy is allkeys-lru")
    assert worker.counters()["bad_input:redis_evicts"] == 1
    assert desk.differences() == []


def test_a_redis_that_evicted_for_a_moment_stops_a_running_worker(
    site_of: Callable[..., Site],
    redis_factory: Callable[..., RedisServer],
    told: Callable[[Site, str], ToldWorker],
) -> None:
    server = redis_factory()
    desk = FollowsDesk(site_of(redis_url=server.url, **QUICK))
    desk.send(desk.follows(CREATORS, counted=True))
    worker = told(desk.site, "worker")
    desk.wait_stored(worker, len(CREATORS))
    with Redis.from_url(server.url) as client, client.pipeline(transaction=False) as at_once:
        used = client.info("memory")["used_memory"]
        at_once.config_set("maxmemory-policy", "allkeys-random")
        at_once.config_set("maxmemory", used // 2)
        at_once.set("filler", "x" * 1000)
        at_once.config_set("maxmemory", 0)
        at_once.config_set("maxmemory-policy", "noeviction")
        at_once.execute(raise_on_error=False)
        assert client.info("stats")["evicted_keys"] > 0
    assert worker.wait(20) == 4, worker.text()
    assert_plain(worker, "keys since the last look", "another SURGEWATCH_REDIS_PREFIX")


def test_a_redis_near_its_limit_that_never_evicts_is_a_warning_and_a_metric(
    site_of: Callable[..., Site],
    redis_factory: Callable[..., RedisServer],
    start: Callable[[Site, str], WorkerProcess],
) -> None:
    server = redis_factory()
    with Redis.from_url(server.url) as client:
        client.setrange("filler", 30 * MEGABYTE, "x")
        limit = int(client.info("memory")["used_memory"] / 0.93)
        client.config_set("maxmemory", limit)
    desk = FollowsDesk(site_of(redis_url=server.url, **QUICK))
    desk.send(desk.follows(CREATORS, counted=True))
    worker = start(desk.site, "worker")
    desk.wait_stored(worker, len(CREATORS))
    assert "of its maxmemory" in worker.text()
    assert "listpack" not in worker.text(), "these servers pack as what we ship does"
    shown = metrics_of(worker)
    assert shown["surgewatch_redis_memory_max_bytes"] == limit
    assert 0.9 * limit < shown["surgewatch_redis_memory_used_bytes"] < limit
    assert desk.differences() == []
    assert worker.stop() == 0


def metrics_of(worker: WorkerProcess) -> dict[str, float]:
    """Gauges without labels that a worker serves at the address that it printed."""
    (address,) = {word for word in worker.text().split() if word.endswith("/metrics")}
    with urllib.request.urlopen(address, timeout=10) as answer:
        rows = (line.split() for line in str(answer.read(), "utf-8").splitlines())
        return {row[0]: float(row[1]) for row in rows if len(row) == 2 and row[0] != "#"}


def test_a_redis_user_that_may_not_ask_for_its_memory_is_a_warning(
    site_of: Callable[..., Site],
    redis_factory: Callable[..., RedisServer],
    start: Callable[[Site, str], WorkerProcess],
) -> None:
    server = redis_factory(settings={"user": "surge on >word ~* &* +@all -info"})
    url = f"redis://surge:word@127.0.0.1:{server.port}/0"
    desk = FollowsDesk(site_of(redis_url=url, **QUICK))
    desk.send(desk.follows(CREATORS, counted=True))
    worker = start(desk.site, "worker")
    desk.wait_stored(worker, len(CREATORS))
    assert worker.text().count("whether Redis may evict keys cannot be seen") == 1
    assert worker.stop() == 0


@pytest.mark.parametrize(("user", "lines"), [("default", 1), ("surge", 0)], ids=["may", "not"])
def test_a_redis_with_default_packing_works_and_its_settings_are_advised_once(
    site_of: Callable[..., Site],
    redis_factory: Callable[..., RedisServer],
    start: Callable[[Site, str], WorkerProcess],
    user: str,
    lines: int,
) -> None:
    server = redis_factory(
        settings={
            "hash-max-listpack-value": "64",
            "user default": "on nopass ~* &* +@all",
            "user surge": "on >word ~* &* +@all -config",
        }
    )
    login = "" if user == "default" else f"{user}:word@"
    url = f"redis://{login}127.0.0.1:{server.port}/0"
    desk = FollowsDesk(site_of(redis_url=url, **QUICK))
    desk.send(desk.follows(CREATORS, counted=True))
    worker = start(desk.site, "worker")
    desk.wait_stored(worker, len(CREATORS))
    assert worker.text().count("Redis has hash-max-listpack-value 64: with 256") == lines
    assert desk.differences() == []
    assert worker.stop() == 0


def test_of_two_groups_that_start_at_once_on_an_empty_redis_exactly_one_counts(
    site_of: Callable[..., Site], told: Callable[[Site, str], ToldWorker]
) -> None:
    site = site_of()
    desk = FollowsDesk(site)
    desk.send(desk.follows(CREATORS, counted=True))
    workers = []
    for name in ("blue", "red"):
        group = {"SURGEWATCH_KAFKA_GROUP": f"{site.name}-{name}"}
        there = Site(site.bootstrap, site.redis_url, site.name, site.folder, {**site.more, **group})
        workers.append(told(there, name))
    wait_until(lambda: sum(one.runs for one in workers) == 1, 60, workers[0].text)
    (out,) = (one for one in workers if not one.runs)
    (ours,) = (one for one in workers if one.runs)
    assert out.wait(1) == 4, out.text()
    assert_plain(out, "holds state with group", "another SURGEWATCH_REDIS_PREFIX")
    assert out.counters()["bad_input:other_fleet"] == 1
    desk.wait_stored(ours, len(CREATORS))
    assert desk.differences() == []
    assert ours.stop() == 0


def test_a_redis_that_is_dead_is_counted_by_a_worker_that_waits_and_by_one_that_idles(
    site_of: Callable[..., Site],
    redis_factory: Callable[..., RedisServer],
    told: Callable[[Site, str], ToldWorker],
) -> None:
    server = redis_factory()
    desk = FollowsDesk(site_of(redis_url=server.url, SURGEWATCH_START_SECONDS_MAX="2", **QUICK))
    create_topics(desk.site.settings)
    idle = told(desk.site, "idle")
    wait_until(lambda: ready(idle) == 200, 40, idle.text)
    server.kill()
    wait_until(lambda: ready(idle) == 503, 20, idle.text)
    assert "not checked: cannot reach Redis" in idle.text()
    waiting = told(desk.site, "waiting")
    assert waiting.wait(40) == 3, waiting.text()
    assert waiting.counters()["redis_errors:connect"] >= 2
    server.start()
    wait_until(lambda: ready(idle) == 200, 20, idle.text)
    assert idle.stop() == 0
    assert idle.counters()["redis_errors:connect"] >= 1


def ready(worker: WorkerProcess) -> int | None:
    """Status of /readyz; None: it does not serve yet."""
    found = [word for word in worker.text().split() if word.endswith("/metrics")]
    if not found:
        return None
    try:
        with urllib.request.urlopen(found[0].replace("/metrics", "/readyz"), timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
