"""Exact on real Kafka and Redis: two workers, four partitions, one killed in the middle."""

import asyncio
import random
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from streams.core.surges import Surge
from streams.edges.producer import RecordProducer
from tests.servers import KafkaServer, RedisServer
from tests.workers import Ledger, Site, WorkerProcess, partition_counts, wait_until

BEGIN_MS = 1_736_899_200_000
SERIES = {
    "follows": ("follows", "unfollows"),
    "comments": ("comments", "posts", "post_langs", "creator_langs"),
}


@pytest.fixture
def site(
    kafka: KafkaServer, redis_server: RedisServer, fresh_name: Callable[[str], str], tmp_path: Path
) -> Site:
    more = {"SURGEWATCH_RULE_FOLLOWERS_24H": "500", "SURGEWATCH_RULE_COMMENTS_24H": "200"}
    return Site(
        kafka.bootstrap, redis_server.url, fresh_name("exact"), tmp_path, more
    ).make_topics()


@pytest.fixture
def start(site: Site) -> Iterator[Callable[[str], WorkerProcess]]:
    with ExitStack() as stack:

        def started(name: str) -> WorkerProcess:
            worker = WorkerProcess(site, name)
            stack.callback(worker.kill)
            return worker

        yield started


class Sender:
    """Sends seeded records of both topics and keeps the ledger."""

    def __init__(self, site: Site, records: int) -> None:
        self.site = site
        self.ledger = Ledger()
        self.keys: dict[str, list[bytes]] = {"follows": [], "comments": []}
        self._chance = random.Random(7)
        self._records = records
        self._sent = 0

    async def send(self, share: float) -> None:
        """Send this share of all the records, in event-time order with some jitter."""
        topics = {
            "follows": self.site.settings.topic_follows,
            "comments": self.site.settings.topic_comments,
        }
        async with RecordProducer(self.site.settings) as producer:
            for topic in topics.values():
                await producer.open_topic(topic)
            for _ in range(int(self._records * share) // 1000):
                lots: dict[str, list[tuple[bytes, bytes]]] = {"follows": [], "comments": []}
                for _ in range(1000):
                    topic, key, value = self._record()
                    lots[topic].append((key, value))
                for topic, lot in lots.items():
                    keys, values = [key for key, _ in lot], [value for _, value in lot]
                    self.keys[topic] += keys
                    await producer.send(topics[topic], keys, values)

    def _record(self) -> tuple[str, bytes, bytes]:
        chance = self._chance
        at_ms = BEGIN_MS + self._sent * 80_000_000 // self._records
        self._sent += 1
        creator = f"c-{int(chance.paretovariate(0.6)) % 5000}"
        if chance.random() < 0.25:
            late_ms = chance.choice((0, 0, 0, 20_000))
            post, lang = f"p-{creator}-{chance.randrange(3)}", chance.choice(("en", "zh", "ko"))
            value = self.ledger.comment(creator, post, max(at_ms - late_ms, BEGIN_MS), lang)
            return "comments", creator.encode(), value
        unfollow = chance.random() < 0.05
        return "follows", creator.encode(), self.ledger.follow(creator, at_ms, unfollow=unfollow)

    def all_stored(self) -> bool:
        """Whether Redis has reached the end of every partition."""
        settings = self.site.settings
        return all(
            self.site.stored_offsets(topic) == partition_counts(self.keys[name], 4)
            for name, topic in (
                ("follows", settings.topic_follows),
                ("comments", settings.topic_comments),
            )
        )


def assert_exact(sender: Sender) -> None:
    """Every creator's, post's and language's buckets in Redis equal the ledger."""
    settings = sender.site.settings
    topics = {"follows": settings.topic_follows, "comments": settings.topic_comments}
    for topic, series in SERIES.items():
        for name in series:
            stored = sender.site.stored_buckets(topics[topic], name)
            assert sender.ledger.differences(name, stored) == []


def openings_of(surges: list[Surge]) -> set[tuple[str, int]]:
    return {
        (surge.creator_id, surge.opened_ms)
        for surge in surges
        if (surge.kind, surge.trigger, surge.state) == ("followers", "rule", "opened")
    }


def assert_no_contradiction(surges: list[Surge]) -> None:
    """One content for each surge and revision, however often it was announced."""
    contents: dict[tuple[str, int], Surge] = {}
    for surge in surges:
        assert contents.setdefault((surge.surge_id, surge.revision), surge) == surge


@pytest.mark.slow
def test_kill_9_of_one_of_two_workers_loses_and_doubles_nothing(
    site: Site, start: Callable[[str], WorkerProcess]
) -> None:
    sender = Sender(site, 160_000)
    asyncio.run(sender.send(0.3))
    first, second = start("first"), start("second")
    wait_until(
        lambda: sum(site.stored_offsets(site.settings.topic_follows).values()) > 3000, 60, "begun"
    )
    asyncio.run(sender.send(0.3))
    first.kill()
    asyncio.run(sender.send(0.4))
    wait_until(sender.all_stored, 60, f"all stored; {second.text()[-2000:]}")
    assert_exact(sender)
    expected = sender.ledger.openings
    assert len(expected) > 5
    surges = asyncio.run(site.surges(lambda found: openings_of(found) >= expected))
    assert openings_of(surges) == expected
    assert_no_contradiction(surges)
    assert second.stop() == 0


@pytest.mark.slow
def test_a_worker_stopped_with_sigterm_hands_over_without_losing_or_doubling(
    site: Site, start: Callable[[str], WorkerProcess]
) -> None:
    sender = Sender(site, 80_000)
    asyncio.run(sender.send(0.5))
    first = start("first")
    wait_until(
        lambda: sum(site.stored_offsets(site.settings.topic_follows).values()) > 0, 60, "begun"
    )
    second = start("second")
    assert first.stop() == 0, first.text()[-2000:]
    asyncio.run(sender.send(0.5))
    wait_until(sender.all_stored, 60, f"all stored; {second.text()[-2000:]}")
    assert_exact(sender)
    assert second.stop() == 0
