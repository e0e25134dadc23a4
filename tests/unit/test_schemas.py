"""Schemas and codec accept the same records, and what is written fits its schema."""

import base64
import json
from typing import Any

import jsonschema
import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from streams.core.records.chunks import DeadRecord, RawChunk, Reason
from streams.core.surges.surge import LanguageShare, Surge
from streams.edges.codec.events import Limits, decode_comments, decode_follows
from streams.edges.codec.faults import AT_MS_END, AT_MS_MIN
from streams.edges.codec.out import (
    decode_dead_letter,
    decode_surge,
    encode_dead_letter,
    encode_surge,
)
from streams.edges.codec.schemas import SCHEMA_NAMES, read_schema

LIMITS = Limits(record_bytes_max=1_000_000)
VALIDATORS = {name: jsonschema.Draft202012Validator(read_schema(name)) for name in SCHEMA_NAMES}
TIMES = st.one_of(
    st.integers(AT_MS_MIN, AT_MS_END - 1),
    st.sampled_from([AT_MS_MIN - 1, AT_MS_MIN, AT_MS_END - 1, AT_MS_END, 0, -1, 1_736_899_200]),
    st.integers(),
)
TEXTS = st.one_of(
    st.text(max_size=20),
    st.sampled_from(["", "\0", "a\0b", "a\n", "follow", "unfollow"]),
    st.builds(lambda c, n: c * n, st.sampled_from("aü😀"), st.integers(14, 40)),
    st.builds(lambda c, n: c * n, st.sampled_from("aü😀"), st.integers(254, 259)),
)
# A whole number written as 1.0 is the one difference: a schema cannot tell it from 1.
FLOATS = st.floats(allow_nan=False, allow_infinity=False).filter(lambda x: x != int(x))
ANYTHING = st.one_of(
    st.none(), st.booleans(), FLOATS, TIMES, TEXTS, st.lists(st.integers(), max_size=2),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
)  # fmt: skip
IDS = ("creator_id", "follower_id", "comment_id", "post_id", "commenter_id", "event_id")
RIGHT: dict[str, st.SearchStrategy[Any]] = {
    **{name: st.text(min_size=1, max_size=20) for name in IDS},
    "at_ms": st.integers(AT_MS_MIN, AT_MS_END - 1),
    "kind": st.sampled_from(["follow", "unfollow"]),
    "lang": st.text(max_size=35),
    "region": st.text(max_size=16),
    "account_created_ms": st.integers(0, AT_MS_END - 1),
}


@st.composite
def records(draw: st.DrawFn) -> dict[str, Any]:
    """Record that is right but for none, one or two of its fields."""
    record = {name: draw(values) for name, values in RIGHT.items()}
    for name in draw(st.lists(st.sampled_from(sorted(RIGHT)), max_size=4)):
        del_or_change = draw(st.sampled_from(["drop", "null", "text", "any"]))
        if del_or_change == "drop":
            record.pop(name, None)
        else:
            others = {"null": st.none(), "text": TEXTS, "any": ANYTHING}
            record[name] = draw(others[del_or_change])
    if draw(st.booleans()):
        record["unknown"] = draw(ANYTHING)
    return record


def _accepts(name: str, value: bytes) -> bool:
    chunk = RawChunk(name, 0, [value], [0], 1, -1, 1)
    if name == "follow":
        return len(decode_follows(chunk, AT_MS_END, LIMITS).chunk) == 1
    return len(decode_comments(chunk, AT_MS_END, LIMITS).chunk) == 1


@pytest.mark.parametrize("name", ["follow", "comment"])
@settings(max_examples=600, deadline=None)
@given(record=records())
@example(record={"creator_id": "c", "follower_id": "f", "at_ms": 10**30})
@example(record={"creator_id": "c", "follower_id": "f", "at_ms": True})
def test_schema_and_codec_accept_the_same_records(name: str, record: dict[str, Any]) -> None:
    value = json.dumps(record).encode()
    assert _accepts(name, value) == VALIDATORS[name].is_valid(json.loads(value))


