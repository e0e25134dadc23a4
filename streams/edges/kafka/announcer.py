"""Sends surge records, wave reports and dead letters to Kafka, for as long as it takes.

All are sent at least once, in whole batches: a ``send`` for each of a hundred thousand surges
would make as many futures. A surge's message key is its ``surge_id``, by which the topic is
compacted; its partition is its creator's, so that all about one creator is in one partition.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np
from aiokafka import AIOKafkaProducer
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import InvalidTimestampError, KafkaError, MessageSizeTooLargeError

from streams.core.records.chunks import DeadRecord
from streams.core.records.texts import Texts
from streams.edges.codec.out import encode_dead_letter
from streams.edges.codec.reports import sent_report_of
from streams.edges.kafka.partitioner import partitions_of
from streams.edges.kafka.producer import Cause, aiokafka_quiet, client_options_of, unreachable_of
from streams.edges.kafka.report_lot import Lot, ReportLot
from streams.edges.logs.lines import logger_of
from streams.edges.settings.list import Settings

DEAD_LETTER_BYTES_MAX: Final = 4_000_000
_PLAIN_TOPIC_BYTES_MAX: Final = 900_000
"""What a topic with the broker's default limit takes, its batch's overhead included."""
REPORTS_PARTITION: Final = 0
"""All wave reports are in one partition: who reads them reads those of all others."""
_RETRY_SECONDS_MAX: Final = 5.0
_NO_TIME: Final = -1
"""A record's time that a broker takes whatever its clock and its topic's limits are."""

log = logger_of(__name__)


_Letter = tuple[bytes | None, bytes]
"""A record's key and value."""
_Letters = Mapping[int, Sequence[_Letter]]
"""Letters for the partitions of one topic, each partition's in their order."""


