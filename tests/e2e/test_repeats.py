"""Records repeated upstream count once on real Kafka and Redis, also when a worker is killed."""

import asyncio
import zlib
from collections.abc import Callable
from typing import Any

import pytest

from streams.edges.kafka.producer import RecordProducer
from tests.workers import Site, WorkerProcess, wait_until

BEGIN_MS = 1_736_899_200_000
CREATORS = 40
RECORDS = 6_000


def record_of(number: int) -> tuple[bytes, bytes]:
    """One a second of event time; its creator."""
    creator = b"c-%d" % (zlib.crc32(b"%d" % number) % CREATORS)
    value = b'{"event_id":"e-%d","creator_id":"%b","follower_id":"f","at_ms":%d}'
    return creator, value % (number, creator, BEGIN_MS + 1000 * number)


async def send(site: Site, numbers: list[int]) -> None:
    async with RecordProducer(site.settings) as producer:
        await producer.open_topic(site.settings.topic_follows)
        await producer.open_topic(site.settings.topic_comments)
        pairs = [record_of(number) for number in numbers]
        await producer.send(
            site.settings.topic_follows, [key for key, _ in pairs], [value for _, value in pairs]
        )


def counted(site: Site) -> dict[str, int]:
    stored: dict[str, Any] = site.stored_buckets(site.settings.topic_follows, "follows")
    return {creator: sum(buckets.values()) for creator, buckets in stored.items()}


def reached(site: Site) -> int:
    return sum(site.stored_offsets(site.settings.topic_follows).values())


@pytest.mark.slow
def test_ten_minutes_sent_twice_around_a_kill_9_count_once(
    site_of: Callable[..., Site], start: Callable[[Site, str], WorkerProcess]
) -> None:
    site = site_of()
    expected: dict[str, int] = {}
    for number in range(RECORDS):
        creator = record_of(number)[0].decode()
        expected[creator] = expected.get(creator, 0) + 1
    half, lately = RECORDS // 2, 500  # 500 s of event time are within the ten minutes
    asyncio.run(send(site, list(range(half))))
    first = start(site, "first")
    wait_until(lambda: reached(site) == half, 60, f"half stored; {first.text()[-2000:]}")
    first.kill()
    asyncio.run(send(site, [*range(half - lately, half), *range(half, RECORDS)]))
    asyncio.run(send(site, list(range(RECORDS - lately, RECORDS))))
    second = start(site, "second")
    sent = RECORDS + 2 * lately
    wait_until(lambda: reached(site) == sent, 60, f"all stored; {second.text()[-2000:]}")
    assert counted(site) == expected
    assert second.stop() == 0
