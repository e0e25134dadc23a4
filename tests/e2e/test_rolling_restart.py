"""Workers restarted one after the other under load: nothing is lost, and surges are told soon."""

import asyncio
import json
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from streams.edges.kafka.producer import RecordProducer
from tests.workers import Ledger, Site, WorkerProcess, partition_counts, wait_until

log = logging.getLogger(__name__)

RULE = 500
OTHERS = 2_000
TICK_SECONDS = 0.1
SOON_SECONDS = 30.0
LITTLE_LAG = 2 * 2 * RULE
"""Records of two ticks: what waits while nothing is wrong."""


@dataclass
class Load:
    """Each tick one creator more gets as many follows as open a surge, and others some."""

    site: Site
    ledger: Ledger = field(default_factory=Ledger)
    keys: list[bytes] = field(default_factory=list)
    is_over: bool = False

    async def run(self) -> None:
        """Send until it is over."""
        topic, tick = self.site.settings.topic_follows, 0
        async with RecordProducer(self.site.settings) as producer:
            await producer.open_topic(topic)
            while not self.is_over:
                names = [f"star-{tick}"] * RULE
                names += [f"c-{(tick * 7 + n) % OTHERS}" for n in range(RULE)]
                now_ms = time.time_ns() // 1_000_000
                keys = [name.encode() for name in names]
                await producer.send(topic, keys, [self.ledger.follow(one, now_ms) for one in names])
                await producer.push()
                self.keys += keys
                tick += 1
                await asyncio.sleep(TICK_SECONDS)

    def has_begun(self) -> bool:
        """Whether workers have stored some of it."""
        return sum(self.site.stored_offsets(self.site.settings.topic_follows).values()) > 3000

    @property
    def lag(self) -> int:
        """Records that were sent and are not stored."""
        stored = self.site.stored_offsets(self.site.settings.topic_follows)
        return len(self.keys) - sum(stored.values())

    def all_stored(self) -> bool:
        """Whether Redis has reached the end of every partition."""
        stored = self.site.stored_offsets(self.site.settings.topic_follows)
        return stored == partition_counts(self.keys, 4)


async def delays_of(site: Site, load: Load) -> dict[tuple[str, int], float]:
    """When each surge was announced first, in seconds after the record that opened it."""
    consumer = AIOKafkaConsumer(bootstrap_servers=site.bootstrap, auto_offset_reset="earliest")
    await consumer.start()
    seen: dict[tuple[str, int], float] = {}
    try:
        topic = site.settings.topic_surges
        consumer.assign([TopicPartition(topic, n) for n in range(site.settings.topic_partitions)])
        while not (load.is_over and seen.keys() >= load.ledger.openings):
            batches = await consumer.getmany(timeout_ms=100)
            now = time.time()
            for record in (one for batch in batches.values() for one in batch):
                surge = json.loads(record.value)
                if (surge["trigger"], surge["state"]) == ("rule", "opened"):
                    opening = surge["creator_id"], surge["opened_ms"]
                    seen.setdefault(opening, now - surge["opened_ms"] / 1000)
    finally:
        await consumer.stop()
    return seen


def restarted(worker: WorkerProcess, again: Callable[[], WorkerProcess]) -> WorkerProcess:
    """End a worker as a deployment does, start it again, and wait until it has partitions."""
    assert worker.stop() == 0, worker.text()[-2000:]
    fresh = again()
    wait_until(lambda: "metrics on" in fresh.text(), SOON_SECONDS, fresh.text)
    wait_until(lambda: fresh.metrics()["surgewatch_partitions_owned"] > 0, SOON_SECONDS, fresh.text)
    return fresh


@pytest.mark.alone
@pytest.mark.slow
def test_two_workers_restarted_in_turn_lose_nothing_and_tell_within_30_seconds(
    site_of: Callable[..., Site], start: Callable[[Site, str], WorkerProcess]
) -> None:
    site = site_of()
    members = {
        name: Site(
            *(site.bootstrap, site.redis_url, site.name, site.folder),
            {**site.more, "SURGEWATCH_KAFKA_INSTANCE_ID": name},
        )
        for name in ("first", "second")
    }
    load = Load(site)

    async def run() -> dict[tuple[str, int], float]:
        workers = {name: start(member, name) for name, member in members.items()}
        sending = asyncio.create_task(load.run())
        hearing = asyncio.create_task(delays_of(site, load))
        await asyncio.to_thread(wait_until, load.has_begun, 60, "begun")
        for name, member in members.items():
            again = partial(start, member, f"{name}-again")  # a log of its own
            workers[name] = await asyncio.to_thread(restarted, workers[name], again)
            began, most = time.monotonic(), load.lag
            await asyncio.to_thread(
                wait_until, lambda: load.lag <= LITTLE_LAG, SOON_SECONDS, lambda: str(load.lag)
            )
            took = time.monotonic() - began
            log.info("lag of %d records back in %.1f s while sending", most, took)
        await asyncio.sleep(2.0)
        load.is_over = True
        await sending
        await asyncio.to_thread(wait_until, load.all_stored, SOON_SECONDS, "all is stored")
        delays = await asyncio.wait_for(hearing, SOON_SECONDS)
        for worker in workers.values():
            assert await asyncio.to_thread(worker.stop) == 0
        return delays

    delays = asyncio.run(run())
    stored = site.stored_buckets(site.settings.topic_follows, "follows")
    assert load.ledger.differences("follows", stored) == []
    assert delays.keys() == load.ledger.openings
    assert len(delays) > 50
    worst, usual = np.percentile([*delays.values()], [99, 50])
    openings = [opened_ms for _, opened_ms in delays]
    per_second = 1000 * len(load.keys) / (max(openings) - min(openings))
    log.info(
        "%.0f records a second, %d surges: p50 %.1f s, p99 %.1f s from event to surge",
        per_second,
        len(delays),
        usual,
        worst,
    )
    assert worst < SOON_SECONDS
