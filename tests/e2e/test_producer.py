"""The producer of simulate and replay against a real Kafka that refuses, or dies."""

import asyncio
import logging
import time
from collections.abc import Callable

import pytest

from streams.edges.errors import KafkaUnreachable
from streams.edges.kafka.producer import (
    RecordProducer,
    RecordTooLarge,
    TopicMissing,
    aiokafka_quiet,
)
from streams.edges.settings.reading import Settings
from tests.e2e.kafka_topics import create_topics
from tests.servers import KafkaServer


def test_record_too_large_for_kafka_is_named_in_one_line(
    kafka: KafkaServer, fresh_name: Callable[[str], str]
) -> None:
    topic = fresh_name("follows")
    asyncio.run(create_topics(kafka, [topic]))
    settings = Settings(kafka_bootstrap_servers=kafka.bootstrap)

    async def send() -> None:
        async with RecordProducer(settings) as producer:
            await producer.open_topic(topic)
            await producer.send(topic, [b"c-1"], [b"x" * 1_500_000])

    with pytest.raises(RecordTooLarge, match=r"larger than the topic's max\.message\.bytes"):
        asyncio.run(send())


def test_kafka_that_dies_is_an_error_within_the_time_limit(
    kafka_factory: Callable[..., KafkaServer],
) -> None:
    kafka = kafka_factory()
    asyncio.run(create_topics(kafka, ["follows"]))
    dying = Settings(kafka_bootstrap_servers=kafka.bootstrap, kafka_timeout_ms=2_000)

    async def send() -> None:
        async with RecordProducer(dying) as producer:
            await producer.open_topic("follows")
            await producer.send("follows", [b"c-1"], [b"{}"])
            await producer.flush()
            kafka.kill()
            await producer.send("follows", [b"c-1"], [b"{}"])
            await producer.flush()

    begin = time.monotonic()
    with pytest.raises(KafkaUnreachable):
        asyncio.run(send())
    assert time.monotonic() - begin < 20


def test_wrong_password_is_told_in_plain_words(
    kafka_factory: Callable[..., KafkaServer],
) -> None:
    login = "org.apache.kafka.common.security.plain.PlainLoginModule required"
    kafka = kafka_factory(
        settings={
            "listener.security.protocol.map": "PLAINTEXT:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT",
            "sasl.enabled.mechanisms": "PLAIN",
            "listener.name.plaintext.plain.sasl.jaas.config": (
                f'{login} username="ann" password="right" user_ann="right";'
            ),
            "sasl.mechanism.inter.broker.protocol": "PLAIN",
        }
    )

    async def open_missing(password: str) -> None:
        settings = Settings(
            kafka_bootstrap_servers=kafka.bootstrap,
            kafka_security_protocol="SASL_PLAINTEXT",
            kafka_sasl_username="ann",
            kafka_sasl_password=password,
            kafka_timeout_ms=5_000,
        )
        async with RecordProducer(settings) as producer:
            await producer.open_topic("follows")

    with pytest.raises(TopicMissing):
        asyncio.run(open_missing("right"))
    with pytest.raises(KafkaUnreachable, match="wrong user name or password"):
        asyncio.run(open_missing("wrong"))


def test_quiet_of_two_threads_that_overlap_ends_with_the_last() -> None:
    log = logging.getLogger("aiokafka")
    first, second = aiokafka_quiet([]), aiokafka_quiet([])
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert not log.propagate
    second.__exit__(None, None, None)
    assert log.propagate
