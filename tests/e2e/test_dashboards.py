"""Every query of every panel gives data of its unit, from workers under load that meet a wave."""

from __future__ import annotations

import asyncio
import json
import math
import re
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest

from streams.core.time.buckets import BUCKET_MS
from streams.edges.kafka.producer import RecordProducer
from tests.conftest import start_or_say
from tests.dashboard_lint import BOARDS, LOGS, Json, panels_of
from tests.prometheus import PrometheusServer
from tests.servers import RedisServer
from tests.wave_rows import BEGIN, NAME_OF, WAVE, rows
from tests.workers import Ledger, Site, WorkerProcess, wait_until

WINDOW: Final = "10s"
"""Put in for Grafana's interval: here a scrape is a second."""
MINUTE_MS: Final = 60_000
DAY_MS: Final = 86_400_000
URLS: Final = {"docs_url": "https://docs.test", "grafana_url": "https://grafana.test"}
SECONDS_MAX: Final = 40.0
LANGS: Final = ("zh", "ko", "th")


class LimitedWorker(WorkerProcess):
    """A worker that may have 4 GiB, wherever the test runs."""

    arguments = (
        "-c",
        "from streams.app import cli;"
        "from streams.app.worker import worker;"
        "worker.memory_limit_bytes = lambda: 4 << 30;"
        "cli.main()",
        "worker",
    )


@dataclass(frozen=True)
class Asked:
    """A query of a panel, with the dashboard's variables and interval put in."""

    panel: str
    expr: str
    unit: str
    is_instant: bool

    def values(self, prometheus: PrometheusServer, since: float) -> list[float]:
        """What comes out that is a number: now, or at any second since then."""
        if self.is_instant:
            found = prometheus.ask("query", query=self.expr)["result"]
            points = [one["value"] for one in found]
        else:
            span = {"start": str(since), "end": str(time.time()), "step": "1"}
            found = prometheus.ask("query_range", query=self.expr, **span)["result"]
            points = [point for one in found for point in one["values"]]
        return [value for _, text in points if math.isfinite(value := float(text))]


def asked_of(boards: dict[str, Any]) -> Iterator[Asked]:
    for name, board in boards.items():
        for panel in panels_of(board):
            for target in panel["targets"] if panel["datasource"] != LOGS else []:
                expr = target["expr"].replace("$__rate_interval", WINDOW)
                for variable in board["templating"]["list"]:
                    asked = variable["name"]
                    every = "surgewatch" if asked == "job" else variable.get("allValue")
                    expr = expr.replace(f"${asked}", every or "")
                unit = panel["fieldConfig"]["defaults"]["unit"]
                where = f"{name}: {panel['title']}: {target['refId']}"
                yield Asked(where, expr, unit, target["instant"])


def is_of_unit(unit: str, value: float) -> bool:
    """Whether a value may be one of this unit, at the sizes that this test makes."""
    most = {"percentunit": 4.0, "s": 30 * 86_400.0, "suffix:×": 1_000.0}
    return 0 <= value <= most.get(unit, 1e12)


def wave_records(now_ms: int) -> list[tuple[bytes, bytes]]:
    """Keys and values of follows of the last hours, in a wave that is open now."""
    every = rows()
    begun = (now_ms - MINUTE_MS) // BUCKET_MS  # all partitions have records of it by now
    shift_ms = (begun - (BEGIN + WAVE + 5)) * BUCKET_MS
    columns = (every.creators.tolist(), every.at_ms.tolist(), every.audiences.tolist())
    found = []
    for creator, at_ms, audience in zip(*columns, strict=True):
        if at_ms + shift_ms > now_ms:
            break
        lang, region = NAME_OF[audience]
        record = {
            "creator_id": f"c-{creator}",
            "follower_id": "f-1",
            "at_ms": at_ms + shift_ms,
            "lang": lang,
            "region": region,
        }
        found.append((b"c-%d" % creator, msgspec.json.encode(record)))
    return found


async def send(site: Site) -> None:
    """A wave, surges of follows and of comments, what is late, repeated and of no use."""
    settings, now_ms = site.settings, time.time_ns() // 1_000_000
    ledger = Ledger()
    surge = [ledger.follow("ann", now_ms - 1000 + n) for n in range(600)]
    late = [ledger.follow("ann", now_ms - 2 * DAY_MS)] * 20
    async with RecordProducer(settings) as producer:
        await producer.open_topic(settings.topic_follows)
        await producer.open_topic(settings.topic_comments)
        wave = wave_records(now_ms)
        for begin in range(0, len(wave), 1000):
            lot = wave[begin : begin + 1000]
            values = [value for _, value in lot]
            await producer.send(settings.topic_follows, [key for key, _ in lot], values)
        await producer.send(settings.topic_follows, [b"ann"] * 620, [*surge, *late])
        await producer.send(settings.topic_follows, [b"x", b"y"], [b"{", b"[]"])
        for lang in LANGS:
            at_ms = range(now_ms - 1000, now_ms - 700)
            comments = [ledger.comment(f"bob-{lang}", f"p-{lang}", at, lang) for at in at_ms]
            keys = [f"bob-{lang}".encode()] * len(comments)
            await producer.send(settings.topic_comments, keys, comments)


def address_of(worker: WorkerProcess) -> str:
    """Where its metrics are, once it reads."""
    wait_until(lambda: "reading" in worker.text(), 60, worker.text)
    (address,) = re.findall(r"metrics on http://(\S+)/metrics", worker.text())
    return str(address)


