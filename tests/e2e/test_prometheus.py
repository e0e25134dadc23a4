"""A real Prometheus scrapes a real worker: rules evaluate, a surge becomes an alert with links."""

import asyncio
import json
import re
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from click.testing import CliRunner

from streams.app.cli import main
from streams.edges.kafka.producer import RecordProducer
from tests.conftest import start_or_say
from tests.prometheus import PrometheusServer
from tests.unit.test_alerts import ALERTS, FILES, RATIO, RECORDS, groups_of
from tests.unit.test_runbooks import NAMES, lines_of
from tests.workers import Ledger, Site, WorkerProcess, wait_until

FOLLOWS = 600
URLS = {"docs_url": "https://docs.test", "grafana_url": "https://grafana.test"}


async def send(site: Site) -> None:
    ledger, now_ms = Ledger(), time.time_ns() // 1_000_000
    follows = [ledger.follow("ann", now_ms - 1000 + n) for n in range(FOLLOWS)]
    async with RecordProducer(site.settings) as producer:
        await producer.open_topic(site.settings.topic_follows)
        await producer.send(site.settings.topic_follows, [b"ann"] * FOLLOWS, follows)


def test_a_surge_of_a_worker_is_an_alert_with_links_and_all_rules_evaluate(
    site_of: Callable[..., Site],
    start: Callable[[Site, str], WorkerProcess],
    tmp_path: Path,
) -> None:
    site = site_of()
    worker = start(site, "worker")
    wait_until(lambda: "metrics on" in worker.text(), 60, worker.text)
    (target,) = re.findall(r"metrics on http://(\S+)/metrics", worker.text())
    prometheus = PrometheusServer(tmp_path / "prometheus", [target], URLS)
    try:
        start_or_say(prometheus)
        wait_until(
            lambda: 1.0 in prometheus.values('up{job="surgewatch"}').values(), 60, "it is scraped"
        )
        asyncio.run(send(site))
        wait_until(lambda: "SurgewatchCreatorSurge" in firing(prometheus), 60, worker.text)
        alert = firing(prometheus)["SurgewatchCreatorSurge"]
        assert alert["labels"]["kind"] == "followers"
        assert alert["labels"]["severity"] == "notice"
        assert alert["annotations"] == {
            "summary": "Surges of followers that matter are open: 1",
            "description": ALERTS["SurgewatchCreatorSurge"]["annotations"]["description"],
            "runbook_url": "https://docs.test/runbooks/SurgewatchCreatorSurge.md",
            "dashboard_url": "https://grafana.test/d/surgewatch-now?var-kind=followers",
        }
        wait_until(lambda: "SurgewatchCreatorSurgeOpened" in firing(prometheus), 30, "its page too")
        page = firing(prometheus)["SurgewatchCreatorSurgeOpened"]["labels"]
        (surge,) = asyncio.run(site.surges(lambda found: len(found) >= 1))
        told = page["kind"], page["surge_id"], page["severity"]
        assert told == ("followers", surge.surge_id, "page")
        assert firing(prometheus).keys() == {
            "SurgewatchCreatorSurge",
            "SurgewatchCreatorSurgeOpened",
            "SurgewatchDeadMansSwitch",
        }
        groups = prometheus.ask("rules")["groups"]
        assert {one["name"] for one in groups} == {
            group["name"] for path in FILES for group in groups_of(path)
        }
        assert [rule for one in groups for rule in one["rules"] if rule["health"] != "ok"] == []
        counted = 'sum(surgewatch_records_total{result="counted",topic=~".*-follows"})'
        assert [*prometheus.values(counted).values()] == [FOLLOWS]
        for name in RECORDS - {RATIO}:  # which needs a day's false alarms that were asked for
            wait_until(partial(has_values, prometheus, name), 20, name)
        stages = "sum(rate(surgewatch_stage_seconds_total[10s]))"
        wait_until(
            lambda: any(0.8 < share < 1.2 for share in prometheus.values(stages).values()),
            30,
            "all stages together are one second a second",
        )
        for query in (query for name in NAMES for query in lines_of(name, "promql")):
            prometheus.values(query)  # raises where it cannot be evaluated
        assert told_by_doctor(site, prometheus) == {
            "prometheus.reachable": "ok",
            "prometheus.targets": "ok",
            "prometheus.rules": "ok",
            "prometheus.metrics": "ok",
            "prometheus.alertmanager": "error",
            "prometheus.links": "ok",
            "prometheus.settings": "ok",
            "prometheus.alerts": "warning",
        }
    finally:
        prometheus.stop()
    assert worker.stop() == 0


def told_by_doctor(site: Site, prometheus: PrometheusServer) -> dict[str, str]:
    """Findings of ``surgewatch doctor`` on this Prometheus."""
    url = f"http://127.0.0.1:{prometheus.port}"
    arguments = ["doctor", "--json", "--prometheus", url]
    told = json.loads(CliRunner(env=site.environ).invoke(main, arguments).stdout)
    return {one["id"]: one["status"] for one in told["findings"] if one["group"] == "prometheus"}


def has_values(prometheus: PrometheusServer, query: str) -> bool:
    return bool(prometheus.values(query))


def firing(prometheus: PrometheusServer) -> dict[str, dict[str, dict[str, str]]]:
    alerts = prometheus.ask("alerts")["alerts"]
    return {one["labels"]["alertname"]: one for one in alerts if one["state"] == "firing"}
