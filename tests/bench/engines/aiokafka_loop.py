"""A bare aiokafka loop: ``getmany``, msgspec, dictionaries. Stores nothing, scores nothing."""

import sys

import uvloop
from aiokafka import AIOKafkaConsumer

from tests.bench.engines.protocol import Order, answer, order_of, stamp
from tests.bench.engines.tally_dict import DictTally, answers_of


async def run(order: Order) -> None:
    """Read the topic once."""
    consumer = AIOKafkaConsumer(
        order.topic,
        bootstrap_servers=order.bootstrap,
        group_id=order.name,
        auto_offset_reset="earliest",
    )
    await consumer.start()
    tallies = [DictTally(order.threshold) for _ in range(order.partitions)]
    left, first = order.records, None
    while left:
        for tp, records in (await consumer.getmany(timeout_ms=1000)).items():
            first = first or stamp()
            tallies[tp.partition].take([record.value for record in records])
            left -= len(records)
    last = stamp()
    answer(**answers_of(tallies), first=first, last=last)
    await consumer.stop()


if __name__ == "__main__":
    uvloop.run(run(order_of(sys.argv)))
