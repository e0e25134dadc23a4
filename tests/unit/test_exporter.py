"""The exporter over real HTTP."""

import asyncio
import http.client
import socket
import threading
from collections.abc import Iterator

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as prometheus

from streams.edges.errors import SettingsError
from streams.edges.metrics.exporter import Exporter
from streams.edges.metrics.worker import Build, Metrics
from streams.edges.process.health import Health

NOW = [0.0]


@pytest.fixture
def health() -> Health:
    return Health(0.0, 120.0)


@pytest.fixture
def exporter(health: Health) -> Iterator[Exporter]:
    registry = CollectorRegistry()
    Metrics(registry, ("follows",), Build("1", "surgewatch"), lambda: 0).add_rebalance(2)
    with Exporter(registry, health, clock=lambda: NOW[0]) as served:
        NOW[0] = 0.0
        yield served


def _get(port: int, path: str, accept: str = "", method: str = "GET") -> tuple[int, str, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request(method, path, headers={"Accept": accept})
        answer = connection.getresponse()
        return answer.status, answer.headers["Content-Type"], answer.read().decode()
    finally:
        connection.close()


def test_metrics_are_served_as_prometheus_text_and_as_openmetrics(exporter: Exporter) -> None:
    port = exporter.start("127.0.0.1", 0)
    status, kind, text = _get(port, "/metrics")
    assert (status, kind.partition(";")[0]) == (200, "text/plain")
    names = {family.name for family in prometheus(text)}
    assert "surgewatch_rebalances" in names
    status, kind, text = _get(port, "/metrics", "application/openmetrics-text; version=1.0.0")
    assert (status, kind.partition(";")[0]) == (200, "application/openmetrics-text")
    parsed = openmetrics(text)  # type: ignore[no-untyped-call]  # prometheus-client's own
    families = {family.name: family for family in parsed}
    assert families["surgewatch_rebalances"].samples[0].value == 1


def test_livez_is_ok_until_the_worker_stalls_and_says_why(
    exporter: Exporter, health: Health
) -> None:
    port = exporter.start("127.0.0.1", 0)
    assert _get(port, "/livez")[::2] == (200, "ok\n")
    NOW[0] = 500.0
    assert _get(port, "/livez")[::2] == (503, "the worker's loop has not run for 500 s\n")
    health.beat(500.0)
    assert _get(port, "/livez")[::2] == (200, "ok\n")


def test_readyz_follows_the_health(exporter: Exporter, health: Health) -> None:
    port = exporter.start("127.0.0.1", 0)
    assert _get(port, "/readyz")[::2] == (503, "it has not joined the consumer group yet\n")
    health.assigned(0.0, 2)
    health.reached_redis()
    health.loaded()
    assert _get(port, "/readyz?verbose=1")[::2] == (200, "ok\n")


def test_another_page_is_not_found_and_another_method_is_refused(exporter: Exporter) -> None:
    port = exporter.start("127.0.0.1", 0)
    assert _get(port, "/") == (
        404,
        "text/plain; charset=utf-8",
        "there are /metrics, /livez, /readyz\n",
    )
    assert _get(port, "/metrics", method="POST")[0] == 501


def test_a_port_that_is_taken_is_one_plain_line(exporter: Exporter) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(SettingsError) as caught:
            exporter.start("127.0.0.1", port)
    assert str(caught.value) == (
        f"metrics_port = {port}: 127.0.0.1:{port} is in use: end what uses it, or set "
        "SURGEWATCH_METRICS_PORT (0: any free port, -1: none)"
    )


@pytest.mark.parametrize("host", ["192.0.2.1", "nowhere.invalid"])
def test_an_address_that_is_not_ours_is_one_plain_line(exporter: Exporter, host: str) -> None:
    with pytest.raises(SettingsError, match=f"metrics_host = {host}: cannot serve there"):
        exporter.start(host, 0)


def test_the_port_is_free_again_after_the_end_and_no_thread_is_left(exporter: Exporter) -> None:
    port = exporter.start("127.0.0.1", 0)
    assert _get(port, "/livez")[0] == 200
    exporter.stop()
    exporter.stop()
    assert "surgewatch-exporter" not in [thread.name for thread in threading.enumerate()]
    assert exporter.start("127.0.0.1", port) == port


def test_a_client_that_says_nothing_does_not_hold_up_the_others_or_the_end(
    exporter: Exporter,
) -> None:
    port = exporter.start("127.0.0.1", 0)
    with socket.create_connection(("127.0.0.1", port), timeout=10):
        assert _get(port, "/livez")[0] == 200
        exporter.stop()


def test_it_serves_on_ipv6_too(exporter: Exporter) -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no IPv6")
    port = exporter.start("::1", 0)
    connection = http.client.HTTPConnection("::1", port, timeout=10)
    connection.request("GET", "/livez")
    assert connection.getresponse().status == 200
    connection.close()


def test_a_worker_that_ends_waits_for_one_scrape_more_where_there_were_some(
    exporter: Exporter,
) -> None:
    port = exporter.start("127.0.0.1", 0)
    asyncio.run(asyncio.wait_for(exporter.be_scraped(), 1))  # nobody scrapes: no wait
    _get(port, "/metrics")
    asyncio.run(asyncio.wait_for(exporter.be_scraped(), 1))  # once is no pace
    NOW[0] = 60.0
    _get(port, "/metrics")
    NOW[0] = 61.0

    async def wait_and_scrape() -> str:
        waiting = asyncio.create_task(exporter.be_scraped())
        done, _ = await asyncio.wait([waiting], timeout=0.3)
        assert not done, "the next scrape is due in a minute"
        body = (await asyncio.to_thread(_get, port, "/metrics"))[2]
        await asyncio.wait_for(waiting, 5)
        return body

    assert "surgewatch_rebalances" in asyncio.run(wait_and_scrape())
    NOW[0] = 1_000.0
    asyncio.run(asyncio.wait_for(exporter.be_scraped(), 1))  # nobody scrapes any more
