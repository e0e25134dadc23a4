"""What is broken outside ends in dead letters or in one plain line; nothing else is lost."""

import asyncio
from collections.abc import Callable

import msgspec
import pytest
from aiokafka import AIOKafkaProducer
from redis import Redis

from streams.core.records.chunks import Reason
from streams.edges.kafka.admin import ConfigResource, ConfigResourceType, admin_client
from tests.servers import RedisServer
from tests.workers import Ledger, Site, WorkerProcess, wait_until

AT_MS = 1_736_899_200_000


def follow(**fields: object) -> bytes:
    return msgspec.json.encode({"creator_id": "c-1", "follower_id": "f-1", "at_ms": AT_MS} | fields)


BAD: list[tuple[bytes | None, Reason]] = [
    (b"", Reason.EMPTY),
    (None, Reason.EMPTY),
    (b"not json", Reason.NOT_JSON),
    (follow() + follow(), Reason.NOT_JSON),
    (b"17", Reason.NOT_AN_OBJECT),
    (b'{"follower_id":"f-1","at_ms":1736899200000}', Reason.CREATOR_MISSING),
    (follow(creator_id="c" * 10_000), Reason.CREATOR_TOO_LONG),
    (follow(creator_id=7), Reason.CREATOR_INVALID),
    (follow(at_ms=-1), Reason.AT_MS_NEGATIVE),
    (follow(at_ms=AT_MS // 1000), Reason.AT_MS_IN_SECONDS),
    (follow(at_ms=4_102_444_800_000), Reason.AT_MS_IN_FUTURE),
    (follow(filler="x" * 1_000_000), Reason.TOO_LARGE),
    (b'{"creator_id":"\xff\xfe","follower_id":"f-1","at_ms":1736899200000}', Reason.INVALID_UTF8),
    (b"\x00\x00\x00", Reason.NULL_BYTE),
    (follow(creator_id="c\x001"), Reason.NULL_BYTE),
]


async def send(site: Site, topic: str, values: list[bytes | None], partition: int = 1) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=site.bootstrap, max_request_size=1_048_000)
    await producer.start()
    try:
        for value in values:
            await producer.send(topic, value, b"c-1" if value is None else None, partition)
        await producer.flush()
    finally:
        await producer.stop()


def test_every_kind_of_bad_record_is_a_dead_letter_with_its_reason_and_nothing_else_is_lost(
    site_of: Callable[..., Site], start: Callable[[Site, str], WorkerProcess]
) -> None:
    site, ledger = site_of(), Ledger()
    values: list[bytes | None] = []
    for place, (bad, _) in enumerate(BAD):
        values += [ledger.follow("c-1", AT_MS + place), bad]
    values.append(ledger.follow("c-1", AT_MS + 99))
    topic = site.settings.topic_follows
    asyncio.run(send(site, topic, values))
    worker = start(site, "worker")
    wait_until(lambda: site.stored_offsets(topic)[1] == len(values), 40, worker.text)
    assert ledger.differences("follows", site.stored_buckets(topic, "follows")) == []
    letters = asyncio.run(site.dead_letters(len(BAD)))
    found = {letter.offset: letter for letter in letters}
    assert len(letters) == len(BAD)
    for place, (bad, reason) in enumerate(BAD):
        letter = found[2 * place + 1]
        assert (letter.topic, letter.partition, letter.reason) == (topic, 1, reason)
        assert letter.raw_bytes == len(bad or b"")
        assert letter.raw_base64 == (bad or b"")
    assert worker.stop() == 0


def test_a_broken_topic_stops_the_worker_with_a_plain_line_instead_of_being_drained(
    site_of: Callable[..., Site], start: Callable[[Site, str], WorkerProcess]
) -> None:
    site = site_of(SURGEWATCH_DEAD_LETTERS_ROW_MAX="50")
    asyncio.run(send(site, site.settings.topic_comments, [b"broken"] * 200))
    worker = start(site, "worker")
    assert worker.wait(40) == 4
    assert "200 records in a row cannot be used" in worker.text()
    assert "Traceback" not in worker.text()
    assert len(asyncio.run(site.dead_letters(200))) >= 200


@pytest.mark.parametrize(
    ("more", "code", "words"),
    [
        ({"SURGEWATCH_KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1"}, 3, "cannot reach Kafka"),
        ({"SURGEWATCH_REDIS_URL": "redis://127.0.0.1:1/0"}, 3, "cannot reach Redis"),
        ({"SURGEWATCH_TOPIC_FOLLOWS": "no-such-topic"}, 4, "surgewatch topics create"),
        ({"SURGEWATCH_TOPIC_PARTITIONS": "8"}, 4, "4 partitions, not 8"),
        ({"SURGEWATCH_DETECTOR": "river.anomaly.NoSuchThing"}, 2, "river.anomaly.NoSuchThing"),
        ({"SURGEWATCH_RULE_FOLLOWERS_24H": "many"}, 2, "SURGEWATCH_RULE_FOLLOWERS_24H"),
        ({"SURGEWATCH_RULE_FOLLOWER_24H": "7"}, 2, "did you mean SURGEWATCH_RULE_FOLLOWERS_24H"),
    ],
)
def test_a_worker_that_cannot_start_says_why_in_one_line(
    site_of: Callable[..., Site],
    start: Callable[[Site, str], WorkerProcess],
    more: dict[str, str],
    code: int,
    words: str,
) -> None:
    site = site_of()
    site.more = {**site.more, "SURGEWATCH_START_SECONDS_MAX": "0", **more}
    worker = start(site, "worker")
    assert worker.wait(40) == code, worker.text()
    lines = [line for line in worker.text().splitlines() if "metrics on" not in line]
    assert len(lines) == 1, worker.text()
    assert words in lines[0]


def test_a_wrong_redis_password_is_told_at_once(
    site_of: Callable[..., Site],
    redis_factory: Callable[..., RedisServer],
    start: Callable[[Site, str], WorkerProcess],
) -> None:
    server = redis_factory(password="right")
    site = site_of(redis_url=server.url)
    site.more = {**site.more, "SURGEWATCH_REDIS_URL": f"redis://:wrong@127.0.0.1:{server.port}/0"}
    worker = start(site, "worker")
    assert worker.wait(40) == 3, worker.text()
    assert "redis://:***@" in worker.text()
    assert "Redis" in worker.text()
    assert "Traceback" not in worker.text()


def test_state_of_another_layout_is_refused_with_a_plain_line(
    site_of: Callable[..., Site], start: Callable[[Site, str], WorkerProcess]
) -> None:
    site = site_of()
    with Redis.from_url(site.redis_url) as client:
        client.hset(f"{site.name}:layout", "layout", "7")
    worker = start(site, "worker")
    assert worker.wait(40) == 4, worker.text()
    assert "layout 7" in worker.text()
    assert "Traceback" not in worker.text()


def test_a_worker_waits_patiently_for_kafka_and_says_so(
    site_of: Callable[..., Site], start: Callable[[Site, str], WorkerProcess]
) -> None:
    site = site_of()
    site.more = {**site.more, "SURGEWATCH_KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1"}
    worker = start(site, "worker")
    wait_until(lambda: worker.text().count("waiting: cannot reach Kafka") >= 2, 40, worker.text)
    assert worker.runs
    assert worker.stop() == 0


def test_surges_and_dead_letters_are_sent_though_kafka_refuses_the_time_of_our_records(
    site_of: Callable[..., Site], start: Callable[[Site, str], WorkerProcess]
) -> None:
    site = site_of(SURGEWATCH_RULE_FOLLOWERS_24H="5")
    limit = {"message.timestamp.before.max.ms": "0"}
    with admin_client(site.settings) as admin:
        admin.alter_configs(
            [
                ConfigResource(ConfigResourceType.TOPIC, topic, configs=limit)
                for topic in (site.settings.topic_surges, site.settings.topic_dead_letters)
            ]
        )
    topic = site.settings.topic_follows
    values: list[bytes | None] = [*[follow(at_ms=AT_MS + n) for n in range(10)], b"not json"]
    asyncio.run(send(site, topic, values))
    worker = start(site, "worker")
    wait_until(lambda: site.stored_offsets(topic)[1] == len(values), 40, worker.text)
    assert [one.reason for one in asyncio.run(site.dead_letters(1))] == [Reason.NOT_JSON]
    told = asyncio.run(site.surges(lambda found: any(one.trigger == "rule" for one in found)))
    assert any(one.trigger == "rule" for one in told)
    for name in (site.settings.topic_surges, site.settings.topic_dead_letters):
        assert f"Kafka refuses this machine's time on records for {name}" in worker.text()
    assert worker.stop() == 0
