"""Pictures of a story that became alerts: ``python -m tests.screenshots``. Not a test.

Real Kafka, Redis, worker, Prometheus and Alertmanager with the files in deploy, and a simulator
that tells the day before now and goes on live, as in docs/alerting.md; all of it ends.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import os
import re
import sys
import tempfile
import urllib.parse
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from PIL import Image

from streams.edges.process.child import ChildProcess
from tests.alertmanager import AlertmanagerServer, Webhook
from tests.browser import Page, browser_program, chromium
from tests.containers.compose_file import cache_folder
from tests.prometheus import PrometheusServer
from tests.servers import KafkaServer, RedisServer, ServerMissing
from tests.workers import Site, WorkerProcess, wait_until

WIDTH: Final = 1200
HEIGHT_MAX: Final = 1500
COLOURS: Final = 64
URLS: Final = {"docs_url": "https://docs.example.org", "grafana_url": "https://grafana.example.org"}
WORKER: Final = {"target_label": "instance", "replacement": "worker-1:9464"}
"""A name as in a cluster: the port here is any free one."""
STORY: Final = (
    *("simulate", "--start", "now-24h", "--speed", "1800", "--hours", "48"),
    *("--follows-per-day", "500000", "--wave-users", "100000"),
)
LATE: Final = "job:surgewatch_events_late:ratio_rate5m"
SECONDS_MAX: Final = 900.0
"""For the told day to leave the window of five minutes, on a busy machine."""


class AlertmanagerWithPages(AlertmanagerServer):
    """With the pages that Debian leaves out."""

    def _command(self) -> list[str]:
        pages = cache_folder() / "alertmanager-pages"
        if not pages.exists():
            message = f"{pages.name} of Debian's Alertmanager"
            raise ServerMissing(message, "tests/tools/alertmanager_pages.sh PYTHON")
        return [*super()._command(), f"--web.ui-path={pages}"]


@dataclass(frozen=True, slots=True)
class Stage:
    """What has pages, while the story goes on."""

    prometheus: PrometheusServer
    alertmanager: AlertmanagerServer

    def is_told(self) -> bool:
        """Whether surges of both kinds and a wave were told."""
        labels = [one["labels"] for one in self.alertmanager.alerts()]
        opened = {one["kind"] for one in labels if one["alertname"].endswith("Opened")}
        return opened == {"comments", "followers", "wave"}

    def is_on_time(self) -> bool:
        """Whether, for a minute, hardly any record of the five minutes before was late."""
        shares = self.prometheus.values(f"max_over_time({LATE}[1m])").values()
        return any(share < 0.01 for share in shares)


Subject = Callable[[Page, Stage], Awaitable[None]]


@contextmanager
def stage(folder: Path) -> Iterator[Stage]:
    """All servers, and a story that is being told."""
    with ExitStack() as stack:
        kafka = stack.enter_context(KafkaServer(folder / "kafka"))
        redis = stack.enter_context(RedisServer(folder / "redis"))
        site = Site(kafka.bootstrap, redis.url, "pictures", folder).make_topics()
        worker = WorkerProcess(site, "worker")
        stack.callback(worker.kill)
        wait_until(lambda: "metrics on" in worker.text(), 60, worker.text)
        (target,) = re.findall(r"metrics on http://(\S+)/metrics", worker.text())
        webhook = stack.enter_context(Webhook())
        pages = AlertmanagerWithPages(folder / "alertmanager", webhook.url)
        alertmanager = stack.enter_context(pages)
        address = f"127.0.0.1:{alertmanager.port}"
        prometheus = stack.enter_context(
            PrometheusServer(
                folder / "prometheus",
                [target],
                URLS,
                alertmanager=address,
                scrape={"relabel_configs": [WORKER]},
            )
        )
        command = [sys.executable, "-m", "streams.app.cli", *STORY]
        simulator = ChildProcess("simulator", command, folder / "simulator.log")
        simulator.start({**os.environ, **site.environ})
        stack.callback(simulator.end)
        yield Stage(prometheus, alertmanager)


async def prometheus_alerts(page: Page, stage: Stage) -> None:
    """Prometheus' alerts that fire, and what one of them says."""
    await page.open(f"http://127.0.0.1:{stage.prometheus.port}/classic/alerts")
    await page.wait("document.readyState === 'complete' && window.$")
    for state in ("inactive", "pending"):
        await page.run(f"$('#{state}Alerts').click()")
    await page.run(
        """
        $('.alert_details pre').hide();
        $('.alert_header:contains(SurgewatchCreatorSurgeOpened)').click();
        $('div.show-annotations').click();
        for (const group of $('#alertsTable > tbody > tr:not([class])')) {
          const rules = $(group).nextUntil('tr:not([class])').filter('.alert_header:visible');
          $(group).toggle(rules.length > 0);
        }
        """
    )


