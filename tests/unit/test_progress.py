"""What the worker tells of its stages reaches the metrics."""

import time

from prometheus_client import CollectorRegistry

from streams.edges.health import Health
from streams.edges.metrics import Build, Metrics
from streams.edges.progress import WorkerProgress
from tests.jobs import follow_partition, follows


def stage_seconds(registry: CollectorRegistry, stage: str) -> float:
    value = registry.get_sample_value("surgewatch_stage_seconds_total", {"stage": stage})
    assert value is not None
    return value


def test_a_recount_is_told_to_the_metrics() -> None:
    registry = CollectorRegistry()
    metrics = Metrics(registry, ("follows",), Build("0", "surgewatch"), lambda: 0)
    assert registry.get_sample_value("surgewatch_recounts_total") == 0
    WorkerProgress(metrics, Health(time.monotonic(), 60)).recounts()
    assert registry.get_sample_value("surgewatch_recounts_total") == 1


def test_every_stage_is_told_and_an_inner_stage_is_not_counted_twice() -> None:
    registry = CollectorRegistry()
    metrics = Metrics(registry, ("follows",), Build("0", "surgewatch"), lambda: 0)
    progress = WorkerProgress(metrics, Health(time.monotonic(), 60))
    began = time.perf_counter()
    with progress.stage("decode"):
        pass
    with progress.stage("count"), progress.stage("score"):
        end = time.perf_counter() + 0.02
        while time.perf_counter() < end:
            pass
    progress.waited("announce", 1.5)
    progress.stored(0.25, 10)
    progress.stands({}, {}, {}, {})
    whole = time.perf_counter() - began
    assert stage_seconds(registry, "announce") == 1.5
    assert stage_seconds(registry, "store") == 0.25
    assert stage_seconds(registry, "score") >= 0.02
    assert stage_seconds(registry, "idle") > 0
    assert stage_seconds(registry, "count") + stage_seconds(registry, "score") <= whole


def test_a_surge_that_late_records_amend_is_no_slow_announcement() -> None:
    registry = CollectorRegistry()
    metrics = Metrics(registry, ("follows",), Build("0", "surgewatch"), lambda: 0)
    progress = WorkerProgress(metrics, Health(time.monotonic(), 60))
    now_ms = time.time_ns() // 1_000_000
    ann = ("ann", now_ms, False)
    late, later = ("ann", now_ms - 3_600_000, False), ("bob", now_ms + 300_000, False)
    surges = follow_partition(2).take(follows([ann, ann, late, later])).surges
    assert [surge.state for surge in surges] == ["opened", "amended"]
    progress.announced(surges)
    count = registry.get_sample_value("surgewatch_event_to_surge_seconds_count")
    assert count == 1
