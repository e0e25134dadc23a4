"""A soak: real Kafka, Redis and worker under a steady load, looked at every few seconds."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from streams.core.time.buckets import BUCKET_MS, WINDOW_BUCKETS
from streams.edges.process.child import ChildProcess, free_port
from tests.bench.floor import FloorRow
from tests.bench.job import creator_of
from tests.bench.stage import Stage
from tests.servers import KafkaServer, RedisServer
from tests.soak.load import Load
from tests.soak.samples import Sample, quantile_of, sample_of, slope_an_hour

ROOT: Final = Path(__file__).parents[2]
LOOK_SECONDS: Final = 5.0
BEGIN_SECONDS: Final = 60.0
"""So long the worker meets its creators, before its limit is looked for."""
LIMIT_SECONDS: Final = 240.0
"""So long the sender sends as quickly as the worker takes it: what is counted then is the limit."""
REST_EVERY_SECONDS: Final = 60.0
REST_SECONDS: Final = 6.0
"""So long nothing is sent: what it then holds is its own, and not what is under way."""
_WAITING_MAX: Final = 250_000
"""Records that may wait meanwhile."""
WARM_SHARE: Final = 0.35
"""Of the time, which the slopes leave out: of an hour, three and a half days of event time. In the
first one windows fill; what opened in it closes up to a day later and is remembered for another."""
KAFKA: Final = {
    # an hour is tens of gigabytes; the worker is never far behind
    "log.retention.bytes": str(1 << 29),
    "log.segment.bytes": str(1 << 26),
    "log.retention.check.interval.ms": "30000",
}
WORKER: Final = {
    # ids as dense as these are more than the default remembers
    "SURGEWATCH_REPEATS_IDS_MAX": "4000000",
}
_NAME: Final = "soak"
_TOPIC: Final = f"follows-{_NAME}"
_SOON_SECONDS: Final = 300.0


@dataclass(frozen=True, slots=True)
class Soak:
    """What was found: the looks, those while nothing was sent, the limit, what does not add up."""

    hours: float
    limit_rate: float
    asked_rate: float
    samples: list[Sample]
    at_rest: list[Sample]
    sent: int
    counted: int
    wrong_creators: int
    exit_code: int | None


@contextmanager
def soak_stage(folder: Path) -> Iterator[Stage]:
    """Kafka that keeps little, and Redis."""
    with (
        KafkaServer(folder / "kafka", heap="1g", settings=KAFKA) as kafka,
        RedisServer(folder / "redis") as redis,
    ):
        yield Stage(folder, kafka, redis, "unix")


class Site:
    """A worker and its sender in a folder."""

    def __init__(self, stage: Stage, hours: float) -> None:
        self.folder = stage.folder
        self.port = free_port()
        self.variables = {
            **stage.variables(_NAME, _TOPIC),
            **WORKER,
            "SURGEWATCH_METRICS_PORT": str(self.port),
        }
        stage.make_topics(_NAME, _TOPIC)
        self.load = Load(str(self.folder), _TOPIC, self.variables, time.time(), hours)
        command = [sys.executable, "-m", "tests.soak.load", json.dumps(self.load._asdict())]
        self.sender = ChildProcess("sender", command, self.folder / "sender.log")
        command = [sys.executable, "-m", "streams.app.cli", "worker"]
        self.worker = ChildProcess("worker", command, self.folder / "worker.log")

    def start(self) -> None:
        """Start both."""
        environment = {**os.environ, "PYTHONPATH": str(ROOT), **self.variables}
        self.worker.start(environment)
        self.sender.start(environment)

    def look(self) -> Sample:
        """Ask the worker now."""
        url = f"http://127.0.0.1:{self.port}/metrics"
        with urllib.request.urlopen(url, timeout=30) as answer:
            text = answer.read().decode()
        return sample_of(text, time.time(), _TOPIC, self.load.sent_seconds)

    def pace(self, records_a_second: float) -> None:
        """Ask the sender for a pace; 0: its end."""
        (self.folder / "pace").write_text(str(records_a_second))

    @property
    def sent(self) -> int:
        """Records that were sent, as far as told."""
        try:
            return int((self.folder / "sent").read_text())
        except (OSError, ValueError):
            return 0

    def wait(self, done: Callable[[], bool], seconds_max: float = _SOON_SECONDS) -> None:
        """Wait; raises ChildFailed when worker or sender ended, or it takes too long."""
        self.worker.wait_until(done, seconds_max)

    def press(self, seconds: float) -> None:
        """Send as quickly as the worker takes it."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.pace(1e9 if self.look().lag_records < _WAITING_MAX else 1.0)
            time.sleep(0.2)  # a look costs the worker some milliseconds

    def counts(self) -> bool:
        """Whether the worker has begun."""
        try:
            return self.look().counted > 0
        except OSError:  # not yet serving
            return False

    def has_counted_all(self) -> bool:
        """Whether the worker stored all that was sent."""
        try:
            seen = self.look()
        except OSError:  # not yet serving
            return False
        return seen.lag_records == 0 and seen.counted >= self.sent > 0

    def end(self) -> int | None:
        """SIGTERM to the worker; its exit code."""
        self.worker.end(60.0)
        return self.worker.exit_code


