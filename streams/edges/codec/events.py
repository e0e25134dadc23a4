"""Records of the ``follows`` and ``comments`` topics: bytes in, columns out.

The contract is in ``streams/schemas``; a test holds that the schema and this file accept the
same records. Unknown fields are ignored; a field that is null counts as absent.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Annotated, Any, Final, Generic, Literal, NamedTuple, TypeVar, cast

import msgspec
import numpy as np
from numpy.typing import NDArray

from streams.core.detection.cohorts import AUDIENCE_BYTES, audience_of
from streams.core.records.chunks import CommentChunk, DeadRecord, FollowChunk, RawChunk, Reason
from streams.core.records.comers import Accounts, accounts_of
from streams.core.records.texts import Ints, Texts, Words, joined_texts
from streams.core.records.values import Values
from streams.edges.codec.faults import (
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
from streams.edges.codec.learning import TextField, TimeField
from streams.edges.codec.lots import Form, rows_of
from streams.edges.codec.shapes import ROWS_MIN, Found, Lot, Reader

LANG_UNKNOWN: Final = "und"
"""BCP 47's word for a language that is not told."""

Chunk = TypeVar("Chunk")
_AUDIENCE: Final = ("lang", "region")
_CREATED: Final = "account_created_ms"
_TIMES: Final = ("at_ms", _CREATED)
_UNFOLLOW: Final = b"unfollow"

_Id = Annotated[str, msgspec.Meta(min_length=1, max_length=ID_CHARACTERS_MAX)]
_AtMs = Annotated[int, msgspec.Meta(ge=AT_MS_MIN, lt=AT_MS_END)]
_CreatedMs = Annotated[int, msgspec.Meta(ge=0, lt=AT_MS_END)]
_Lang = Annotated[str, msgspec.Meta(max_length=LANG_CHARACTERS_MAX)]
_Region = Annotated[str, msgspec.Meta(max_length=REGION_CHARACTERS_MAX)]


@dataclass(frozen=True, slots=True)
class Limits:
    """What a record may be: its length in bytes, and how far ahead of its arrival its time is.

    ``with_event_ids``: give the records' ``event_id`` back too.
    """

    record_bytes_max: int = 65_536
    future_skew_ms: int = 600_000
    with_event_ids: bool = False


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


_MASKS: Final = np.array([*((1 << 8 * n) - 1 for n in range(AUDIENCE_BYTES + 1)), 0], np.uint64)
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


_ID_FIELD: Final = TextField(1, ID_CHARACTERS_MAX)
_FIELDS: Final = {
    "creator_id": _ID_FIELD,
    "event_id": _ID_FIELD,
    "post_id": _ID_FIELD,
    "lang": TextField(0, LANG_CHARACTERS_MAX),
    "region": TextField(0, REGION_CHARACTERS_MAX),
    "at_ms": TimeField(AT_MS_MIN, AT_MS_END),
}
_FOLLOW_FIELDS: Final = MappingProxyType(
    {
        **_FIELDS,
        "follower_id": _ID_FIELD,
        "kind": TextField(6, 8, (b"follow", _UNFOLLOW)),
        "account_created_ms": TimeField(0, AT_MS_END),
    }
)
_COMMENT_FIELDS: Final = MappingProxyType(
    {**_FIELDS, "comment_id": _ID_FIELD, "commenter_id": _ID_FIELD}
)


class _Way(NamedTuple):
    """How a topic's records are decoded: by shape, or one by one; which texts are wanted."""

    form: Form[Any]
    reader: Reader
    texts: tuple[str, ...]


def _way(form: Form[Any], fields: Any, *texts: str) -> _Way:
    return _Way(form, Reader(fields, (*texts, *_AUDIENCE, *_TIMES), form.one), texts)


_FOLLOW_WAYS: Final = {
    False: _way(_FOLLOWS, _FOLLOW_FIELDS, "creator_id", "kind"),
    True: _way(_FOLLOWS, _FOLLOW_FIELDS, "creator_id", "kind", "event_id"),
}
_COMMENT_WAYS: Final = {
    False: _way(_COMMENTS, _COMMENT_FIELDS, "creator_id", "post_id", "lang"),
    True: _way(_COMMENTS, _COMMENT_FIELDS, "creator_id", "post_id", "lang", "event_id"),
}


def decode_follows(chunk: RawChunk, now_ms: int | None, limits: Limits) -> Decoded[FollowChunk]:
    """Decode a chunk of the ``follows`` topic; never raises for what a record holds.

    A record is dead (``at_ms_in_future``) if its time is ``future_skew_ms`` or more after the
    broker took it, whenever it is read; where the broker's time is not known, after ``now_ms``.
    None: no record is judged, as in a back-test or when all were judged before.
    """
    columns, dead = _decode(chunk, _FOLLOW_WAYS[limits.with_event_ids], now_ms, limits)
    texts = columns.texts
    decoded = FollowChunk(
        creator_ids=texts["creator_id"],
        at_ms=columns.at_ms,
        unfollows=texts["kind"].lengths == len(_UNFOLLOW),
        event_ids=texts.get("event_id"),
        audiences=columns.audiences,
        accounts=columns.accounts,
    )
    return Decoded(decoded, dead)


def decode_comments(chunk: RawChunk, now_ms: int | None, limits: Limits) -> Decoded[CommentChunk]:
    """Decode a chunk of the ``comments`` topic, as ``decode_follows`` does follows."""
    columns, dead = _decode(chunk, _COMMENT_WAYS[limits.with_event_ids], now_ms, limits)
    texts = columns.texts
    decoded = CommentChunk(
        creator_ids=texts["creator_id"],
        post_ids=texts["post_id"],
        langs=texts["lang"],
        at_ms=columns.at_ms,
        event_ids=texts.get("event_id"),
        audiences=columns.audiences,
    )
    return Decoded(decoded, dead)


