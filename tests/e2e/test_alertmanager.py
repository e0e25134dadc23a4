"""The story ends at a webhook: real Kafka, worker, Prometheus and Alertmanager in between."""

import asyncio
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import pytest

from streams.core.surges.surge import Surge
from streams.edges.process.child import free_port
from tests.alertmanager import AlertmanagerServer, Webhook
from tests.conftest import start_or_say
from tests.e2e.desk import FollowsDesk
from tests.prometheus import PrometheusServer
from tests.unit.test_runbooks import NAMES
from tests.workers import Site, WorkerProcess, wait_until

URLS: Final = {"docs_url": "https://docs.test", "grafana_url": "https://grafana.test"}
SOON: Final = {"SurgewatchWorkerAbsent": "1s", "SurgewatchWorkerDown": "8s"}
STORY: Final = (
    *("--creators", "3000", "--follows-per-day", "150000", "--wave-users", "60000"),
    *("--hours", "12"),  # the wave, the newcomer and some posts are open as it ends
)
FOLLOWS: Final = 600
"""Of a creator: the site's rule is 500."""
TOLD_SECONDS_MAX: Final = 30
RULES: Final = {
    "SURGEWATCH_RULE_FOLLOWERS_24H": "10000",
    "SURGEWATCH_RULE_COMMENTS_24H": "4000",
}


@pytest.fixture
def webhook() -> Iterator[Webhook]:
    with Webhook() as webhook:
        yield webhook


def open_in(surges: list[Surge]) -> list[Surge]:
    """The last that was said of each surge that is open."""
    last = {surge.surge_id: surge for surge in sorted(surges, key=lambda one: one.revision)}
    return [surge for surge in last.values() if surge.closed_ms is None]


def told_to(webhook: Webhook, receiver: str, status: str = "firing") -> set[str]:
    alerts = [one for one in webhook.alerts(receiver) if one["status"] == status]
    return {said(one["labels"]) for one in alerts}


def said(labels: Mapping[str, str]) -> str:
    """An alert and what it is of, in a line."""
    of = [labels[name] for name in ("kind", "lang", "region") if name in labels]
    return " ".join([labels["alertname"].removeprefix("Surgewatch"), *of])


def test_the_story_ends_in_exactly_its_notifications_each_with_links(
    site_of: Callable[..., Site],
    start: Callable[[Site, str], WorkerProcess],
    webhook: Webhook,
    tmp_path: Path,
) -> None:
    # of one worker and the next: they are one target to Prometheus
    site = site_of(**RULES, SURGEWATCH_METRICS_PORT=str(free_port()))
    worker = start(site, "worker")
    target = target_of(worker)
    tell_the_story(site)
    surges = asyncio.run(caught_up(site, worker))
    # Only now: half a day passed in seconds, and what was open in between is no matter here.
    alertmanager = AlertmanagerServer(tmp_path / "alertmanager", webhook.url)
    try:
        start_or_say(alertmanager)
        address = f"127.0.0.1:{alertmanager.port}"
        prometheus = PrometheusServer(tmp_path / "prometheus", [target], URLS, SOON, address)
        try:
            start_or_say(prometheus)
            wait_until(lambda: told_to(webhook, "watchman") != set(), 60, "all of it is connected")
            check_the_storys(webhook, alertmanager, surges)
            check_the_links(webhook)
            check_the_end_of_the_worker(webhook, alertmanager, worker)
            check_that_a_restart_ends_nothing(webhook, prometheus, start(site, "again"))
        finally:
            prometheus.stop()
    finally:
        alertmanager.stop()


def test_each_creator_who_surges_is_a_page_within_half_a_minute_however_many_are_open(
    site_of: Callable[..., Site],
    start: Callable[[Site, str], WorkerProcess],
    webhook: Webhook,
    tmp_path: Path,
) -> None:
    site = site_of()
    worker = start(site, "worker")
    target, desk = target_of(worker), FollowsDesk(site)
    with AlertmanagerServer(tmp_path / "alertmanager", webhook.url) as alertmanager:
        address = f"127.0.0.1:{alertmanager.port}"
        folder = tmp_path / "prometheus"
        with PrometheusServer(folder, [target], URLS, SOON, address) as prometheus:
            wait_until(lambda: told_to(webhook, "watchman") != set(), 60, "all of it is connected")
            wait_until(
                lambda: 1.0 in prometheus.values('up{job="surgewatch"}').values(), 60, worker.text
            )
            for nth, creator in enumerate(("ann", "bob"), 1):
                desk.send(desk.follows([creator] * FOLLOWS, counted=False))
                wait_told(webhook, nth)
            still_open = 'sum(surgewatch_surges_open{severity="page",kind="followers"})'
            assert [*prometheus.values(still_open).values()] == [2]
    assert told_to(webhook, "pager") == {"CreatorSurgeOpened followers"}
    assert "CreatorSurge followers" in told_to(webhook, "operations")
    for receiver in ("pager", "operations"):
        assert told_to(webhook, receiver, "resolved") == set()
    assert notes_of(webhook, "pager") == 2, "one for each"


