"""Metrics: names, labels and series that a dashboard may count on."""

import gc
import platform
import re
from collections import Counter
from datetime import UTC, datetime
from typing import Final, get_args

import pytest
from msgspec.structs import replace
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as openmetrics

from streams.core.records.chunks import Reason
from streams.core.reports.surging import Surging
from streams.core.surges.surge import Kind, LanguageShare, WavePart
from streams.core.waves.incident import LIFTED_MAX
from streams.core.waves.report import REPORTED
from streams.edges.metrics.catalogue import CATALOGUE, SERIES_BOUND
from streams.edges.metrics.catalogue_surges import (
    COHORTS_MAX,
    NEW_SECONDS,
    NEWEST_MAX,
    OPEN_SERIES,
)
from streams.edges.metrics.worker import Build, Metrics, Place
from streams.edges.tls.certificates import CertificateEnd, FilesState, Part
from tests.jobs import follow_partition, follows

NOW_MS = 1_736_899_200_000


@pytest.fixture
def metrics() -> Metrics:
    build = Build(version="0.1.0", detector="surgewatch")
    return Metrics(
        CollectorRegistry(), ("follows", "comments"), build, lambda: NOW_MS, lambda: ENDS
    )


def _value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(f"surgewatch_{name}", labels)


def _series(metrics: Metrics) -> list[str]:
    text = generate_latest(metrics.registry).decode()
    return [line for line in text.splitlines() if line.startswith("surgewatch_")]


ENDS: Final = [
    FilesState(
        *(use, None),
        tuple(
            CertificateEnd(use, part, "", "", datetime(2030, 1, 1, tzinfo=UTC)) for part in parts
        ),
    )
    for use, parts in (("kafka", get_args(Part)), ("redis", get_args(Part)), ("metrics", ("own",)))
]


def fill(metrics: Metrics, topics: tuple[str, ...], partitions: int) -> None:
    """Have it tell all that it may ever tell, and more languages and cohorts than it may."""
    for topic in topics:
        for partition in range(partitions):
            metrics.set_place(topic, partition, Place(1, NOW_MS, NOW_MS))
    surge = follow_partition(1).take(follows([("ann", NOW_MS, False)])).surges[0]
    langs = [LanguageShare(f"l{n}", 0.01) for n in range(50)]
    metrics.add_moderation([replace(surge, langs=[lang]) for lang in langs])
    parts = [WavePart(f"l{n}", "US", 2.0, 10, 5.0) for n in range(LIFTED_MAX)]
    audiences = [(f"l{n}", "US") for n in range(100)]
    notices: Counter[tuple[Kind, tuple[str, str]]] = Counter(
        {
            (kind, one): 1
            for kind, severity in OPEN_SERIES
            if severity == "notice"
            for one in audiences
        }
    )
    metrics.set_surging(Surging(wave_parts=dict.fromkeys(REPORTED, parts), notices=notices))
    for kind in ("followers", "comments"):
        for trigger in ("rule", "model"):
            metrics.add_pages(kind, trigger, [f"{kind}-{n}" for n in range(50)])
    metrics.add_waves([f"wave-{n}" for n in range(50)])


def _openmetrics(metrics: Metrics) -> str:
    made: bytes = openmetrics(metrics.registry)  # type: ignore[no-untyped-call]  # not ours
    return made.decode()


def test_every_series_with_a_known_label_stands_at_zero_from_the_start(metrics: Metrics) -> None:
    for topic in ("follows", "comments"):
        for result in ("counted", "late", "dead"):
            assert _value(metrics, "records_total", topic=topic, result=result) == 0
        assert _value(metrics, "late_records_total", topic=topic) == 0
        assert _value(metrics, "creators_known", topic=topic) == 0
    for reason in Reason:
        assert _value(metrics, "dead_letters_total", reason=reason.value) == 0
    for stage in ("fetch", "decode", "count", "score", "store", "idle"):
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
    metrics.observe_event_to_surge([-3.0, 2.0], ["a", "b"])
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


