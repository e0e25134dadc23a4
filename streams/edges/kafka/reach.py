"""What Kafka still has of partitions, and which topics they are of, asked once."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from streams.edges.kafka.identity import Source, source_of
from streams.edges.kafka.producer import Cause, aiokafka_quiet, client_options_of, unreachable_of
from streams.edges.kafka.topic_reader import Span
from streams.edges.settings.list import Settings
from streams.edges.store import Place


class Reach(NamedTuple):
    """Which topics these are, and the offsets that Kafka has of each partition now."""

    source: Source
    spans: Mapping[Place, Span]


async def reach_of(settings: Settings, topics: Sequence[str]) -> Reach:
    """Ask Kafka about all partitions of some topics; one that is not there is missing.

    Raises KafkaUnreachable.
    """
    causes: list[Cause] = []
    consumer = AIOKafkaConsumer(**client_options_of(settings), enable_auto_commit=False)
    try:
        with aiokafka_quiet(causes):
            async with asyncio.timeout(settings.kafka_timeout_ms / 1000):
                await consumer.start()
                source = await source_of(consumer._client, topics)
                places = [
                    TopicPartition(topic, number)
                    for topic, one in source.topics.items()
                    for number in range(one.partitions)
                ]
                begins = await consumer.beginning_offsets(places)
                ends = await consumer.end_offsets(places)
    except (KafkaError, OSError) as error:  # a TimeoutError too
        raise await unreachable_of(settings, causes, error) from error
    finally:
        with aiokafka_quiet([]):
            await consumer.stop()
    spans = {Place(tp.topic, tp.partition): Span(begins[tp], ends[tp]) for tp in places}
    return Reach(source, spans)
