"""The codec: what a record may be, one reason for each fault, and no way to smuggle."""

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import numpy as np
import pytest

from streams.core.records.chunks import DeadRecord, FollowChunk, RawChunk, Reason
from streams.edges.codec.events import Decoded, Limits, decode_comments, decode_follows
from streams.edges.codec.faults import DEPTH_MAX, depth_of
from streams.edges.codec.lots import LOT_RECORDS

NOW_MS = 1_736_899_200_000
LIMITS = Limits(record_bytes_max=20_000, future_skew_ms=1_000)
FOLLOW: dict[str, Any] = {"creator_id": "c-1", "follower_id": "f-1", "at_ms": NOW_MS}
COMMENT: dict[str, Any] = {
    "comment_id": "k-1",
    "post_id": "p-1",
    "creator_id": "c-1",
    "commenter_id": "f-1",
    "at_ms": NOW_MS,
}
DEEP = b'{"creator_id":"c","follower_id":"f","at_ms":1736899200000,"x":%b%b}'


def raw_chunk(values: Sequence[bytes | None], topic: str = "follows") -> RawChunk:
    """Chunk whose offsets have holes: 10, 12, 14 and so on."""
    offsets = range(10, 10 + 2 * len(values), 2)
    end = offsets[-1] + 1 if values else 10
    return RawChunk(topic, 3, values, offsets, end, -1, end)


def json_of(record: object) -> bytes:
    return msgspec.json.encode(record)


def follow(**changes: Any) -> bytes:
    return json_of(FOLLOW | changes)


def decoded(values: Sequence[bytes | None]) -> Decoded[FollowChunk]:
    return decode_follows(raw_chunk(values), NOW_MS, LIMITS)


def reason_of(value: bytes | None) -> Reason | None:
    """Reason alone, after checking that company changes nothing."""
    alone = decoded([value])
    assert len(alone.chunk) + len(alone.dead) == 1
    crowd: list[bytes | None] = [follow(creator_id=f"c-{i}") for i in range(300)]
    crowd[150] = value
    together = decoded(crowd)
    assert len(together.chunk) + len(together.dead) == 300
    assert [d.reason for d in together.dead] == [d.reason for d in alone.dead]
    assert [d.offset for d in together.dead] == [310 for _ in alone.dead]
    return alone.dead[0].reason if alone.dead else None


def test_columns_stand_in_the_order_of_the_records() -> None:
    values = [
        follow(creator_id=f"c-{i}", at_ms=NOW_MS - i, kind="unfollow" if i % 3 == 0 else "follow")
        for i in range(LOT_RECORDS * 2 + 17)
    ]
    chunk = decoded(values).chunk
    assert chunk.creator_ids == [f"c-{i}" for i in range(len(values))]
    assert chunk.at_ms.dtype == np.int64
    assert chunk.at_ms.tolist() == [NOW_MS - i for i in range(len(values))]
    assert chunk.unfollows.dtype == np.bool_
    assert chunk.unfollows.tolist() == [i % 3 == 0 for i in range(len(values))]


def test_comments_have_their_post_and_language() -> None:
    values = [json_of(COMMENT | {"post_id": f"p-{i}", "lang": "pt-BR"}) for i in range(10)]
    values += [json_of(COMMENT), json_of(COMMENT | {"lang": None}), json_of(COMMENT | {"lang": ""})]
    result = decode_comments(raw_chunk(values, "comments"), NOW_MS, LIMITS)
    assert result.dead == []
    assert result.chunk.post_ids == [f"p-{i}" for i in range(10)] + ["p-1"] * 3
    assert result.chunk.langs == ["pt-BR"] * 10 + ["und"] * 3
    assert result.chunk.at_ms.tolist() == [NOW_MS] * 13


def test_an_empty_chunk_gives_empty_columns() -> None:
    result = decoded([])
    assert (len(result.chunk), result.chunk.at_ms.tolist(), result.dead) == (0, [], [])