async def alertmanager_alerts(page: Page, stage: Stage) -> None:
    """Alertmanager's groups; those that are told to the pager are open."""
    await page.open(f"http://127.0.0.1:{stage.alertmanager.port}/#/alerts")
    await page.wait("document.body?.innerText.includes('SurgewatchCreatorSurgeOpened')")
    await page.run(
        """
        for (const group of document.querySelectorAll('div.mb-3:has(> button > i.fa-plus)')) {
          if (/Surgewatch(CreatorSurge|Wave)Opened/.test(group.innerText)) {
            group.querySelector('i.fa-plus').click();
          }
        }
        """
    )
    await page.wait("document.querySelector('i.fa-minus')")


async def prometheus_graph(page: Page, stage: Stage) -> None:
    """The share of late records: all of the told day, none of those that come live."""
    query = {"g0.expr": LATE, "g0.tab": "0", "g0.range_input": "10m", "g0.step_input": "5"}
    address = f"http://127.0.0.1:{stage.prometheus.port}/classic/graph"
    await page.open(f"{address}?{urllib.parse.urlencode(query)}")
    await page.wait("document.querySelector('.graph svg path')")


PICTURES: Final[Mapping[str, tuple[Callable[[Stage], bool], Subject]]] = {
    "alerting_prometheus_alerts": (Stage.is_told, prometheus_alerts),
    "alerting_alertmanager_alerts": (Stage.is_told, alertmanager_alerts),
    "alerting_prometheus_late": (Stage.is_on_time, prometheus_graph),
}
"""By name, in this order: when, and of what."""


def reduced(png: bytes) -> bytes:
    """The picture in so few colours that a page with some of them is small."""
    found = io.BytesIO()
    with Image.open(io.BytesIO(png)) as image:
        image.convert("RGB").quantize(COLOURS).save(found, "PNG", optimize=True)
    return found.getvalue()


async def take(stage: Stage, folder: Path, profile: Path) -> None:
    """Take all pictures, each when there is to see what it is of."""
    for name, (is_there, subject) in PICTURES.items():
        await asyncio.to_thread(wait_until, partial(is_there, stage), SECONDS_MAX, name)
        async with chromium(profile / name) as page:
            await subject(page, stage)
            png = reduced(await page.picture(WIDTH, HEIGHT_MAX))
        path = folder / f"{name}.png"
        path.write_bytes(png)
        print(f"{path}: {len(png):,} bytes")  # noqa: T201 its work


def main(argv: Sequence[str] | None = None) -> int:
    """Take them into a folder; 0, or 1 where a program is missing."""
    parser = argparse.ArgumentParser(prog="python -m tests.screenshots", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("docs/pictures"), help="a folder")
    options = parser.parse_args(argv)
    options.out.mkdir(parents=True, exist_ok=True)
    try:
        with tempfile.TemporaryDirectory(prefix="surgewatch-pictures-") as name:
            folder = Path(name)
            browser_program()
            with stage(folder) as told:
                asyncio.run(take(told, options.out, folder))
    except ServerMissing as missing:
        print(f"screenshots: {missing}", file=sys.stderr)  # noqa: T201 the reason
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