def soak(folder: Path, hours: float, share: float, say: Callable[[str], None]) -> Soak:
    """Run it: the limit, then ``hours`` at this share of the limit."""
    with soak_stage(folder) as stage:
        site = Site(stage, hours)
        site.start()
        try:
            return _soak(site, hours, share, say)
        finally:
            site.sender.kill()
            site.worker.kill()


def _soak(site: Site, hours: float, share: float, say: Callable[[str], None]) -> Soak:
    site.pace(1e5)
    site.wait(site.counts)
    site.press(BEGIN_SECONDS)
    before = site.look()
    site.press(LIMIT_SECONDS)
    after = site.look()
    limit = (after.counted - before.counted) / (after.at_seconds - before.at_seconds)
    site.pace(limit / 2)
    rate = share * limit
    say(f"limit: {limit:,.0f} records a second; now {rate:,.0f} for {hours:g} hours")
    site.wait(lambda: site.look().lag_records < limit)
    pace = rate * (1 + REST_SECONDS / REST_EVERY_SECONDS)  # rests are made up for
    site.pace(pace)
    began, samples = time.time(), list[Sample]()
    at_rest, rest_due = list[Sample](), began + REST_EVERY_SECONDS
    while time.time() < began + hours * 3600:
        time.sleep(LOOK_SECONDS)
        samples.append(site.look())
        if time.time() >= rest_due:
            site.pace(1.0)
            time.sleep(REST_SECONDS)
            at_rest.append(site.look())
            site.pace(pace)
            rest_due = time.time() + REST_EVERY_SECONDS
        if len(samples) % 60 == 0:
            say(_line_of(samples[-61] if len(samples) > 60 else samples[0], samples[-1]))
    site.pace(0.0)
    site.sender.wait_until((site.folder / "done").exists, _SOON_SECONDS)
    site.wait(site.has_counted_all)
    counted = int(site.look().counted)
    wrong = wrong_creators(site)
    code = site.end()
    return Soak(hours, limit, rate, samples, at_rest, site.sent, counted, wrong, code)


def _line_of(before: Sample, after: Sample) -> str:
    rate = (after.counted - before.counted) / (after.at_seconds - before.at_seconds)
    return (
        f"{rate:,.0f} a second, lag {after.lag_records:,.0f} records, "
        f"{after.resident_bytes / 2**20:,.1f} MB, {after.open_files:.0f} files; "
        f"announced: {told_between(before, after)}"
    )


def told_between(before: Sample, after: Sample) -> dict[str, int]:
    """Announcements between two looks, by kind, trigger and state."""
    more = {what: int(n - before.surges.get(what, 0.0)) for what, n in after.surges.items()}
    return {what: n for what, n in more.items() if n}


