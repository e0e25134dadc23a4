"""What the worker tells of its stages reaches the metrics."""

import time
from typing import get_args

import numpy as np
import pytest
from prometheus_client import CollectorRegistry
from redis.exceptions import OutOfMemoryError, ResponseError

from streams.core.partition_state import Outcome
from streams.core.records.chunks import RawChunk
from streams.edges.errors import RedisRefuses, RedisRefusesUs, RedisUnreachable
from streams.edges.metrics.progress import WorkerProgress
from streams.edges.metrics.worker import Build, Metrics, Stage
from streams.edges.process.health import Health
from streams.edges.redis.errors import refused_of
from tests.jobs import comment_partition, comments, follow_partition, follows

FOLLOW = [("bob", 1_736_899_200_000, False)]


def busy(seconds: float) -> None:
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass


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


def test_surges_that_became_pages_are_told_by_kind_and_trigger() -> None:
    registry = CollectorRegistry()
    metrics = Metrics(registry, ("follows",), Build("0", "surgewatch"), lambda: 0)
    progress = WorkerProgress(metrics, Health(time.monotonic(), 60))
    progress.paged({("comments", "rule"): ["a", "b"]})
    progress.paged({("comments", "rule"): ["c"], ("comments", "model"): ["d"]})
    told = [
        registry.get_sample_value("surgewatch_pages_total", {"kind": kind, "trigger": trigger})
        for kind in ("comments", "followers")
        for trigger in ("rule", "model")
    ]
    assert told == [3, 1, 0, 0]


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
    progress.waited("kafka", 1.5)
    progress.stored(0.25, 10)
    with progress.stage("store"):
        pass
    progress.stands({}, {}, {}, {})
    whole = time.perf_counter() - began
    waits = "surgewatch_server_wait_seconds_total"
    assert registry.get_sample_value(waits, {"server": "kafka"}) == 1.5
    assert registry.get_sample_value(waits, {"server": "redis"}) == 0.25
    assert stage_seconds(registry, "score") >= 0.02
    assert stage_seconds(registry, "idle") > 0
    assert stage_seconds(registry, "count") + stage_seconds(registry, "score") <= whole


def test_all_stages_together_are_the_time_that_passed() -> None:
    registry = CollectorRegistry()
    metrics = Metrics(registry, ("follows",), Build("0", "surgewatch"), lambda: 0)
    began = time.perf_counter()
    progress = WorkerProgress(metrics, Health(time.monotonic(), 60))
    begun = time.perf_counter()
    for _ in range(100):
        with progress.stage("decode"):
            busy(0.0001)
        busy(0.0001)  # no stage: another task of the loop
        with progress.stage("count"):
            with progress.stage("score"):
                busy(0.0001)
            busy(0.0001)
        busy(0.0001)
        with progress.stage("store"):
            busy(0.0001)
    ended = time.perf_counter()
    progress.stands({}, {}, {}, {})
    told = sum(stage_seconds(registry, stage) for stage in get_args(Stage))
    assert ended - begun <= told <= time.perf_counter() - began
    assert stage_seconds(registry, "idle") >= 0.02


def test_the_age_of_each_record_is_told_when_its_count_is_stored() -> None:
    registry = CollectorRegistry()
    metrics = Metrics(registry, ("follows",), Build("0", "surgewatch"), lambda: 0)
    progress = WorkerProgress(metrics, Health(time.monotonic(), 60))
    now_ms = time.time_ns() // 1_000_000
    ages_s = np.array([0, 3, 4, 20, 20, 20, 5000, 100_000, -50])
    progress.told_of([now_ms - 1000 * ages_s[:4], now_ms - 1000 * ages_s[4:]])
    name = "surgewatch_event_to_stored_seconds"
    within = {
        bound: registry.get_sample_value(f"{name}_bucket", {"le": bound})
        for bound in ("2.5", "5.0", "10.0", "30.0", "3600.0", "86400.0", "+Inf")
    }
    assert [*within.values()] == [2, 4, 4, 7, 7, 8, 9]
    total = registry.get_sample_value(f"{name}_sum")
    assert total == pytest.approx(np.maximum(ages_s, 0).sum(), abs=9)


