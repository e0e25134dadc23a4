"""Metrics over TLS and with a password; the probes' pages stay open."""

from __future__ import annotations

import base64
import http.client
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from streams.edges.errors import SettingsError
from streams.edges.metrics.access import Login, MetricsAccess, is_loopback, metrics_access_of
from streams.edges.metrics.exporter import Exporter
from streams.edges.process.health import Health
from streams.edges.settings.list import Settings
from tests.certificates import Authority


def header_of(username: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def port(authority: Authority) -> Iterator[int]:
    settings = Settings(
        metrics_ssl_certfile=str(authority.issue("metrics", "localhost")),
        metrics_username="prometheus",
        metrics_password="wörd: one",
    )
    access = metrics_access_of(settings)
    with Exporter(CollectorRegistry(), Health(time.monotonic(), 60.0), access=access) as exporter:
        yield exporter.start("127.0.0.1", 0)


def status_of(authority: Authority, port: int, path: str, login: str = "") -> int:
    context = ssl.create_default_context(cafile=authority.cafile)
    connection = http.client.HTTPSConnection("localhost", port, timeout=10, context=context)
    try:
        connection.request("GET", path, headers={"Authorization": login} if login else {})
        answer = connection.getresponse()
        if answer.status == 401:
            assert answer.headers["WWW-Authenticate"].startswith("Basic realm=")
            assert b"#" not in answer.read(), "no metrics in a refusal"
        return answer.status
    finally:
        connection.close()


@pytest.mark.parametrize(
    ("login", "status"),
    [
        (header_of("prometheus", "wörd: one"), 200),
        (header_of("prometheus", "wörd: one").replace("Basic", "bASIC"), 200),
        (header_of("prometheus", "wörd: on"), 401),
        (header_of("prometheus", ""), 401),
        (header_of("", "wörd: one"), 401),
        ("", 401),
        ("Basic", 401),
        ("Basic ä", 401),
        ("Bearer " + header_of("prometheus", "wörd: one").split()[1], 401),
    ],
)
def test_metrics_need_the_login_and_the_probes_do_not(
    authority: Authority, port: int, login: str, status: int
) -> None:
    login = login.encode().decode("latin-1")  # as http.client sends it
    assert status_of(authority, port, "/metrics", login) == status
    assert status_of(authority, port, "/metrics?name=up", login) == status
    assert status_of(authority, port, "/livez", login) == 200
    assert status_of(authority, port, "/readyz", login) == 503


def test_a_client_that_is_silent_in_the_handshake_holds_up_nobody(
    authority: Authority, port: int
) -> None:
    with (
        socket.create_connection(("127.0.0.1", port)),
        socket.create_connection(("127.0.0.1", port)) as plain,
    ):
        plain.sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
        began = time.monotonic()
        assert status_of(authority, port, "/livez") == 200
        assert time.monotonic() - began < 3
        plain.settimeout(10)
        with suppress(ConnectionResetError):
            assert b"HTTP/" not in plain.recv(100), "plain words get no page"


def test_a_refused_scrape_is_no_scrape(port: int, authority: Authority) -> None:
    exporter = Exporter(
        CollectorRegistry(), Health(0.0, 60.0), access=MetricsAccess(login=Login("a", "b"))
    )
    with exporter:
        number = exporter.start("127.0.0.1", 0)
        for _ in range(2):
            connection = http.client.HTTPConnection("127.0.0.1", number, timeout=10)
            connection.request("GET", "/metrics")
            assert connection.getresponse().status == 401
            connection.close()
        assert exporter._scrapes.next_within(time.monotonic()) == 0.0


@given(st.text(), st.text(), st.text(), st.text())
def test_only_the_very_user_and_password_are_allowed(
    username: str, password: str, other_name: str, other_word: str
) -> None:
    username, other_name = username.replace(":", ""), other_name.replace(":", "")
    login = Login(_sendable(username), _sendable(password))
    assert login.allows(header_of(_sendable(username), _sendable(password)))
    is_same = (_sendable(username), _sendable(password)) == (
        _sendable(other_name),
        _sendable(other_word),
    )
    assert login.allows(header_of(_sendable(other_name), _sendable(other_word))) == is_same


@given(st.text())
def test_no_header_breaks_the_check(header: str) -> None:
    assert not Login("a", "b").allows(header) or header.lower().startswith("basic")


@pytest.mark.parametrize(
    ("hosts", "is_ours"),
    [
        (("127.0.0.1", "127.9.9.9", "::1", "localhost"), True),
        (("0.0.0.0", "::", "10.0.0.1", "worker-1", ""), False),
    ],
)
def test_what_other_machines_may_reach_is_warned_of(hosts: tuple[str], is_ours: bool) -> None:
    for host in hosts:
        assert is_loopback(host) == is_ours
        assert_warned(host, is_ours)


def assert_warned(host: str, is_ours: bool) -> None:
    open_page, closed = MetricsAccess(), MetricsAccess(login=Login("a", "b"))
    told = open_page.warning(host)
    assert (told is None) == is_ours
    if told is not None:
        assert "without TLS and to everyone who reaches it" in told
        assert closed.warning(host) != told
        full = MetricsAccess(ssl.create_default_context(), Login("a", "b"))
        assert full.warning(host) is None


def test_a_certificate_that_cannot_be_used_is_told_before_anything_is_served(
    tmp_path: Path,
) -> None:
    with pytest.raises(SettingsError, match=r"metrics_ssl_certfile = .*cannot be read"):
        metrics_access_of(Settings(metrics_ssl_certfile=str(tmp_path / "none.pem")))


def _sendable(text: str) -> str:
    return text.encode("utf-8", "replace").decode()
