"""Records that are to be put back: read from a file, and judged before any of them is sent."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from streams.core.buckets import bucket_of, oldest_bucket_of
from streams.core.events import CommentChunk, FollowChunk, RawChunk, Reason
from streams.edges.codec import Limits, decode_comments, decode_follows
from streams.edges.codec_out import DeadLetter
from streams.edges.dead_letter_reader import LetterPlace
from streams.edges.errors import DataError
from streams.edges.retry_marks import event_id_of

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
        if letter.topic not in {self.topic_follows, self.topic_comments}:
            return f"it came from {letter.topic}, and only follows and comments are put back"
        if mended is None and letter.truncated:
            return (
                f"of its {letter.raw_bytes} bytes only {len(letter.raw_base64)} are in the letter: "
                "give the whole record with --mended"
            )
        value = letter.raw_base64 if mended is None else mended
        judged = self._decoded(letter.topic, value, now_ms)
        if isinstance(judged, Reason):
            return f"{judged.value}: {WORDS[judged]}"
        if judged.event_ids is not None and not judged.event_ids.lengths[0]:
            value = with_event_id(value, event_id_of(letter))
            judged = self._decoded(letter.topic, value, now_ms)
            if isinstance(judged, Reason):  # no room for an id, which else makes it count once
                return f"{judged.value} with an event_id: {WORDS[judged]}"
        return Fit(value, judged.creator_ids[0].encode(), int(judged.at_ms[0]))

    def _decoded(
        self, topic: str, value: bytes, now_ms: int
    ) -> FollowChunk | CommentChunk | Reason:
        """The one record decoded as a worker does it, or why it cannot be used."""
        raw = RawChunk(topic, 0, [value], [0], 1, -1, 1)
        decode = decode_follows if topic == self.topic_follows else decode_comments
        decoded = decode(raw, now_ms, self.limits)
        return decoded.dead[0].reason if decoded.dead else decoded.chunk


class Fit(NamedTuple):
    """A record that can be put back: its value, its key, and its event time."""

    value: bytes
    creator_id: bytes
    at_ms: int


def with_event_id(value: bytes, event_id: str) -> bytes:
    """A record, which has no event id, with this one; the rest of it byte for byte as it was.

    >>> with_event_id(b'{"a": 1} ', "e-1")
    b'{"a": 1,"event_id":"e-1"}'
    """
    head = value.rstrip()
    assert head.endswith(b"}"), "an object that was decoded"
    return b'%b,"event_id":%b}' % (head[:-1], msgspec.json.encode(event_id))


def is_too_late(at_ms: int, watermark_ms: int) -> bool:
    """Whether no worker counts a record any more that comes now.

    ``watermark_ms``: of its partition; below 0: nothing was counted there.

    >>> is_too_late(1_000, 86_401_000), is_too_late(1_000, 86_399_000), is_too_late(1_000, -1)
    (True, False, False)
    """
    return bucket_of(at_ms) < oldest_bucket_of(bucket_of(watermark_ms))
