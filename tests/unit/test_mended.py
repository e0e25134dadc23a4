"""Records to be put back: their file, what is judged of them, and the marks of retries."""

import json
from pathlib import Path

import jsonschema
import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from streams.core.records.chunks import RawChunk, Reason
from streams.edges.codec.events import Limits, decode_follows
from streams.edges.codec.out import DeadLetter
from streams.edges.codec.schemas import read_schema
from streams.edges.errors import DataError
from streams.edges.files.mended import (
    WORDS,
    Fit,
    Judge,
    MendedFileBroken,
    place_of,
    read_mended,
    with_event_id,
)
from streams.edges.kafka.dead_letters import LetterPlace, read_of
from streams.edges.kafka.retry_marks import encode_mark, event_id_of, mark_key_of, mark_of

AT_MS = 1_736_899_200_000
JUDGE = Judge(Limits(1_000, 600_000, with_event_ids=True), "follows", "comments")


def letter(raw: bytes, topic: str = "follows", *, raw_bytes: int | None = None) -> DeadLetter:
    size = len(raw) if raw_bytes is None else raw_bytes
    return DeadLetter(
        topic=topic, partition=3, offset=17, reason=Reason.NOT_JSON, raw_base64=raw,
        raw_bytes=size, truncated=size > len(raw),
    )  # fmt: skip


def follow(**fields: object) -> bytes:
    return msgspec.json.encode({"creator_id": "c-1", "follower_id": "f", "at_ms": AT_MS} | fields)


def test_every_reason_has_its_words() -> None:
    assert set(WORDS) == set(Reason)


def test_a_record_with_an_event_id_is_put_back_as_it_was() -> None:
    raw = follow(event_id="e-1")
    assert JUDGE.verdict(letter(raw), None, AT_MS) == Fit(raw, b"c-1", AT_MS)


@pytest.mark.parametrize("event_id", [None, "absent"])
def test_a_record_without_an_event_id_gets_the_same_one_each_time(event_id: str | None) -> None:
    raw = follow(**({} if event_id else {"event_id": None}), weight=1.50)
    first, second = (JUDGE.verdict(letter(raw), None, AT_MS + n) for n in range(2))
    assert isinstance(first, Fit)
    assert first == second
    limits = Limits(with_event_ids=True)
    decoded = decode_follows(RawChunk("t", 0, [first.value], [0], 1, -1, 1), AT_MS, limits)
    assert decoded.chunk.event_ids is not None
    assert [*decoded.chunk.event_ids] == [event_id_of(letter(raw))]
    assert json.loads(first.value) == json.loads(raw) | {"event_id": event_id_of(letter(raw))}


def test_what_was_too_large_gets_an_event_id_that_no_worker_can_have_learnt() -> None:
    large = msgspec.structs.replace(letter(follow(event_id="e-1")), reason=Reason.TOO_LARGE)
    fit = JUDGE.verdict(large, None, AT_MS)
    assert isinstance(fit, Fit)
    assert json.loads(fit.value) == json.loads(follow(event_id=event_id_of(large)))


def test_without_a_horizon_no_event_id_is_given() -> None:
    judge = JUDGE._replace(limits=Limits(1_000, 600_000, with_event_ids=False))
    assert judge.verdict(letter(follow()), None, AT_MS) == Fit(follow(), b"c-1", AT_MS)


def test_an_event_id_for_which_there_is_no_room_is_told() -> None:
    raw = follow(filler="x" * 920)
    assert len(raw) <= 1_000
    assert str(JUDGE.verdict(letter(raw), None, AT_MS)).startswith("too_large with an event_id")


@pytest.mark.parametrize(
    ("raw", "mended", "words"),
    [
        (b"", None, "empty: "),
        (follow(at_ms=AT_MS + 600_000), None, "at_ms_in_future: "),
        (follow(), follow(creator_id=""), "creator_invalid: "),
        (follow(), b"[]", "not_an_object: "),
    ],
)
def test_what_a_worker_would_not_take_is_refused_with_its_reason(
    raw: bytes, mended: bytes | None, words: str
) -> None:
    assert str(JUDGE.verdict(letter(raw), mended, AT_MS)).startswith(words)


def test_a_record_that_was_cut_is_put_back_only_as_a_whole() -> None:
    cut = letter(follow(), raw_bytes=9_000_000)
    assert "of its 9000000 bytes only 60 are" in str(JUDGE.verdict(cut, None, AT_MS))
    assert isinstance(JUDGE.verdict(cut, follow(), AT_MS), Fit)


def test_a_wave_report_is_not_put_back() -> None:
    assert "only follows and comments" in str(JUDGE.verdict(letter(b"{}", "waves"), b"{}", AT_MS))


@given(record=st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=9), min_size=1))
@example(record={"event_id": "x"})
def test_an_event_id_is_added_and_nothing_else_changes(record: dict[str, object]) -> None:
    value = json.dumps(record).encode()
    assert json.loads(with_event_id(value, "e")) == record | {"event_id": "e"}


