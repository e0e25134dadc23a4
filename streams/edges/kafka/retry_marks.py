"""Marks in the topic of dead letters: that a record was put back into its topic.

A mark has a key, a letter has none. The key names the record by its place and by its bytes, for a
topic that was made again has the same places: so the last mark of a key tells all, also where the
topic is compacted. Marks stand in the partition of their letters.
"""

import hashlib
from typing import Literal

import msgspec

from streams.edges.codec.out import DeadLetter

RetryState = Literal["begun", "done"]


class RetryMark(msgspec.Struct, frozen=True, kw_only=True):
    """One mark; see ``streams/schemas/retry_mark.json``.

    "begun" is written before a record is put back and "done" after it: where "begun" stands alone,
    the record may be in its topic. ``at_ms``: when, by the clock of who did it.
    """

    topic: str
    partition: int
    offset: int
    retry: RetryState
    at_ms: int


_MARK = msgspec.json.Decoder(RetryMark)


def mark_key_of(letter: DeadLetter) -> bytes:
    """Key of a letter's marks: the same for each copy of the letter."""
    digest = hashlib.sha256(letter.raw_base64).hexdigest()[:16]
    return f"{letter.topic}:{letter.partition}:{letter.offset}:{digest}".encode()


def event_id_of(letter: DeadLetter) -> str:
    """An event id for a record that has none: the same each time that it is put back."""
    return f"retry-{hashlib.sha256(mark_key_of(letter)).hexdigest()[:24]}"


def mark_of(letter: DeadLetter, retry: RetryState, at_ms: int) -> RetryMark:
    """A mark of a letter."""
    return RetryMark(
        topic=letter.topic,
        partition=letter.partition,
        offset=letter.offset,
        retry=retry,
        at_ms=at_ms,
    )


def encode_mark(mark: RetryMark) -> bytes:
    """Write a mark as JSON."""
    return msgspec.json.encode(mark)


def decode_mark(value: bytes) -> RetryMark:
    """Read a mark; raises ``msgspec.DecodeError`` for anything else."""
    return _MARK.decode(value)
