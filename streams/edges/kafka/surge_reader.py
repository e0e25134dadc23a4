"""Reads surge records as they are announced, from the first one on, each once."""

from types import TracebackType
from typing import Final, Self

import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from streams.core.surges.surge import Surge
from streams.edges.codec.out import decode_surge
from streams.edges.errors import DataError, KafkaUnreachable
from streams.edges.kafka.producer import Cause, aiokafka_quiet, client_options_of, unreachable_of
from streams.edges.settings.list import Settings

_WAIT_MS: Final = 100


class SurgeReader:
    """A reader without a group for the length of an ``async with``.

    Surges are announced at least once: the second of the same ``surge_id`` and ``revision`` is
    dropped. Raises KafkaUnreachable, and DataError for a value that is no surge.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._seen: set[tuple[str, int]] = set()

    async def __aenter__(self) -> Self:
        """Connect, and begin at the first surge of every partition."""
        settings = self._settings
        self._consumer = AIOKafkaConsumer(
            **client_options_of(settings),
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            fetch_max_wait_ms=_WAIT_MS,
        )
        places = [
            TopicPartition(settings.topic_surges, partition)
            for partition in range(settings.topic_partitions)
        ]
        causes: list[Cause] = []
        try:
            with aiokafka_quiet(causes):
                await self._consumer.start()
                self._consumer.assign(places)
                await self._consumer.seek_to_beginning(*places)
        except BaseException as error:  # cancelled too: a consumer has to be closed
            await self._consumer.stop()
            if isinstance(error, (KafkaError, OSError)):
                raise await unreachable_of(settings, causes, error) from error
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Disconnect."""
        await self._consumer.stop()

    async def read(self) -> list[tuple[Surge, bytes]]:
        """Read the surges that came since, with their JSON; empty after a tenth of a second."""
        try:
            fetched = await self._consumer.getmany(timeout_ms=_WAIT_MS)
        except KafkaError as error:
            servers = self._settings.kafka_bootstrap_servers
            raise KafkaUnreachable(servers, str(error)) from error
        return [
            (surge, value)
            for records in fetched.values()
            for surge, value in ((_surge_of(record.value), record.value) for record in records)
            if self._is_new(surge)
        ]

    def _is_new(self, surge: Surge) -> bool:
        name = (surge.surge_id, surge.revision)
        if name in self._seen:
            return False
        self._seen.add(name)
        return True


def _surge_of(value: bytes) -> Surge:
    try:
        return decode_surge(value)
    except msgspec.DecodeError as error:
        message = f"a record of the surges topic is no surge: {error}"
        raise DataError(message) from error
