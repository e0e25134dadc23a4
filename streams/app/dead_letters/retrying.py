"""Puts records of dead letters back into their topics, and marks them.

Some thousand at a time: "begun" is marked, the records are sent, "done" is marked, and each step
waits until Kafka has all of the one before. So when a retry is killed, or Kafka goes away, at most
one lot stands between the two marks. Its records may be in their topics: they are put back once
more only while their event ids are remembered, which makes them count once.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple

from streams.app.commands.show import iso_of
from streams.core.records.chunks import Reason
from streams.edges.errors import DataError
from streams.edges.files.mended import Fit, Judge, is_too_late
from streams.edges.kafka.dead_letters import (
    DeadLetterReader,
    FoundLetter,
    LetterPlace,
    NoLetter,
    check_place,
)
from streams.edges.kafka.producer import RecordProducer, aiokafka_quiet, partition_of
from streams.edges.kafka.retry_marks import RetryMark, RetryState, encode_mark, mark_key_of, mark_of
from streams.edges.kafka.topic_reader import Span
from streams.edges.redis.reader import RedisReader
from streams.edges.settings.list import Settings
from streams.edges.store import Place

_LOT_RECORDS: Final = 2_000
_LOT_BYTES: Final = 1_000_000

Did = Literal["put back", "would be put back", "retried before", "refused"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Which letters: those at ``places``, or all of a reason and topic, written since."""

    places: frozenset[LetterPlace] = frozenset()
    reason: Reason | None = None
    topic: str | None = None
    since_ms: int | None = None

    def takes(self, found: FoundLetter) -> bool:
        """Whether a letter is chosen; one whose time is not known counts as recent."""
        if self.places and found.place not in self.places:
            return False
        letter, written_ms = found.letter, found.written_ms
        return (
            self.reason in {None, letter.reason}
            and self.topic in {None, letter.topic}
            and (self.since_ms is None or written_ms < 0 or written_ms >= self.since_ms)
        )

    def spans_in(self, spans: Mapping[int, Span]) -> Mapping[int, Span]:
        """Stretches to be read for it."""
        wanted = {place.partition for place in self.places} or spans.keys()
        return {number: span for number, span in spans.items() if number in wanted}


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryTask:
    """What to put back: chosen letters as they were, but those that were mended.

    ``again``: those too that were put back before.
    """

    choice: Choice
    mended: Mapping[LetterPlace, bytes] = field(default_factory=dict)
    again: bool = False
    dry_run: bool = False


class Retried(NamedTuple):
    """What was done about one letter, and why not more."""

    found: FoundLetter
    did: Did
    why: str = ""


class _Ready(NamedTuple):
    found: FoundLetter
    key: bytes
    fit: Fit