@pytest.mark.parametrize(
    "record",
    [
        FOLLOW,
        FOLLOW | {"kind": "follow"},
        FOLLOW | {"kind": None, "event_id": None, "lang": None, "account_created_ms": None},
        FOLLOW | {"kind": "unfollow", "lang": "zh-Hans-CN", "region": "US", "post_id": "p"},
        FOLLOW | {"unknown": {"a": [{"b": 1}]}},
        FOLLOW | {"unknown": "text with { and [ and \\ and \u0000"},
        FOLLOW | {"creator_id": "é" * 256},
        FOLLOW | {"creator_id": "😀" * 256, "follower_id": 'quo"te\\\n'},
        FOLLOW | {"at_ms": 946_684_800_000},
        FOLLOW | {"at_ms": NOW_MS + 999},
    ],
)
def test_a_good_record_is_taken(record: dict[str, Any]) -> None:
    assert reason_of(json_of(record)) is None


def _without(name: str) -> bytes:
    return json_of({key: value for key, value in FOLLOW.items() if key != name})


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, Reason.EMPTY),
        (b"", Reason.EMPTY),
        (b"   ", Reason.NOT_JSON),
        (follow(x="y" * 20_000), Reason.TOO_LARGE),
        (b"x" * 20_001, Reason.TOO_LARGE),
        (b'{"creator_id":"a\x00b"}', Reason.NULL_BYTE),
        (follow(creator_id="a\0b"), Reason.NULL_BYTE),
        (follow(follower_id="\0"), Reason.NULL_BYTE),
        (follow(lang="\0"), Reason.NULL_BYTE),
        (b'{"creator_id":"\xff"}', Reason.INVALID_UTF8),
        (follow()[:-1] + b',"x":"\xed\xa0\x80"}', Reason.INVALID_UTF8),
        (b"garbage", Reason.NOT_JSON),
        (follow()[:-1], Reason.NOT_JSON),
        (follow() + b"x", Reason.NOT_JSON),
        (follow() + follow(), Reason.NOT_JSON),
        (follow() + b"," + follow(), Reason.NOT_JSON),
        (follow() + b"]", Reason.NOT_JSON),
        (follow()[:-1] + b',"x":NaN}', Reason.NOT_JSON),
        (follow()[:-1] + b',"x":"\\ud800"}', Reason.NOT_JSON),
        (DEEP % (b"[" * 64, b"]" * 64), Reason.TOO_DEEP),
        (b"[" * 20_000, Reason.TOO_DEEP),
        (b"17", Reason.NOT_AN_OBJECT),
        (b'"text"', Reason.NOT_AN_OBJECT),
        (b"null", Reason.NOT_AN_OBJECT),
        (b"[" + follow() + b"]", Reason.NOT_AN_OBJECT),
        (b"{}", Reason.CREATOR_MISSING),
        (_without("creator_id"), Reason.CREATOR_MISSING),
        (follow(creator_id=None), Reason.CREATOR_MISSING),
        (follow(creator_id=17), Reason.CREATOR_INVALID),
        (follow(creator_id=""), Reason.CREATOR_INVALID),
        (follow(creator_id="c" * 257), Reason.CREATOR_TOO_LONG),
        (follow(creator_id="c" * 10_000), Reason.CREATOR_TOO_LONG),
        (_without("at_ms"), Reason.AT_MS_MISSING),
        (follow(at_ms=None), Reason.AT_MS_MISSING),
        (follow(at_ms=-1), Reason.AT_MS_NEGATIVE),
        (follow(at_ms=1_736_899_200), Reason.AT_MS_IN_SECONDS),
        (follow(at_ms=0), Reason.AT_MS_INVALID),
        (follow(at_ms=946_684_799_999), Reason.AT_MS_INVALID),
        (follow(at_ms=1.7e12), Reason.AT_MS_INVALID),
        (follow(at_ms=True), Reason.AT_MS_INVALID),
        (follow(at_ms="1736899200000"), Reason.AT_MS_INVALID),
        (follow()[:-1] + b',"at_ms":1e999}', Reason.AT_MS_INVALID),
        (follow()[:-1] + b',"at_ms":' + b"9" * 5_000 + b"}", Reason.AT_MS_INVALID),
        (follow(at_ms=NOW_MS + 1_000), Reason.AT_MS_IN_FUTURE),
        (follow(at_ms=4_102_444_800_000), Reason.AT_MS_IN_FUTURE),
        (follow(at_ms=1_736_899_200_000_000), Reason.AT_MS_IN_FUTURE),
        (_without("follower_id"), Reason.FIELD_MISSING),
        (follow(follower_id=""), Reason.FIELD_INVALID),
        (follow(follower_id="f" * 257), Reason.FIELD_INVALID),
        (follow(kind="Follow"), Reason.FIELD_INVALID),
        (follow(kind=["follow"]), Reason.FIELD_INVALID),
        (follow(lang="l" * 36), Reason.FIELD_INVALID),
        (follow(region="r" * 17), Reason.FIELD_INVALID),
        (follow(account_created_ms=-1), Reason.FIELD_INVALID),
        (follow(account_created_ms=1.5), Reason.FIELD_INVALID),
        (follow(post_id=""), Reason.FIELD_INVALID),
        (follow()[:-1] + b',"kind":5,"kind":"follow"}', Reason.FIELD_INVALID),
    ],
)
def test_each_fault_has_its_reason_alone_and_in_company(
    value: bytes | None, reason: Reason
) -> None:
    assert reason_of(value) == reason