class KafkaAnnouncer:
    """A producer that does not give up. ``failed`` is told of each failure."""

    def __init__(self, settings: Settings, failed: Callable[[], None]) -> None:
        self._settings = settings
        self._failed = failed
        self._producer: AIOKafkaProducer | None = None
        self._untimed: set[str] = set()

    async def start(self) -> None:
        """Connect. Raises KafkaUnreachable."""
        producer = AIOKafkaProducer(
            **client_options_of(self._settings),
            acks="all",
            linger_ms=5,
            max_batch_size=1_000_000,
            max_request_size=DEAD_LETTER_BYTES_MAX + 100_000,
        )
        causes: list[Cause] = []
        try:
            with aiokafka_quiet(causes):
                await producer.start()
        except (KafkaError, OSError) as error:
            await producer.stop()
            raise await unreachable_of(self._settings, causes, error) from error
        self._producer = producer

    @property
    def client(self) -> AIOKafkaClient:
        """The connection, once started: for questions to Kafka that need none of their own."""
        assert self._producer is not None, "started"
        return self._producer.client

    async def stop(self) -> None:
        """Disconnect; what was sent has been waited for."""
        if self._producer is not None:
            await self._producer.stop()
            self._producer = None

    async def announce(self, lots: Sequence[Lot]) -> None:
        """Send surge records and wave reports; returns when Kafka has them all.

        Reports go to one partition, in which their order stays.
        """
        letters: dict[int, list[_Letter]] = defaultdict(list)
        fleet = self._settings.redis_prefix
        reports = [
            (None, sent_report_of(fleet, line))
            for lot in lots
            if isinstance(lot, ReportLot)
            for line in lot.lines
        ]
        await self._send(
            self._settings.topic_waves, {REPORTS_PARTITION: reports} if reports else {}
        )
        for lot in lots:
            if isinstance(lot, ReportLot):
                continue
            texts = Texts.of(lot.creator_ids)
            chosen = np.array(partitions_of(texts, self._settings.topic_partitions))
            pairs = list(zip(map(str.encode, lot.surge_ids), lot.values(), strict=True))
            partitions = np.unique(chosen).tolist()
            if len(partitions) == 1:  # as a rule: a lot is one partition's, and counts are equal
                letters[partitions[0]] += pairs
                continue
            for partition in partitions:
                rows = np.flatnonzero(chosen == partition).tolist()
                letters[partition] += [pairs[row] for row in rows]
        await self._send(self._settings.topic_surges, letters)

    async def bury(self, dead: Sequence[DeadRecord]) -> None:
        """Send records to dead letters; returns when Kafka has them all."""
        topic = self._settings.topic_dead_letters
        try:
            await self._send(topic, self._dead_letters(dead, DEAD_LETTER_BYTES_MAX))
        except MessageSizeTooLargeError:
            # the topic was made with the broker's default limit: the place still says which it is
            await self._send(topic, self._dead_letters(dead, _PLAIN_TOPIC_BYTES_MAX))

    def _dead_letters(self, dead: Sequence[DeadRecord], bytes_max: int) -> _Letters:
        letters: dict[int, list[_Letter]] = defaultdict(list)
        for one in dead:
            partition = one.partition % self._settings.topic_partitions
            letters[partition].append((None, encode_dead_letter(one, bytes_max)))
        return letters

    async def _send(self, topic: str, letters: _Letters) -> None:
        """Send until every letter is acknowledged. Raises MessageSizeTooLargeError."""
        wait_seconds = 0.1
        while letters:
            letters = await self._send_once(topic, letters)
            if letters:
                self._failed()
                left = sum(map(len, letters.values()))
                log.warning(
                    "announcing_waits",
                    "waiting for Kafka to take {records} records for {topic}",
                    records=left,
                    topic=topic,
                )
                await asyncio.sleep(wait_seconds)
                wait_seconds = min(2 * wait_seconds, _RETRY_SECONDS_MAX)

    async def _send_once(self, topic: str, letters: _Letters) -> _Letters:
        """Letters that were not acknowledged."""
        sends = [self._send_in_order(topic, *some) for some in letters.items()]
        answers = await asyncio.gather(*sends, return_exceptions=True)
        left = {}
        for partition, answer in zip(letters, answers, strict=True):
            if isinstance(answer, BaseException):
                raise answer
            if answer:
                left[partition] = answer
        return left

    async def _send_in_order(
        self, topic: str, partition: int, letters: Sequence[_Letter]
    ) -> Sequence[_Letter]:
        """Send to one partition, batch after batch; the letters from the first that failed on.

        None overtakes another, or an older revision could stand last in a compacted topic.
        """
        assert self._producer is not None, "started"
        begin, most = 0, len(letters)
        while begin < len(letters):
            now_ms = _NO_TIME if topic in self._untimed else time.time_ns() // 1_000_000
            builder, count = self._batch_of(letters[begin : begin + most], now_ms)
            try:
                if partition not in await self._producer.partitions_for(topic):
                    # The topic was made again with fewer. What is known of it lasts five minutes.
                    await self._producer.client.force_metadata_update()
                    return letters[begin:]
                await (await self._producer.send_batch(builder, topic, partition=partition))
            except MessageSizeTooLargeError:
                if count == 1:
                    raise
                most = count // 2  # the topic takes less than a batch holds
            except InvalidTimestampError:
                if topic in self._untimed:
                    return letters[begin:]
                self._send_without_time(topic)
            except KafkaError:
                return letters[begin:]
            else:
                begin += count
        return ()

    def _send_without_time(self, topic: str) -> None:
        """Go on without a time on each record: the event times stand in the records."""
        self._untimed.add(topic)
        self._failed()
        log.warning(
            "record_time_refused",
            "Kafka refuses this machine's time on records for {topic}: they are sent without one "
            "from now on. Is time synchronised here and on the brokers, and are the topic's "
            "message.timestamp.before.max.ms and message.timestamp.after.max.ms not too small?",
            topic=topic,
        )

    def _batch_of(self, letters: Sequence[_Letter], now_ms: int) -> tuple[Any, int]:
        """A closed batch of the first letters, and of how many."""
        assert self._producer is not None, "started"
        builder = self._producer.create_batch()
        number, append = 0, builder.append
        for number, (key, value) in enumerate(letters):
            if append(timestamp=now_ms, key=key, value=value) is None:
                return builder, number
        builder.close()
        return builder, number + 1
