"""What a worker left behind, read as anybody may: state from Redis, surges from Kafka."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from aiokafka import AIOKafkaConsumer
from numpy.typing import NDArray

from streams.core.reports.stored_counts import windows_of
from streams.edges.redis.reader import RedisReader
from streams.edges.settings.reading import read_settings
from streams.edges.store import Place


@dataclass(frozen=True, slots=True)
class Stored:
    """One entry a key: events of its last 24 hours, bytes of its key and value."""

    totals: NDArray[np.int64]
    bytes_stored: NDArray[np.int64]


def stored_of(variables: Mapping[str, str], series: str = "follows") -> Stored:
    """Every creator's follows, in no order; or another series' counts."""
    settings = read_settings(variables)
    topic = settings.topic_follows if series == "follows" else settings.topic_comments
    totals, sizes = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    with RedisReader(settings) as reader:
        for number in range(settings.topic_partitions):
            rows = reader.rows(reader.shelf(Place(topic, number)), series)
            for keys, values in rows.batches:
                totals.append(windows_of(values, watched=rows.watched, oldest_bucket=0).totals)
                lengths = (len(k) + len(v) for k, v in zip(keys, values, strict=True))
                sizes.append(np.fromiter(lengths, np.int64, len(keys)))
    return Stored(np.concatenate(totals), np.concatenate(sizes))


async def opened_of(variables: Mapping[str, str]) -> dict[str, int]:
    """Creators and posts whose surge the rule opened, and when (event time), as announced."""
    settings = read_settings(variables)
    consumer = AIOKafkaConsumer(
        settings.topic_surges,
        bootstrap_servers=settings.kafka_bootstrap_servers,
        auto_offset_reset="earliest",
    )
    await consumer.start()
    opened = {}
    left = sum((await consumer.end_offsets(consumer.assignment())).values())
    while left:
        for records in (await consumer.getmany(timeout_ms=1000)).values():
            left -= len(records)
            for surge in (json.loads(record.value) for record in records):
                if (surge["trigger"], surge["state"]) == ("rule", "opened"):
                    opened[surge["post_id"] or surge["creator_id"]] = surge["opened_ms"]
    await consumer.stop()
    return opened