class _Columns(NamedTuple):
    """Wanted fields of records by name, their times, whose audience they are, and how new."""

    texts: dict[str, Texts]
    at_ms: Ints
    audiences: Words
    accounts: Accounts

    def of(self, rows: Any) -> "_Columns":
        """Only these rows."""
        texts = {name: column.take(rows) for name, column in self.texts.items()}
        return _Columns(texts, self.at_ms[rows], self.audiences[rows], self.accounts[rows])


def _decode(
    chunk: RawChunk, way: _Way, now_ms: int | None, limits: Limits
) -> tuple[_Columns, list[DeadRecord]]:
    columns, faults = _columns_of(chunk.values, way, limits.record_bytes_max)
    if now_ms is not None and len(columns.at_ms):
        in_time = _in_time(chunk, columns.at_ms, faults, now_ms, limits.future_skew_ms)
        if in_time is not None:
            usable = [place for place in range(len(chunk.values)) if place not in faults]
            for index in np.flatnonzero(~in_time).tolist():
                faults[usable[index]] = Reason.AT_MS_IN_FUTURE
            columns = columns.of(in_time)
    return columns, _dead_records(chunk, faults) if faults else []


def _in_time(
    chunk: RawChunk, at_ms: Ints, faults: dict[int, Reason], now_ms: int, skew_ms: int
) -> NDArray[np.bool_] | None:
    """Which of the usable records are not from the future; None: all, which is seen at once."""
    append_ms = chunk.append_ms
    earliest_ms = now_ms if append_ms is None else int(append_ms.min())
    if int(at_ms.max()) < earliest_ms + skew_ms:
        return None
    if append_ms is None:
        return at_ms < now_ms + skew_ms
    judged_by_ms = np.where(append_ms < 0, now_ms, append_ms)
    return at_ms < np.delete(judged_by_ms, sorted(faults)) + skew_ms


def _columns_of(
    values: Sequence[bytes | None], way: _Way, record_bytes_max: int
) -> tuple[_Columns, dict[int, Reason]]:
    """Columns of the values that can be used, in order, and the others' places with the reason."""
    if len(values) < ROWS_MIN or (not isinstance(values, Values) and None in values):
        return _one_by_one(values, way, record_bytes_max)
    present = cast("Sequence[bytes]", values)
    lot = Lot(present, LANG_UNKNOWN.encode())
    found = way.reader.read(lot, present, record_bytes_max)
    audiences = _audiences_in(lot, found)
    texts = {}
    for name in way.texts:
        starts, lengths = found.column(name)
        blank = lengths <= 0
        if blank.any():  # not told
            starts[blank] = lot.more_at
            lengths[blank] = len(LANG_UNKNOWN) if name == "lang" else 0
        texts[name] = Texts(lot.data, starts, lengths)
    at_ms = found.time("at_ms")
    accounts = _accounts_of(at_ms, found.times.get(_CREATED))
    shaped = _Columns(texts, at_ms, audiences, accounts)
    if found.known.all():
        return shaped, {}
    others = (~found.known).nonzero()[0]
    odd, faults = _one_by_one(_taken(present, others), way, record_bytes_max)
    usable = np.delete(others, sorted(faults))
    places = others.tolist()
    known = found.known.nonzero()[0]
    shaped, order = shaped.of(known), np.argsort(np.concatenate((known, usable)))
    both = _Columns(
        {name: joined_texts((shaped.texts[name], odd.texts[name])) for name in way.texts},
        np.concatenate((shaped.at_ms, odd.at_ms)),
        np.concatenate((shaped.audiences, odd.audiences)),
        np.concatenate((shaped.accounts, odd.accounts)),
    )
    return both.of(order), {places[place]: reason for place, reason in faults.items()}


def _taken(values: Sequence[bytes], rows: Ints) -> Sequence[bytes]:
    if isinstance(values, Values):
        return values.take(rows)
    return [values[row] for row in rows.tolist()]


def _one_by_one(
    values: Sequence[bytes | None], way: _Way, record_bytes_max: int
) -> tuple[_Columns, dict[int, Reason]]:
    if isinstance(values, Values):
        values = list(values)  # each is looked at more than once
    found = rows_of(values, way.form, record_bytes_max)
    rows = found.rows
    texts = {}
    for name in way.texts:
        blank = LANG_UNKNOWN if name == "lang" else ""
        texts[name] = Texts.of([getattr(row, name) or blank for row in rows])
    at_ms = np.fromiter([row.at_ms for row in rows], np.int64, len(rows))
    audiences = [audience_of(row.lang or "", row.region or "") for row in rows]
    created = [getattr(row, _CREATED, None) or 0 for row in rows]
    accounts = accounts_of(at_ms, np.array(created, np.int64))
    return _Columns(texts, at_ms, np.array(audiences, np.uint64), accounts), found.faults


def _accounts_of(at_ms: Ints, created_ms: Ints | None) -> Accounts:
    if created_ms is None:
        return np.zeros(len(at_ms), np.uint8)
    return accounts_of(at_ms, created_ms)


def _audiences_in(lot: Lot, found: Found) -> Words:
    """Whose audience each row is, packed as `audience_of` does it; 0 where nothing is told."""
    audiences = np.zeros(len(found.known), np.uint64)
    for name, shift in zip(_AUDIENCE, (0, 8 * AUDIENCE_BYTES), strict=True):
        if name in found.texts:
            starts, lengths = found.texts[name]
            # a length of -1 is that of the last mask, of no bytes
            word = lot.words(starts, 1)[:, 0] & _MASKS[np.minimum(lengths, AUDIENCE_BYTES)]
            audiences |= word << np.uint64(shift)
    return audiences


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