@given(raw=st.binary(max_size=50))
def test_no_letter_makes_the_judge_raise_and_what_it_lets_through_can_be_decoded(
    raw: bytes,
) -> None:
    for value in (raw, follow(creator_id=raw.decode(errors="replace") or "c")):
        fit = JUDGE.verdict(letter(value), None, AT_MS)
        if isinstance(fit, Fit):
            chunk = RawChunk("t", 0, [fit.value], [0], 1, -1, 1)
            decoded = decode_follows(chunk, AT_MS, JUDGE.limits)
            assert [one.encode() for one in decoded.chunk.creator_ids] == [fit.creator_id]


LETTERS = st.builds(
    lambda raw, topic, size: letter(raw, topic, raw_bytes=len(raw) + size),
    st.sampled_from([follow(), follow(event_id="e"), follow(creator_id="ü"), b"x", b"", b"[]"])
    | st.binary(max_size=9),
    st.sampled_from(["follows", "follows", "comments", "waves"]),
    st.sampled_from([0, 0, 0, 1]),
)


@given(letters=st.lists(LETTERS, max_size=200), mended=st.none() | st.just(follow(event_id="m")))
def test_letters_judged_together_are_judged_as_each_alone(
    letters: list[DeadLetter], mended: bytes | None
) -> None:
    pairs = [(one, mended if nth % 3 == 0 else None) for nth, one in enumerate(letters)]
    together = JUDGE.verdicts(pairs, AT_MS)
    assert together == [JUDGE.verdict(*pair, AT_MS) for pair in pairs]


def test_marks_of_copies_are_one_and_of_other_records_at_the_same_place_are_not() -> None:
    assert mark_key_of(letter(b"a")) == mark_key_of(letter(b"a"))
    others = [
        letter(b"b"),
        letter(b"a", "comments"),
        msgspec.structs.replace(letter(b"a"), offset=1),
    ]
    assert len({mark_key_of(one) for one in [letter(b"a"), *others]}) == 4


def test_a_mark_fits_its_schema() -> None:
    schema = read_schema("retry_mark")
    mark = mark_of(letter(b"a"), "begun", AT_MS)
    jsonschema.Draft202012Validator(schema).validate(json.loads(encode_mark(mark)))
    assert [*mark.__struct_fields__] == [*schema["properties"]]


class _Record:
    partition, offset, timestamp = 3, 5, AT_MS

    def __init__(self, key: bytes | None, value: bytes | None) -> None:
        self.key, self.value = key, value


@given(
    key=st.none() | st.binary(max_size=5), value=st.none() | st.binary(max_size=40) | st.just(b"{}")
)
def test_records_of_others_in_the_topic_are_counted_and_harm_nothing(
    key: bytes | None, value: bytes | None
) -> None:
    mark = encode_mark(mark_of(letter(b"a"), "done", AT_MS))
    found = letter(b"a")
    read = read_of(
        [_Record(key, value), _Record(b"k", mark), _Record(None, msgspec.json.encode(found))]
    )
    assert [one.letter for one in read.letters] == [found]
    assert read.letters[0].place == LetterPlace(3, 5)
    assert [*read.marks] == [b"k"]
    tombstone = key is not None and value is None
    assert read.unknown == (0 if tombstone else 1)


@pytest.mark.parametrize("text", ["", "3", "3:", ":3", "-1:3", "3:4:5", "a:1", "٣:1", " 3:1"])
def test_what_is_no_place_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no PARTITION:OFFSET"):
        place_of(text)


def test_a_file_of_mended_records_is_read_with_their_bytes(tmp_path: Path) -> None:
    path = tmp_path / "mended.ndjson"
    path.write_bytes(b'{"place":"3:17","record":{"a": 1.0}}\n\n{"record":[],"place":"0:0"}')
    assert read_mended(path) == {LetterPlace(3, 17): b'{"a": 1.0}', LetterPlace(0, 0): b"[]"}


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b"{", "line 2: "),
        (b'{"place":"3:17"}', "line 2: "),
        (b'{"place":3,"record":{}}', "line 2: "),
        (b'{"place":"3-17","record":{}}', "'3-17' is no PARTITION:OFFSET"),
        (b'{"place":"1:1","record":{}}', "a second record for 1:1"),
        (b"\xff", "line 2: "),
        (b"[" * 100_000, "line 2: "),
    ],
)
def test_a_broken_line_is_named_before_anything_is_done(
    tmp_path: Path, line: bytes, words: str
) -> None:
    path = tmp_path / "mended.ndjson"
    path.write_bytes(b'{"place":"1:1","record":{}}\n' + line)
    with pytest.raises(MendedFileBroken, match=words):
        read_mended(path)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cannot read .*nowhere: No such file"):
        read_mended(tmp_path / "nowhere")
