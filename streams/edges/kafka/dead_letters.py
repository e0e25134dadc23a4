"""Reads the topic of dead letters, partition by partition: letters, and the marks of retries."""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from streams.edges.codec.out import DeadLetter, decode_dead_letter
from streams.edges.errors import DataError
from streams.edges.kafka.retry_marks import RetryMark, decode_mark
from streams.edges.kafka.topic_reader import Span, TopicReader
from streams.edges.kafka.topics import DEAD_LETTER_BYTES_MAX
from streams.edges.settings.list import Settings


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


class DeadLetterReader(TopicReader):
    """A reader without a group for the length of an ``async with``.

    Raises KafkaUnreachable, TopicMissing.
    """

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings, settings.topic_dead_letters, 2 * DEAD_LETTER_BYTES_MAX)

    async def read(self, partition: int, span: Span) -> AsyncIterator[Read]:
        """Read a stretch of one partition, some records at a time."""
        async for records in self.records(partition, span):
            yield read_of(records)

    async def letter_at(self, place: LetterPlace) -> FoundLetter:
        """Read one letter. Raises NoLetter."""
        check_place(place, await self.spans())
        async for read in self.read(place.partition, Span(place.offset, place.offset + 1)):
            for found in read.letters:
                return found
            if read.marks:
                raise NoLetter(place, "it is a mark of a retry")
        raise NoLetter(place, "what stands there was not written by a worker")


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
