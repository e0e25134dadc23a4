"""Counts of dead letters, and the newest of them."""

import heapq
from collections import Counter
from collections.abc import Mapping
from itertools import count
from typing import NamedTuple

from streams.app.dead_letters.retrying import Choice
from streams.core.records.chunks import Reason
from streams.edges.kafka.dead_letters import DeadLetterReader, FoundLetter
from streams.edges.kafka.retry_marks import RetryMark, mark_key_of
from streams.edges.kafka.topic_reader import Span
from streams.edges.settings.list import Settings


class Counted(NamedTuple):
    """How many letters there are of one topic and reason, and how many of them were put back."""

    topic: str
    reason: Reason
    letters: int
    retried: int


class Letters(NamedTuple):
    """Counts, most first; the newest letters, newest first, each with its last mark."""

    counts: list[Counted]
    newest: list[tuple[FoundLetter, RetryMark | None]]
    unknown: int


async def count_letters(settings: Settings, choice: Choice, limit: int) -> Letters:
    """Read all letters, and count those chosen. Raises KafkaUnreachable, TopicMissing.

    In memory are the key of each letter of one partition, and the newest ones.
    """
    tally = _Tally(choice, limit)
    async with DeadLetterReader(settings) as reader:
        spans = await reader.spans()
        for number, span in spans.items():
            await tally.take_partition(reader, number, span)
    return tally.letters()


class _Tally:
    def __init__(self, choice: Choice, limit: int) -> None:
        self._choice = choice
        self._limit = limit
        self._counts: Counter[tuple[str, Reason]] = Counter()
        self._retried: Counter[tuple[str, Reason]] = Counter()
        self._newest: list[tuple[int, int, FoundLetter, RetryMark | None]] = []
        self._numbers = count()
        self._unknown = 0

    async def take_partition(self, reader: DeadLetterReader, number: int, span: Span) -> None:
        """Read one partition; copies of a letter and its marks stand in the same one."""
        kinds: dict[bytes, tuple[str, Reason]] = {}
        marks: dict[bytes, RetryMark] = {}
        newest: list[tuple[int, int, FoundLetter]] = []
        async for read in reader.read(number, span):
            marks |= read.marks
            self._unknown += read.unknown
            for found in read.letters:
                key = mark_key_of(found.letter)
                if key in kinds or not self._choice.takes(found):
                    continue
                kinds[key] = (found.letter.topic, found.letter.reason)
                one = (found.written_ms, next(self._numbers), found)
                if len(newest) < self._limit:
                    heapq.heappush(newest, one)
                elif self._limit:
                    heapq.heappushpop(newest, one)
        self._counts.update(kinds.values())
        self._retried.update(
            kinds[key] for key, mark in marks.items() if key in kinds and mark.retry == "done"
        )
        self._add_newest(newest, marks)

    def _add_newest(
        self, newest: list[tuple[int, int, FoundLetter]], marks: Mapping[bytes, RetryMark]
    ) -> None:
        told = [(*one, marks.get(mark_key_of(one[2].letter))) for one in newest]
        self._newest = heapq.nlargest(
            self._limit, [*self._newest, *told], key=lambda one: (one[0], one[1])
        )

    def letters(self) -> Letters:
        """What was counted."""
        counts = [
            Counted(*kind, letters, self._retried[kind])
            for kind, letters in sorted(self._counts.items(), key=lambda one: (-one[1], one[0]))
        ]
        return Letters(counts, [one[2:] for one in self._newest], self._unknown)
