"""One topic of follows in the hands of a test: what is sent where, and Kafka changed around it."""

import asyncio
import time
from collections.abc import Iterable

from aiokafka import AIOKafkaProducer
from kafka import TopicPartition

from streams.edges.kafka.admin import (
    ConfigResource,
    ConfigResourceType,
    KafkaAdminClient,
    admin_client,
)
from streams.edges.kafka.producer import partition_of
from streams.edges.kafka.topics import create_topics
from tests.workers import Ledger, Site, WorkerProcess, wait_until

AT_MS = 1_736_899_200_000


class FollowsDesk:
    """The follows of a site, their ledger, and Kafka's admin."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.topic = site.settings.topic_follows
        self.ledger = Ledger()

    def follows(
        self, creators: Iterable[str], *, counted: bool, partitions: int = 4
    ) -> list[tuple[int, bytes]]:
        """A follow of each, and its partition; booked if it must be counted."""
        ledger = self.ledger if counted else Ledger()
        return [
            (partition_of(name.encode(), partitions), ledger.follow(name, AT_MS + place))
            for place, name in enumerate(creators)
        ]

    def send(self, records: Iterable[tuple[int, bytes]], packed_by: str | None = None) -> None:
        """Send records to their partitions, in packed batches if so told; waits for Kafka."""
        asyncio.run(self._send(list(records), packed_by))

    async def _send(self, records: list[tuple[int, bytes]], packed_by: str | None) -> None:
        producer = AIOKafkaProducer(
            bootstrap_servers=self.site.bootstrap, linger_ms=5, compression_type=packed_by
        )
        await producer.start()
        try:
            sent = [
                await producer.send(self.topic, value, partition=place) for place, value in records
            ]
            await asyncio.wait_for(asyncio.gather(*sent), 30)
        finally:
            await producer.stop()

    def wait_stored(self, worker: WorkerProcess, count: int) -> None:
        """Wait until so many offsets of all partitions are stored."""
        wait_until(lambda: self.stored() == count, 40, worker.text)

    def stored(self) -> int:
        """How many offsets of all partitions are stored."""
        return sum(self.site.stored_offsets(self.topic).values())

    def differences(self) -> list[str]:
        """What differs between Redis and the ledger."""
        return self.ledger.differences("follows", self.site.stored_buckets(self.topic, "follows"))

    def add_partitions(self, count: int) -> None:
        """Give the topic more partitions."""
        with admin_client(self.site.settings) as admin:
            admin.create_partitions({self.topic: count})

    def set_config(self, key: str, value: str) -> None:
        """Configure the topic."""
        topic = ConfigResource(ConfigResourceType.TOPIC, self.topic, {key: value})
        with admin_client(self.site.settings) as admin:
            admin.alter_configs([topic])

    def delete(self, topic: str | None = None) -> None:
        """Delete the topic, or another."""
        topic = topic or self.topic
        with admin_client(self.site.settings) as admin:
            admin.delete_topics([topic])
            self._wait(admin, topic, is_there=False)

    def make_again(self) -> None:
        """Delete the topic and make it anew."""
        self.delete()
        create_topics(self.site.settings)
        with admin_client(self.site.settings) as admin:
            self._wait(admin, self.topic, is_there=True)

    def delete_records_before(self, partition: int, offset: int) -> None:
        """Do what retention does."""
        with admin_client(self.site.settings) as admin:
            admin.delete_records({TopicPartition(self.topic, partition): offset})

    def _wait(self, admin: KafkaAdminClient, topic: str, *, is_there: bool) -> None:
        ends = time.monotonic() + 20
        while (topic in admin.list_topics()) != is_there:
            assert time.monotonic() < ends, "Kafka did not change its topics in 20 s"
