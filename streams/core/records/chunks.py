"""Chunks: the records of one partition in one fetch, raw and decoded.

The chunk is the unit that travels. A raw chunk holds bytes; a decoded one holds columns of
equal length, in the order of the records, without the records that went to dead letters.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from streams.core.records.texts import Texts


class Reason(StrEnum):
    """Why a record went to dead letters. A short, closed list: it is a metric label."""

    EMPTY = "empty"
    TOO_LARGE = "too_large"
    NULL_BYTE = "null_byte"
    INVALID_UTF8 = "invalid_utf8"
    NOT_JSON = "not_json"
    TOO_DEEP = "too_deep"
    NOT_AN_OBJECT = "not_an_object"
    CREATOR_MISSING = "creator_missing"
    CREATOR_INVALID = "creator_invalid"
    CREATOR_TOO_LONG = "creator_too_long"
    AT_MS_MISSING = "at_ms_missing"
    AT_MS_NEGATIVE = "at_ms_negative"
    AT_MS_IN_SECONDS = "at_ms_in_seconds"
    AT_MS_IN_FUTURE = "at_ms_in_future"
    AT_MS_INVALID = "at_ms_invalid"
    FIELD_MISSING = "field_missing"
    FIELD_INVALID = "field_invalid"


@dataclass(frozen=True, slots=True)
class RawChunk:
    """Undecoded records of one partition in one fetch.

    ``values[i]`` is the value of the record at ``offsets[i]`` (None: a tombstone); a list, or
    columns (``values.py``) that make a value whenever it is asked for. Offsets rise and may
    have holes (compaction, transactions). ``next_offset`` is where reading goes on
    (always past the last record; also past control batches). ``appended_ms`` is the timestamp
    that the broker gave or kept for the newest record, -1 if there is none.
    ``end_offset`` is the partition's high watermark when the chunk was fetched.
    ``append_ms``: when the broker took each record, by its own clock, -1 where its batch bears
    the producer's time (``CreateTime``); None: of no record is that known.
    """

    topic: str
    partition: int
    values: Sequence[bytes | None]
    offsets: Sequence[int]
    next_offset: int
    appended_ms: int
    end_offset: int
    append_ms: NDArray[np.int64] | None = None

    def part(self, rows: slice) -> "RawChunk":
        """Only these of its records; where reading goes on stays as it is."""
        append_ms = None if self.append_ms is None else self.append_ms[rows]
        values, offsets = self.values[rows], self.offsets[rows]
        return replace(self, values=values, offsets=offsets, append_ms=append_ms)


@dataclass(frozen=True, slots=True)
class DeadRecord:
    """One record that cannot be used, with its place and the reason."""

    topic: str
    partition: int
    offset: int
    raw: bytes
    reason: Reason


@dataclass(frozen=True, slots=True)
class FollowChunk:
    """Decoded follows: who was followed (or unfollowed), and when (event time, int64 ms).

    ``event_ids``: the ids that producers gave ("": none), None where repeats are not looked for.
    ``audiences``: language and region of who followed, as ``detection/cohorts.py`` packs them,
    and ``accounts`` how new they are, as ``comers.py`` tells it; None: not read.
    """

    creator_ids: Texts
    at_ms: NDArray[np.int64]
    unfollows: NDArray[np.bool_]
    event_ids: Texts | None = None
    audiences: NDArray[np.uint64] | None = None
    accounts: NDArray[np.uint8] | None = None

    def __len__(self) -> int:
        return len(self.at_ms)


@dataclass(frozen=True, slots=True)
class CommentChunk:
    """Decoded comments: whose post, which post, in which language ("und": not told), and when.

    ``event_ids`` and ``audiences`` are as in `FollowChunk`; how new accounts are is not told.
    """

    creator_ids: Texts
    post_ids: Texts
    langs: Texts
    at_ms: NDArray[np.int64]
    event_ids: Texts | None = None
    audiences: NDArray[np.uint64] | None = None

    def __len__(self) -> int:
        return len(self.at_ms)

    @property
    def accounts(self) -> None:
        """See `FollowChunk`."""
