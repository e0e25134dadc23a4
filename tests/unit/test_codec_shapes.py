"""Records decoded by their shape have the fate that they have alone."""

import random
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.core.records.chunks import RawChunk
from streams.core.records.comers import YOUNG
from streams.core.records.values import Values
from streams.edges.codec.events import (
    _FOLLOW_WAYS,
    Decoded,
    Limits,
    decode_comments,
    decode_follows,
)
from streams.edges.codec.faults import AT_MS_END
from streams.edges.codec.learning import Field, TextField, TimeField, shape_of
from streams.edges.codec.shapes import ROWS_MIN, SHAPES_MAX, Lot

LIMITS = Limits(record_bytes_max=400, with_event_ids=True)
FIELDS: dict[str, Field] = {"creator_id": TextField(1, 256), "at_ms": TimeField(0, AT_MS_END)}
Value = bytes | None


def raw(values: Sequence[Value]) -> RawChunk:
    return RawChunk("follows", 0, values, range(len(values)), len(values), -1, len(values))


def follow(number: int) -> bytes:
    kind, at_ms = (b"unfollow", b"follow", b"follow")[number % 3], 1736899200000 + number
    return b'{"event_id":"e-%d","kind":"%b","creator_id":"c-%d","follower_id":"f","at_ms":%d}' % (
        number,
        kind,
        number % 40,
        at_ms,
    )


def other_follow(number: int) -> bytes:
    return (
        b'{ "at_ms": %d, "creator_id": "c-%d", "follower_id": "f-%d", "lang": "en", "score": 12 }'
        % (1736899200000 + number, number, number)
    )


def comment(number: int) -> bytes:
    lang = b'"lang":"%b",' % (b"en", b"zh", b"")[number % 3] if number % 4 else b""
    return (
        b'{"creator_id":"c-%d","post_id":"p-%d",%b"comment_id":"k","commenter_id":"f","at_ms":%d}'
        % (number % 9, number % 5, lang, 1736899200000 + number)
    )


def rows_of(decoded: Decoded) -> tuple[list[tuple], list[tuple]]:  # type: ignore[type-arg]
    chunk = decoded.chunk
    names = [name for name in chunk.__dataclass_fields__ if name != "at_ms"]
    columns = [list(getattr(chunk, name)) for name in names]
    rows = list(zip(*columns, chunk.at_ms.tolist(), strict=True))
    return rows, [(dead.offset, dead.raw, dead.reason) for dead in decoded.dead]


def assert_as_alone(values: Sequence[Value], decode=decode_follows) -> None:  # type: ignore[no-untyped-def]
    rows, dead = rows_of(decode(raw(values), AT_MS_END, LIMITS))
    expected_rows, expected_dead = [], []
    for offset, value in enumerate(values):
        alone, faults = rows_of(decode(raw([value]), AT_MS_END, LIMITS))
        expected_rows += alone
        expected_dead += [(offset, *fault[1:]) for fault in faults]
    assert (rows, dead) == (expected_rows, expected_dead)


def known_of(values: Sequence[bytes]) -> float:
    """Share of the records that one shape, the first one's, has."""
    shape = shape_of(values[0], FIELDS)
    assert shape is not None
    has, _ = Lot(values).of_shape(shape, np.arange(len(values)))
    return float(has.mean())


def test_records_that_differ_in_texts_and_times_have_one_shape() -> None:
    assert known_of([follow(number) for number in range(500)]) == 1.0
    assert known_of([other_follow(number) for number in range(500)]) == 1.0
    assert known_of([follow(1), *map(other_follow, range(99))]) == pytest.approx(0.01)


def test_records_of_several_shapes_and_odd_ones_between_keep_their_order() -> None:
    plain = [(follow, other_follow)[number % 2](number) for number in range(400)]
    assert_as_alone(plain)
    odd: list[Value] = [
        None, b"", b"{}", b"null", follow(1)[:-1], follow(2) + b" ", b" " + follow(3),
        follow(4) + b"x", follow(5).replace(b"c-5", "ü".encode()), follow(6) * 2,
        follow(7).replace(b"e-7", b"\\u0065"), follow(8).replace(b"f", b"\x1f"),
        follow(9).replace(b"c-9", b"c" * 257), follow(10).replace(b"c-10", b""),
        follow(11).replace(b"follow\"", b"befriend\""), b"[" + follow(12) + b"]",
        follow(13).replace(b"1736899", b"0736899"), follow(14).replace(b"1736899", b"9936899"),
        follow(15).replace(b"1736899200015", b"173689920001"), follow(16) + b" " * 400,
        follow(17).replace(b"1736899200017", b"17368992000170"),
        follow(18).replace(b"1736899200018", b"1736899x00018"), b"\xff" + follow(19),
        follow(20).replace(b'"creator_id"', b'"creator_ix"'), follow(21).replace(b":", b": "),
    ]  # fmt: skip
    chance = random.Random(5)
    for _ in range(4):
        values: list[Value] = [follow(number) for number in range(ROWS_MIN * 2)]
        for one in odd:
            values.insert(chance.randrange(len(values)), one)
        assert_as_alone(values)
        assert_as_alone([one for one in values if one is not None])


