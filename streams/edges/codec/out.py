"""Records that Surgewatch writes: surges and dead letters, as JSON bytes."""

import msgspec

from streams.core.records.chunks import DeadRecord, Reason
from streams.core.surges.surge import Surge


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True):
    """One record of the dead-letters topic; see ``streams/schemas/dead_letter.json``.

    ``raw_base64`` is the value (its beginning only when ``truncated``), as bytes here and as
    base64 in JSON; ``raw_bytes`` is the length of the whole value.
    """

    topic: str
    partition: int
    offset: int
    reason: Reason
    raw_base64: bytes
    raw_bytes: int
    truncated: bool


_SURGE = msgspec.json.Decoder(Surge)
_DEAD_LETTER = msgspec.json.Decoder(DeadLetter)


def encode_surge(surge: Surge) -> bytes:
    """Write a surge as JSON: same surge, same bytes. A number that is not finite becomes null."""
    return msgspec.json.encode(surge)


def decode_surge(value: bytes) -> Surge:
    """Read a surge; raises ``msgspec.DecodeError`` for anything else."""
    return _SURGE.decode(value)


def encode_dead_letter(dead: DeadRecord, dead_letter_bytes_max: int) -> bytes:
    """Write a dead record as JSON of at most so many bytes; the raw value is cut to fit.

    Names and numbers alone take up to 700 bytes; a smaller limit is exceeded by them.
    """
    letter = DeadLetter(
        topic=dead.topic,
        partition=dead.partition,
        offset=dead.offset,
        reason=dead.reason,
        raw_base64=b"",
        raw_bytes=len(dead.raw),
        truncated=True,
    )
    spare_bytes = dead_letter_bytes_max - len(msgspec.json.encode(letter)) - 1  # "false": one more
    raw_bytes_max = max(0, spare_bytes // 4 * 3)
    letter = msgspec.structs.replace(
        letter, raw_base64=dead.raw[:raw_bytes_max], truncated=len(dead.raw) > raw_bytes_max
    )
    return msgspec.json.encode(letter)


def decode_dead_letter(value: bytes) -> DeadLetter:
    """Read a dead letter; raises ``msgspec.DecodeError`` for anything else."""
    return _DEAD_LETTER.decode(value)
