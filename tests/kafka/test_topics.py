"""Topics on a real Kafka."""

import gc
from collections.abc import Callable

import msgspec
import pytest

from streams.edges.errors import DataError, KafkaUnreachable
from streams.edges.kafka.admin import admin_client
from streams.edges.kafka.topics import check_topics, create_topics
from streams.edges.settings.reading import Settings
from tests.servers import KafkaServer

FreshName = Callable[[str], str]


@pytest.fixture
def settings(kafka: KafkaServer, fresh_name: FreshName) -> Settings:
    return Settings(
        kafka_bootstrap_servers=kafka.bootstrap,
        topic_follows=fresh_name("follows"),
        topic_comments=fresh_name("comments"),
        topic_surges=fresh_name("surges"),
        topic_waves=fresh_name("waves"),
        topic_dead_letters=fresh_name("dead-letters"),
        topic_partitions=3,
    )


def test_topics_are_missing_then_made_then_right_and_made_only_once(settings: Settings) -> None:
    assert ["does not exist" in f.problem for f in check_topics(settings)] == [True] * 5
    assert [(made.created, made.partitions) for made in create_topics(settings)] == [(True, 3)] * 5
    assert check_topics(settings) == []
    assert [(made.created, made.partitions) for made in create_topics(settings)] == [(False, 3)] * 5


def test_a_topic_with_another_partition_count_and_configuration_is_told(settings: Settings) -> None:
    with admin_client(settings) as admin:
        configs = {"retention.ms": "3600000"}
        name = settings.topic_follows
        admin.create_topics(
            {name: {"num_partitions": 5, "replication_factor": 1, "configs": configs}}
        )
    made = create_topics(settings)
    assert [(m.created, m.partitions) for m in made] == [(False, 5), *[(True, 3)] * 4]
    findings = check_topics(settings)
    assert {finding.topic for finding in findings} == {name}
    problems = "; ".join(finding.problem for finding in findings)
    assert "5 partitions, not 3" in problems
    assert "retention.ms is 3600000" in problems
    assert "message.timestamp.type is CreateTime" in problems


def test_more_copies_than_brokers_is_one_plain_line(settings: Settings) -> None:
    with pytest.raises(DataError, match="topic_replication") as caught:
        create_topics(msgspec.structs.replace(settings, topic_replication=3))
    assert "\n" not in str(caught.value)


# kafka-python leaves the sockets of failed handshakes to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_ssl_to_a_plain_port_is_told(settings: Settings) -> None:
    wrong = msgspec.structs.replace(settings, kafka_security_protocol="SSL", kafka_timeout_ms=1_500)
    with pytest.raises(KafkaUnreachable, match="does not speak TLS"):
        check_topics(wrong)
    gc.collect()


@pytest.mark.slow
def test_a_wrong_password_is_told_and_the_right_one_works(
    kafka_factory: Callable[..., KafkaServer],
) -> None:
    login = 'org.apache.kafka.common.security.plain.PlainLoginModule required user_ann="right";'
    server = kafka_factory(
        settings={
            "listener.security.protocol.map": "PLAINTEXT:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT",
            "sasl.enabled.mechanisms": "PLAIN",
            "listener.name.plaintext.plain.sasl.jaas.config": (
                login.replace("required", 'required username="ann" password="right"')
            ),
            "sasl.mechanism.inter.broker.protocol": "PLAIN",
        }
    )
    right = Settings(
        kafka_bootstrap_servers=server.bootstrap,
        kafka_security_protocol="SASL_PLAINTEXT",
        kafka_sasl_username="ann",
        kafka_sasl_password="right",
        kafka_timeout_ms=3_000,
    )
    assert len(create_topics(right)) == 5
    wrong = msgspec.structs.replace(right, kafka_sasl_password="wrong")
    with pytest.raises(KafkaUnreachable, match="wrong user name or password"):
        check_topics(wrong)
    plain = msgspec.structs.replace(right, kafka_security_protocol="PLAINTEXT")
    with pytest.raises(KafkaUnreachable):
        check_topics(plain)
