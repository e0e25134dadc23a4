"""What scrapes cost: a busy worker with a million creators, asked for its metrics or not."""

from __future__ import annotations

import threading
import time
from types import TracebackType
from typing import Any, Final, Self
from urllib.request import urlopen

import numpy as np

from streams.edges.process.child import free_port
from tests.bench.scaling_run import (
    LIMIT_SECONDS,
    Follows,
    Size,
    check,
    row_of,
    times_of_day,
    zipf_shares,
)
from tests.bench.stage import Stage
from tests.bench.worker_process import WorkerProcess

CREATORS: Final = 1_000_000
RECORDS: Final = 4_000_000
EVERY_SECONDS: Final = (None, 1.0, None, 0.1, None)
"""Between two scrapes; None: there are none. Without in between, for the machine's own moods."""


class Scraper:
    """Asks a worker for its metrics from another thread, for the length of a ``with``."""

    def __init__(self, port: int, every_seconds: float) -> None:
        self.seconds: list[float] = []
        self.bytes = 0
        self._url = f"http://127.0.0.1:{port}/metrics"
        self._every_seconds = every_seconds
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        is_over = False
        while not is_over:
            began = time.perf_counter()
            with urlopen(self._url, timeout=10.0) as answer:
                self.bytes = len(answer.read())
            self.seconds.append(time.perf_counter() - began)
            is_over = self._is_over.wait(self._every_seconds)

    def __enter__(self) -> Self:
        """Begin."""
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._is_over.set()
        self._thread.join()


def by_scrapes(stage: Stage, size: Size) -> list[dict[str, Any]]:
    """Speed of a worker that has met a million creators, and how long its scrapes take.

    Every creator is met once; then heavy-tailed records come, all there before they are read.
    """
    creators, draw = size.of(CREATORS), np.random.default_rng(8)
    met = Follows("scrapes", draw.permutation(creators), times_of_day(draw, creators, 0.0, 0.5))
    tailed = draw.choice(creators, size.of(RECORDS), p=zipf_shares(creators))
    later = times_of_day(draw, len(tailed), 0.5, 1.0)
    met.fill(stage)
    Follows(met.topic, tailed, later, first_event=creators).fill(stage)
    ids = np.concatenate((met.ids, tailed))
    return [
        {"every": "none" if every is None else f"each {every:g} s", **_run(stage, met, ids, every)}
        for every in size.first(EVERY_SECONDS)
    ]


def _run(stage: Stage, follows: Follows, ids: Any, every: float | None) -> dict[str, Any]:
    """One worker over all records; scraped from when it has met all creators."""
    name, port = f"{follows.topic}-{time.monotonic_ns()}", free_port()
    stage.empty_redis()
    stage.make_topics(name, follows.topic, follows.partitions)
    folder = stage.folder / name
    folder.mkdir()
    variables = follows.variables(stage, name) | {"SURGEWATCH_METRICS_PORT": str(port)}
    with WorkerProcess(folder, variables) as worker:
        worker.wait_stored(len(follows.ids), LIMIT_SECONDS)
        if every is None:
            row = row_of(stage, worker, len(ids))
        else:
            with Scraper(port, every) as scraper:
                row = row_of(stage, worker, len(ids))
            row |= _told(scraper)
        worker.end()
    check(name, variables, ids)
    return row


def _told(scraper: Scraper) -> dict[str, Any]:
    taken_ms = np.array(scraper.seconds) * 1000
    return {
        "scrapes": len(taken_ms),
        "scrape_ms_median": round(float(np.median(taken_ms)), 1),
        "scrape_ms_p99": round(float(np.percentile(taken_ms, 99)), 1),
        "scrape_ms_most": round(float(taken_ms.max()), 1),
        "scrape_bytes": scraper.bytes,
    }