def wait_told(webhook: Webhook, surges: int) -> None:
    """Wait until so many surges were told as pages."""
    wait_until(
        lambda: len(surges_told(webhook)) == surges,
        TOLD_SECONDS_MAX,
        lambda: str(webhook.received),
    )


def surges_told(webhook: Webhook) -> set[str]:
    """The surge_ids of all pages of creators' surges that were told."""
    return {
        one["labels"]["surge_id"]
        for one in webhook.alerts("pager")
        if one["labels"]["alertname"] == "SurgewatchCreatorSurgeOpened"
    }


def notes_of(webhook: Webhook, receiver: str) -> int:
    """How many notifications a receiver was sent."""
    return sum(name == receiver for name, _ in webhook.received)


def target_of(worker: WorkerProcess) -> str:
    """Where its metrics are, once they are."""
    wait_until(lambda: "metrics on" in worker.text(), 60, worker.text)
    (target,) = re.findall(r"metrics on http://(\S+)/metrics", worker.text())
    return str(target)


def test_an_alertmanager_that_is_down_is_told_and_hears_what_still_holds_when_it_is_back(
    webhook: Webhook, tmp_path: Path
) -> None:
    alertmanager = AlertmanagerServer(tmp_path / "alertmanager", webhook.url)
    minutes = {"SurgewatchAlertsUndelivered": 5}
    try:
        start_or_say(alertmanager)
        address = f"127.0.0.1:{alertmanager.port}"
        nobody = f"127.0.0.1:{free_port()}"
        with PrometheusServer(
            tmp_path / "prometheus", [nobody], URLS, SOON, address, minutes=minutes
        ) as server:

            def tells() -> bool:
                alert = 'ALERTS{alertname="SurgewatchAlertsUndelivered",alertstate="firing"}'
                return bool(server.values(alert))

            def is_told(receiver: str, what: str) -> None:
                wait_until(
                    lambda: what in told_to(webhook, receiver), 60, lambda: str(webhook.received)
                )

            is_told("pager", "WorkerAbsent")
            assert not tells()
            alertmanager.kill()
            wait_until(tells, 60, "Prometheus knows that nobody takes its alerts")
            webhook.received.clear()
            alertmanager.start()
            for receiver, what in (
                ("pager", "WorkerAbsent"),
                ("operations", "AlertsUndelivered"),
                ("watchman", "DeadMansSwitch"),
            ):
                is_told(receiver, what)
    finally:
        alertmanager.stop()


def tell_the_story(site: Site) -> None:
    command = [sys.executable, "-m", "streams.app.cli", "simulate", *STORY]
    environ = {**os.environ, **site.environ}
    subprocess.run(command, env=environ, check=True, capture_output=True, timeout=120)


async def caught_up(site: Site, worker: WorkerProcess) -> list[Surge]:
    """All surges, once every record is counted and the wave was told."""

    def is_through() -> bool:
        metrics = worker.metrics()
        lag = sum(value for name, value in metrics.items() if "_lag_records{" in name)
        counted = sum(value for name, value in metrics.items() if 'result="counted"' in name)
        waves = metrics['surgewatch_surges_open{kind="wave",severity="page"}']
        return lag == 0 and counted > 0 and waves > 0

    await asyncio.to_thread(wait_until, is_through, 120, worker.text)
    metrics = worker.metrics()
    told = {name: int(value) for name, value in metrics.items() if "surges_total{" in name}
    count = sum(value for name, value in told.items() if "forgotten" not in name)
    return await site.surges(lambda found: len(found) >= count)


