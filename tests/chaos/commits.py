"""Looks all the time whether Kafka's committed offsets pass what Redis holds."""

import asyncio
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError
from redis.exceptions import RedisError

from streams.edges.kafka.producer import aiokafka_quiet
from tests.workers import Site

Offsets = Mapping[tuple[str, int], int]
_LOOK_SECONDS = 0.5
_ANSWER_SECONDS_MAX = 5.0


class CommitWatch:
    """A thread that compares twice a second, straight with both servers, while it is on.

    Off while Redis may have gone back: a commit of before is then rightly past it.
    """

    def __init__(self, site: Site, stored: Callable[[], Offsets]) -> None:
        self.on = True
        self.looks = 0
        self.passed: list[str] = []
        self._site, self._stored = site, stored
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End looking."""
        self._ends.set()
        self._thread.join(30)

    def _run(self) -> None:
        with aiokafka_quiet([]):
            while not self._ends.wait(_LOOK_SECONDS):
                if self.on:
                    with suppress(KafkaError, RedisError, OSError, TimeoutError):  # down, just now
                        self._look()

    def _look(self) -> None:
        was_on = self.on
        committed = asyncio.run(asyncio.wait_for(committed_of(self._site), _ANSWER_SECONDS_MAX))
        stored = self._stored()  # later than the commits: it may only be further on
        if was_on and self.on:
            self.looks += 1
            self.passed += [
                f"{place}: committed {offset}, stored {stored[place]}"
                for place, offset in committed.items()
                if offset > stored[place]
            ]


async def committed_of(site: Site) -> Offsets:
    """Offsets that Kafka holds for the group."""
    admin = AIOKafkaAdminClient(bootstrap_servers=site.bootstrap)
    await admin.start()
    try:
        offsets = await admin.list_consumer_group_offsets(site.settings.kafka_group)
    finally:
        await admin.close()
    return {(tp.topic, tp.partition): found.offset for tp, found in offsets.items()}
