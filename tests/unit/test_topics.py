"""What is said about topics, with no Kafka in sight; and about a Kafka that is not there."""

import socket
import threading
import time
from typing import Any

import pytest

from streams.edges.errors import KafkaUnreachable
from streams.edges.kafka.admin import cause_of
from streams.edges.kafka.login import login_options
from streams.edges.kafka.topics import check_topics, findings_of, topic_plans
from streams.edges.settings.reading import Settings

PLANS = topic_plans(Settings())
COUNTS = {plan.name: 4 for plan in PLANS}
CONFIGS = {plan.name: dict(plan.configs) for plan in PLANS}


def _found(topic: str, key: str, value: str) -> list[tuple[str, bool]]:
    configs = CONFIGS | {topic: CONFIGS[topic] | {key: value}}
    return [(finding.topic, finding.blocks) for finding in findings_of(PLANS, COUNTS, configs)]


def test_topics_as_planned_give_no_finding() -> None:
    assert findings_of(PLANS, COUNTS, CONFIGS) == []


def test_every_missing_topic_blocks_and_the_fix_is_named() -> None:
    findings = findings_of(PLANS, {}, {})
    assert [finding.topic for finding in findings] == [plan.name for plan in PLANS]
    assert all(finding.blocks for finding in findings)
    assert str(findings[0]) == (
        "topic follows: it does not exist; make it with: surgewatch topics create"
    )


def test_another_partition_count_blocks() -> None:
    (finding,) = findings_of(PLANS, COUNTS | {"comments": 6}, CONFIGS)
    assert (finding.topic, finding.blocks) == ("comments", True)
    assert "6 partitions, not 4" in finding.problem
    assert "give the others 6 too" in finding.fix
    assert "SURGEWATCH_TOPIC_PARTITIONS=6 and another SURGEWATCH_REDIS_PREFIX" in finding.fix


def test_a_count_that_all_topics_have_is_to_be_set_and_one_that_lags_behind_to_be_raised() -> None:
    findings = findings_of(PLANS, dict.fromkeys(COUNTS, 6), CONFIGS)
    fixes = {finding.fix for finding in findings if "partitions" in finding.problem}
    assert len(findings) == 5
    assert all(fix.startswith("end the workers, then set SURGEWATCH_TOPIC_P") for fix in fixes)
    (finding,) = findings_of(PLANS, COUNTS | {"surges": 2}, CONFIGS)
    assert "--alter --partitions 4 --topic surges" in finding.fix


def test_what_a_finding_is_about_decides_which_trouble_is_counted() -> None:
    counts = COUNTS | {"comments": 6}
    del counts["surges"]
    told = [(one.topic, one.kind) for one in findings_of(PLANS, counts, {})]
    assert told == [("comments", "partitions"), ("surges", "missing")]
    configs = CONFIGS | {"follows": {"message.timestamp.type": "CreateTime"}}
    (finding,) = findings_of(PLANS, COUNTS, configs)
    assert (finding.kind, finding.blocks) == ("times", False)


def test_inputs_that_are_compacted_block_since_records_would_be_lost() -> None:
    assert _found("follows", "cleanup.policy", "compact") == [("follows", True)]
    assert _found("follows", "cleanup.policy", "compact,delete") == [("follows", True)]


@pytest.mark.parametrize(
    ("topic", "key", "value"),
    [
        ("follows", "retention.ms", "172799999"),
        ("comments", "message.timestamp.type", "CreateTime"),
        ("surges", "cleanup.policy", "delete"),
        ("dead-letters", "max.message.bytes", "1048588"),
        ("dead-letters", "retention.ms", "604800000"),
    ],
)
def test_another_configuration_is_told_but_does_not_block(topic: str, key: str, value: str) -> None:
    assert _found(topic, key, value) == [(topic, False)]


@pytest.mark.parametrize(
    ("topic", "key", "value"),
    [
        ("follows", "retention.ms", "172800000"),
        ("follows", "retention.ms", "-1"),
        ("surges", "cleanup.policy", "compact,delete"),
        ("dead-letters", "max.message.bytes", "9000000"),
    ],
)
def test_more_than_is_asked_for_is_enough(topic: str, key: str, value: str) -> None:
    assert _found(topic, key, value) == []


def test_a_configuration_that_the_broker_does_not_tell_is_no_finding() -> None:
    assert findings_of(PLANS, COUNTS, {}) == []


def test_a_port_where_nobody_listens_is_told_at_once() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        server = f"127.0.0.1:{closed.getsockname()[1]}"
        began = time.monotonic()
        with pytest.raises(KafkaUnreachable, match=f"{server} .connection refused") as caught:
            check_topics(Settings(kafka_bootstrap_servers=server))
    assert time.monotonic() - began < 5
    assert "\n" not in str(caught.value)


def test_a_server_that_never_answers_is_told_within_the_limit() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        server = f"127.0.0.1:{silent.getsockname()[1]}"
        settings = Settings(kafka_bootstrap_servers=server, kafka_timeout_ms=1_000)
        with pytest.raises(KafkaUnreachable, match="does not answer"):
            check_topics(settings)
    assert not [t for t in threading.enumerate() if t.name.startswith("kafka-io")]


def test_a_host_that_does_not_exist_is_told() -> None:
    with pytest.raises(KafkaUnreachable, match=r"nowhere\.invalid:9092 .*name"):
        check_topics(Settings(kafka_bootstrap_servers="nowhere.invalid:9092"))


@pytest.mark.parametrize(
    ("lines", "cause"),
    [
        (["Connection lost: [Error 58] SaslAuthenticationFailedError"], "wrong user name"),
        (["Connection lost: [Error 34] IllegalSaslStateError"], "wants no login"),
        (["Connection lost: Handshake failed: [SSL: UNEXPECTED_EOF]"], "does not speak TLS"),
        (["Connection lost: [SSL: CERTIFICATE_VERIFY_FAILED] x"], "kafka_ssl_cafile"),
        (["Connection lost: something\nelse"], "something else"),
        (["noise"], "otherwise"),
    ],
)
def test_the_cause_is_in_plain_words(lines: list[str], cause: str) -> None:
    assert cause in cause_of(lines, "otherwise")


@pytest.mark.parametrize(
    ("protocol", "names"),
    [
        ("PLAINTEXT", {"security_protocol"}),
        ("SSL", {"security_protocol", "ssl_context"}),
        (
            "SASL_PLAINTEXT",
            {"security_protocol", "sasl_mechanism", "sasl_plain_username", "sasl_plain_password"},
        ),
    ],
)
def test_the_login_gives_only_what_the_protocol_needs(protocol: Any, names: set[str]) -> None:
    settings = Settings(
        kafka_security_protocol=protocol,
        kafka_sasl_username="u",
        kafka_sasl_password="p",
    )
    assert set(login_options(settings)) == names