def test_how_new_accounts_are_is_the_same_however_records_are_decoded() -> None:
    made = [0, 10**9, 10**12 - 1, 10**12, 1736899200000 - 10**8, 1736899200000, None]
    tails = [b"" if at is None else b',"account_created_ms":%d}' % at for at in made]
    tails += [b',"account_created_ms":null}', b',"account_created_ms":-1}']
    values: list[Value] = [
        follow(number)[:-1] + (tails[number * 7 % len(tails)] or b"}") for number in range(3_000)
    ]
    assert_as_alone(values)
    chunk = decode_follows(raw(values), AT_MS_END, LIMITS).chunk
    assert chunk.accounts is not None
    kinds = np.bincount(np.minimum(chunk.accounts, YOUNG), minlength=3)
    assert (kinds > 300).all(), "untold, old and young ones"


def test_comments_without_a_language_and_with_an_empty_one_are_of_unknown_language() -> None:
    values = [comment(number) for number in range(600)]
    assert_as_alone(values, decode_comments)
    langs = set(decode_comments(raw(values), AT_MS_END, LIMITS).chunk.langs)
    assert langs == {"en", "zh", "und"}


def test_more_shapes_than_are_looked_for_are_decoded_one_by_one() -> None:
    values = [
        b'{"x%d":1,"creator_id":"c","follower_id":"f","at_ms":%d}'
        % (number % (SHAPES_MAX + 3), 1736899200000 + number)
        for number in range(ROWS_MIN * (SHAPES_MAX + 3))
    ]
    assert_as_alone(values)


@pytest.mark.parametrize("others", [40, 80])
def test_long_texts_are_read_with_the_short_ones_few_or_many(others: int) -> None:
    values = [follow(number) for number in range(ROWS_MIN * 2)]
    for number in range(others):
        length = (10, 11, 12, 26, 27, 59, 60, 64, 100, 255, 256, 257, 300)[number % 13]
        values[number * 9] = follow(number).replace(b"e-", b"e" * length + b"-")
    assert_as_alone(values)
    values = [
        value.replace(b'"f"', b'"f","bio":"%b"' % (b"b" * (n % 200)))
        for n, value in enumerate(values)
    ]
    assert_as_alone(values)
    assert known_of(values) == 1.0


def test_odd_records_before_the_first_plain_one_hide_no_shape() -> None:
    odd = [follow(number).replace(b"f", "ü".encode()) for number in range(60)]
    reader = _FOLLOW_WAYS[True].reader
    values = [*odd, *map(follow, range(ROWS_MIN))]
    assert reader.read(Lot(values), values, 400).known.sum() == ROWS_MIN


@pytest.mark.parametrize(
    "value",
    [
        b'{"creator_id":"a","creator_id":"b","at_ms":1736899200000}',
        b'{"creator_id":"a","x":{"y":"z"},"at_ms":1736899200000}',
        b'{"creator_id":"a","x":["z"],"at_ms":1736899200000}',
        b'{"creator_id":"a","at_ms":1736899200000}}',
        b'{"creator_id":"a","at_ms":1736899200000} x',
        b'["creator_id","a","at_ms",1736899200000]',
        b'{"creator_id":"\\u0061","at_ms":1736899200000}',
        b"{}",
    ],
)
def test_a_record_whose_like_could_mean_something_else_has_no_shape(value: bytes) -> None:
    assert shape_of(value, FIELDS) is None


PIECES = [
    b'"', b"\\", b"{", b"}", b"[", b"]", b",", b":", b" ", b"\n", b"\x00", b"\x7f", b"\x80",
    b"\xc3\xbc", b"0", b"1", b"9", b"e", b"null", b'":"', b'","', b'"kind":"unfollow"',
    b'"creator_id":"z"',
    b'"at_ms":1736899200000', b"1736899200000", b"\\u0000", b'"x":{"creator_id":"q"}',
]  # fmt: skip


@pytest.mark.parametrize("framing", [b"", b'"', b'\x00{"\\\xff', b"\x1f" * 90, b'","at_ms":12}'])
def test_bytes_between_values_of_columns_are_of_no_matter(framing: bytes) -> None:
    values = [(follow, other_follow)[number % 2](number) for number in range(ROWS_MIN)]
    values[5], values[90] = b"{}", follow(90)[:-2]
    values.append(follow(1)[:-3])
    lengths = np.array([len(value) for value in values])
    starts = np.cumsum(lengths + len(framing)) - lengths
    data = framing + framing.join(values) + b'"}'
    columns = Values(data, starts, lengths)
    for part in (slice(None), slice(3, 600), slice(100, None), slice(0, 20)):
        assert rows_of(decode_follows(raw(columns[part]), AT_MS_END, LIMITS)) == rows_of(
            decode_follows(raw(values[part]), AT_MS_END, LIMITS)
        )


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from(["follows", "comments"]))
def test_records_that_were_tampered_with_have_the_fate_that_they_have_alone(
    seed: int, topic: str
) -> None:
    chance = random.Random(seed)
    made, decode = (follow, decode_follows) if topic == "follows" else (comment, decode_comments)
    values: list[Value] = [made(number) for number in range(ROWS_MIN + 40)]
    for _ in range(60):
        row = chance.randrange(len(values))
        value = bytearray(values[row] or b"")
        for _ in range(chance.choice((1, 1, 2, 4))):
            begin = chance.randrange(len(value) + 1)
            end = min(len(value), begin + chance.choice((0, 0, 1, 1, 2, 9)))
            value[begin:end] = chance.choice(PIECES)
        values[row] = bytes(value)
    assert_as_alone(values, decode)
