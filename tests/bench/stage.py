"""Real servers and filled topics for a benchmark, gone at its end."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from redis import Redis

from streams.edges.kafka.producer import RecordProducer
from streams.edges.kafka.topics import create_topics
from streams.edges.settings.list import Settings
from streams.edges.settings.reading import read_settings
from tests.bench.job import Batch
from tests.servers import KafkaServer, RedisServer

PARTITIONS = 4
RedisBy = Literal["unix", "tcp"]


@dataclass(frozen=True, slots=True)
class Stage:
    """Kafka and Redis, and how to reach them."""

    folder: Path
    kafka: KafkaServer
    redis: RedisServer
    redis_by: RedisBy

    @property
    def redis_url(self) -> str:
        """Redis over its Unix socket or over TCP on the loopback."""
        return self.redis.url if self.redis_by == "tcp" else f"unix://{self.redis.socket}"

    def variables(
        self, name: str, topic: str, threshold: int = 5_000, partitions: int = PARTITIONS
    ) -> dict[str, str]:
        """Environment of a worker of its own group, Redis prefix and output topics."""
        return {
            "SURGEWATCH_KAFKA_BOOTSTRAP_SERVERS": self.kafka.bootstrap,
            "SURGEWATCH_KAFKA_GROUP": name,
            "SURGEWATCH_REDIS_URL": self.redis_url,
            "SURGEWATCH_REDIS_PREFIX": name,
            "SURGEWATCH_TOPIC_FOLLOWS": topic,
            "SURGEWATCH_TOPIC_COMMENTS": f"{topic}-comments",
            "SURGEWATCH_TOPIC_SURGES": f"{name}-surges",
            "SURGEWATCH_TOPIC_DEAD_LETTERS": f"{name}-dead",
            "SURGEWATCH_TOPIC_WAVES": f"{name}-waves",
            "SURGEWATCH_TOPIC_PARTITIONS": str(partitions),
            "SURGEWATCH_RULE_FOLLOWERS_24H": str(threshold),
            "SURGEWATCH_METRICS_PORT": "0",
            "SURGEWATCH_LOG_LEVEL": "warning",
        }

    def fill(
        self,
        topic: str,
        batches: Iterable[Batch],
        partitions: int = PARTITIONS,
        *,
        comments: bool = False,
    ) -> None:
        """Make a topic and that of its comments; send records to it, or to the comments'.

        Each goes to its creator's partition.
        """
        settings = read_settings(self.variables(f"fill-{topic}", topic, partitions=partitions))
        create_topics(settings)
        into = settings.topic_comments if comments else settings.topic_follows
        asyncio.run(_fill(settings, into, batches))

    def make_topics(self, name: str, topic: str, partitions: int = PARTITIONS) -> None:
        """Make the topics that a worker of this name reads and writes."""
        create_topics(read_settings(self.variables(name, topic, partitions=partitions)))

    @property
    def redis_version(self) -> str:
        """Version of the Redis server."""
        with Redis.from_url(self.redis.url) as client:
            return str(client.info("server")["redis_version"])

    def empty_redis(self) -> None:
        """Forget every key: the next engine begins with nothing."""
        with Redis.from_url(self.redis.url) as client:
            client.flushall()


async def _fill(settings: Settings, topic: str, batches: Iterable[Batch]) -> None:
    async with RecordProducer(settings) as producer:
        await producer.open_topic(topic)
        for keys, values in batches:
            await producer.send(topic, keys, values)


@contextmanager
def stage_of(redis_by: RedisBy = "unix") -> Iterator[Stage]:
    """Start Kafka and Redis in a folder of their own; both end and the folder goes."""
    folder = Path(tempfile.mkdtemp(prefix="surgewatch-bench-"))
    try:
        with (
            KafkaServer(folder / "kafka", heap="1g") as kafka,
            RedisServer(folder / "redis") as redis,
        ):
            yield Stage(folder, kafka, redis, redis_by)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
