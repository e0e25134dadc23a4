"""Records of the ``follows`` and ``comments`` topics: bytes in, columns out.

The contract is in ``streams/schemas``; a test holds that the schema and this file accept the
same records. Unknown fields are ignored; a field that is null counts as absent.
"""

from dataclasses import dataclass
from types import MappingProxyType
from typing import Annotated, Final, Generic, Literal, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from streams.core.events import CommentChunk, DeadRecord, FollowChunk, RawChunk, Reason
from streams.edges.codec_faults import (
    AT_MS_END,
    AT_MS_MIN,
    ID_CHARACTERS_MAX,
    LANG_CHARACTERS_MAX,
    REGION_CHARACTERS_MAX,
    creator_fault,
    kind_fault,
    optional_time_fault,
    text_check,
    time_fault,
)
from streams.edges.codec_lots import Form, rows_of

LANG_UNKNOWN: Final = "und"
"""BCP 47's word for a language that is not told."""

Chunk = TypeVar("Chunk")
Row = TypeVar("Row", bound="_Timed")

_Id = Annotated[str, msgspec.Meta(min_length=1, max_length=ID_CHARACTERS_MAX)]
_AtMs = Annotated[int, msgspec.Meta(ge=AT_MS_MIN, lt=AT_MS_END)]
_CreatedMs = Annotated[int, msgspec.Meta(ge=0, lt=AT_MS_END)]
_Lang = Annotated[str, msgspec.Meta(max_length=LANG_CHARACTERS_MAX)]
_Region = Annotated[str, msgspec.Meta(max_length=REGION_CHARACTERS_MAX)]


@dataclass(frozen=True, slots=True)
class Limits:
    """What a record may be: its length in bytes, and how far ahead of the clock its time is."""

    record_bytes_max: int = 65_536
    future_skew_ms: int = 600_000


@dataclass(frozen=True, slots=True)
class Decoded(Generic[Chunk]):
    """What came of a raw chunk: columns, and the records that cannot be used, by offset."""

    chunk: Chunk
    dead: list[DeadRecord]


# No row refers to another object that could refer back, so the collector need not see them.
class _Timed(msgspec.Struct, gc=False):
    creator_id: _Id
    at_ms: _AtMs


class _Follow(_Timed, gc=False, kw_only=True):
    follower_id: _Id
    kind: Literal["follow", "unfollow"] | None = "follow"
    event_id: _Id | None = None
    lang: _Lang | None = None
    region: _Region | None = None
    account_created_ms: _CreatedMs | None = None
    post_id: _Id | None = None


class _Comment(_Timed, gc=False, kw_only=True):
    post_id: _Id
    comment_id: _Id
    commenter_id: _Id
    lang: _Lang | None = None
    event_id: _Id | None = None
    region: _Region | None = None


_ID = text_check(1, ID_CHARACTERS_MAX, required=True)
_OPTIONAL_ID = text_check(1, ID_CHARACTERS_MAX, required=False)
_LANG = text_check(0, LANG_CHARACTERS_MAX, required=False)
_REGION = text_check(0, REGION_CHARACTERS_MAX, required=False)

_FOLLOWS: Final = Form(
    one=msgspec.json.Decoder(_Follow),
    many=msgspec.json.Decoder(list[_Follow]),
    checks=MappingProxyType(
        {
            "creator_id": creator_fault,
            "at_ms": time_fault,
            "kind": kind_fault,
            "follower_id": _ID,
            "event_id": _OPTIONAL_ID,
            "lang": _LANG,
            "region": _REGION,
            "account_created_ms": optional_time_fault,
            "post_id": _OPTIONAL_ID,
        }
    ),
)
_COMMENTS: Final = Form(
    one=msgspec.json.Decoder(_Comment),
    many=msgspec.json.Decoder(list[_Comment]),
    checks=MappingProxyType(
        {
            "creator_id": creator_fault,
            "at_ms": time_fault,
            "comment_id": _ID,
            "post_id": _ID,
            "commenter_id": _ID,
            "event_id": _OPTIONAL_ID,
            "lang": _LANG,
            "region": _REGION,
        }
    ),
)


def decode_follows(chunk: RawChunk, now_ms: int, limits: Limits) -> Decoded[FollowChunk]:
    """Decode a chunk of the ``follows`` topic; never raises for what a record holds.

    A record whose time is ``now_ms + future_skew_ms`` or later is dead (``at_ms_in_future``);
    with no clock to ask, as in a back-test, give ``AT_MS_END``.
    """
    rows, at_ms, dead = _rows(chunk, _FOLLOWS, now_ms, limits)
    kinds = [row.kind for row in rows]
    if kinds.count("follow") == len(kinds):
        unfollows = np.zeros(len(kinds), np.bool_)
    else:
        unfollows = np.array([kind == "unfollow" for kind in kinds], np.bool_)
    creator_ids = [row.creator_id for row in rows]
    return Decoded(FollowChunk(creator_ids=creator_ids, at_ms=at_ms, unfollows=unfollows), dead)


def decode_comments(chunk: RawChunk, now_ms: int, limits: Limits) -> Decoded[CommentChunk]:
    """Decode a chunk of the ``comments`` topic, as ``decode_follows`` does follows."""
    rows, at_ms, dead = _rows(chunk, _COMMENTS, now_ms, limits)
    decoded = CommentChunk(
        creator_ids=[row.creator_id for row in rows],
        post_ids=[row.post_id for row in rows],
        langs=[row.lang or LANG_UNKNOWN for row in rows],
        at_ms=at_ms,
    )
    return Decoded(decoded, dead)


def _rows(
    chunk: RawChunk, form: Form[Row], now_ms: int, limits: Limits
) -> tuple[list[Row], NDArray[np.int64], list[DeadRecord]]:
    found = rows_of(chunk.values, form, limits.record_bytes_max)
    rows, faults = found.rows, found.faults
    at_ms = np.fromiter([row.at_ms for row in rows], np.int64, len(rows))
    end_ms = now_ms + limits.future_skew_ms
    if len(rows) and int(at_ms.max()) >= end_ms:
        in_time = at_ms < end_ms
        usable = [place for place in range(len(chunk.values)) if place not in faults]
        for index in np.flatnonzero(~in_time).tolist():
            faults[usable[index]] = Reason.AT_MS_IN_FUTURE
        rows = [rows[index] for index in np.flatnonzero(in_time).tolist()]
        at_ms = at_ms[in_time]
    return rows, at_ms, _dead_records(chunk, faults) if faults else []


def _dead_records(chunk: RawChunk, faults: dict[int, Reason]) -> list[DeadRecord]:
    return [
        DeadRecord(
            topic=chunk.topic,
            partition=chunk.partition,
            offset=chunk.offsets[place],
            raw=chunk.values[place] or b"",
            reason=faults[place],
        )
        for place in sorted(faults)
    ]
