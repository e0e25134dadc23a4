"""Metrics: names, labels and series that a dashboard may count on."""

import platform
import re

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from streams.core.events import Reason
from streams.edges.metrics import Build, Metrics, Place

NOW_MS = 1_736_899_200_000


@pytest.fixture
def metrics() -> Metrics:
    build = Build(version="0.1.0", detector="surgewatch")
    return Metrics(CollectorRegistry(), ("follows", "comments"), build, lambda: NOW_MS)


def _value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(f"surgewatch_{name}", labels)


def _series(metrics: Metrics) -> list[str]:
    text = generate_latest(metrics.registry).decode()
    return [line for line in text.splitlines() if line.startswith("surgewatch_")]


def test_every_series_with_a_known_label_stands_at_zero_from_the_start(metrics: Metrics) -> None:
    for topic in ("follows", "comments"):
        for result in ("counted", "late", "dead"):
            assert _value(metrics, "records_total", topic=topic, result=result) == 0
        assert _value(metrics, "late_records_total", topic=topic) == 0
        assert _value(metrics, "creators_known", topic=topic) == 0
    for reason in Reason:
        assert _value(metrics, "dead_letters_total", reason=reason.value) == 0
    for stage in ("fetch", "decode", "count", "score", "store", "announce", "idle"):
        assert _value(metrics, "stage_seconds_total", stage=stage) == 0
    for kind in ("followers", "comments"):
        for state in ("opened", "grown", "closed", "amended"):
            labels = {"kind": kind, "trigger": "model", "state": state}
            assert _value(metrics, "surges_total", **labels) == 0
    assert _value(metrics, "kafka_errors_total", operation="commit") == 0
    assert _value(metrics, "redis_errors_total", operation="write") == 0
    for name in ("rebalances_total", "store_bytes_total", "partitions_owned", "outbox_pending"):
        assert _value(metrics, name) == 0
    assert _value(metrics, "event_to_surge_seconds_count") == 0
    assert _value(metrics, "store_write_seconds_count") == 0


def test_build_info_says_what_runs(metrics: Metrics) -> None:
    labels = {"version": "0.1.0", "python": platform.python_version(), "detector": "surgewatch"}
    assert _value(metrics, "build_info", **labels) == 1


def test_each_method_moves_its_series(metrics: Metrics) -> None:
    metrics.add_records("follows", counted=7, late=2, dead={Reason.EMPTY: 1, Reason.NOT_JSON: 3})
    assert _value(metrics, "records_total", topic="follows", result="counted") == 7
    assert _value(metrics, "records_total", topic="follows", result="late") == 2
    assert _value(metrics, "records_total", topic="follows", result="dead") == 4
    assert _value(metrics, "late_records_total", topic="follows") == 2
    assert _value(metrics, "dead_letters_total", reason="not_json") == 3
    metrics.add_stage("decode", 0.5)
    assert _value(metrics, "stage_seconds_total", stage="decode") == 0.5
    metrics.add_surges("comments", "rule", "opened", 1)
    labels = {"kind": "comments", "trigger": "rule", "state": "opened"}
    assert _value(metrics, "surges_total", **labels) == 1
    metrics.observe_event_to_surge([-3.0, 2.0])
    assert _value(metrics, "event_to_surge_seconds_sum") == 2.0
    assert _value(metrics, "event_to_surge_seconds_bucket", le="2.5") == 2
    metrics.observe_store_write(0.02, 1_000)
    assert _value(metrics, "store_write_seconds_count") == 1
    assert _value(metrics, "store_bytes_total") == 1_000
    metrics.add_kafka_error("fetch")
    metrics.add_redis_error("read")
    assert _value(metrics, "kafka_errors_total", operation="fetch") == 1
    assert _value(metrics, "redis_errors_total", operation="read") == 1
    metrics.add_rebalance(3)
    assert _value(metrics, "rebalances_total") == 1
    assert _value(metrics, "partitions_owned") == 3
    metrics.set_known("comments", creators=9, event_ids=8, left_out=7)
    metrics.set_outbox_pending(2)
    assert _value(metrics, "creators_known", topic="comments") == 9
    assert _value(metrics, "event_ids_remembered", topic="comments") == 8
    assert _value(metrics, "keys_left_out", topic="comments") == 7
    assert _value(metrics, "outbox_pending") == 2


def test_lag_in_seconds_grows_by_itself_while_behind_and_is_zero_when_caught_up() -> None:
    now_ms = [NOW_MS]
    build = Build(version="0", detector="d")
    metrics = Metrics(CollectorRegistry(), ("follows",), build, lambda: now_ms[0])
    place = {"topic": "follows", "partition": "2"}
    metrics.set_place("follows", 2, Place(lag_records=5, watermark_ms=NOW_MS - 60_000))
    assert _value(metrics, "lag_seconds", **place) == 60
    now_ms[0] += 30_000
    assert _value(metrics, "lag_seconds", **place) == 90
    assert _value(metrics, "lag_records", **place) == 5
    assert _value(metrics, "watermark_timestamp_seconds", **place) == (NOW_MS - 60_000) / 1000
    metrics.set_place("follows", 2, Place(lag_records=0, watermark_ms=NOW_MS - 60_000))
    assert _value(metrics, "lag_seconds", **place) == 0


def test_a_partition_with_no_record_yet_has_no_watermark(metrics: Metrics) -> None:
    metrics.set_place("follows", 0, Place(lag_records=0, watermark_ms=None))
    place = {"topic": "follows", "partition": "0"}
    assert _value(metrics, "watermark_timestamp_seconds", **place) is None
    assert _value(metrics, "lag_seconds", **place) == 0


def test_the_series_of_a_partition_given_up_vanish(metrics: Metrics) -> None:
    before = _series(metrics)
    metrics.set_place("follows", 1, Place(lag_records=5, watermark_ms=NOW_MS))
    assert len(_series(metrics)) == len(before) + 3
    metrics.give_up("follows", 1)
    metrics.give_up("follows", 1)
    assert _series(metrics) == before


def test_labels_come_from_a_short_list_and_none_is_an_id(metrics: Metrics) -> None:
    names = {name for line in _series(metrics) for name in re.findall(r"(\w+)=\"", line)}
    assert names == {
        *("topic", "result", "reason", "kind", "trigger", "state", "stage", "operation", "le"),
        *("version", "python", "detector"),
    }
    assert len(_series(metrics)) < 150


def test_counters_have_no_second_series_for_their_birth(metrics: Metrics) -> None:
    assert not [line for line in _series(metrics) if "_created" in line]


def test_two_workers_in_one_process_have_metrics_of_their_own(metrics: Metrics) -> None:
    build = Build(version="0", detector="d")
    other = Metrics(CollectorRegistry(), ("follows",), build, lambda: 0)
    metrics.add_rebalance(1)
    assert _value(other, "rebalances_total") == 0


def test_every_metric_is_explained_and_named_by_its_base_unit(metrics: Metrics) -> None:
    metrics.set_place("follows", 0, Place(lag_records=1, watermark_ms=NOW_MS))
    for family in metrics.registry.collect():
        assert family.documentation, family.name
        parts = set(family.name.split("_"))
        assert not parts & {"ms", "milliseconds", "minutes", "hours", "kb", "mb", "count", "total"}