@pytest.fixture
def site(site_of: Callable[..., Site], redis_factory: Callable[..., RedisServer]) -> Site:
    """One of its own: its Redis has a limit, and the model tells readily, and notices only."""
    redis = redis_factory(settings={"maxmemory": "1gb"})
    return site_of(
        redis.url,
        SURGEWATCH_BUDGET_NOTICES_PER_CREATOR_DAY="0.3",
        SURGEWATCH_PAGE_EXCESS_MIN="1000000",
        SURGEWATCH_LOG_FORMAT="json",
    )


@pytest.fixture
def workers(site: Site) -> Iterator[list[WorkerProcess]]:
    """Two, among whom partitions are dealt."""
    with ExitStack() as stack:
        started: list[WorkerProcess] = []
        for name in ("first", "second"):
            started.append(LimitedWorker(site, name))
            stack.callback(started[-1].kill)
        yield started


@pytest.fixture
def prometheus(workers: list[WorkerProcess], tmp_path: Path) -> Iterator[PrometheusServer]:
    """It scrapes them."""
    with ExitStack() as stack:
        addresses = [address_of(worker) for worker in workers]
        server = PrometheusServer(tmp_path / "prometheus", addresses, URLS)
        start_or_say(server)
        stack.callback(server.stop)
        up = 'sum(up{job="surgewatch"})'
        wait_until(lambda: [*server.values(up).values()] == [2], 60, "both are scraped")
        yield server


def test_every_query_of_every_panel_gives_data_of_its_unit(
    site: Site, workers: list[WorkerProcess], prometheus: PrometheusServer
) -> None:
    since = time.time()
    asyncio.run(send(site))
    missing = [*asked_of(BOARDS)]
    assert len(missing) > 60
    ends = time.monotonic() + SECONDS_MAX
    while missing and time.monotonic() < ends:
        for asked in [*missing]:
            values = asked.values(prometheus, since)
            assert [one for one in values if not is_of_unit(asked.unit, one)] == [], asked
            if values:
                missing.remove(asked)
        signal.sigtimedwait([], 0.5)
    assert missing == []
    check_stages(prometheus, since)
    check_surges(prometheus, since)
    check_frames(prometheus)
    panels = [one for board in BOARDS.values() for one in panels_of(board)]
    for panel in (one for one in panels if one["datasource"] == LOGS):
        check_lines(panel, "".join(worker.text() for worker in workers))


def check_stages(prometheus: PrometheusServer, since: float) -> None:
    """The stages of a worker's time are one second a second."""
    (asked,) = (one for one in asked_of(BOARDS) if "Where a worker's time goes" in one.panel)
    share = Asked(asked.panel, f"sum ({asked.expr})", asked.unit, is_instant=True)
    wait_until(
        lambda: any(0.8 < value < 1.2 for value in share.values(prometheus, since)), 30, share.expr
    )


def check_surges(prometheus: PrometheusServer, since: float) -> None:
    """What was sent is what the numbers say, and the newest surges are dots with their ids."""
    at = {one.panel: one for one in asked_of(BOARDS)}
    for panel, least in (("Pages open", 2), ("Waves open", 1), ("Opened in a day", 2)):
        (value,) = at[f"surges-now: {panel}: A"].values(prometheus, since)
        assert value >= least, panel
    (up,) = at["workers: Workers that are up: A"].values(prometheus, since)
    assert up == 2
    for panel in ("Comments in an hour", "Surges in 15 minutes"):
        first_ones = at[f"surges-now: {panel}: A"].values(prometheus, since)
        assert len(first_ones) >= len(LANGS)
        assert min(first_ones) >= (200 if "Comments" in panel else 1), panel
    dots = at["surges-now: Newest surges: from event to surge: A"]
    span = {"start": str(since), "end": str(time.time())}
    found = prometheus.ask("query_exemplars", query=dots.expr, **span)
    ids = {one["labels"]["surge_id"] for series in found for one in series["exemplars"]}
    assert ids


def check_frames(prometheus: PrometheusServer) -> None:
    """Variables offer what there is, and alerts that fire are marked."""
    for board in BOARDS.values():
        for variable in board["templating"]["list"]:
            if variable["type"] == "query":
                asked = re.fullmatch(r"label_values\((.*), (\w+)\)", variable["query"]["query"])
                assert asked is not None
                expr, label = asked[1].replace("$job", "surgewatch"), asked[2]
                offered = [json.loads(one).get(label) for one in prometheus.values(expr)]
                assert offered, label
                assert all(offered), label
        marks = [one["expr"] for one in board["annotations"]["list"]]
        assert any(prometheus.values(expr) for expr in marks)


def check_lines(panel: Json, said: str) -> None:
    """What a panel asks Loki for stands in the workers' logs, with all of its columns.

    There is no Loki here: this is what its query means, in its only form, to lines of JSON.
    """
    (target,) = panel["targets"]
    asked = re.fullmatch(
        r'\{service_name=~"[^"]+"} \|= "(\w+)" \| json \| event="(\w+)" \| kind=~"\$kind"'
        r' \| surge_id=~"\$surge_id\.\*"',
        target["expr"],
    )
    assert asked is not None
    told = [json.loads(line) for line in said.splitlines() if asked[1] in line]
    found = [line for line in told if line.get("event") == asked[2]]
    assert found
    _, convert, keep, named = panel["transformations"]
    columns = {*keep["options"]["include"]["names"]}
    assert named["options"]["renameByName"].keys() == columns
    assert columns <= {name for line in found for name in line}
    read: dict[str, Callable[[str], object]] = {"number": float, "time": datetime.fromisoformat}
    for conversion in convert["options"]["conversions"]:
        for line in found:
            read[conversion["destinationType"]](str(line[conversion["targetField"]]))
