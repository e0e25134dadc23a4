"""Traces cost nothing while they are off, and need an extra while they are on."""

import subprocess
import sys

import pytest
from faust.types import TP
from prometheus_client import CollectorRegistry

from streams.app.worker.tracing import CHUNKS_WAITING_MAX, Tracing, sink_of
from streams.core.records.chunks import RawChunk
from streams.edges.errors import SettingsError
from streams.edges.metrics.worker import Build, Metrics
from streams.edges.settings.list import Settings
from streams.edges.store import Place
from streams.edges.traces.steps import Step

HERE = TP("follows", 1)
OFF = """
import sys
import streams.app.worker.worker
# what else of opentelemetry is there, the client of Redis has imported
theirs = ("opentelemetry.exporter", "google.protobuf", "streams.edges.traces.exporter")
print([name for name in sys.modules if name.startswith(theirs)])
"""


class Kept:
    """A sink that keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[Step, list[Step]]] = []

    def start(self) -> None: ...

    def stop(self) -> None: ...

    def tell(self, root: Step, steps: object) -> None:
        assert isinstance(steps, list)
        self.told.append((root, steps))


def chunk(next_offset: int) -> RawChunk:
    return RawChunk("follows", 1, [b"{}"], [next_offset - 1], next_offset, -1, 9)


def test_a_worker_without_traces_imports_nothing_of_them() -> None:
    done = subprocess.run(
        [sys.executable, "-c", OFF], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == "[]\n"


def test_without_the_extra_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.resources", None)
    monkeypatch.delitem(sys.modules, "streams.edges.traces.exporter", raising=False)
    metrics = Metrics(CollectorRegistry(), ("follows",), Build("1", "d"), lambda: 0)
    with pytest.raises(SettingsError, match=r"pip install 'surgewatch\[traces\]'"):
        sink_of(Settings(traces_endpoint="http://127.0.0.1:4318/v1/traces"), metrics)


def test_a_share_of_chunks_is_drawn_and_told_once_kafka_has_their_offset() -> None:
    sink, draws = Kept(), iter([0.04, 0.05, 0.9, 0.0])
    tracing = Tracing(sink, 0.05, lambda: next(draws))
    for number in range(1, 5):
        tracing.fetched(HERE, chunk(number), 5)
    tracing.stored(Place("follows", 1), 3, 6)
    tracing.committed({HERE: 2}, 7)
    assert [root.attributes["surgewatch.next_offset"] for root, _ in sink.told] == [1]
    tracing.committed({HERE: 4}, 7)
    assert len(sink.told) == 1, "what is not stored is not told"
    tracing.stored(Place("follows", 1), 4, 8)
    tracing.committed({HERE: 4}, 9)
    assert [root.attributes["surgewatch.next_offset"] for root, _ in sink.told] == [1, 4]
    assert [step.name for step in sink.told[0][1]] == ["fetch", "store", "commit"]


def test_chunks_that_wait_for_a_commit_for_ever_do_not_fill_memory() -> None:
    tracing = Tracing(Kept(), 1.0, lambda: 0.0)
    for number in range(1, 10 * CHUNKS_WAITING_MAX):
        tracing.fetched(HERE, chunk(number), 5)
    assert len(tracing._chunks[HERE]) == CHUNKS_WAITING_MAX
    tracing.forget()
    assert not tracing._chunks
