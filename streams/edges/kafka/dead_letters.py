"""Reads the topic of dead letters, partition by partition: letters, and the marks of retries."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Final, NamedTuple, Self

import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from streams.edges.codec.out import DeadLetter, decode_dead_letter
from streams.edges.errors import DataError, KafkaUnreachable
from streams.edges.kafka.producer import (
    Cause,
    TopicMissing,
    aiokafka_quiet,
    client_options_of,
    unreachable_of,
)
from streams.edges.kafka.retry_marks import RetryMark, decode_mark
from streams.edges.kafka.topics import DEAD_LETTER_BYTES_MAX
from streams.edges.settings.list import Settings

_WAIT_MS: Final = 200


class LetterPlace(NamedTuple):
    """Where a letter stands in the topic of dead letters: PARTITION:OFFSET."""

    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.partition}:{self.offset}"


class FoundLetter(NamedTuple):
    """A letter, where it stands, and when it was written (ms; below 0: not known)."""

    place: LetterPlace
    written_ms: int
    letter: DeadLetter


class Span(NamedTuple):
    """Offsets of one partition that Kafka has now: [begin, end)."""

    begin: int
    end: int


class Read(NamedTuple):
    """What some records are: letters, marks by their key, and how many are neither."""

    letters: list[FoundLetter]
    marks: dict[bytes, RetryMark]
    unknown: int


class NoLetter(DataError):
    """There is no letter at a place; the message says why."""

    def __init__(self, place: LetterPlace, why: str) -> None:
        self.place = place
        super().__init__(f"no dead letter at {place}: {why}")


class DeadLetterReader:
    """A reader without a group for the length of an ``async with``.

    Raises KafkaUnreachable, TopicMissing.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._topic = settings.topic_dead_letters
        self._partitions: Sequence[int] = ()

    async def __aenter__(self) -> Self:
        """Connect, and ask which partitions there are."""
        settings, causes = self._settings, list[Cause]()
        self._consumer = AIOKafkaConsumer(
            **client_options_of(settings),
            enable_auto_commit=False,
            auto_offset_reset="none",
            fetch_max_wait_ms=_WAIT_MS,
            max_partition_fetch_bytes=2 * DEAD_LETTER_BYTES_MAX,
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

    async def spans(self) -> Mapping[int, Span]:
        """What Kafka has of each partition now."""
        places = [TopicPartition(self._topic, number) for number in self._partitions]
        try:
            begins = await self._consumer.beginning_offsets(places)
            ends = await self._consumer.end_offsets(places)
        except (KafkaError, OSError) as error:
            raise self._unreachable(str(error)) from error
        return {tp.partition: Span(begins[tp], ends[tp]) for tp in places}

    async def read(self, partition: int, span: Span) -> AsyncIterator[Read]:
        """Read a stretch of one partition, some records at a time."""
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
                    raise self._unreachable(type(error).__name__) from error
            if reached == position:
                if time.monotonic() - heard_at > limit_seconds:
                    silence = f"no answer for {limit_seconds:g} s"
                    raise self._unreachable(silence)
                continue
            position, heard_at = reached, time.monotonic()
            yield read_of([one for one in fetched.get(tp, ()) if one.offset < span.end])

    async def letter_at(self, place: LetterPlace) -> FoundLetter:
        """Read one letter. Raises NoLetter."""
        check_place(place, await self.spans())
        async for read in self.read(place.partition, Span(place.offset, place.offset + 1)):
            for found in read.letters:
                return found
            if read.marks:
                raise NoLetter(place, "it is a mark of a retry")
        raise NoLetter(place, "what stands there was not written by a worker")

    def _unreachable(self, cause: str) -> KafkaUnreachable:
        return KafkaUnreachable(self._settings.kafka_bootstrap_servers, cause or "no answer")


def check_place(place: LetterPlace, spans: Mapping[int, Span]) -> None:
    """Raise NoLetter if Kafka cannot have anything there."""
    span = spans.get(place.partition)
    if span is None:
        raise NoLetter(place, f"the topic has {len(spans)} partitions, the first one is 0")
    if place.offset >= span.end:
        raise NoLetter(place, f"the partition ends at offset {span.end}")
    if place.offset < span.begin:
        raise NoLetter(
            place, f"Kafka's retention took it, the partition begins at offset {span.begin} now"
        )


def read_of(records: Sequence[Any]) -> Read:
    """Tell letters, marks and other records of the topic apart. Never raises."""
    read = Read([], {}, 0)
    unknown = 0
    for record in records:
        try:
            if record.key is None:
                letter = decode_dead_letter(record.value or b"")
                place = LetterPlace(record.partition, record.offset)
                read.letters.append(FoundLetter(place, record.timestamp, letter))
            elif record.value is not None:
                read.marks[record.key] = decode_mark(record.value)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            unknown += 1
    return read._replace(unknown=unknown)