def check_the_storys(
    webhook: Webhook, alertmanager: AlertmanagerServer, surges: list[Surge]
) -> None:
    """Who has to be told of what is open was told of that, and nobody of anything else."""
    kinds = Counter((one.kind, one.severity) for one in open_in(surges))
    assert kinds["wave", "page"] == 1
    assert kinds["followers", "page"] == 1
    assert kinds["comments", "page"] >= 1
    of_creators = {kind for kind, severity in kinds if severity == "page" and kind != "wave"}
    paged = {"WaveOpened wave"} | {f"CreatorSurgeOpened {kind}" for kind in of_creators}
    wait_until(lambda: told_to(webhook, "pager") >= paged, 60, lambda: str(webhook.received))
    assert told_to(webhook, "pager") == paged
    paged_ids = {one.surge_id for one in surges if one.severity == "page"}
    told_ids = [
        one["labels"]["surge_id"] for one in webhook.alerts("pager") if one["status"] == "firing"
    ]
    assert set(told_ids) <= paged_ids
    assert {one.surge_id for one in open_in(surges) if one.severity == "page"} <= set(told_ids)
    held_back = {
        said(one["labels"]): one["status"]["inhibitedBy"]
        for one in alertmanager.alerts()
        if one["labels"]["alertname"] == "SurgewatchCreatorSurgeNotice"
    }
    lifted = {
        (one["labels"].get("lang"), one["labels"].get("region"))
        for one in alertmanager.alerts()
        if one["labels"]["alertname"] == "SurgewatchWaveLifts"
    }
    assert lifted, "the wave's cohorts are known"
    in_wave = {name for name in held_back if tuple(name.split()[-2:]) in lifted}
    assert {name for name, by in held_back.items() if by} == in_wave != set()
    assert held_back.keys() - in_wave != set()
    still_open = {"WaveOpen"} | {f"CreatorSurge {kind}" for kind in of_creators}
    to_know = (held_back.keys() - in_wave) | still_open
    wait_until(lambda: told_to(webhook, "operations") == to_know, 30, lambda: str(webhook.received))
    assert {name.split()[0] for name in held_back} == {"CreatorSurgeNotice"}
    assert {name.split()[1] for name in held_back} == {
        kind for kind, severity in kinds if severity == "notice"
    }
    to_read = langs_to_read(surges)
    assert to_read >= {"en", "zh"}
    of_teams = {"moderation": to_read - {"zh"}, "moderation-zh": {"zh"}}
    of_teams = {
        team: {f"ModerationLoad {lang}" for lang in langs} for team, langs in of_teams.items()
    }
    wait_until(
        lambda: {team: told_to(webhook, team) for team in of_teams} == of_teams,
        30,
        lambda: str(webhook.received),
    )


def langs_to_read(surges: list[Surge]) -> set[str]:
    """Languages that most comments of a post that surged are in, or whose share rose."""
    opened = [one for one in surges if one.state == "opened"]
    shifted = {one.mix.lang for one in opened if one.mix is not None}
    return shifted | {one.langs[0].lang for one in opened if one.post_id and one.langs}


def check_the_links(webhook: Webhook) -> None:
    """Each notification links to a runbook that there is, and to a dashboard."""
    for _, note in webhook.received:
        for alert in note["alerts"]:
            links: dict[str, Any] = alert["annotations"]
            book = urlsplit(links["runbook_url"])
            assert book.netloc == "docs.test"
            assert Path(book.path).stem in NAMES
            assert urlsplit(links["dashboard_url"]).path.startswith("/d/surgewatch-")


def check_the_end_of_the_worker(
    webhook: Webhook, alertmanager: AlertmanagerServer, worker: WorkerProcess
) -> None:
    """A worker that is gone is one page; what follows from it is held back."""
    assert told_to(webhook, "pager", "resolved") == set()
    worker.kill()
    wait_until(
        lambda: "WorkerAbsent" in told_to(webhook, "pager"), 60, lambda: str(webhook.received)
    )

    def is_held_back() -> bool:
        by = {said(one["labels"]): one["status"]["inhibitedBy"] for one in alertmanager.alerts()}
        return bool(by.get("WorkerDown"))

    wait_until(is_held_back, 30, lambda: str(alertmanager.alerts()))
    assert "WorkerDown" not in told_to(webhook, "operations")


def active_since(prometheus: PrometheusServer) -> dict[str, str]:
    """Alerts of what is open that fire, and since when."""
    told = {"SurgewatchWaveOpen", "SurgewatchCreatorSurge", "SurgewatchCreatorSurgeNotice"}
    alerts = prometheus.ask("alerts")["alerts"]
    return {
        said(one["labels"]): one["activeAt"]
        for one in alerts
        if one["labels"]["alertname"] in told and one["state"] == "firing"
    }


def check_that_a_restart_ends_nothing(
    webhook: Webhook, prometheus: PrometheusServer, again: WorkerProcess
) -> None:
    """What is open goes on: it is neither told as over nor once more."""
    before, pages = active_since(prometheus), notes_of(webhook, "pager")
    assert {name.split()[0] for name in before} >= {"WaveOpen", "CreatorSurge"}
    wait_until(
        lambda: told_to(webhook, "pager", "resolved") != set(), 60, lambda: str(webhook.received)
    )

    def is_known() -> bool:
        """Whether Prometheus has what is open from the new process."""
        began = prometheus.values('changes(process_start_time_seconds{job="surgewatch"}[10m])')
        kinds = prometheus.values('count(surgewatch_surges_open{severity="page"} > 0)')
        return [*began.values(), *kinds.values()] == [1, 3]

    wait_until(is_known, 60, again.text)
    assert active_since(prometheus) == before
    assert told_to(webhook, "pager", "resolved") == {"WorkerAbsent"}
    assert told_to(webhook, "operations", "resolved") == set()
    assert notes_of(webhook, "pager") == pages + 1, "that a worker is there again, no more"
