"""Joined decoding and one-by-one decoding give every record the same fate."""

import random
from collections.abc import Sequence
from itertools import pairwise

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.core.records.chunks import Reason
from streams.edges.codec.events import _FOLLOWS, _Follow
from streams.edges.codec.lots import JOIN_RECORDS_MIN, row_of, rows_of, rows_of_joined

BYTES_MAX = 4_000


def good(number: int) -> bytes:
    text = f'{{"creator_id":"c-{number}","follower_id":"f","at_ms":1736899200000}}'
    return text.encode()


def one(value: bytes | None) -> _Follow | Reason:
    row = row_of(value, _FOLLOWS, BYTES_MAX)
    return row


def agrees(values: Sequence[bytes | None]) -> bool:
    """Whether the joined way was taken; fails when the two ways differ."""
    alone = [one(value) for value in values]
    joined = rows_of_joined(values, _FOLLOWS, BYTES_MAX)
    if joined is not None:
        assert joined == alone
    found = rows_of(values, _FOLLOWS, BYTES_MAX)
    assert found.rows == [row for row in alone if isinstance(row, _Follow)]
    assert found.faults == {i: r for i, r in enumerate(alone) if not isinstance(r, _Follow)}
    return joined is not None


def test_plain_records_go_the_joined_way() -> None:
    assert agrees([good(i) for i in range(2_000)])
    assert agrees(['{"creator_id":"ü","follower_id":"f","at_ms":1736899200000}'.encode()] * 10)


TWO = good(1) + b"," + good(2)
HALVES = [
    (b'{"creator_id":"a","follower_id":"f"', b'"at_ms":1736899200000}'),
    (b'{"creator_id":"a', b'b","follower_id":"f","at_ms":1736899200000}'),
    (b'{"creator_id":"a","at_ms":1736899200000,"follower_id":"', b'{"}'),
    (b'{"creator_id":"a","follower_id":"f","at_ms":1736899200000', b"}"),
    (b'{"creator_id":"a","follower_id":"f","at_ms":1736899200000,"x":[1', b"2]}"),
    (b'{"creator_id":"a","follower_id":"f","at_ms":1736899200000,"x":"{', b'{"}'),
    (b'{"creator_id":"a","follower_id":"f","at_ms":1736899200000,"x":', b'{"creator_id":"b"}}'),
]


@pytest.mark.parametrize("halves", HALVES)
@pytest.mark.parametrize("double", [TWO, good(1) + b",\n" + good(2), TWO + b"," + good(3)])
def test_two_in_one_value_and_one_in_two_values_do_not_make_up_for_each_other(
    halves: tuple[bytes, bytes], double: bytes
) -> None:
    padding = [good(i) for i in range(20)]
    both_twice = [*halves, *halves, double, double]
    for values in ([double, *halves], [*halves, double], both_twice, [*halves]):
        assert not agrees(padding + values)
        assert not agrees(values + padding)


def test_an_array_closed_early_and_opened_again_is_not_taken() -> None:
    values = [good(i) for i in range(20)]
    values[9] = good(9) + b"]"
    values[10] = b"[" + good(10)
    assert not agrees(values)


FRAGMENTS = [
    good(1), b'{"creator_id":"a"', b'"follower_id":"f"', b'"at_ms":1736899200000', b"{", b"}",
    b"[", b"]", b",", b":", b'"', b"\n", b" ", b"\\", b"\\u0000", b"\\u007b", b"\x00", b"\xff",
    "ü".encode(), b"\xc3", b"1", b'"x":', b"null", b'"kind":"unfollow"', b'"{"',
]  # fmt: skip
VALUES = st.one_of(
    st.integers(0, 99).map(good),
    st.lists(st.sampled_from(FRAGMENTS), max_size=6).map(b"".join),
    st.lists(st.sampled_from(FRAGMENTS), max_size=4).map(lambda parts: good(1) + b"".join(parts)),
    st.none(),
)


@settings(max_examples=400, deadline=None)
@given(st.lists(VALUES, min_size=1, max_size=4), st.integers(0, 12), st.randoms())
def test_no_mixture_of_fragments_is_decoded_differently_when_joined(
    odd: list[bytes | None], padding: int, rng: random.Random
) -> None:
    values = odd + [good(i) for i in range(padding)]
    rng.shuffle(values)
    agrees(values)


def test_records_cut_and_glued_at_random_are_decoded_the_same_when_joined() -> None:
    rng = random.Random(7)
    joined_lots = 0
    for _ in range(3_000):
        text = b",".join(good(i) for i in range(JOIN_RECORDS_MIN + 4))
        cuts = sorted(rng.sample(range(1, len(text)), JOIN_RECORDS_MIN + 3))
        commas = [i for i in range(len(text)) if text[i : i + 2] == b",{"]
        cuts = sorted({*cuts[:1], *commas[1:]}) if rng.random() < 0.7 else cuts
        edges = [0, *cuts, len(text)]
        parts = [text[a:b] for a, b in pairwise(edges)]
        values = [part[1:] if part.startswith(b",") else part for part in parts]
        joined_lots += agrees(values)
    assert joined_lots > 0  # else nothing was tried: some lots are whole records by chance


@given(st.lists(st.text(max_size=30), min_size=JOIN_RECORDS_MIN, max_size=20))
def test_ids_of_any_text_are_decoded_the_same_when_joined(texts: list[str]) -> None:
    record = {"follower_id": "f", "at_ms": 1_736_899_200_000}
    agrees([msgspec.json.encode(record | {"creator_id": text}) for text in texts])