class Retry:
    """One run of it; ``tell`` is told of every chosen letter, of one put back when Kafka has it."""

    def __init__(
        self,
        settings: Settings,
        judge: Judge,
        task: RetryTask,
        tell: Callable[[Retried], None],
        now_ms: Callable[[], int],
    ) -> None:
        self._settings = settings
        self._judge = judge
        self._task = task
        self._tell = tell
        self._now_ms = now_ms
        self._marks: dict[bytes, RetryMark] = {}
        self._met: set[bytes] = set()
        self._producer: RecordProducer | None = None
        self.counts: Counter[Did] = Counter()

    async def run(self) -> None:
        """Put back what can be. Raises NoLetter, before anything is sent, and UnreachableError."""
        async with AsyncExitStack() as opened:
            opened.enter_context(aiokafka_quiet([]))
            redis = opened.enter_context(RedisReader(self._settings))
            reader = await opened.enter_async_context(DeadLetterReader(self._settings))
            spans = await reader.spans()
            for place in sorted(self._task.choice.places):
                check_place(place, spans)
            spans = self._task.choice.spans_in(spans)
            await self._read_marks(reader, spans)
            if not self._task.dry_run:
                self._producer = await opened.enter_async_context(RecordProducer(self._settings))
                await self._open_topics(self._producer)
            for number, span in spans.items():
                await self._retry_partition(reader, number, span, redis)

    async def _read_marks(self, reader: DeadLetterReader, spans: Mapping[int, Span]) -> None:
        missing = set(self._task.choice.places)
        for number, span in spans.items():
            async for read in reader.read(number, span):
                self._marks |= read.marks
                missing -= {found.place for found in read.letters}
        if missing:
            raise NoLetter(min(missing), "a mark of a retry stands there, or nothing")

    async def _open_topics(self, producer: RecordProducer) -> None:
        settings = self._settings
        await producer.open_topic(settings.topic_dead_letters)
        for topic in (settings.topic_follows, settings.topic_comments):
            count = await producer.open_topic(topic)
            if count != settings.topic_partitions:
                message = (
                    f"topic {topic} has {count} partitions, not {settings.topic_partitions}: see "
                    "surgewatch topics check"
                )
                raise DataError(message)

    async def _retry_partition(
        self, reader: DeadLetterReader, number: int, span: Span, redis: RedisReader
    ) -> None:
        self._met.clear()  # copies of a letter stand in one partition
        lot, size_bytes = list[_Ready](), 0
        async for read in reader.read(number, span):
            chosen = [one for one in read.letters if self._task.choice.takes(one)]
            for one in self._ready_of(chosen):
                lot.append(one)
                size_bytes += len(one.fit.value)
                if len(lot) >= _LOT_RECORDS or size_bytes >= _LOT_BYTES:
                    await self._put_back(lot, redis)
                    lot, size_bytes = [], 0
        await self._put_back(lot, redis)

    def _ready_of(self, chosen: Sequence[FoundLetter]) -> Iterator[_Ready]:
        """Those that can be put back; of others it is told why not."""
        now_ms, wanted = self._now_ms(), list[tuple[bytes, FoundLetter]]()
        for found in chosen:
            key = mark_key_of(found.letter)
            if key in self._met:
                continue  # a copy of a letter: a worker may write one twice
            self._met.add(key)
            before = self._before(self._marks.get(key), now_ms)
            if before is None:
                wanted.append((key, found))
            else:
                self._told(Retried(found, *before))
        mended = self._task.mended
        pairs = [(found.letter, mended.get(found.place)) for _, found in wanted]
        fits = self._judge.verdicts(pairs, now_ms)
        for (key, found), fit in zip(wanted, fits, strict=True):
            if isinstance(fit, str):
                self._told(Retried(found, "refused", fit))
            else:
                yield _Ready(found, key, fit)

    def _before(self, mark: RetryMark | None, now_ms: int) -> tuple[Did, str] | None:
        """Why a letter is not put back for an earlier retry; None: it may be."""
        if mark is None or self._task.again:
            return None
        when = iso_of(mark.at_ms)
        if mark.retry == "done":
            return "retried before", f"it was put back at {when}: --again does it once more"
        # half of the horizon: that is of event time, which may run ahead of this clock
        if now_ms - mark.at_ms < self._settings.repeats_horizon_ms // 2:
            return None
        return (
            "refused",
            f"a retry at {when} ended before it could say whether it put it back: --again does, "
            "and it counts twice if it was",
        )

    async def _put_back(self, lot: Sequence[_Ready], redis: RedisReader) -> None:
        """Put one lot back, but for what is too late."""
        counted_ms: dict[Place, int] = {}
        in_time: list[_Ready] = []
        for one in lot:
            partition = partition_of(one.fit.creator_id, self._settings.topic_partitions)
            place = Place(one.found.letter.topic, partition)
            if place not in counted_ms:
                counted_ms[place] = redis.shelf(place).watermark_ms
            if is_too_late(one.fit.at_ms, counted_ms[place]):
                why = (
                    f"too late: its at_ms is {iso_of(one.fit.at_ms)} and its partition has counted "
                    f"up to {iso_of(counted_ms[place])}; what is 24 hours behind is not counted"
                )
                self._told(Retried(one.found, "refused", why))
            else:
                in_time.append(one)
        if self._producer is not None and in_time:
            await self._send(self._producer, in_time)
        did: Did = "would be put back" if self._producer is None else "put back"
        for one in in_time:
            self._told(Retried(one.found, did))

    async def _send(self, producer: RecordProducer, lot: Sequence[_Ready]) -> None:
        await self._mark(producer, lot, "begun")
        for topic in sorted({one.found.letter.topic for one in lot}):
            fits = [one.fit for one in lot if one.found.letter.topic == topic]
            keys = [fit.creator_id for fit in fits]
            await producer.send(topic, keys, [fit.value for fit in fits])
        await producer.flush()
        await self._mark(producer, lot, "done")

    async def _mark(
        self, producer: RecordProducer, lot: Sequence[_Ready], state: RetryState
    ) -> None:
        at_ms = self._now_ms()
        values = [encode_mark(mark_of(one.found.letter, state, at_ms)) for one in lot]
        keys, partitions = [one.key for one in lot], [one.found.place.partition for one in lot]
        await producer.send(self._settings.topic_dead_letters, keys, values, partitions)
        await producer.flush()

    def _told(self, retried: Retried) -> None:
        self.counts[retried.did] += 1
        self._tell(retried)