def test_of_several_faults_the_first_in_the_documented_order_is_told() -> None:
    record = {"creator_id": 5, "at_ms": -1, "follower_id": None, "kind": "x"}
    assert reason_of(json_of(record)) == Reason.CREATOR_INVALID
    assert reason_of(json_of(record | {"creator_id": "c"})) == Reason.AT_MS_NEGATIVE
    rest = record | {"creator_id": "c", "at_ms": NOW_MS}
    assert reason_of(json_of(rest)) == Reason.FIELD_INVALID
    assert reason_of(json_of(rest | {"kind": None})) == Reason.FIELD_MISSING


@pytest.mark.parametrize("name", ["comment_id", "post_id", "commenter_id"])
def test_a_comment_needs_each_of_its_ids(name: str) -> None:
    values = [json_of(COMMENT | {name: bad}) for bad in (None, "", 5, "x" * 257, "\0")]
    dead = decode_comments(raw_chunk(values, "comments"), NOW_MS, LIMITS).dead
    invalid = Reason.FIELD_INVALID
    expected = [Reason.FIELD_MISSING, invalid, invalid, invalid, Reason.NULL_BYTE]
    assert [d.reason for d in dead] == expected


def test_a_dead_record_has_its_place_and_bytes_and_takes_no_other_with_it() -> None:
    values: list[bytes | None] = [follow(creator_id=f"c-{i}") for i in range(2_500)]
    values[7], values[1_200], values[2_499] = None, b"junk", follow(at_ms=NOW_MS + 5_000)
    result = decoded(values)
    assert result.dead == [
        DeadRecord("follows", 3, 10 + 2 * 7, b"", Reason.EMPTY),
        DeadRecord("follows", 3, 10 + 2 * 1_200, b"junk", Reason.NOT_JSON),
        DeadRecord("follows", 3, 10 + 2 * 2_499, values[2_499] or b"", Reason.AT_MS_IN_FUTURE),
    ]
    kept = [f"c-{i}" for i in range(2_500) if i not in {7, 1_200, 2_499}]
    assert result.chunk.creator_ids == kept
    assert result.chunk.at_ms.tolist() == [NOW_MS] * 2_497


def test_nesting_is_limited_at_the_same_depth_from_any_stack() -> None:
    at_the_limit = DEEP % (b"[" * (DEPTH_MAX - 1), b"]" * (DEPTH_MAX - 1))
    assert depth_of(at_the_limit) == DEPTH_MAX

    def from_depth(frames: int) -> Reason | None:
        return from_depth(frames - 1) if frames else reason_of(at_the_limit)

    assert from_depth(0) is None
    assert from_depth(300) is None
    wide = follow(x=[[] for _ in range(500)])
    assert reason_of(wide) is None


def _codecs() -> list[Callable[..., Any]]:
    return [decode_follows, decode_comments]


@pytest.mark.parametrize("decode", _codecs())
def test_a_chunk_of_nothing_but_faults_gives_all_of_them(decode: Callable[..., Any]) -> None:
    result = decode(raw_chunk([b"x"] * 2_001), NOW_MS, LIMITS)
    assert (len(result.chunk), len(result.dead)) == (0, 2_001)