@pytest.mark.parametrize("name", ["follow", "comment"])
@given(value=ANYTHING)
def test_schema_and_codec_refuse_what_is_not_an_object(name: str, value: Any) -> None:
    encoded = json.dumps(value).encode()
    assert not _accepts(name, encoded)
    assert not VALIDATORS[name].is_valid(value)


@pytest.mark.parametrize("name", ["follow", "comment"])
def test_a_whole_number_with_a_fraction_is_refused_by_the_codec_alone(name: str) -> None:
    record = dict.fromkeys(IDS, "x") | {"at_ms": float(AT_MS_MIN)}
    value = json.dumps(record).encode()
    assert VALIDATORS[name].is_valid(record)
    assert not _accepts(name, value)


@pytest.mark.parametrize("name", SCHEMA_NAMES)
def test_every_schema_is_a_schema_and_its_fields_are_explained(name: str) -> None:
    schema = read_schema(name)
    jsonschema.Draft202012Validator.check_schema(schema)
    assert set(schema["required"]) <= set(schema["properties"])


def test_a_schema_that_does_not_exist_is_named() -> None:
    with pytest.raises(KeyError, match="no schema 'follows'"):
        read_schema("follows")


NUMBERS = st.none() | st.floats(0, 1e12)
SHARES = st.builds(LanguageShare, lang=st.text(max_size=9), share=st.floats(0, 1))
SURGES = st.builds(
    Surge,
    surge_id=st.text("0123456789abcdef", min_size=16, max_size=16),
    revision=st.integers(0, 99),
    creator_id=st.text(min_size=1, max_size=9),
    post_id=st.none() | st.text(min_size=1, max_size=9),
    window_ms=st.integers(1, 10**9),
    observed=st.integers(0, 10**9),
    threshold=st.none() | st.integers(0, 10**9),
    expected_own=NUMBERS,
    expected_in_wave=NUMBERS,
    ratio=NUMBERS,
    score=NUMBERS,
    false_alarm_rate=NUMBERS,
    prior_weight=st.none() | st.floats(0, 1),
    seen_over_asked=st.none() | st.floats(0, 1e6),
    langs=st.none() | st.lists(SHARES, max_size=3),
    usual_lang=st.none() | SHARES,
)


@given(SURGES)
def test_every_surge_written_fits_its_schema_and_reads_back(surge: Surge) -> None:
    value = encode_surge(surge)
    VALIDATORS["surge"].validate(json.loads(value))
    assert decode_surge(value) == surge


def test_the_surge_schema_knows_every_field() -> None:
    fields = [field.encode_name for field in msgspec.structs.fields(Surge)]
    assert set(fields) == set(read_schema("surge")["properties"])
    assert set(fields) == set(read_schema("surge")["required"])


def test_the_dead_letter_schema_knows_every_reason() -> None:
    reasons = read_schema("dead_letter")["properties"]["reason"]["enum"]
    assert reasons == [reason.value for reason in Reason]


@given(
    raw=st.binary(max_size=3_000),
    reason=st.sampled_from(Reason),
    bytes_max=st.integers(700, 5_000),
    topic=st.text("abc-._", min_size=1, max_size=249),
)
def test_every_dead_letter_fits_its_schema_and_the_limit_and_keeps_what_it_can(
    raw: bytes, reason: Reason, bytes_max: int, topic: str
) -> None:
    value = encode_dead_letter(DeadRecord(topic, 2, 9, raw, reason), bytes_max)
    assert len(value) <= bytes_max
    record = json.loads(value)
    VALIDATORS["dead_letter"].validate(record)
    letter = decode_dead_letter(value)
    assert (letter.topic, letter.partition, letter.offset, letter.reason) == (topic, 2, 9, reason)
    assert letter.raw_bytes == len(raw)
    assert raw.startswith(letter.raw_base64)
    assert base64.b64decode(record["raw_base64"]) == letter.raw_base64
    assert letter.truncated == (letter.raw_base64 != raw)
    if letter.truncated:
        assert len(value) > bytes_max - 9


def test_an_empty_value_is_a_dead_letter_that_is_whole() -> None:
    value = encode_dead_letter(DeadRecord("follows", 0, 0, b"", Reason.EMPTY), 4_000_000)
    letter = decode_dead_letter(value)
    assert (letter.raw_base64, letter.truncated) == (b"", False)
