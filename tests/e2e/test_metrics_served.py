"""What a real worker serves is the catalogue, both ways, and promtool finds nothing in it."""

import asyncio
import re
import subprocess
import time
import urllib.request
from collections.abc import Callable
from functools import partial

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as prometheus

from streams.edges.kafka.producer import RecordProducer
from streams.edges.metrics.catalogue import CATALOGUE, SERIES_BOUND
from streams.edges.metrics.worker import Build, Metrics, Place
from tests.conftest import program_or_say
from tests.workers import Ledger, Site, WorkerProcess, wait_until

FOLLOWS = 600
COMMENTS = 300


async def send(site: Site) -> None:
    """One creator with a surge of follows, one post with a surge of comments, some rubbish."""
    ledger, now_ms = Ledger(), time.time_ns() // 1_000_000
    follows = [ledger.follow("ann", now_ms - 1000 + n) for n in range(FOLLOWS)]
    comments = [ledger.comment("bob", "p-1", now_ms - 1000 + n, "zh") for n in range(COMMENTS)]
    async with RecordProducer(site.settings) as producer:
        await producer.open_topic(site.settings.topic_follows)
        await producer.open_topic(site.settings.topic_comments)
        await producer.send(site.settings.topic_follows, [b"ann"] * FOLLOWS, follows)
        await producer.send(site.settings.topic_follows, [b"x", b"y"], [b"{", b"[]"])
        await producer.send(site.settings.topic_comments, [b"bob"] * COMMENTS, comments)


def all_stored(site: Site, topic: str, count: int) -> bool:
    return sum(site.stored_offsets(topic).values()) == count


def text_of(worker: WorkerProcess, accept: str = "") -> str:
    found = re.search(r"metrics on (http://\S+)", worker.text())
    assert found is not None
    request = urllib.request.Request(found.group(1), headers={"Accept": accept})
    with urllib.request.urlopen(request, timeout=10) as answer:
        text: str = answer.read().decode()
    return text


def check_is_catalogue(text: str) -> None:
    served: dict[str, Metric] = {one.name: one for one in prometheus(text)}
    assert served.keys() == {spec.family for spec in CATALOGUE if spec.type != "info"} | {
        spec.name for spec in CATALOGUE if spec.type == "info"
    }
    for spec in CATALOGUE:
        one = served[spec.name if spec.type == "info" else spec.family]
        assert one.type == {"info": "gauge"}.get(spec.type, spec.type), spec.name
        assert one.documentation == spec.meaning, spec.name
        labels = {name for sample in one.samples for name in sample.labels} - {"le"}
        assert labels <= set(spec.label_names), spec.name
        if spec.most is None:
            assert labels == set(spec.label_names), spec.name


def test_what_a_worker_serves_is_the_catalogue_and_tells_what_happened(
    site_of: Callable[..., Site], start: Callable[[Site, str], WorkerProcess]
) -> None:
    promtool = program_or_say("promtool")
    site = site_of()
    asyncio.run(send(site))
    worker = start(site, "worker")
    settings = site.settings
    told = 'surgewatch_surges_total{kind="%s",state="opened",trigger="rule"}'
    follows, comments = settings.topic_follows, settings.topic_comments
    for topic, count in ((follows, FOLLOWS + 2), (comments, COMMENTS)):
        wait_until(partial(all_stored, site, topic, count), 60, worker.text)
    for kind in ("followers", "comments"):
        assert worker.metrics()[told % kind] >= 1
    one = 'surgewatch_surges_open{kind="followers",severity="page"}'
    wait_until(lambda: worker.metrics()[one] == 1, 10, "the next beat tells what is open")
    text = text_of(worker)
    check_is_catalogue(text)
    series = [line for line in text.splitlines() if not line.startswith("#")]
    partitions = 3 * settings.topic_partitions
    assert len(series) <= SERIES_BOUND.of(partitions)
    values = worker.metrics()
    assert values['surgewatch_surges_open{kind="comments",severity="page"}'] == 1
    assert values['surgewatch_moderation_surges_total{lang="zh"}'] == 1
    assert values['surgewatch_moderation_comments_total{lang="zh"}'] >= 200
    assert values["surgewatch_outbox_pending"] == 0
    assert values["surgewatch_event_to_stored_seconds_count"] == FOLLOWS + COMMENTS
    assert abs(values["surgewatch_last_progress_timestamp_seconds"] - time.time()) < 30
    assert values["surgewatch_memory_limit_bytes"] >= 0
    found = subprocess.run(
        [promtool, "check", "metrics"], input=text, capture_output=True, text=True, check=False
    )
    assert (found.returncode, found.stdout, found.stderr) == (0, "", "")
    asked = text_of(worker, "application/openmetrics-text; version=1.0.0")
    families = {one.name: one for one in openmetrics(asked)}  # type: ignore[no-untyped-call]  # theirs
    exemplars = [
        one.exemplar.labels["surge_id"]
        for one in families["surgewatch_event_to_surge_seconds"].samples
        if one.exemplar
    ]
    surges = asyncio.run(site.surges(lambda found: len(found) >= 2))
    assert set(exemplars) <= {surge.surge_id for surge in surges}
    assert exemplars
    assert worker.stop() == 0


def test_the_check_sees_what_is_missing_and_what_is_not_in_the_catalogue() -> None:
    topics = ("follows", "comments", "waves")
    metrics = Metrics(CollectorRegistry(), topics, Build("0", "surgewatch"), lambda: 0)
    metrics.set_place("follows", 0, Place(1, 1, 1))
    text = generate_latest(metrics.registry).decode()
    check_is_catalogue(text)
    without = "".join(one for one in text.splitlines(True) if "surgewatch_recounts" not in one)
    for wrong in (
        without,
        f"{text}# HELP surgewatch_new New.\n# TYPE surgewatch_new gauge\nsurgewatch_new 1\n",
        text.replace("surgewatch_outbox_pending gauge", "surgewatch_outbox_pending counter"),
        text.replace('{reason="', '{why="'),
        text.replace("Surge announcements.", "Announcements."),
    ):
        assert wrong != text
        with pytest.raises(AssertionError):
            check_is_catalogue(wrong)
