"""The file of a backup: what goes in comes out, and no cut or flipped byte is ever taken."""

import errno
import hashlib
import zlib
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streams.edges.errors import DataError
from streams.edges.files import state_file
from streams.edges.files.state_file import (
    FileEnds,
    Hashes,
    PlaceBegins,
    PlaceEnds,
    StateFileDamaged,
    StateHeader,
    StateReader,
    StateWriter,
)

META = {"offset": b"17", "watermark_ms": b"-1", "groups:follows": b"0"}
HEADER = StateHeader(written_ms=5, prefix="p", layout={"layout": "3", "partitions": "2"})
Parts = list[tuple[str, list[bytes]]]
PARTS = st.lists(
    st.tuples(
        st.sampled_from(["s:follows:0", "s:posts:12", "surges", "outbox"]),
        st.lists(st.tuples(st.binary(max_size=9), st.binary(max_size=40)), min_size=1, max_size=5)
        .map(lambda pairs: [x for pair in pairs for x in pair]),
    ),
    max_size=4,
)  # fmt: skip


def ends_of(parts: Parts) -> PlaceEnds:
    keys = sum(len(pairs) // 2 for name, pairs in parts if name.startswith("s:"))
    return PlaceEnds(keys, len({name for name, _ in parts}))


def written(path: Path, places: list[Parts]) -> bytes:
    path.unlink(missing_ok=True)
    with StateWriter(path, HEADER) as writer:
        for number, parts in enumerate(places):
            writer.begin_place(PlaceBegins("follows", number, META))
            if parts:
                writer.put_hashes(Hashes(parts))
            writer.end_place(ends_of(parts))
    return path.read_bytes()


SAME_FOLDER = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


@SAME_FOLDER
@given(places=st.lists(PARTS, max_size=3))
def test_what_goes_in_comes_out(tmp_path: Path, places: list[Parts]) -> None:
    path = tmp_path / "backup"
    written(path, places)
    header, found = StateReader(path).survey()
    assert header == HEADER
    assert [one.begins for one in found] == [
        PlaceBegins("follows", number, META) for number in range(len(places))
    ]
    assert [(one.keys, one.hashes) for one in found] == [
        (ends.keys, ends.hashes) for ends in map(ends_of, places)
    ]
    blocks = [*StateReader(path).blocks()]
    assert [one.parts for one in blocks if isinstance(one, Hashes)] == [p for p in places if p]
    assert blocks[-1] == FileEnds(len(places))


@SAME_FOLDER
@given(data=st.data(), places=st.lists(PARTS, min_size=1, max_size=2))
def test_any_flipped_bit_cut_or_added_byte_is_refused(
    tmp_path: Path, data: st.DataObject, places: list[Parts]
) -> None:
    path = tmp_path / "backup"
    whole = written(path, places)
    at = data.draw(st.integers(0, len(whole) - 1))
    bit = data.draw(st.integers(0, 7))
    flipped = bytearray(whole)
    flipped[at] ^= 1 << bit
    for damaged in (bytes(flipped), whole[:at], whole + b"x", whole[:at] + whole[at + 1 :]):
        path.write_bytes(damaged)
        with pytest.raises(StateFileDamaged):
            StateReader(path).survey()


def packed(*blocks: object) -> bytes:
    packs = [zlib.compress(msgspec.msgpack.encode(one)) for one in blocks]
    body = b"".join(len(pack).to_bytes(4, "big") + pack for pack in packs)
    data = msgspec.json.encode(HEADER) + b"\n" + body
    return data + hashlib.sha256(data).digest()


BEGINS, ENDS = PlaceBegins("follows", 0, META), PlaceEnds(1, 1)
ROWS = Hashes([("s:follows:0", [b"c-1", b"x"])])


@pytest.mark.parametrize(
    "blocks",
    [
        (),
        (BEGINS, ROWS, ENDS),
        (ROWS, FileEnds(0)),
        (BEGINS, ROWS, FileEnds(1)),
        (BEGINS, ROWS, ENDS, FileEnds(2)),
        (BEGINS, ROWS, PlaceEnds(2, 1), FileEnds(1)),
        (BEGINS, ROWS, PlaceEnds(1, 2), FileEnds(1)),
        (BEGINS, ROWS, ENDS, BEGINS, ROWS, ENDS, FileEnds(1)),
        (BEGINS, BEGINS, ROWS, ENDS, FileEnds(1)),
        (BEGINS, Hashes([("s:follows:0", [b"c-1"])]), PlaceEnds(0, 1), FileEnds(1)),
        (BEGINS, Hashes([("surges", [])]), PlaceEnds(0, 1), FileEnds(1)),
        (PlaceBegins("follows", 0, {"offset": b"x", "watermark_ms": b"1"}), FileEnds(1)),
        (BEGINS, ROWS, ENDS, FileEnds(1), FileEnds(1)),
        ({"type": "else"}, FileEnds(0)),
    ],
)
def test_a_file_with_a_right_checksum_whose_blocks_are_not_in_order_is_refused(
    tmp_path: Path, blocks: tuple[object, ...]
) -> None:
    path = tmp_path / "backup"
    path.write_bytes(packed(BEGINS, ROWS, ENDS, FileEnds(1)))
    StateReader(path).survey()
    path.write_bytes(packed(*blocks))
    with pytest.raises(StateFileDamaged):
        StateReader(path).survey()


def test_a_later_format_and_what_is_no_backup_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "backup"
    written(path, [[]])
    monkeypatch.setattr(state_file, "FORMAT_VERSION", 2)
    with pytest.raises(StateFileDamaged, match="version 1, this program reads 2"):
        StateReader(path).survey()
    path.write_bytes(b"something else")
    with pytest.raises(StateFileDamaged, match="no backup that surgewatch state export made"):
        StateReader(path).survey()
    with pytest.raises(DataError, match="cannot read"):
        StateReader(tmp_path).survey()


def test_a_partition_that_is_begun_anew_leaves_nothing_of_the_first_try(tmp_path: Path) -> None:
    path = tmp_path / "backup"
    with StateWriter(path, HEADER) as writer:
        for _ in range(3):
            writer.begin_place(BEGINS)
            writer.put_hashes(ROWS)
            writer.drop_place()
        writer.begin_place(BEGINS)
        writer.put_hashes(ROWS)
        writer.end_place(ENDS)
    again = tmp_path / "again"
    with StateWriter(again, HEADER) as writer:
        writer.begin_place(BEGINS)
        writer.put_hashes(ROWS)
        writer.end_place(ENDS)
    assert path.read_bytes() == again.read_bytes()


def test_an_error_leaves_no_file_and_one_that_is_there_is_never_written_over(
    tmp_path: Path,
) -> None:
    path = tmp_path / "backup"
    with pytest.raises(TypeError), StateWriter(path, HEADER) as writer:
        writer.put_hashes(Hashes([("surges", [object()])]))  # type: ignore[list-item]
    assert [*tmp_path.iterdir()] == []
    path.write_text("precious")
    with pytest.raises(DataError, match="never written over"), StateWriter(path, HEADER):
        pass
    assert path.read_text() == "precious"


def test_a_full_disk_is_one_plain_line() -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("no /dev/full here")
    writer = StateWriter(Path("backup"), HEADER)
    writer._file = full.open("wb", buffering=0)  # type: ignore[assignment]
    with pytest.raises(DataError, match="cannot write backup: No space left"):
        writer._write(b"x")
    with pytest.raises(OSError, match="No space left") as raised:
        writer._file.write(b"x")
    assert raised.value.errno == errno.ENOSPC
    writer._file.close()
