"""The command doctor on real servers that are well, broken on purpose, or dead."""

import json
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

import jsonschema
import pytest
from click.testing import CliRunner, Result
from redis import Redis

from streams.app.cli import main
from streams.app.doctor.checks import CHECKS
from streams.app.doctor.run import Asked, examine
from streams.core.reports.checkup import Finding
from streams.edges.codec.schemas import read_schema
from streams.edges.kafka.admin import admin_client
from streams.edges.kafka.topics import topic_plans
from streams.edges.process.clock import wall_ms
from streams.edges.redis.rights import NEEDED, WISHED
from tests.conftest import start_or_say
from tests.e2e.desk import AT_MS, FollowsDesk
from tests.servers import RedisServer
from tests.workers import Ledger, Site, WorkerProcess, wait_until

VALIDATOR: Final = jsonschema.Draft202012Validator(read_schema("doctor"))
ONE: Final = "creator-1"
RIGHTS: Final = " ".join(
    f"+{command[0]}{f'|{command[1]}' if command[0] in {'SCRIPT', 'CONFIG'} else ''}".lower()
    for command in (*NEEDED, *WISHED, ("EVAL",), ("MULTI",), ("DISCARD",))
)
USERS: Final = {
    "user least": f"on >verysecret ~* {RIGHTS}",
    "user reader": "on >verysecret ~* +@read +@connection +@transaction +info +time",
    "user stranger": "on >verysecret ~other:* +@all",
    "user blind": "on >verysecret ~* +@all -multi -info -config -time",
}
SECONDS_MAX: Final = 15.0


