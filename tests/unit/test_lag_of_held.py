"""The wait that allowed_lateness_ms asks for is neither lag nor staleness."""

import asyncio
import time
from collections.abc import Sequence

import pytest
from prometheus_client import CollectorRegistry

from streams.core.records.hold import LatenessPolicy
from streams.core.records.texts import Ints
from streams.edges.metrics.progress import WorkerProgress
from streams.edges.metrics.worker import Build, Metrics
from streams.edges.process.health import Health
from tests.unit.test_lateness import KINDS, Kind, Platform
from tests.unit.test_partition import BEGIN_MS

ALLOWED_MS = 90_000
RECORDS = 120
NOW_MS = BEGIN_MS + 1000 * (RECORDS - 1)


class Dues(WorkerProgress):
    """Progress of a worker that remembers what it was told of records that were due."""

    dues_ms: Sequence[Ints] = ()

    def told_of(self, at_ms: Sequence[Ints]) -> None:
        """See Progress."""
        self.dues_ms = [*self.dues_ms, *at_ms]


def value(registry: CollectorRegistry, name: str) -> float | None:
    labels = {"topic": "follows", "partition": "0"}
    return registry.get_sample_value(f"surgewatch_{name}", labels)


async def counted_of(kind: Kind, allowed_ms: int) -> tuple[Platform, Dues, CollectorRegistry]:
    """A worker that read a record of each second up to now, and stored what it counted."""
    registry = CollectorRegistry()
    metrics = Metrics(registry, (kind.topic,), Build("0", "surgewatch"), lambda: NOW_MS)
    progress = Dues(metrics, Health(time.monotonic(), 60))
    records = [kind.encode("ann", BEGIN_MS + 1000 * number, number) for number in range(RECORDS)]
    lateness = LatenessPolicy(allowed_ms, 1000) if allowed_ms else None
    platform = Platform(kind, records, None, lateness, progress=progress)
    await platform.take_over()
    await platform.read(RECORDS)
    await platform.flush()
    return platform, progress, registry


@pytest.mark.parametrize("allowed_ms", [0, ALLOWED_MS])
def test_lag_is_from_what_was_read_however_long_it_is_held(allowed_ms: int) -> None:
    platform, _, registry = asyncio.run(counted_of(KINDS[0], allowed_ms))
    platform.worker.tell({platform.tp: RECORDS + 3}, {})
    assert value(registry, "lag_records") == 3
    assert value(registry, "lag_seconds") == 0
    mark_s = value(registry, "watermark_timestamp_seconds")
    assert mark_s == (NOW_MS - allowed_ms) / 1000


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.topic)
@pytest.mark.parametrize("allowed_ms", [0, ALLOWED_MS])
def test_a_record_is_due_once_it_was_waited_for(kind: Kind, allowed_ms: int) -> None:
    _, progress, _ = asyncio.run(counted_of(kind, allowed_ms))
    dues_ms = [due for some in progress.dues_ms for due in some.tolist()]
    assert dues_ms == [
        BEGIN_MS + 1000 * n + allowed_ms for n in range(RECORDS - allowed_ms // 1000)
    ]
