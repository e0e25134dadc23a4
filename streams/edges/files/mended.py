"""Records that are to be put back: read from a file, and judged before any of them is sent."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from streams.core.records.chunks import RawChunk, Reason
from streams.core.time.buckets import bucket_of, oldest_bucket_of
from streams.edges.codec.events import Limits, decode_comments, decode_follows
from streams.edges.codec.out import DeadLetter
from streams.edges.errors import DataError
from streams.edges.kafka.dead_letters import LetterPlace
from streams.edges.kafka.retry_marks import event_id_of

WORDS: Final[Mapping[Reason, str]] = {
    Reason.EMPTY: "it has no value, or an empty one",
    Reason.TOO_LARGE: "it is longer than record_bytes_max",
    Reason.NULL_BYTE: "it has a null byte, which no id or text may have",
    Reason.INVALID_UTF8: "its bytes are no UTF-8",
    Reason.NOT_JSON: "it is no JSON",
    Reason.TOO_DEEP: "its JSON is nested deeper than 64",
    Reason.NOT_AN_OBJECT: "it is JSON, but no object",
    Reason.CREATOR_MISSING: "it has no creator_id",
    Reason.CREATOR_INVALID: "its creator_id is no text, or an empty one",
    Reason.CREATOR_TOO_LONG: "its creator_id is longer than 256 characters",
    Reason.AT_MS_MISSING: "it has no at_ms",
    Reason.AT_MS_NEGATIVE: "its at_ms is below 0",
    Reason.AT_MS_IN_SECONDS: "its at_ms is in seconds, not in milliseconds",
    Reason.AT_MS_IN_FUTURE: "its at_ms is later than it can be: a clock is ahead",
    Reason.AT_MS_INVALID: "its at_ms is no whole number of milliseconds from 2000 to 2099",
    Reason.FIELD_MISSING: "a field that must be there is not",
    Reason.FIELD_INVALID: "a field has a value that it may not have",
}
"""What is wrong with a record, in words that follow "the record: "."""
_LINE_BYTES_MAX: Final = 4_194_304


class MendedFileBroken(DataError):
    """A line of a file of mended records cannot be used."""

    def __init__(self, path: Path, line: int, problem: str) -> None:
        super().__init__(f"{path} line {line}: {problem}")
        self.path, self.line = path, line


class _MendedLine(msgspec.Struct, frozen=True):
    place: str
    record: msgspec.Raw


_LINE = msgspec.json.Decoder(_MendedLine)
_FIELDS = msgspec.json.Decoder(dict[str, msgspec.Raw])


def place_of(text: str) -> LetterPlace:
    """Read a place, PARTITION:OFFSET. Raises ValueError.

    >>> place_of("3:17")
    LetterPlace(partition=3, offset=17)
    """
    partition, colon, offset = text.partition(":")
    if not (colon and partition.isdecimal() and offset.isdecimal() and text.isascii()):
        message = f"{text!r} is no PARTITION:OFFSET"
        raise ValueError(message)
    return LetterPlace(int(partition), int(offset))


def read_mended(path: Path) -> dict[LetterPlace, bytes]:
    """Read mended records, each with the place of its letter.

    Raises MendedFileBroken, DataError if the file cannot be read.
    """
    mended: dict[LetterPlace, bytes] = {}
    try:
        with path.open("rb") as file:
            for number, line in enumerate(iter(lambda: file.readline(_LINE_BYTES_MAX), b""), 1):
                if not line.strip():
                    continue
                place, record = _mended_in(path, number, line)
                if place in mended:
                    raise MendedFileBroken(path, number, f"a second record for {place}")
                mended[place] = record
    except OSError as error:
        message = f"cannot read {path}: {error.strerror}"
        raise DataError(message) from error
    return mended


def _mended_in(path: Path, number: int, line: bytes) -> tuple[LetterPlace, bytes]:
    try:
        told = _LINE.decode(line)
        return place_of(told.place), bytes(told.record)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError) as error:
        form = '{"place": "PARTITION:OFFSET", "record": {…}} is wanted'
        raise MendedFileBroken(path, number, f"{error}; {form}") from error


class Judge(NamedTuple):
    """What a record may be to be put back: the worker's limits, and the topics it reads."""

    limits: Limits
    topic_follows: str
    topic_comments: str

    def verdict(self, letter: DeadLetter, mended: bytes | None, now_ms: int) -> "Fit | str":
        """The record as it can be put back, or why it cannot; ``mended`` None: as it was."""
        return self.verdicts([(letter, mended)], now_ms)[0]

    def verdicts(
        self, pairs: Sequence[tuple[DeadLetter, bytes | None]], now_ms: int
    ) -> list["Fit | str"]:
        """What `verdict` says of each letter and its mended record, decoded together."""
        told: list[Fit | str] = [self._unfit(*pair) or "" for pair in pairs]
        values = [letter.raw_base64 if new is None else new for letter, new in pairs]
        for topic in (self.topic_follows, self.topic_comments):
            rows = [
                row
                for row, (letter, _) in enumerate(pairs)
                if not told[row] and letter.topic == topic
            ]
            to_name = []
            found = self._decoded(topic, [values[row] for row in rows], now_ms)
            for row, one in zip(rows, found, strict=True):
                told[row] = f"{one.value}: {WORDS[one]}" if isinstance(one, Reason) else one
                if isinstance(one, Fit) and self._wants_id(pairs[row][0], one):
                    to_name.append(row)
            given = [with_event_id(values[row], event_id_of(pairs[row][0])) for row in to_name]
            for row, one in zip(to_name, self._decoded(topic, given, now_ms), strict=True):
                # no room for an id: without one it might count twice, or not at all
                no_room = isinstance(one, Reason) and f"{one.value} with an event_id: {WORDS[one]}"
                told[row] = no_room or one
        return told

    def _wants_id(self, letter: DeadLetter, fit: "Fit") -> bool:
        """Whether a record gets an event id of its letter.

        A worker that takes a partition over under a larger record_bytes_max learns the ids of what
        was too large before it, and would take what is put back for a repeat.
        """
        learnt = letter.reason is Reason.TOO_LARGE
        return self.limits.with_event_ids and (learnt or not fit.has_event_id)

    def _unfit(self, letter: DeadLetter, mended: bytes | None) -> str | None:
        """Why a letter cannot be put back, whatever its record is; None: it can."""
        if letter.topic not in {self.topic_follows, self.topic_comments}:
            return f"it came from {letter.topic}, and only follows and comments are put back"
        if mended is None and letter.truncated:
            return (
                f"of its {letter.raw_bytes} bytes only {len(letter.raw_base64)} are in the letter: "
                "give the whole record with --mended"
            )
        return None

    def _decoded(self, topic: str, values: Sequence[bytes], now_ms: int) -> list["Fit | Reason"]:
        """Each record decoded as a worker does it, or why it cannot be used."""
        count = len(values)
        raw = RawChunk(topic, 0, values, range(count), count, -1, count)
        decode = decode_follows if topic == self.topic_follows else decode_comments
        decoded = decode(raw, now_ms, self.limits)
        chunk, told = decoded.chunk, dict[int, Fit | Reason]()
        told |= {one.offset: one.reason for one in decoded.dead}
        usable = [row for row in range(count) if row not in told]
        ids = [True] * len(usable) if chunk.event_ids is None else chunk.event_ids.lengths > 0
        for row, creator, at_ms, has_id in zip(
            usable, chunk.creator_ids.encoded(), chunk.at_ms.tolist(), ids, strict=True
        ):
            told[row] = Fit(values[row], creator, at_ms, has_event_id=bool(has_id))
        return [told[row] for row in range(count)]


class Fit(NamedTuple):
    """A record that can be put back: its value, its key, its event time.

    ``has_event_id``: true also where repeats are not looked for.
    """

    value: bytes
    creator_id: bytes
    at_ms: int
    has_event_id: bool = True


def with_event_id(value: bytes, event_id: str) -> bytes:
    """A record, which is a JSON object, with this event id; other values byte for byte as before.

    >>> with_event_id(b'{"a": 1.0, "event_id": null}', "e-1")
    b'{"a":1.0,"event_id":"e-1"}'
    """
    fields = _FIELDS.decode(value)
    fields["event_id"] = msgspec.Raw(msgspec.json.encode(event_id))
    return msgspec.json.encode(fields)


def is_too_late(at_ms: int, watermark_ms: int) -> bool:
    """Whether no worker counts a record any more that comes now.

    ``watermark_ms``: of its partition; below 0: nothing was counted there.

    >>> is_too_late(1_000, 86_401_000), is_too_late(1_000, 86_399_000), is_too_late(1_000, -1)
    (True, False, False)
    """
    return bucket_of(at_ms) < oldest_bucket_of(bucket_of(watermark_ms))
