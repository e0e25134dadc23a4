"""``surgewatch worker`` that notes where its CPU goes: arguments FIRST SAMPLES, two files.

FIRST is written when the first records are in hand, as by ``engines/stamped_worker.py``; from
then to SIGUSR1 the main thread is interrupted after every few milliseconds of CPU, and what it
spent since the last time (by its own CPU clock) is booked on what it does now. Of the other
threads the clocks are read at both ends.
"""

from __future__ import annotations

import json
import signal
import sys
import threading
import time
from collections import defaultdict
from pathlib import Path
from types import FrameType
from typing import Any, Final

from streams.app.cli import main
from streams.app.worker.pipeline import Pipeline
from tests.bench.engines.protocol import stamp

EVERY_SECONDS: Final = 0.002
OTHER: Final = "other"
CONSUMER: Final = "the consumer's thread: network, aiokafka, reading batches"
NATIVE: Final = "threads that are not Python's"
TOLD: Final = "metrics and lines of the log"
_PLACES: Final = (
    *(
        (place, TOLD)
        for place in (
            *("/streams/edges/metrics/", "/streams/edges/logs/"),
            *("/prometheus_client/", "/structlog/", "/logging/"),
        )
    ),
    ("/streams/edges/codec/", "decode"),
    ("/streams/edges/redis/args", "pack for the store"),
    ("/streams/core/", "count, score, rules, repeats"),
    ("/streams/edges/redis/", "Redis' client"),
    ("/redis/", "Redis' client"),
    ("/streams/edges/kafka/", "surges and reports to Kafka"),
    ("/aiokafka/", "surges and reports to Kafka"),
    ("/faust/", "Faust and mode"),
    ("/mode/", "Faust and mode"),
    ("/streams/app/", "transport and pipeline"),
    ("/streams/edges/", "transport and pipeline"),
    ("/asyncio/", "the event loop, its sockets"),
)
"""Part of a file's path, and the step that its code is; the innermost frame that has one wins."""


def step_of(frame: FrameType | None) -> str:
    """What a stack is at: the innermost frame of a known place."""
    found = None
    while frame is not None:
        code = frame.f_code
        if code.co_name == "drain":
            return "pack for the store"
        if found is None:
            path = code.co_filename
            found = next((step for part, step in _PLACES if part in path), None)
        frame = frame.f_back
    return found or OTHER


class Sampler:
    """Seconds of CPU by step, from ``begin`` to SIGUSR1."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seconds: dict[str, float] = defaultdict(float)
        self._last = self._process = 0.0
        self._threads: dict[int, float] = {}

    def begin(self) -> None:
        """Begin; called in the main thread."""
        self._threads, self._process = _seconds_by_thread(), time.process_time()
        self._last = time.thread_time()
        signal.signal(signal.SIGUSR1, self._end)
        signal.signal(signal.SIGPROF, self._take)
        signal.setitimer(signal.ITIMER_PROF, EVERY_SECONDS, EVERY_SECONDS)

    def _take(self, _: int, frame: FrameType | None) -> None:
        now = time.thread_time()
        self._seconds[step_of(frame)] += now - self._last
        self._last = now

    def _end(self, _: int, frame: FrameType | None) -> None:
        signal.setitimer(signal.ITIMER_PROF, 0.0)
        self._take(0, frame)
        spent = time.process_time() - self._process
        main_ident = threading.main_thread().ident
        others = 0.0
        for ident, seconds in _seconds_by_thread().items():
            if ident != main_ident:
                others += seconds - self._threads.get(ident, 0.0)
        self._seconds[CONSUMER] = others
        self._seconds[NATIVE] = spent - sum(self._seconds.values())
        scratch = self._path.with_suffix(".new")
        scratch.write_text(json.dumps(self._seconds))
        scratch.rename(self._path)  # whoever waits for it finds it whole


def _seconds_by_thread() -> dict[int, float]:
    """CPU seconds of each of Python's threads since it began."""
    idents = [thread.ident for thread in threading.enumerate() if thread.ident is not None]
    return {ident: time.clock_gettime(time.pthread_getcpuclockid(ident)) for ident in idents}


def sample_from_first(path: Path, sampler: Sampler) -> None:
    """Write the stamp of the first chunk to a file, and begin to sample."""
    take = Pipeline.take

    async def first_take(self: Pipeline, event: Any) -> None:
        Pipeline.take = take  # type: ignore[method-assign]  # put back
        path.write_text(json.dumps(stamp()))
        sampler.begin()
        await take(self, event)

    Pipeline.take = first_take  # type: ignore[method-assign]


if __name__ == "__main__":
    first_file, samples_file = map(Path, sys.argv[1:])
    sample_from_first(first_file, Sampler(samples_file))
    main(["worker"])
