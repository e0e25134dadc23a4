"""The compose file, up for real on stand-ins for the images of others: make test-containers.

What is proven of Grafana is that Compose takes its service: no image of it can be had here.
"""

from __future__ import annotations

import json
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from streams.edges.kafka.topics import check_topics
from streams.edges.settings.reading import read_settings
from tests.containers.compose_file import COMPOSE, OVERRIDE, ROOT, compose_program
from tests.containers.engine import BUILD_SECONDS_MAX, IMAGE, Engine, run
from tests.workers import wait_until

FIRST_SURGE_SECONDS_MAX = 60.0
WANTED = ("kafka", "redis", "topics", "worker-1", "worker-2")
OPEN_SURGES = 'sum(surgewatch_surges_open{job="surgewatch"})'
ALERTS = 'count(ALERTS{alertname=~"SurgewatchCreatorSurge.*",alertstate="firing"})'


class Compose:
    """``docker compose`` on our files, with an engine."""

    def __init__(self, engine: Engine) -> None:
        files = ("--file", str(COMPOSE), "--file", str(OVERRIDE))
        self._command = [compose_program(), "--project-name", "surgewatch", *files]
        self._engine = engine

    def __call__(self, *arguments: str, seconds_max: float = 180.0) -> str:
        return run([*self._command, *arguments], self._engine.environ, seconds_max)

    def rows(self) -> dict[str, dict[str, Any]]:
        """What there is of each service."""
        lines = self("ps", "--all", "--format", "json").splitlines()
        return {row["Service"]: row for row in map(json.loads, lines)}


@pytest.fixture(scope="module")
def compose(engine: Engine) -> Iterator[Compose]:
    engine.remove_all()
    found = Compose(engine)
    yield found
    found("--profile", "*", "down", "--volumes", "--timeout", "40")


def page(url: str) -> str:
    with urllib.request.urlopen(url, timeout=5) as answer:
        text: str = answer.read().decode()
        return text


def value_of(query: str) -> float:
    """What Prometheus says now; 0 when it says nothing, or is not up."""
    url = f"http://127.0.0.1:9090/api/v1/query?{urllib.parse.urlencode({'query': query})}"
    try:
        found = json.loads(page(url))["data"]["result"]
    except OSError:
        return 0.0
    return float(found[0]["value"][1]) if found else 0.0


@pytest.mark.parametrize("profile", [(), ("--profile", "demo"), ("--profile", "*")])
def test_compose_takes_the_file_as_it_is_shipped(profile: tuple[str, ...]) -> None:
    command = [compose_program(), "--file", str(COMPOSE), *profile, "config", "--quiet"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_compose_builds_our_image_where_there_is_none_and_pulls_nothing(
    compose: Compose, engine: Engine
) -> None:
    layers = engine.inspect(IMAGE)["RootFS"]["Layers"]
    engine.docker("rmi", IMAGE)
    compose("--profile", "demo", "up", "--no-start", seconds_max=BUILD_SECONDS_MAX)
    assert engine.inspect(IMAGE)["RootFS"]["Layers"] == layers
    compose("--profile", "*", "down", "--volumes")


def test_first_surge_is_on_the_dashboard_within_a_minute(compose: Compose) -> None:
    began = time.monotonic()
    compose("--profile", "demo", "up", "--detach", "--no-build", "--pull", "never")
    up = time.monotonic() - began
    wait_until(lambda: value_of(OPEN_SURGES) > 0, 120, lambda: compose("logs", "--tail", "20"))
    seconds = time.monotonic() - began
    wait_until(lambda: value_of(ALERTS) > 0, 60, lambda: compose("logs", "--tail", "20"))
    alert = time.monotonic() - began
    told = f"containers: started after {up:.1f} s, first surge in Prometheus after {seconds:.1f} s"
    print(f"\n{told}, its alert fires after {alert:.1f} s")  # noqa: T201 the figure is what for
    assert seconds < FIRST_SURGE_SECONDS_MAX


def test_everything_becomes_healthy_and_both_workers_work(compose: Compose) -> None:
    compose("up", "--detach", "--wait", "--no-build", "--pull", "never", *WANTED)
    rows = compose.rows()
    assert {name: rows[name]["Health"] for name in WANTED if name != "topics"} == {
        name: "healthy" for name in WANTED if name != "topics"
    }
    assert (rows["topics"]["State"], rows["topics"]["ExitCode"]) == ("exited", 0)
    wait_until(lambda: value_of('sum(up{job="surgewatch"})') == 2, 60, "both are scraped")
    owning = "count(surgewatch_partitions_owned > 0)"
    wait_until(lambda: value_of(owning) == 2, 60, "both have partitions")


def test_this_machine_reaches_kafka_redis_and_every_page(compose: Compose) -> None:
    environ = {
        "SURGEWATCH_KAFKA_BOOTSTRAP_SERVERS": "localhost:19092",
        "SURGEWATCH_REDIS_URL": "redis://localhost:16379/0",
    }
    assert check_topics(read_settings(environ)) == []
    redis = compose("exec", "--no-TTY", "redis", "redis-cli", "config", "get", "maxmemory*")
    assert "noeviction" in redis.split()
    assert str(2 * 1024**3) in redis.split()
    for port in (9464, 9465):
        assert page(f"http://127.0.0.1:{port}/readyz") == "ok\n"
    runbook = page("http://127.0.0.1:8000/runbooks/SurgewatchCreatorSurge.md")
    assert runbook.startswith("# SurgewatchCreatorSurge")


def test_the_alert_of_the_surge_is_at_alertmanager_and_its_links_lead_somewhere(
    compose: Compose,
) -> None:
    def alerts() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(page("http://127.0.0.1:9093/api/v2/alerts"))
        return [one for one in found if "CreatorSurge" in one["labels"]["alertname"]]

    wait_until(lambda: bool(alerts()), 60, "an alert")
    url = alerts()[0]["annotations"]["runbook_url"]
    assert url.startswith("http://localhost:8000/runbooks/")
    assert page(url).startswith("# Surgewatch")


def test_the_notification_is_shown_by_the_receiver(compose: Compose) -> None:
    def shown() -> str:
        return compose("logs", "--no-color", "receiver")

    wait_until(lambda: "firing: SurgewatchCreatorSurge" in shown(), 60, shown)


def test_prometheus_takes_the_rules_and_every_target(compose: Compose) -> None:
    groups = json.loads(page("http://127.0.0.1:9090/api/v1/rules"))["data"]["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    assert len(rules) > 20
    assert [rule["name"] for rule in rules if rule["health"] == "err"] == []


def test_the_simulator_goes_on_live_and_ends_when_asked(compose: Compose) -> None:
    behind = "max(surgewatch_lag_seconds)"
    wait_until(lambda: value_of(behind) < 30, 180, lambda: f"live; {value_of(behind)} s behind")
    assert compose.rows()["simulator"]["State"] == "running"
    began = time.monotonic()
    compose("stop", "simulator")
    assert time.monotonic() - began < 8


def test_workers_stop_in_order_and_what_they_stored_is_there_again(compose: Compose) -> None:
    compose("stop", "worker-1", "worker-2")
    rows = compose.rows()
    assert [rows[name]["ExitCode"] for name in ("worker-1", "worker-2")] == [0, 0]
    compose("kill", "--signal", "KILL", "redis")
    compose("up", "--detach", "--wait", "--no-build", "--pull", "never", *WANTED)
    lost = "sum(surgewatch_records_missed_total)"
    wait_until(lambda: value_of('sum(up{job="surgewatch"})') == 2, 60, "both are scraped")
    assert value_of(lost) == 0