def test_what_opens_with_comments_to_read_is_told_by_language() -> None:
    registry = CollectorRegistry()
    metrics = Metrics(registry, ("comments",), Build("0", "surgewatch"), lambda: 0)
    progress = WorkerProgress(metrics, Health(time.monotonic(), 60))
    at_ms = 1_736_899_200_000
    records = [("ann", "p-1", "zh" if n % 4 else "en", at_ms + n) for n in range(8)]
    chunk = RawChunk("comments", 0, [b""] * 8, [*range(8)], 8, -1, 8)
    outcome = comment_partition(8).take(comments(records))
    assert [one.post_id for one in outcome.surges] == ["p-1"]
    progress.took(chunk, outcome, [])
    progress.took(chunk, Outcome(0, 0, follow_partition(1).take(follows(FOLLOW)).surges), [])
    told = {
        lang: registry.get_sample_value("surgewatch_moderation_comments_total", {"lang": lang})
        for lang in ("zh", "en")
    }
    assert told == {"zh": 6, "en": 2}
    surges = "surgewatch_moderation_surges_total"
    assert registry.get_sample_value(surges, {"lang": "zh"}) == 1
    assert registry.get_sample_value(surges, {"lang": "en"}) is None
    assert registry.get_sample_value(surges, {"lang": "und"}) is None


def test_progress_has_a_time_which_a_write_moves() -> None:
    registry = CollectorRegistry()
    before = time.time()
    metrics = Metrics(registry, ("follows",), Build("0", "surgewatch"), lambda: 0)
    progress = WorkerProgress(metrics, Health(time.monotonic(), 60))
    name = "surgewatch_last_progress_timestamp_seconds"
    begun = registry.get_sample_value(name)
    assert begun is not None
    assert before <= begun <= time.time()
    busy(0.001)
    progress.redis_failed("write", RedisUnreachable("redis://one", "refused"))
    assert registry.get_sample_value(name) == begun
    progress.stored(0.1, 1)
    moved = registry.get_sample_value(name)
    assert moved is not None
    assert begun < moved <= time.time()


def test_health_says_what_redis_said_in_few_words_without_its_address() -> None:
    metrics = Metrics(CollectorRegistry(), ("follows",), Build("0", "surgewatch"), lambda: 0)
    health = Health(time.monotonic(), 60)
    progress = WorkerProgress(metrics, health)
    health.assigned(time.monotonic(), 0)
    url = "redis://secret-host:6379/0"
    full = refused_of(url, OutOfMemoryError("command not allowed when used memory > 'maxmemory'"))
    said = "MISCONF Errors writing to the AOF file: No space left on device"
    disk = refused_of(url, ResponseError(f"{said} script: 0f, on @user_script:5."))
    broken = refused_of(url, ResponseError("MISCONF Errors writing to the AOF file: I/O error"))
    assert isinstance(full, RedisRefuses)
    assert isinstance(disk, RedisRefuses)
    assert str(disk).endswith(f"({said})")
    assert isinstance(broken, RedisRefuses)
    for error, words in (
        (RedisUnreachable(url, "refused"), "Redis cannot be reached"),
        (full, "Redis takes no writes now: its memory is full (maxmemory)"),
        (disk, "Redis takes no writes now: its disk is full"),
        (broken, "Redis takes no writes now: its disk takes nothing"),
        (RedisRefuses(url, "x" * 900), f"Redis takes no writes now: {'x' * 100}"),
        (RedisRefusesUs(url, "wrong password"), "Redis refuses us: the log says why"),
    ):
        progress.redis_failed("write", error)
        assert health.unready(time.monotonic()) == words
    progress.stored(0.1, 1)
    assert health.unready(time.monotonic()) is None


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
