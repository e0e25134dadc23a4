"""Reads the topic of surges without a group: each surge's last state, and what is told from now on.

A surge's announcements are all in one partition, the newest last. So a partition is read from its
end to its beginning, a block at a time: the first record that is met of a surge is its last.
"""

import time
from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Any, Final, NamedTuple

import msgspec
from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from streams.core.surges.surge import Surge
from streams.edges.codec.out import decode_surge
from streams.edges.kafka.producer import aiokafka_quiet
from streams.edges.kafka.topic_reader import Span, TopicReader
from streams.edges.settings.list import Settings

BLOCK_RECORDS: Final = 10_000
"""Some ten megabytes: so much is held at once, however long the topic is."""
REPEATS_MAX: Final = 10_000
_FETCH_BYTES_MAX: Final = 1_048_576
_WAIT_MS: Final = 200
_QUIET_SECONDS_MAX: Final = 10.0


class FoundSurge(NamedTuple):
    """An announcement, when Kafka was given it (ms; below 0: not known), and its JSON."""

    told_ms: int
    surge: Surge
    value: bytes


class SurgeTopicReader(TopicReader):
    """A reader of announcements for the length of an ``async with``.

    ``unknown``: records of the topic that are no surges. Raises KafkaUnreachable, TopicMissing.
    """

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings, settings.topic_surges, _FETCH_BYTES_MAX)
        self.unknown = 0

    async def last_states(
        self, partition: int, span: Span, block_records: int = BLOCK_RECORDS
    ) -> AsyncIterator[FoundSurge]:
        """Each surge of a stretch once, with its last state there; block by block from the end."""
        met: set[str] = set()
        for begin in range(span.end - 1, span.begin - 1, -block_records):
            block = Span(max(span.begin, begin + 1 - block_records), begin + 1)
            last: dict[str, FoundSurge] = {}
            async for records in self.records(partition, block):
                last |= {one.surge.surge_id: one for one in self._surges_in(records)}
            for surge_id, found in last.items():
                if surge_id not in met:
                    met.add(surge_id)
                    yield found

    async def follow(self, spans: Mapping[int, Span]) -> AsyncIterator[FoundSurge]:
        """Announcements after these stretches as they are made, each once; without an end."""
        self._consumer.assign([TopicPartition(self._topic, number) for number in spans])
        for number, span in spans.items():
            self._consumer.seek(TopicPartition(self._topic, number), span.end)
        met: dict[tuple[str, int], None] = {}
        heard_at = time.monotonic()
        while True:
            with aiokafka_quiet([]):
                try:
                    fetched = await self._consumer.getmany(timeout_ms=_WAIT_MS)
                except (KafkaError, OSError) as error:
                    raise self._read_error(error) from error
            if fetched:
                heard_at = time.monotonic()
            elif time.monotonic() - heard_at > _QUIET_SECONDS_MAX:
                await self.spans()  # raises if it is Kafka that is silent, not the workers
                heard_at = time.monotonic()
            for found in self._surges_in([one for some in fetched.values() for one in some]):
                name = (found.surge.surge_id, found.surge.revision)
                if name not in met:
                    met[name] = None
                    yield found
            if len(met) > REPEATS_MAX:
                met = dict.fromkeys([*met][-REPEATS_MAX // 2 :])

    def _surges_in(self, records: Iterable[Any]) -> list[FoundSurge]:
        found = []
        for record in records:
            if record.value is None:
                continue
            try:
                surge = decode_surge(record.value)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                self.unknown += 1
                continue
            found.append(FoundSurge(record.timestamp, surge, record.value))
        return found
