"""Topics of four partitions in a test's Kafka: made, and read back whole."""

import asyncio

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from streams.edges.settings.reading import Settings
from tests.servers import KafkaServer

Stored = list[list[tuple[bytes | None, bytes | None]]]


async def create_topics(kafka: KafkaServer, topics: list[str]) -> None:
    """Create topics of four partitions."""
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    await admin.start()
    await admin.create_topics([NewTopic(t, num_partitions=4, replication_factor=1) for t in topics])
    await admin.close()


async def _stored(settings: Settings, topic: str) -> Stored:
    """Keys and values of each of the topic's four partitions, in order."""
    stored: Stored = [[] for _ in range(4)]
    servers = settings.kafka_bootstrap_servers
    async with AIOKafkaConsumer(bootstrap_servers=servers) as consumer:
        partitions = [TopicPartition(topic, n) for n in range(4)]
        consumer.assign(partitions)
        await consumer.seek_to_beginning()
        ends = await consumer.end_offsets(partitions)
        left = sum(ends.values())
        async with asyncio.timeout(30):
            while left:
                for partition, records in (await consumer.getmany(timeout_ms=200)).items():
                    stored[partition.partition] += [(r.key, r.value) for r in records]
                    left -= len(records)
    return stored


def stored(settings: Settings, topic: str) -> Stored:
    """Keys and values of each of the topic's four partitions, in order."""
    return asyncio.run(_stored(settings, topic))
