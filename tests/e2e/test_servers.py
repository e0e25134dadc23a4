"""The tests' own servers: what other tests take for granted about them."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from redis import Redis

from streams.edges.process.child import ChildFailed
from tests.conftest import start_or_say
from tests.processes import process_runs, wait_until_gone
from tests.servers import KafkaServer, RedisServer

FreshName = Callable[[str], str]


async def _create_topic(kafka: KafkaServer, topic: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    await admin.start()
    await admin.create_topics([NewTopic(topic, num_partitions=4, replication_factor=1)])
    await admin.close()


async def _send(kafka: KafkaServer, topic: str, values: list[bytes]) -> None:
    async with AIOKafkaProducer(bootstrap_servers=kafka.bootstrap) as producer:
        for value in values:
            await producer.send_and_wait(topic, value, partition=0)


async def _read(kafka: KafkaServer, topic: str, count: int) -> list[bytes]:
    async with AIOKafkaConsumer(bootstrap_servers=kafka.bootstrap) as consumer:
        consumer.assign([TopicPartition(topic, 0)])
        await consumer.seek_to_beginning()
        async with asyncio.timeout(20):
            return [(await consumer.getone()).value for _ in range(count)]


def test_kafka_serves_what_was_sent_before_a_restart(
    kafka_factory: Callable[..., KafkaServer], fresh_name: FreshName
) -> None:
    kafka, topic = kafka_factory(), fresh_name("follows")
    bootstrap = kafka.bootstrap
    asyncio.run(_create_topic(kafka, topic))
    asyncio.run(_send(kafka, topic, [b"a", b"b"]))
    kafka.kill()
    assert not kafka.runs
    kafka.restart()
    assert kafka.bootstrap == bootstrap
    assert asyncio.run(_read(kafka, topic, 2)) == [b"a", b"b"]


def test_the_shared_kafka_makes_no_topic_by_itself(
    kafka: KafkaServer, fresh_name: FreshName
) -> None:
    async def topics() -> set[str]:
        async with AIOKafkaConsumer(bootstrap_servers=kafka.bootstrap) as consumer:
            return set(await consumer.topics())

    topic = fresh_name("absent")
    assert topic not in asyncio.run(topics())
    asyncio.run(_create_topic(kafka, topic))
    assert topic in asyncio.run(topics())


def test_redis_keeps_an_answered_write_over_a_kill(
    redis_factory: Callable[..., RedisServer],
) -> None:
    # The write reaches the system before the answer; only a machine's crash loses the last second.
    redis_server = redis_factory(password="secret")
    with Redis.from_url(redis_server.url) as client:
        client.set("creator", "1")
        redis_server.kill()
        assert not redis_server.runs
        redis_server.restart()
        assert client.get("creator") == b"1"
        assert client.config_get("appendfsync") == {"appendfsync": "everysec"}


def test_redis_answers_on_its_unix_socket(redis_server: RedisServer, fresh_name: FreshName) -> None:
    with Redis(unix_socket_path=str(redis_server.socket)) as client:
        key = fresh_name("key")
        client.set(key, "1")
        with Redis.from_url(redis_server.url) as other:
            assert other.get(key) == b"1"
        client.delete(key)


_PARENT = """
import sys, time
from pathlib import Path
from streams.edges.process.child import ChildFailed
from tests.conftest import start_or_say
from tests.processes import process_runs, wait_until_gone
from tests.servers import RedisServer
server = RedisServer(Path(sys.argv[1]))
server.start()
print(server.pid, flush=True)
time.sleep(60)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends children with their parent")
def test_a_server_ends_with_a_parent_that_was_killed(tmp_path: Path) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", _PARENT, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    with parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert process_runs(pid)
        parent.kill()
    wait_until_gone(pid, limit_seconds=10)


def test_a_missing_server_fails_in_ci_and_names_what_brings_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SURGEWATCH_CACHE", str(tmp_path))
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match=r"bring it with: tests/provision\.sh"):
        start_or_say(KafkaServer(tmp_path / "kafka"))
    monkeypatch.delenv("CI")
    with pytest.raises(pytest.skip.Exception, match="is not on this machine"):
        start_or_say(KafkaServer(tmp_path / "kafka"))


def test_a_server_that_fails_shows_the_end_of_its_log(tmp_path: Path) -> None:
    server = RedisServer(tmp_path, settings={"maxmemory": "much"})
    with pytest.raises(ChildFailed, match="argument must be a memory value"):
        server.start()
    assert not server.runs
