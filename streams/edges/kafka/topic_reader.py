"""Reads stretches of one topic without a group, partition by partition, and changes nothing."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Final, NamedTuple, Self

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError, TopicAuthorizationFailedError

from streams.edges.errors import KafkaRefusesUs, KafkaUnreachable
from streams.edges.kafka.producer import (
    Cause,
    TopicMissing,
    aiokafka_quiet,
    client_options_of,
    unreachable_of,
)
from streams.edges.settings.list import Settings

_WAIT_MS: Final = 200


class Span(NamedTuple):
    """Offsets of one partition that Kafka has now: [begin, end)."""

    begin: int
    end: int


class TopicReader:
    """A reader for the length of an ``async with``. Raises KafkaUnreachable, TopicMissing."""

    def __init__(self, settings: Settings, topic: str, fetch_bytes_max: int) -> None:
        self._settings = settings
        self._topic = topic
        self._fetch_bytes_max = fetch_bytes_max
        self._partitions: Sequence[int] = ()

    async def __aenter__(self) -> Self:
        """Connect, and ask which partitions there are."""
        settings, causes = self._settings, list[Cause]()
        self._consumer = AIOKafkaConsumer(
            **client_options_of(settings),
            enable_auto_commit=False,
            auto_offset_reset="none",
            fetch_max_wait_ms=_WAIT_MS,
            max_partition_fetch_bytes=self._fetch_bytes_max,
        )
        try:
            with aiokafka_quiet(causes):
                async with asyncio.timeout(settings.kafka_timeout_ms / 1000):
                    await self._consumer.start()
                    # its own topics() tells names alone
                    cluster = await self._consumer._client.fetch_all_metadata()
        except BaseException as error:  # cancelled too: a consumer has to be closed
            await self._consumer.stop()
            if isinstance(error, (KafkaError, OSError)):  # a TimeoutError too
                raise await unreachable_of(settings, causes, error) from error
            raise
        self._partitions = sorted(cluster.partitions_for_topic(self._topic) or ())
        if not self._partitions:
            await self._consumer.stop()
            raise TopicMissing(self._topic, settings.kafka_bootstrap_servers)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Disconnect."""
        with aiokafka_quiet([]):
            await self._consumer.stop()

    async def spans(self, since_ms: int | None = None) -> Mapping[int, Span]:
        """What Kafka has of each partition now; with ``since_ms`` from what it took since then."""
        places = [TopicPartition(self._topic, number) for number in self._partitions]
        try:
            begins = await self._consumer.beginning_offsets(places)
            ends = await self._consumer.end_offsets(places)
            if since_ms is not None:
                found = await self._consumer.offsets_for_times(
                    dict.fromkeys(places, max(0, since_ms))
                )
                begins = {tp: ends[tp] if at is None else at.offset for tp, at in found.items()}
        except (KafkaError, OSError) as error:
            raise self._unreachable(str(error)) from error
        return {tp.partition: Span(begins[tp], ends[tp]) for tp in places}

    async def records(self, partition: int, span: Span) -> AsyncIterator[Sequence[Any]]:
        """Read a stretch of one partition, some records at a time; perhaps none at a time."""
        tp = TopicPartition(self._topic, partition)
        limit_seconds = self._settings.kafka_timeout_ms / 1000
        if span.begin >= span.end:
            return
        self._consumer.assign([tp])
        self._consumer.seek(tp, span.begin)
        position, heard_at = span.begin, time.monotonic()
        while position < span.end:
            with aiokafka_quiet([]):
                try:
                    fetched = await self._consumer.getmany(tp, timeout_ms=_WAIT_MS)
                    reached = await self._consumer.position(tp)
                except (KafkaError, OSError) as error:
                    raise self._read_error(error) from error
            if reached == position:
                if time.monotonic() - heard_at > limit_seconds:
                    silence = f"no answer for {limit_seconds:g} s"
                    raise self._unreachable(silence)
                continue
            position, heard_at = reached, time.monotonic()
            yield [one for one in fetched.get(tp, ()) if one.offset < span.end]

    def _read_error(self, error: Exception) -> KafkaUnreachable:
        if isinstance(error, TopicAuthorizationFailedError):
            cause = (
                f"its user may not read topic {self._topic} (Read on topic {self._topic}): see "
                "docs/security.md"
            )
            return KafkaRefusesUs(self._settings.kafka_bootstrap_servers, cause)
        return self._unreachable(type(error).__name__)

    def _unreachable(self, cause: str) -> KafkaUnreachable:
        return KafkaUnreachable(self._settings.kafka_bootstrap_servers, cause or "no answer")