def test_the_newest_surges_that_matter_are_told_with_their_times() -> None:
    now_ms = [NOW_MS]
    metrics = Metrics(
        CollectorRegistry(), ("follows",), Build("0", "surgewatch"), lambda: now_ms[0]
    )

    def newest(kind: str) -> dict[str, float]:
        name = "surgewatch_newest_surge_timestamp_seconds"
        return {
            one.labels["surge_id"]: one.value - NOW_MS / 1000
            for family in metrics.registry.collect()
            for one in family.samples
            if one.name == name and one.labels["kind"] == kind
        }

    metrics.add_found("followers", "found", NOW_MS - 60_000)
    metrics.add_found("followers", "old", NOW_MS - NEW_SECONDS * 1000)
    metrics.add_found("followers", "ahead", NOW_MS + 60_000)
    assert newest("followers") == {"found": -60, "ahead": 0}
    now_ms[0] += 1_000
    metrics.add_pages("followers", "model", ["found", "a"])
    metrics.add_waves(["w"])
    assert newest("followers") == {"found": -60, "ahead": 0, "a": 1}
    metrics.add_pages("followers", "model", [f"b{n}" for n in range(1_000)])
    told = {"found": -60, "ahead": 0, "a": 1, **{f"b{n}": 1 for n in range(NEWEST_MAX - 3)}}
    assert newest("followers") == told, "in a flood no more are told"
    metrics.add_pages("followers", "model", ["c"])
    assert newest("followers") == told
    now_ms[0] = NOW_MS - 60_000 + NEW_SECONDS * 1000
    metrics.add_pages("followers", "model", ["d", "e"])
    assert newest("followers").keys() == told.keys() - {"found"} | {"d"}, "one is new no more"
    assert newest("wave") == {"w": 1}, "each kind has a room of its own"
    assert newest("comments") == {}


def test_open_surges_are_told_by_kind_and_severity_and_a_waves_factors_vanish(
    metrics: Metrics,
) -> None:
    part = WavePart("zh", None, 4.5, 45, 10.0)
    found = Surging(
        open=Counter({("comments", "page"): 3, ("wave", "page"): 1}),
        notices=Counter({("followers", ("zh", "CN")): 7}),
        wave_parts={"follows": [part]},
    )
    metrics.set_surging(found)
    notices = {"kind": "followers", "lang": "zh", "region": "CN"}
    assert _value(metrics, "notices_open", **notices) == 7
    assert _value(metrics, "surges_open", kind="comments", severity="page") == 3
    assert _value(metrics, "surges_open", kind="wave", severity="page") == 1
    assert _value(metrics, "surges_open", kind="comments", severity="notice") == 0
    cohort = {"series": "follows", "lang": "zh", "region": ""}
    assert _value(metrics, "wave_factor", **cohort) == 4.5
    metrics.set_surging(Surging())
    assert _value(metrics, "surges_open", kind="comments", severity="page") == 0
    assert _value(metrics, "wave_factor", **cohort) is None
    assert _value(metrics, "notices_open", **notices) is None


def test_languages_beyond_the_limit_are_told_together(metrics: Metrics) -> None:
    fill(metrics, ("follows",), partitions=1)
    assert _value(metrics, "moderation_surges_total", lang="l31") == 1
    assert _value(metrics, "moderation_surges_total", lang="l32") is None
    assert _value(metrics, "moderation_surges_total", lang="other") == 18
    last = {"kind": "mix", "lang": f"l{COHORTS_MAX - 1}", "region": "US"}
    assert _value(metrics, "notices_open", **last) == 1
    others = {"kind": "mix", "lang": "other", "region": "other"}
    assert _value(metrics, "notices_open", **others) == 100 - COHORTS_MAX


def test_the_last_surge_in_a_bucket_is_its_exemplar(metrics: Metrics) -> None:
    metrics.observe_event_to_surge([0.3, 0.4, 7.0], ["a", "b", "c"])
    metrics.observe_event_to_surge([], [])
    families = {family.name: family for family in metrics.registry.collect()}
    told = {
        sample.labels["le"]: (sample.exemplar.labels["surge_id"], sample.exemplar.value)
        for sample in families["surgewatch_event_to_surge_seconds"].samples
        if sample.exemplar is not None
    }
    assert told == {"0.5": ("b", 0.4), "10.0": ("c", 7.0)}
    assert 'surge_id="c"} 7.0' in _openmetrics(metrics)


def test_each_stop_of_the_garbage_collector_is_timed(metrics: Metrics) -> None:
    metrics.gc_pauses.start()
    gc.collect()
    metrics.gc_pauses.stop()
    gc.collect()
    told = _value(metrics, "gc_pause_seconds_count")
    assert told is not None
    assert told >= 1
    assert _value(metrics, "gc_pause_seconds_bucket", le="+Inf") == told
    gc.collect()
    assert _value(metrics, "gc_pause_seconds_count") == told, "it was stopped"
    seconds = _value(metrics, "gc_pause_seconds_sum")
    assert seconds is not None
    assert 0 < seconds < 60


