"""SIGHUP on real workers: rules change between two chunks, and nothing is lost or doubled."""

import asyncio
import signal
import threading
from collections import Counter
from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest

from streams.core.surges.surge import Surge
from streams.edges.kafka.producer import RecordProducer
from tests.e2e.test_exact import assert_no_contradiction
from tests.sender import BEGIN_MS, Sender, assert_exact
from tests.workers import Site, WorkerProcess, wait_until

RULE = "SURGEWATCH_RULE_FOLLOWERS_24H"
THRESHOLD = 150
SPAN_MS = 1_800_000


def site_with_file(site_of: Callable[..., Site]) -> tuple[Site, Path]:
    """A site of which the rule of followers stands in a file."""
    site = site_of()
    path = site.folder / "surgewatch.toml"
    more = {name: value for name, value in site.more.items() if name != RULE}
    site.more = {**more, "SURGEWATCH_CONFIG": str(path)}
    return site, path


async def send_follows(sender: Sender, creator: str, times: range) -> None:
    """Send and book follows of one creator."""
    topic = sender.site.settings.topic_follows
    values = [sender.ledger.follow(creator, at_ms) for at_ms in times]
    keys = [creator.encode()] * len(values)
    sender.keys["follows"] += keys
    async with RecordProducer(sender.site.settings) as producer:
        await producer.open_topic(topic)
        await producer.send(topic, keys, values)


def opened_by_rule(surges: list[Surge]) -> list[Surge]:
    return [
        one
        for one in surges
        if (one.kind, one.trigger, one.state) == ("followers", "rule", "opened")
    ]


def sent_in_background(sender: Sender, share: float) -> threading.Thread:
    thread = threading.Thread(target=lambda: asyncio.run(sender.send(share)))
    thread.start()
    return thread


def settings_hash_of(worker: WorkerProcess) -> str:
    (found,) = [
        series for series in worker.metrics() if series.startswith("surgewatch_settings_info")
    ]
    return found.split('"')[1]


def reload(worker: WorkerProcess, words: str) -> None:
    """Send SIGHUP and wait for what comes of it."""
    before = worker.text().count(words)
    worker.signal(signal.SIGHUP)
    wait_until(lambda: worker.text().count(words) > before, 40, worker.text)


@pytest.mark.slow
def test_a_rule_lowered_by_sighup_under_load_tells_the_next_crossing_and_loses_nothing(
    site_of: Callable[..., Site], start: Callable[[Site, str], WorkerProcess]
) -> None:
    site, path = site_with_file(site_of)
    path.write_text("rule_followers_24h = 1_000_000\n")
    sender = Sender(site, 20_000, SPAN_MS)
    sender.ledger.threshold = THRESHOLD
    asyncio.run(send_follows(sender, "ann", range(BEGIN_MS, BEGIN_MS + THRESHOLD - 1)))
    asyncio.run(sender.send(0.2))
    worker = start(site, "worker")
    topic = site.settings.topic_follows
    wait_until(lambda: sum(site.stored_offsets(topic).values()) > 1000, 60, worker.text)
    before = settings_hash_of(worker)
    load = sent_in_background(sender, 0.8)
    path.write_text(f'rule_followers_24h = {THRESHOLD}\nlog_level = "debug"\n')
    reload(worker, "settings are applied")
    load.join()
    assert f"rule_followers_24h is changed while running: 1000000 → {THRESHOLD}" in worker.text()
    assert settings_hash_of(worker) != before
    asyncio.run(send_follows(sender, "ann", range(BEGIN_MS + SPAN_MS, BEGIN_MS + SPAN_MS + 3)))
    wait_until(sender.all_stored, 60, worker.text)
    assert_exact(sender)

    def ann_is_told(found: list[Surge]) -> bool:
        return any(one.creator_id == "ann" for one in opened_by_rule(found))

    surges = asyncio.run(site.surges(ann_is_told))
    assert_no_contradiction(surges)
    opened = opened_by_rule(surges)
    (ann,) = [one for one in opened if one.creator_id == "ann"]
    assert (ann.opened_ms, ann.threshold) == (BEGIN_MS + SPAN_MS, THRESHOLD)
    assert {one.creator_id for one in opened} <= {name for name, _ in sender.ledger.openings}
    assert max(Counter(one.creator_id for one in opened).values()) == 1
    assert " DEBUG " in worker.text()

    path.write_text('rule_followers_24h = "many"\n')
    reload(worker, "settings are not reloaded, the old ones stay in force")
    path.write_text(
        f'rule_followers_24h = {THRESHOLD}\nlog_level = "debug"\nkeys_in_memory_max = 7_000\n'
    )
    reload(worker, "settings are read again: nothing to apply")
    assert "keys_in_memory_max is 7000 now and needs a restart: 20000000 stays" in worker.text()
    reloads = {
        result: worker.metrics()[f'surgewatch_settings_reloads_total{{result="{result}"}}']
        for result in ("applied", "unchanged", "refused")
    }
    assert reloads == {"applied": 1, "unchanged": 1, "refused": 1}
    assert worker.stop() == 0


@pytest.mark.slow
def test_sighups_while_partitions_are_dealt_lose_and_double_nothing(
    site_of: Callable[..., Site], start: Callable[[Site, str], WorkerProcess]
) -> None:
    site, path = site_with_file(site_of)
    path.write_text(f"rule_followers_24h = {THRESHOLD}\n")
    sender = Sender(site, 20_000, SPAN_MS)
    sender.ledger.threshold = THRESHOLD
    asyncio.run(sender.send(0.2))
    first = start(site, "first")
    topic = site.settings.topic_follows
    wait_until(lambda: sum(site.stored_offsets(topic).values()) > 1000, 60, first.text)
    load = sent_in_background(sender, 0.8)
    stop, numbers = threading.Event(), count(1)

    def keep_changing() -> None:
        while not stop.wait(0.2):  # a file that is half written is refused, and read again
            path.write_text(
                f"page_excess_min = {next(numbers)}\nrule_followers_24h = {THRESHOLD}\n"
            )
            first.signal(signal.SIGHUP)

    changing = threading.Thread(target=keep_changing)
    changing.start()
    try:
        second = start(site, "second")
        wait_until(lambda: "taken over" in second.text(), 60, second.text)
        assert second.stop() == 0, second.text()[-2000:]
        load.join()
    finally:
        stop.set()
        changing.join()
    wait_until(sender.all_stored, 60, first.text)
    assert_exact(sender)
    expected = sender.ledger.openings
    assert len(expected) > 3

    def openings(found: list[Surge]) -> set[tuple[str, int]]:
        return {(one.creator_id, one.opened_ms) for one in opened_by_rule(found)}

    surges = asyncio.run(site.surges(lambda found: openings(found) >= expected))
    assert openings(surges) == expected
    assert_no_contradiction(surges)
    assert first.text().count("settings are applied") >= 5
    assert first.stop() == 0
