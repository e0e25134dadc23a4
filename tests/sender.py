"""A seeded stream of records of both topics, and the ledger of what it must come to."""

import random

from streams.edges.kafka.producer import RecordProducer
from tests.workers import Ledger, Site, partition_counts

BEGIN_MS = 1_736_899_200_000
SERIES = {
    "follows": ("follows", "unfollows"),
    "comments": ("comments", "posts", "post_langs", "creator_langs"),
}


class Sender:
    """Sends seeded records of both topics, of ``span_ms`` in all, and keeps the ledger."""

    def __init__(self, site: Site, records: int, span_ms: int = 80_000_000) -> None:
        self.site = site
        self.ledger = Ledger()
        self.keys: dict[str, list[bytes]] = {"follows": [], "comments": []}
        self._chance = random.Random(7)
        self._records = records
        self._span_ms = span_ms
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
        at_ms = BEGIN_MS + self._sent * self._span_ms // self._records
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
