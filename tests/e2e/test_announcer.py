"""The announcer on a real Kafka: whole batches, whatever the topic takes."""

import asyncio
from collections.abc import Callable

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from streams.edges.kafka.announcer import KafkaAnnouncer
from streams.edges.kafka.producer import partition_of
from streams.edges.kafka.surge_lot import lots_of
from streams.edges.settings.reading import Settings
from tests.e2e.kafka_topics import stored
from tests.servers import KafkaServer
from tests.unit.test_surge_lot import surges_of


@pytest.mark.parametrize("bytes_max", ["1048588", "5000"])
def test_thousands_of_surges_are_each_in_their_creators_partition_in_their_order(
    kafka: KafkaServer, fresh_name: Callable[[str], str], bytes_max: str
) -> None:
    topic = fresh_name("surges")
    settings = Settings(kafka_bootstrap_servers=kafka.bootstrap, topic_surges=topic)
    surges = surges_of(2_000)

    async def announce() -> None:
        admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
        await admin.start()
        limits = {"max.message.bytes": bytes_max}
        await admin.create_topics([NewTopic(topic, 4, 1, topic_configs=limits)])
        await admin.close()
        announcer = KafkaAnnouncer(settings, lambda: None)
        await announcer.start()
        try:
            await announcer.announce([*lots_of(surges)])
        finally:
            await announcer.stop()

    asyncio.run(announce())
    expected: list[list[bytes]] = [[] for _ in range(4)]
    for surge in surges:
        expected[partition_of(surge.creator_id.encode(), 4)].append(surge.surge_id.encode())
    assert [[key for key, _ in some] for some in stored(settings, topic)] == expected