@pytest.fixture(scope="module")
def own_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A Redis whose settings these tests may change; each puts back what it changed."""
    server = RedisServer(tmp_path_factory.mktemp("redis"), settings={
        "user default": "on nopass ~* &* +@all", "maxmemory": "200mb", **USERS,
    })  # fmt: skip
    start_or_say(server)
    yield server
    server.stop()


def run(site: Site, *arguments: str, **more: str) -> Result:
    return CliRunner(env=site.environ | more).invoke(main, ["doctor", *arguments])


def told(site: Site, *arguments: str, **more: str) -> dict[str, Any]:
    result = run(site, "--json", *arguments, **more)
    report: dict[str, Any] = json.loads(result.stdout)
    VALIDATOR.validate(report)
    assert result.exit_code == report["exit_code"], result.stdout
    assert {one["id"] for one in report["findings"]} == {check.id for check in CHECKS}
    assert "verysecret" not in result.output
    assert report["seconds"] < SECONDS_MAX
    return report


def bad_in(report: dict[str, Any]) -> set[tuple[str, str]]:
    """What is told besides one copy on one broker, no worker, and a machine that is busy."""
    found = {(one["id"], one["status"]) for one in report["findings"]}
    usual = {"kafka.replication", "group.workers", "redis.latency"}
    return {
        (name, status)
        for name, status in found
        if status == "error" or (status == "warning" and name not in usual)
    }


def status_of(report: dict[str, Any], check_id: str) -> set[str]:
    return {one["status"] for one in report["findings"] if one["id"] == check_id}


@contextmanager
def configured(server: RedisServer, **settings: str) -> Iterator[None]:
    """Redis with other settings, put back at the end."""
    with Redis.from_url(server.url) as client:
        names = {name.replace("_", "-"): value for name, value in settings.items()}
        before = {name: client.config_get(name)[name] for name in names}
        for name, value in names.items():
            client.config_set(name, value)
        try:
            yield
        finally:
            for name, value in before.items():
                client.config_set(name, value)


def test_what_is_well_is_fine_while_a_worker_runs(
    site_of: Callable[..., Site],
    own_redis: RedisServer,
    start: Callable[[Site, str], WorkerProcess],
) -> None:
    desk = FollowsDesk(site_of(redis_url=own_redis.url))
    desk.send(desk.follows([ONE] * 100, counted=True))
    worker = start(desk.site, "worker")
    desk.wait_stored(worker, 100)
    wait_until(lambda: status_of(told(desk.site), "group.workers") == {"ok"}, 30, worker.text)
    report = told(desk.site)
    assert bad_in(report) == set()
    assert report["exit_code"] == 0
    unseen = {one["group"] for one in report["findings"] if one["status"] == "not_checked"}
    assert unseen == {"prometheus"}
    lines = run(desk.site).stdout.splitlines()
    assert "group: 3 fine" in lines
    assert "  not checked  8 checks: not asked for: --prometheus URL" in lines
    assert lines[-1].startswith("it works; see the warnings")
    assert worker.stop() == 0
    after = told(desk.site)
    assert status_of(after, "group.workers") == {"warning"}
    assert status_of(after, "group.partitions") == {"not_checked"}


def test_topics_that_are_wrong_or_absent_are_told(
    site_of: Callable[..., Site], own_redis: RedisServer
) -> None:
    desk = FollowsDesk(site_of(redis_url=own_redis.url))
    site = desk.site
    desk.set_config("retention.ms", "3600000")
    assert bad_in(told(site)) == {("kafka.retention", "error")}
    desk.set_config("retention.ms", "604800000")
    desk.set_config("cleanup.policy", "compact")
    assert bad_in(told(site)) == {("kafka.cleanup", "error")}
    desk.set_config("cleanup.policy", "delete")
    desk.set_config("message.timestamp.type", "CreateTime")
    assert bad_in(told(site)) == {("kafka.times", "warning")}
    desk.set_config("message.timestamp.type", "LogAppendTime")
    desk.set_config("min.insync.replicas", "2")
    assert bad_in(told(site)) == {("kafka.replication", "error")}
    desk.set_config("min.insync.replicas", "1")
    short = told(site, SURGEWATCH_KAFKA_SESSION_TIMEOUT_MS="1800000")
    assert status_of(short, "kafka.session") == {"ok"}
    desk.add_partitions(6)
    more = told(site)
    assert bad_in(more) == {("kafka.partitions", "error")}
    assert more["exit_code"] == 4
    with admin_client(site.settings) as admin:
        admin.delete_topics([site.settings.topic_waves])
    wait_until(lambda: ("kafka.topics", "error") in bad_in(told(site)), 20, "it is deleted")
    with admin_client(site.settings) as admin:
        admin.delete_topics([p.name for p in topic_plans(site.settings)[:4]])
    wait_until(lambda: "not_checked" in status_of(told(site), "kafka.in_sync"), 20, "no topics")
    assert told(site)["exit_code"] == 4


def test_records_that_are_lost_or_wait_long_are_told(
    site_of: Callable[..., Site],
    own_redis: RedisServer,
    start: Callable[[Site, str], WorkerProcess],
) -> None:
    desk = FollowsDesk(site_of(redis_url=own_redis.url))
    site = desk.site
    desk.send(desk.follows([ONE] * 100, counted=True))
    worker = start(site, "worker")
    desk.wait_stored(worker, 100)
    assert worker.stop() == 0
    (place,) = {place for place, _ in desk.follows([ONE], counted=False)}
    later = Ledger()
    desk.send((place, later.follow(ONE, AT_MS + 1_000 * second)) for second in range(140))
    assert bad_in(told(site)) == {("lag.behind", "warning")}
    desk.delete_records_before(place, 150)
    lost = told(site)
    assert bad_in(lost) == {("lag.behind", "warning"), ("lag.lost", "error")}
    assert [one["what"] for one in lost["findings"] if one["id"] == "lag.lost"] == [
        f"50 records of {desk.topic}/{place} were deleted by Kafka before they were counted"
    ]
    skip = told(site, SURGEWATCH_ON_RECORDS_GONE="skip")
    assert ("lag.lost", "warning") in bad_in(skip)
    with Redis.from_url(own_redis.url) as client:
        meta = f"{site.name}:{{{desk.topic}:{place}}}:meta"
        client.hset(meta, "offset", 99_000_000)
        assert ("lag.beyond", "error") in bad_in(told(site))
        client.hset(meta, mapping={"offset": 150, "begun": 77})
        assert ("redis.state", "warning") in bad_in(told(site))
        client.delete(meta)
    assert ("lag.committed", "warning") in bad_in(told(site))
    other = told(site, SURGEWATCH_DETECTOR="river.anomaly.GaussianScorer")
    assert ("redis.state", "error") in bad_in(other)


@pytest.mark.parametrize(
    ("settings", "finding"),
    [
        ({"maxmemory_policy": "allkeys-lru"}, ("redis.eviction", "error")),
        ({"appendonly": "no"}, ("redis.persistence", "warning")),
        ({"appendfsync": "no"}, ("redis.persistence", "warning")),
        ({"maxmemory": "0"}, ("redis.memory", "warning")),
        ({"hash_max_listpack_value": "64"}, ("redis.packing", "warning")),
    ],
)
def test_a_redis_that_is_wrongly_set_is_told(
    site_of: Callable[..., Site],
    own_redis: RedisServer,
    settings: dict[str, str],
    finding: tuple[str, str],
) -> None:
    site = site_of(redis_url=own_redis.url)
    with configured(own_redis, **settings):
        assert bad_in(told(site)) == {finding}
    assert bad_in(told(site)) == set()


def test_rights_that_a_user_of_redis_lacks_are_told_and_no_password_is(
    site_of: Callable[..., Site], own_redis: RedisServer
) -> None:
    site = site_of(redis_url=own_redis.url)

    def as_user(name: str) -> dict[str, Any]:
        url = f"redis://{name}:verysecret@127.0.0.1:{own_redis.port}/0"
        return told(site, SURGEWATCH_REDIS_URL=url)

    assert bad_in(as_user("least")) == set()
    reader = as_user("reader")
    assert status_of(reader, "redis.rights") == {"error"}
    (rights,) = (one for one in reader["findings"] if one["id"] == "redis.rights")
    assert "HKEYS" not in rights["what"]
    for name in ("HSET", "HINCRBY", "UNLINK", "EVALSHA", "SCRIPT LOAD"):
        assert name in rights["what"]
    stranger = as_user("stranger")
    assert bad_in(stranger) == {("redis.rights", "error")}
    assert status_of(stranger, "lag.lost") == {"not_checked"}
    assert status_of(stranger, "redis.state") == {"not_checked"}
    blind = as_user("blind")
    assert bad_in(blind) == set()
    unseen = {one["id"] for one in blind["findings"] if one["status"] == "not_checked"}
    assert {"redis.rights", "redis.eviction", "redis.memory", "redis.clock", "redis.latency",
            "redis.role", "redis.packing"} <= unseen  # fmt: skip
    wrong = told(
        site, SURGEWATCH_REDIS_URL=f"redis://least:notverysecret@127.0.0.1:{own_redis.port}/0"
    )
    assert bad_in(wrong) == {("redis.reachable", "error")}
    assert wrong["exit_code"] == 3


@pytest.mark.parametrize(
    ("ahead_ms", "by_kafka", "by_redis"),
    [
        (0, "ok", "ok"), (60_000, "ok", "warning"), (-60_000, "warning", "warning"),
        (900_000, "ok", "error"), (-900_000, "error", "error"),
    ],
)  # fmt: skip
def test_a_clock_that_is_off_is_told(
    site_of: Callable[..., Site],
    own_redis: RedisServer,
    ahead_ms: int,
    by_kafka: str,
    by_redis: str,
) -> None:
    desk = FollowsDesk(site_of(redis_url=own_redis.url))
    desk.send(desk.follows([ONE], counted=True))
    asked = Asked(now_ms=lambda: wall_ms() + ahead_ms)
    found: list[Finding] = examine(desk.site.settings, asked)
    status = {one.id: one.status for one in found}
    assert (status["kafka.clock"], status["redis.clock"]) == (by_kafka, by_redis)


def test_settings_that_cannot_be_read_are_the_one_finding(
    site_of: Callable[..., Site], tmp_path: Path
) -> None:
    site = site_of()
    report = told(site, SURGEWATCH_RULE_FOLLOWERS_24H="0")
    assert (report["exit_code"], bad_in(report)) == (2, {("settings.read", "error")})
    path = tmp_path / "surgewatch.toml"
    path.write_text("redis_passwort = 'verysecret'\n")
    report = told(site, SURGEWATCH_CONFIG=str(path))
    assert bad_in(report) == {("settings.read", "error")}
    assert {one["status"] for one in report["findings"]} == {"error", "not_checked"}


def test_dead_servers_are_told_and_nothing_that_hangs_on_them_is_fine(
    site_of: Callable[..., Site], own_redis: RedisServer, tmp_path: Path
) -> None:
    site = site_of(redis_url=own_redis.url)
    no_kafka = told(site, SURGEWATCH_KAFKA_BOOTSTRAP_SERVERS="127.0.0.1:1")
    assert bad_in(no_kafka) == {("kafka.reachable", "error")}
    assert status_of(no_kafka, "redis.rights") == {"ok"}
    assert status_of(no_kafka, "lag.lost") == {"not_checked"}
    no_redis = told(site, SURGEWATCH_REDIS_URL="redis://127.0.0.1:1/0")
    assert bad_in(no_redis) == {("redis.reachable", "error")}
    assert status_of(no_redis, "kafka.topics") == {"ok"}
    assert status_of(no_redis, "lag.lost") == {"not_checked"}
    single = told(site, SURGEWATCH_REDIS_URL=f"redis-cluster://127.0.0.1:{own_redis.port}")
    assert bad_in(single) == {("redis.url", "error")}
    garbage = tmp_path / "garbage.pem"
    garbage.write_text("no certificate")
    refused = told(site, SURGEWATCH_METRICS_SSL_CERTFILE=str(garbage))
    assert bad_in(refused) == {("settings.certificates", "error")}
    assert refused["exit_code"] == 2, "as the worker's own"
    none = told(site, "--prometheus", "http://127.0.0.1:1")
    assert bad_in(none) == {("prometheus.reachable", "error")}
    assert none["exit_code"] == 3


@pytest.mark.parametrize("protocol", ["PLAINTEXT", "SASL_PLAINTEXT"])
def test_servers_that_take_connections_and_say_nothing_take_fifteen_seconds_at_most(
    site_of: Callable[..., Site], protocol: str
) -> None:
    with ExitStack() as stack:
        silent = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=64))
        place = f"127.0.0.1:{silent.getsockname()[1]}"
        begun = time.monotonic()
        report = told(
            site_of(redis_url=f"redis://{place}/0"),
            *("--prometheus", f"http://{place}"),
            SURGEWATCH_KAFKA_BOOTSTRAP_SERVERS=place,
            SURGEWATCH_KAFKA_SECURITY_PROTOCOL=protocol,
            SURGEWATCH_KAFKA_SASL_USERNAME="ann",
            SURGEWATCH_KAFKA_SASL_PASSWORD="verysecret",
        )
        assert time.monotonic() - begun < SECONDS_MAX - 3, "the program's start takes some, too"
    useless = set() if protocol.startswith("SASL") else {("settings.unused", "warning")}
    assert bad_in(report) - useless == {
        ("kafka.reachable", "error"), ("redis.reachable", "error"),
        ("prometheus.reachable", "error"),
    }  # fmt: skip