def wrong_creators(site: Site) -> int:
    """Creators whose count in Redis differs from what was sent of them in the 24 hours."""
    command = [sys.executable, "-m", "streams.app.cli", "counts", "--all", "--idle", "--json"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **site.variables}
    done = subprocess.run(command, env=environment, capture_output=True, check=True, timeout=600)
    told = {one["creator_id"]: one for one in map(json.loads, done.stdout.splitlines())}
    sent = np.load(site.folder / "sent.npz")
    buckets, counts = sent["buckets"], sent["counts"]
    wrong = 0
    for creator in range(counts.shape[1]):
        one: Mapping[str, Any] | None = told.pop(creator_of(creator), None)
        if one is None:
            wrong += bool(counts[:, creator].any())
            continue
        oldest = one["as_of_ms"] // BUCKET_MS - WINDOW_BUCKETS + 1
        wrong += one["follows_24h"] != int(counts[buckets >= oldest, creator].sum())
    return wrong + len(told)


def rows_of(found: Soak) -> list[FloorRow]:
    """The floor, from the looks after the warm-up."""
    steady = found.samples[int(len(found.samples) * WARM_SHARE) :]
    first, last = steady[0], steady[-1]
    hours = (last.at_seconds - first.at_seconds) / 3600
    rate = (last.counted - first.counted) / (hours * 3600)
    lag_growth = slope_an_hour(steady, "lag_records")
    resting = [one for one in found.at_rest if one.at_seconds >= first.at_seconds]

    def megabytes(what: str) -> float | None:
        return slope_an_hour(resting, what) / 2**20 if len(resting) > 1 else None

    def at_most(what: str, unit: str, floor: float, aim: float, reached: float | None) -> FloorRow:
        return FloorRow(what, unit, "at most", floor, aim, reached)

    behind = np.array([one.behind_seconds for one in steady])
    return [
        at_most(
            *("memory in use while nothing is under way, slope an hour", "MB", 1.0, 0.0),
            megabytes("allocated_bytes"),
        ),
        at_most(
            *("RSS while nothing is under way, slope an hour", "MB", 1.0, 0.0),
            megabytes("resident_bytes"),
        ),
        at_most(
            "open files, slope an hour", "files", 0.0, 0.0, slope_an_hour(steady, "open_files")
        ),
        FloorRow(
            "records a second, of the limit", "times", "at least", 0.7, 0.8, rate / found.limit_rate
        ),
        at_most(
            "lag, slope an hour, of the records of a second", "times", 1.0, 0.0, lag_growth / rate
        ),
        at_most(
            "records sent and not counted, or counted and not sent",
            "records",
            0,
            0,
            abs(found.sent - found.counted),
        ),
        at_most("creators with a wrong count", "creators", 0, 0, found.wrong_creators),
        at_most(
            "exit code after SIGTERM",
            "",
            0,
            0,
            1 if found.exit_code is None else abs(found.exit_code),
        ),
        *(
            at_most(f"from sent to counted, {name}", "s", 10.0, aim, float(np.quantile(behind, q)))
            for name, q, aim in (("p50", 0.5, 0.5), ("p99", 0.99, 1.0), ("the most", 1.0, 2.0))
        ),
        at_most(
            *("stop of the garbage collector, p99", "s", 1.0, 0.1),
            quantile_of(first, last, "gc_pause", 0.99),
        ),
    ]


def figures_of(found: Soak) -> dict[str, Any]:
    """What else was measured, for JSON and the reader."""
    steady = found.samples[int(len(found.samples) * WARM_SHARE) :]
    first, last = steady[0], steady[-1]
    elapsed = last.at_seconds - first.at_seconds
    counted = last.counted - first.counted
    return {
        "hours": found.hours,
        "limit_records_a_second": round(found.limit_rate),
        "records_a_second": round(counted / elapsed),
        "records": found.sent,
        "surges_told": told_between(first, last),
        "cpu_seconds_per_million": round((last.cpu_seconds - first.cpu_seconds) / counted * 1e6, 3),
        "resident_mb": [round(one.resident_bytes / 2**20, 1) for one in (first, last)],
        "resident_mb_at_rest": [round(one.resident_bytes / 2**20, 1) for one in found.at_rest],
        "allocated_mb_at_rest": [round(one.allocated_bytes / 2**20, 1) for one in found.at_rest],
        "resident_mb_slope_of_all": round(slope_an_hour(steady, "resident_bytes") / 2**20, 1),
        "open_files": [one.open_files for one in (first, last)],
        "gc_seconds_an_hour": round(
            (last.sums["gc_pause"] - first.sums["gc_pause"]) / elapsed * 3600, 3
        ),
    }
