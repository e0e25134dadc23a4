"""Sends surge records and dead letters to Kafka, for as long as it takes.

Both are sent at least once. A surge's message key is its ``surge_id``, by which the topic is
compacted; its partition is its creator's, so that all about one creator is in one partition.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec
from aiokafka import AIOKafkaProducer
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaError, MessageSizeTooLargeError

from streams.core.events import DeadRecord
from streams.edges.codec_out import encode_dead_letter
from streams.edges.errors import KafkaUnreachable
from streams.edges.producer import client_options_of, partition_of
from streams.edges.settings_list import Settings

DEAD_LETTER_BYTES_MAX: Final = 4_000_000
_PLAIN_TOPIC_BYTES_MAX: Final = 900_000
"""What a topic with the broker's default limit takes, its batch's overhead included."""
_RETRY_SECONDS_MAX: Final = 5.0

log = logging.getLogger(__name__)


class _Name(msgspec.Struct):
    surge_id: str
    creator_id: str


class _Letter(msgspec.Struct, frozen=True):
    topic: str
    key: bytes | None
    value: bytes
    partition: int


class KafkaAnnouncer:
    """A producer that does not give up. ``failed`` is told of each failure."""

    def __init__(self, settings: Settings, failed: Callable[[], None]) -> None:
        self._settings = settings
        self._failed = failed
        self._producer: AIOKafkaProducer | None = None

    async def start(self) -> None:
        """Connect. Raises KafkaUnreachable."""
        producer = AIOKafkaProducer(
            **client_options_of(self._settings),
            acks="all",
            linger_ms=5,
            max_batch_size=1_000_000,
            max_request_size=DEAD_LETTER_BYTES_MAX + 100_000,
        )
        try:
            await producer.start()
        except (KafkaError, OSError) as error:
            await producer.stop()
            servers = self._settings.kafka_bootstrap_servers
            raise KafkaUnreachable(servers, str(error)) from error
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

    async def announce(self, records: Mapping[str, bytes]) -> None:
        """Send surge records; returns when Kafka has them all."""
        letters = []
        for value in records.values():
            name = msgspec.json.decode(value, type=_Name)
            partition = partition_of(name.creator_id.encode(), self._settings.topic_partitions)
            topic = self._settings.topic_surges
            letters.append(_Letter(topic, name.surge_id.encode(), value, partition))
        await self._send(letters)

    async def bury(self, dead: Sequence[DeadRecord]) -> None:
        """Send records to dead letters; returns when Kafka has them all."""
        try:
            await self._send(self._dead_letters(dead, DEAD_LETTER_BYTES_MAX))
        except MessageSizeTooLargeError:
            # the topic was made with the broker's default limit: the place still says which it is
            await self._send(self._dead_letters(dead, _PLAIN_TOPIC_BYTES_MAX))

    def _dead_letters(self, dead: Sequence[DeadRecord], bytes_max: int) -> list[_Letter]:
        topic, count = self._settings.topic_dead_letters, self._settings.topic_partitions
        return [
            _Letter(topic, None, encode_dead_letter(one, bytes_max), one.partition % count)
            for one in dead
        ]

    async def _send(self, letters: list[_Letter]) -> None:
        """Send until every letter is acknowledged. Raises MessageSizeTooLargeError."""
        wait_seconds = 0.1
        while letters:
            letters = await self._send_once(letters)
            if letters:
                self._failed()
                log.warning(
                    "waiting for Kafka to take %d records for %s", len(letters), letters[0].topic
                )
                await asyncio.sleep(wait_seconds)
                wait_seconds = min(2 * wait_seconds, _RETRY_SECONDS_MAX)

    async def _send_once(self, letters: list[_Letter]) -> list[_Letter]:
        """Letters that were not acknowledged."""
        assert self._producer is not None, "started"
        sent: list[Any] = []
        for letter in letters:
            try:
                sent.append(
                    await self._producer.send(
                        letter.topic, letter.value, letter.key, partition=letter.partition
                    )
                )
            except MessageSizeTooLargeError:
                raise
            except KafkaError as error:
                sent.append(error)
        answers = await asyncio.gather(
            *(one for one in sent if not isinstance(one, KafkaError)), return_exceptions=True
        )
        by_letter = iter(answers)
        failures = [one if isinstance(one, KafkaError) else next(by_letter) for one in sent]
        for failure in failures:
            if isinstance(failure, MessageSizeTooLargeError) or (
                isinstance(failure, BaseException) and not isinstance(failure, KafkaError)
            ):
                raise failure
        return [
            letter
            for letter, failure in zip(letters, failures, strict=True)
            if isinstance(failure, KafkaError)
        ]
