"""A wave over four partitions and two workers on real Kafka and Redis: one incident."""

import asyncio
from collections.abc import Callable

import pytest

from streams.core.surges.surge import Surge
from streams.edges.kafka.producer import RecordProducer, partition_of
from tests.chaos.expected import ExpectedSurges
from tests.wave_rows import WAVE, records
from tests.workers import Site, WorkerProcess, wait_until

PARTITIONS = 4


async def send(site: Site, some: list[tuple[int, bytes, bytes]]) -> None:
    async with RecordProducer(site.settings) as producer:
        await producer.open_topic(site.settings.topic_follows)
        for begin in range(0, len(some), 1000):
            lot = some[begin : begin + 1000]
            keys, values = [key for _, key, _ in lot], [value for *_, value in lot]
            await producer.send(site.settings.topic_follows, keys, values)


def waves_in(surges: list[Surge]) -> dict[tuple[str, int], Surge]:
    return {(one.surge_id, one.revision): one for one in surges if one.kind == "wave"}


def implied_by(site: Site, sent: list[tuple[int, bytes, bytes]]) -> dict[tuple[str, int], Surge]:
    """Waves that the records imply, with no server and one worker."""
    expected = ExpectedSurges(site)
    for number in range(PARTITIONS):
        mine = [value for _, key, value in sent if partition_of(key, PARTITIONS) == number]
        expected.take(site.settings.topic_follows, number, 0, mine)
    return waves_in([*expected.surges.values()])


@pytest.mark.slow
def test_a_wave_over_four_partitions_is_one_incident_though_a_worker_is_killed_in_it(
    site_of: Callable[..., Site], start: Callable[[Site, str], WorkerProcess]
) -> None:
    site = site_of()
    every = records()
    begins = next(at for at, (bucket, *_) in enumerate(every) if bucket == WAVE)
    middle = next(at for at, (bucket, *_) in enumerate(every) if bucket == WAVE + 4)
    expected = implied_by(site, every)
    assert len({surge_id for surge_id, _ in expected}) == 1
    assert {one.wave.partitions for one in expected.values() if one.wave} == {PARTITIONS}
    asyncio.run(send(site, every[: begins // 2]))
    first, second = start(site, "first"), start(site, "second")
    topic = site.settings.topic_follows
    wait_until(lambda: sum(site.stored_offsets(topic).values()) > 1000, 60, "begun")
    asyncio.run(send(site, every[begins // 2 : middle]))
    first.kill()
    asyncio.run(send(site, every[middle:]))
    surges = asyncio.run(site.surges(lambda found: waves_in(found).keys() >= expected.keys()))
    assert waves_in(surges) == expected, second.text()[-2000:]
    assert second.stop() == 0
    third = start(site, "third")  # what was told before is not told anew
    wait_until(lambda: "reading" in third.text(), 60, "started again")
    assert third.stop() == 0
    again = asyncio.run(site.surges(lambda found: len(found) >= len(surges)))
    assert waves_in(again) == expected
