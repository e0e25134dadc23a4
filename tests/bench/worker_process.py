"""A real worker as a process, watched from outside: its memory, CPU time and what it stored."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from redis import Redis

from streams.edges.process.child import ChildProcess
from tests.bench.engines.protocol import Stamp, stamp

ROOT = Path(__file__).parents[2]
_POLL_SECONDS = 0.02
_END_SECONDS_MAX = 60.0


class WorkerFailed(Exception):
    """The worker ended, or did not get on."""


class WorkerProcess:
    """``surgewatch worker`` with these variables, for the length of a ``with``."""

    def __init__(
        self,
        folder: Path,
        variables: Mapping[str, str],
        *,
        time_chunks: bool = False,
        sampled: bool = False,
    ) -> None:
        self._variables = variables
        self._first = folder / "first.json"
        self._chunks = folder / "chunks.json"
        self._samples = folder / "samples.json"
        module = "tests.bench.sampled_worker" if sampled else "tests.bench.engines.stamped_worker"
        command = [sys.executable, "-m", module, str(self._first)]
        command += [str(self._chunks)] if time_chunks else []
        command += [str(self._samples)] if sampled else []
        self._child = ChildProcess("worker", command, folder / "worker.log")
        self.began_at = 0.0

    def __enter__(self) -> Self:
        """Start it; returns at once."""
        self._first.unlink(missing_ok=True)
        self.began_at = time.time()
        self._child.start({**os.environ, "PYTHONPATH": str(ROOT), **self._variables})
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._child.kill()

    @property
    def pid(self) -> int:
        """Its process id. Raises WorkerFailed when it has ended."""
        pid = self._child.pid
        if pid is None:
            raise WorkerFailed(self._told("ended"))
        return pid

    @property
    def first(self) -> Stamp:
        """When its first records were in hand."""
        at_seconds, cpu_seconds = json.loads(self._first.read_text())
        return Stamp(at_seconds, cpu_seconds)

    @property
    def chunk_seconds(self) -> list[float]:
        """What each chunk took, once it has ended."""
        seconds: list[float] = json.loads(self._chunks.read_text())
        return seconds

    def wait_stored(self, offset_sum: int, limit_seconds: float) -> Stamp:
        """Wait until stored offsets of follows and comments add up; its stamp then."""
        deadline = time.monotonic() + limit_seconds
        with Redis.from_url(self._variables["SURGEWATCH_REDIS_URL"]) as client:
            while (stored := stored_records_of(client, self._variables)) < offset_sum:
                self._wait_a_little(deadline, f"{stored:,} records after {limit_seconds:g} s")
        return stamp(self.pid)

    def wait_first(self, limit_seconds: float) -> None:
        """Wait until its first records are in hand."""
        deadline = time.monotonic() + limit_seconds
        while not self._first.exists():
            self._wait_a_little(deadline, f"no record after {limit_seconds:g} s")

    def _wait_a_little(self, deadline: float, late: str) -> None:
        if not self._child.runs:
            raise WorkerFailed(self._told("ended"))
        if time.monotonic() > deadline:
            raise WorkerFailed(self._told(late))
        time.sleep(_POLL_SECONDS)

    def sampled_seconds(self, limit_seconds: float) -> dict[str, float]:
        """CPU seconds of a sampled worker by step, from its first records to now."""
        os.kill(self.pid, signal.SIGUSR1)
        deadline = time.monotonic() + limit_seconds
        while not self._samples.exists():
            self._wait_a_little(deadline, f"no samples after {limit_seconds:g} s")
        seconds: dict[str, float] = json.loads(self._samples.read_text())
        return seconds

    def end(self) -> None:
        """SIGTERM, and wait for its end."""
        self._child.end(_END_SECONDS_MAX)

    def pause(self) -> None:
        """SIGSTOP."""
        self._child.pause()

    def resume(self) -> None:
        """SIGCONT."""
        self._child.resume()

    def kill(self) -> None:
        """SIGKILL."""
        self._child.kill()

    def _told(self, what: str) -> str:
        last = self._child.log_tail().splitlines()[-3:]
        return f"worker: {what}; its log ends: {' | '.join(last)}"


def stored_records_of(client: Redis, variables: Mapping[str, str]) -> int:
    """Sum of the offsets that Redis holds of the partitions of follows and comments."""
    prefix = variables["SURGEWATCH_REDIS_PREFIX"]
    topics = [variables[f"SURGEWATCH_TOPIC_{of}"] for of in ("FOLLOWS", "COMMENTS")]
    partitions = range(int(variables["SURGEWATCH_TOPIC_PARTITIONS"]))
    pipeline = client.pipeline(transaction=False)
    for topic in topics:
        for number in partitions:
            pipeline.hget(f"{prefix}:{{{topic}:{number}}}:meta", "offset")
    return sum(int(held or 0) for held in pipeline.execute())


def claimed_of(client: Redis, variables: Mapping[str, str]) -> int:
    """How many partitions of the follows topic have been claimed in Redis."""
    prefix, topic = variables["SURGEWATCH_REDIS_PREFIX"], variables["SURGEWATCH_TOPIC_FOLLOWS"]
    pipeline = client.pipeline(transaction=False)
    for number in range(int(variables["SURGEWATCH_TOPIC_PARTITIONS"])):
        pipeline.hexists(f"{prefix}:{{{topic}:{number}}}:meta", "owner")
    return sum(pipeline.execute())
