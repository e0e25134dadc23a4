"""Records that are not where Kafka's default partitioner puts their creators are told of."""

import logging

import pytest
from prometheus_client import CollectorRegistry

from streams.app.worker.placement import Placement
from streams.core.records.chunks import RawChunk
from streams.edges.kafka.producer import partition_of
from streams.edges.metrics.worker import Build, Metrics
from tests.jobs import follows

NAMES = [f"c-{number}" for number in range(40)]


def looked_at(names: list[str], partition: int, caplog: pytest.LogCaptureFixture) -> list[str]:
    registry = CollectorRegistry()
    metrics = Metrics(registry, ("follows",), Build("1", "d"), lambda: 0)
    placement = Placement(4, metrics)
    raw = RawChunk("follows", partition, [b"{}"] * len(names), [*range(len(names))], 9, -1, 9)
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            placement.look(raw, follows([(name, 1, False) for name in names]))
    told = registry.get_sample_value("surgewatch_bad_input_total", {"kind": "other_partition"})
    assert told == len(caplog.messages)
    return caplog.messages


def test_records_in_their_creators_partition_are_passed_in_silence(
    caplog: pytest.LogCaptureFixture,
) -> None:
    mine = [name for name in NAMES if partition_of(name.encode(), 4) == 2]
    assert looked_at(mine, 2, caplog) == []
    assert looked_at([], 2, caplog) == []


def test_records_in_another_partition_are_told_once(caplog: pytest.LogCaptureFixture) -> None:
    (line,) = looked_at(NAMES, 2, caplog)
    others = sum(partition_of(name.encode(), 4) != 2 for name in NAMES)
    assert line.startswith(f"follows/2: {others} of 40 records are of creators that")
    assert "key records by creator_id" in line
