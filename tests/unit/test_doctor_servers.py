"""What the check-up says of servers: when their certificates end, and what to do if one fails."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from streams.app.doctor.servers import (
    ServerEnd,
    reach_finding,
    read_server_ends,
    server_end_findings,
)
from streams.core.reports.checkup import error
from streams.edges.errors import (
    KafkaRefusesUs,
    KafkaUnreachable,
    RedisRefusesUs,
    SettingsError,
    SurgewatchError,
)
from streams.edges.kafka.login import WRONG_LOGIN
from streams.edges.settings.list import Settings
from streams.edges.settings.reading import read_settings
from streams.edges.tls.causes import tls_cause_of
from tests.certificates import EXPIRED, Authority

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@contextmanager
def serving(certificate: Path) -> Iterator[int]:
    """A server that agrees on TLS and says nothing more; its port."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with suppress(OSError):
            while True:
                connection, _ = server.accept()
                with connection, suppress(OSError), context.wrap_socket(connection, True) as tls:
                    tls.recv(1)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield server.getsockname()[1]
    finally:
        server.shutdown(socket.SHUT_RDWR)  # wakes who waits for a connection
        server.close()
        thread.join(10)


def settings_of(port: int, authority: Authority) -> Settings:
    texts = {
        "KAFKA_BOOTSTRAP_SERVERS": f"localhost:{port},nowhere.invalid:1",
        "KAFKA_SECURITY_PROTOCOL": "SSL",
        "KAFKA_SSL_CAFILE": str(authority.cafile),
        "REDIS_URL": f"rediss://ann:wo%2Frd@localhost:{port}/0",
        "REDIS_SSL_CAFILE": str(authority.cafile),
    }
    return read_settings({f"SURGEWATCH_{name}": text for name, text in texts.items()})


def test_when_the_certificates_of_kafka_and_redis_end_is_read_from_what_they_show(
    authority: Authority,
) -> None:
    soon = (datetime.now(UTC) + timedelta(days=3)).replace(microsecond=0)
    with serving(authority.issue("soon", "localhost", not_after=soon)) as port:
        ends = read_server_ends(settings_of(port, authority))
    assert ends == [
        ServerEnd("kafka_bootstrap_servers", f"localhost:{port}", soon),
        ServerEnd("redis_url", f"localhost:{port}", soon),
    ]
    assert [one.status for one in server_end_findings(ends, datetime.now(UTC))] == ["warning"] * 2


def test_of_a_server_that_is_not_spoken_to_nothing_is_said_here(authority: Authority) -> None:
    with serving(authority.issue("ended", "localhost", not_after=EXPIRED)) as port:
        assert read_server_ends(settings_of(port, authority)) == []
    assert read_server_ends(settings_of(port, authority)) == [], "nobody is there any more"
    assert read_server_ends(Settings()) == [], "without TLS"
    absent = {"SURGEWATCH_REDIS_URL": "rediss://h", "SURGEWATCH_REDIS_SSL_CAFILE": "/none"}
    assert read_server_ends(read_settings(absent)) == []


def test_a_server_is_warned_of_as_our_own_are() -> None:
    for days, status in ((13.9, "warning"), (14.1, "ok")):
        end = ServerEnd("redis_url", "r:6379", NOW + timedelta(days=days))
        (told,) = server_end_findings([end], NOW)
        assert (told.id, told.status, told.subject) == (
            *("settings.certificates", status),
            "redis_url",
        )
        assert "r:6379" in told.what


def cause(said: str) -> str:
    told = tls_cause_of(f"[SSL: CERTIFICATE_VERIFY_FAILED] {said}", "redis_ssl", "redis_url")
    assert told is not None
    return told


@pytest.mark.parametrize(
    ("answer", "fix"),
    [
        (RedisRefusesUs("u", cause("certificate has expired")), "renew its certificate there"),
        (RedisRefusesUs("u", cause("self-signed certificate")), "have the authority that signed"),
        (RedisRefusesUs("u", cause("Hostname mismatch")), "by another name"),
        (KafkaRefusesUs("k", WRONG_LOGIN), "mend the login"),
        (KafkaRefusesUs("k", "the user of this worker lacks rights (Read on x)"), "its rights"),
        (KafkaRefusesUs("k", "it does not know this kafka_sasl_mechanism"), "docs/security.md"),
        (KafkaUnreachable("k", "connection refused"), "does it run"),
    ],
    ids=str,
)
def test_what_to_do_follows_the_cause(answer: SurgewatchError, fix: str) -> None:
    server = "kafka" if isinstance(answer, KafkaUnreachable) else "redis"
    told = reach_finding(server, answer, [])
    assert told is not None
    assert (told.id, told.status) == (f"{server}.reachable", "error")
    assert fix in (told.fix or "")
    assert ("does it run" in (told.fix or "")) == (type(answer) is KafkaUnreachable)


def test_a_file_that_stops_a_question_is_told_once() -> None:
    problem = SettingsError("kafka_ssl_certfile = x: cannot be read")
    found = error("settings.certificates", str(problem), "mend it")
    assert reach_finding("kafka", problem, [found]) is None
    assert reach_finding("kafka", problem, []) is not None
