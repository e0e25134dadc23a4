"""One measured run for the scaling parts: follows, workers over them, answers checked."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from tests.bench.engines.protocol import memory_mb, stamp
from tests.bench.job import DAY_MS, START_MS, Job, batches_of, crossed_of
from tests.bench.stage import PARTITIONS, Stage
from tests.bench.stored import opened_of, stored_of
from tests.bench.turns import WrongAnswer
from tests.bench.worker_process import WorkerProcess

Ints = NDArray[np.int64]
Point = TypeVar("Point")

LIMIT_SECONDS: Final = 1_200.0
NEVER: Final = 2**50
"""A rule that nobody crosses."""


class Size(NamedTuple):
    """How large a run is: 1.0 and all points is what is published, a test takes far less.

    ``scale`` multiplies records and creators; ``points`` are taken of each part, None: all.
    """

    scale: float = 1.0
    points: int | None = None

    def of(self, count: int) -> int:
        """A number of records or creators at this size, 100 at least.

        >>> Size(0.01).of(1_000_000), Size(0.01).of(1_000)
        (10000, 100)
        """
        return max(100, int(count * self.scale))

    def first(self, points: Sequence[Point]) -> Sequence[Point]:
        """The points of a part that are measured."""
        return points[: self.points]


@dataclass(frozen=True)
class Follows:
    """Follows in the order of time, in a topic of their own; ``threshold`` is the rule's."""

    topic: str
    ids: Ints
    at_ms: Ints
    threshold: int = NEVER
    partitions: int = PARTITIONS
    settings: Mapping[str, str] = field(default_factory=dict)
    first_event: int = 0

    def fill(self, stage: Stage) -> None:
        """Make the topic and send them."""
        stage.fill(self.topic, batches_of(self.ids, self.at_ms, self.first_event), self.partitions)

    def variables(self, stage: Stage, name: str) -> dict[str, str]:
        """Environment of a worker over them."""
        variables = stage.variables(name, self.topic, self.threshold, self.partitions)
        return variables | dict(self.settings)

    def crossed(self) -> dict[str, int]:
        """Creators that reach the threshold, and the time of the record with which they do."""
        return crossed_of(self.ids, self.at_ms, self.threshold)


def follows_of_job(topic: str, records: int, **more: Any) -> Follows:
    """The benchmark's own job, 100,000 creators unless told otherwise."""
    creators = more.pop("creators", 100_000)
    return Follows(topic, *Job(records, creators).columns(), **more)


def times_of_day(draw: np.random.Generator, count: int, begin: float, end: float) -> Ints:
    """So many times in order, from and to given parts (0..1) of the day."""
    drawn = draw.integers(int(begin * DAY_MS), int(end * DAY_MS), count)
    return np.sort(drawn) + START_MS


def zipf_shares(creators: int) -> NDArray[np.float64]:
    """Share of each creator: rank k's is like 1/k."""
    shares: NDArray[np.float64] = 1.0 / np.arange(1, creators + 1)
    shares /= shares.sum()
    return shares


def run_worker(stage: Stage, name: str, follows: Follows) -> dict[str, Any]:
    """One worker with nothing stored over the whole topic; its row. Raises WrongAnswer."""
    stage.empty_redis()
    stage.make_topics(name, follows.topic, follows.partitions)
    variables = follows.variables(stage, name)
    folder = stage.folder / name
    folder.mkdir()
    with WorkerProcess(folder, variables) as worker:
        row = row_of(stage, worker, len(follows.ids))
        worker.end()
    check(name, variables, follows.ids)
    check_surges(name, variables, follows)
    return row


def row_of(
    stage: Stage, worker: WorkerProcess, records: int, stored_before: int = 0
) -> dict[str, Any]:
    """Wait until a worker has stored so many records more; its figures since its first ones.

    Memory is in MB (10^6 bytes). CPU of Redis is of all that it does meanwhile.
    """
    worker.wait_first(LIMIT_SECONDS)
    redis_before = redis_seconds(stage)
    last = worker.wait_stored(stored_before + records, LIMIT_SECONDS)
    redis_spent, first = redis_seconds(stage) - redis_before, worker.first
    return {
        "records": records,
        "records_per_second": round(records / (last.at_seconds - first.at_seconds)),
        "cpu_us_a_record": round((last.cpu_seconds - first.cpu_seconds) / records * 1e6, 3),
        "redis_cpu_us_a_record": round(redis_spent / records * 1e6, 3),
        "rss_mb": resident_mb("VmRSS", worker),
        "peak_rss_mb": resident_mb("VmHWM", worker),
    }


def resident_mb(what: str, worker: WorkerProcess) -> float:
    """Resident memory of a worker in MB."""
    return round(memory_mb(what, worker.pid), 1)


def redis_seconds(stage: Stage) -> float:
    """CPU seconds of Redis since it began."""
    assert stage.redis.pid is not None, "Redis runs as long as the stage is there"
    return stamp(stage.redis.pid).cpu_seconds


def check(name: str, variables: Mapping[str, str], ids: Ints) -> None:
    """Hold every creator's stored total against the records. Raises WrongAnswer."""
    check_totals(name, stored_of(variables).totals, ids)


def check_totals(name: str, found: Ints, ids: Ints) -> None:
    """Hold totals of keys, in no order, against the records' keys. Raises WrongAnswer."""
    counts = np.bincount(ids)
    right, found = np.sort(counts[counts > 0]), np.sort(found)
    if not np.array_equal(found, right):
        message = (
            f"{name}: {len(found):,} keys with {found.sum():,} events are stored, "
            f"{len(right):,} with {right.sum():,} were sent"
        )
        raise WrongAnswer(message)


def check_surges(name: str, variables: Mapping[str, str], follows: Follows) -> None:
    """Hold the surges by rule against the records. Raises WrongAnswer."""
    check_opened(name, variables, follows.crossed())


def check_opened(name: str, variables: Mapping[str, str], right: Mapping[str, int]) -> None:
    """Hold the surges by rule against who must have one, and when. Raises WrongAnswer."""
    found = asyncio.run(opened_of(variables))
    if found != right:
        message = f"{name}: {len(found):,} surges by rule were told, {len(right):,} must be"
        raise WrongAnswer(message)
