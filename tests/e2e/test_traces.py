"""Traces of a real worker arrive at a real OTLP/HTTP receiver; without one nothing is lost."""

import asyncio
from collections import defaultdict
from collections.abc import Callable
from itertools import pairwise

import pytest

from tests.e2e.otlp_receiver import OtlpReceiver, ReceivedSpan
from tests.sender import Sender, assert_exact
from tests.workers import Site, WorkerProcess, wait_until

PARENTS = {
    "fetch": "chunk",
    "decode": "chunk",
    "count": "chunk",
    "score": "count",
    "store": "chunk",
    "announce": "chunk",
    "commit": "chunk",
}
SPAN_MS = 1_800_000


def by_trace(spans: list[ReceivedSpan]) -> list[dict[str, ReceivedSpan]]:
    found: dict[bytes, dict[str, ReceivedSpan]] = defaultdict(dict)
    for span in spans:
        found[span.trace_id][span.name] = span
    return [trace for trace in found.values() if "chunk" in trace]


def check_trace(trace: dict[str, ReceivedSpan]) -> None:
    """Each step has its parent, lies within the chunk, and comes after those before it."""
    whole = trace["chunk"]
    assert whole.parent_id == b""
    assert {"fetch", "decode", "count", "store", "commit"} <= trace.keys()
    for name, span in trace.items():
        if name != "chunk":
            assert span.parent_id == trace[PARENTS[name]].span_id, name
        assert whole.began_ns <= span.began_ns <= span.ended_ns <= whole.ended_ns, name
    order = [trace[name] for name in ("fetch", "decode", "count", "store", "announce", "commit")
             if name in trace]  # fmt: skip
    for before, after in pairwise(order):
        assert before.ended_ns <= after.ended_ns
        assert before.began_ns <= after.began_ns


@pytest.mark.slow
def test_spans_of_chunks_arrive_with_their_parents_and_places(
    site_of: Callable[..., Site], start: Callable[[Site, str], WorkerProcess]
) -> None:
    with OtlpReceiver() as receiver:
        site = site_of(
            SURGEWATCH_TRACES_ENDPOINT=receiver.url,
            SURGEWATCH_TRACES_SAMPLE_SHARE="1",
            SURGEWATCH_KAFKA_INSTANCE_ID="worker-1",
            SURGEWATCH_RULE_FOLLOWERS_24H="150",
        )
        sender = Sender(site, 10_000, SPAN_MS)
        asyncio.run(sender.send(1))
        worker = start(site, "worker")
        wait_until(sender.all_stored, 60, worker.text)
        follows = site.settings.topic_follows

        def records() -> int:
            return sum(
                trace["chunk"].attributes["surgewatch.counted"]
                for trace in by_trace(receiver.spans)
                if trace["chunk"].attributes["messaging.destination.name"] == follows
            )

        sent = len(sender.keys["follows"])
        wait_until(lambda: records() == sent, 30, lambda: f"{records()} of {sent} are traced")
        metrics = worker.metrics()
        assert worker.stop() == 0
    traces = by_trace(receiver.spans)
    for trace in traces:
        check_trace(trace)
    assert any("announce" in trace for trace in traces)
    assert any("score" in trace for trace in traces)
    names = {trace["chunk"].resource["service.instance.id"] for trace in traces}
    assert names == {"worker-1"}
    places = {
        (one["messaging.destination.name"], one["messaging.destination.partition.id"])
        for one in (trace["chunk"].attributes for trace in traces)
    }
    assert {(follows, number) for number in range(4)} <= places
    assert metrics['surgewatch_trace_spans_total{result="sent"}'] > 0
    assert metrics['surgewatch_trace_spans_total{result="dropped"}'] == 0
    text = repr(receiver.spans)
    assert "'c-1'" not in text, "no creator is named"


@pytest.mark.slow
def test_without_a_receiver_nothing_is_lost_and_one_line_says_so(
    site_of: Callable[..., Site], start: Callable[[Site, str], WorkerProcess]
) -> None:
    site = site_of(
        SURGEWATCH_TRACES_ENDPOINT="http://user:hunter2@127.0.0.1:1/v1/traces",
        SURGEWATCH_TRACES_SAMPLE_SHARE="1",
    )
    sender = Sender(site, 10_000, SPAN_MS)
    asyncio.run(sender.send(1))
    worker = start(site, "worker")
    wait_until(sender.all_stored, 60, worker.text)
    dropped = 'surgewatch_trace_spans_total{result="dropped"}'
    wait_until(lambda: worker.metrics()[dropped] > 0, 30, worker.text)
    wait_until(lambda: "traces are not taken at" in worker.text(), 10, worker.text)
    assert_exact(sender)
    assert worker.stop() == 0
    text = worker.text()
    assert text.count("traces are not taken at http://***@127.0.0.1:1/v1/traces") == 1
    others = ("opentelemetry", "urllib3", "Traceback", "hunter2")
    assert [words for words in others if words in text] == []