def test_lag_in_seconds_grows_by_itself_while_behind_and_is_zero_when_caught_up() -> None:
    now_ms = [NOW_MS]
    build = Build(version="0", detector="d")
    metrics = Metrics(CollectorRegistry(), ("follows",), build, lambda: now_ms[0])
    place = {"topic": "follows", "partition": "2"}
    metrics.set_place(
        "follows", 2, Place(lag_records=5, watermark_ms=NOW_MS - 60_000, read_ms=NOW_MS - 60_000)
    )
    assert _value(metrics, "lag_seconds", **place) == 60
    now_ms[0] += 30_000
    assert _value(metrics, "lag_seconds", **place) == 90
    assert _value(metrics, "lag_records", **place) == 5
    assert _value(metrics, "watermark_timestamp_seconds", **place) == (NOW_MS - 60_000) / 1000
    metrics.set_place(
        "follows", 2, Place(lag_records=0, watermark_ms=NOW_MS - 60_000, read_ms=NOW_MS - 60_000)
    )
    assert _value(metrics, "lag_seconds", **place) == 0


def test_a_partition_with_no_record_yet_has_no_watermark(metrics: Metrics) -> None:
    metrics.set_place("follows", 0, Place(lag_records=0, watermark_ms=None, read_ms=None))
    place = {"topic": "follows", "partition": "0"}
    assert _value(metrics, "watermark_timestamp_seconds", **place) is None
    assert _value(metrics, "lag_seconds", **place) == 0


def test_the_series_of_a_partition_given_up_vanish(metrics: Metrics) -> None:
    before = _series(metrics)
    metrics.set_place("follows", 1, Place(lag_records=5, watermark_ms=NOW_MS, read_ms=NOW_MS))
    assert len(_series(metrics)) == len(before) + 3
    metrics.give_up("follows", 1)
    metrics.give_up("follows", 1)
    assert _series(metrics) == before


def test_labels_come_from_a_short_list_and_none_names_a_creator(metrics: Metrics) -> None:
    fill(metrics, ("follows", "comments", "waves"), partitions=4)
    names = {name for line in _series(metrics) for name in re.findall(r"(\w+)=\"", line)}
    assert names == {
        *("topic", "partition", "result", "reason", "kind", "trigger", "state", "severity"),
        *("stage", "server", "operation", "series", "lang", "region", "le"),
        *("version", "python", "detector", "hash", "use", "part"),
        "surge_id",  # of the newest: a digest
    }


@pytest.mark.parametrize("partitions", [1, 4, 64])
def test_a_worker_that_has_met_everything_has_as_many_series_as_the_bound(partitions: int) -> None:
    topics = ("follows", "comments", "waves")
    build = Build("0", "d")
    metrics = Metrics(CollectorRegistry(), topics, build, lambda: NOW_MS, lambda: ENDS)
    fill(metrics, topics, partitions)
    text = generate_latest(metrics.registry).decode()
    series = [line for line in text.splitlines() if not line.startswith("#")]
    assert len(series) == SERIES_BOUND.of(3 * partitions)


def test_the_registry_is_the_catalogue_both_ways(metrics: Metrics) -> None:
    fill(metrics, ("follows", "comments"), partitions=1)
    served = {one.name: one for one in metrics.registry.collect()}
    assert served.keys() == {spec.family for spec in CATALOGUE}
    assert len({spec.name for spec in CATALOGUE}) == len(CATALOGUE)
    for spec in CATALOGUE:
        family = served[spec.family]
        assert (family.type, family.documentation) == (spec.type, spec.meaning), spec.name
        labels = {name for one in family.samples for name in one.labels} - {"le"}
        assert labels == set(spec.label_names), spec.name
        known = {label.name: set(label.values) for label in spec.labels if label.values}
        for name, values in known.items():
            assert {one.labels[name] for one in family.samples} <= values, spec.name


def test_a_unit_in_a_name_is_the_unit_of_the_catalogue() -> None:
    for spec in CATALOGUE:
        last = spec.family.split("_")[-1]
        base = {"seconds", "bytes"} & {last, spec.unit}
        assert base <= {last} & {spec.unit}, spec.name


def test_counters_have_no_second_series_for_their_birth(metrics: Metrics) -> None:
    assert not [line for line in _series(metrics) if "_created" in line]


def test_two_workers_in_one_process_have_metrics_of_their_own(metrics: Metrics) -> None:
    build = Build(version="0", detector="d")
    other = Metrics(CollectorRegistry(), ("follows",), build, lambda: 0)
    metrics.add_rebalance(1)
    assert _value(other, "rebalances_total") == 0


def test_every_metric_is_explained_and_named_by_its_base_unit(metrics: Metrics) -> None:
    metrics.set_place("follows", 0, Place(lag_records=1, watermark_ms=NOW_MS, read_ms=NOW_MS))
    for family in metrics.registry.collect():
        assert family.documentation, family.name
        parts = set(family.name.split("_"))
        assert not parts & {"ms", "milliseconds", "minutes", "hours", "kb", "mb", "count", "total"}
