"""Files of records: what is written is read, and what is broken says where."""

import gzip
import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.core.records.chunks import RawChunk
from streams.edges.files import records as files
from streams.edges.files.records import (
    FileBroken,
    FileMissing,
    FileUnwritable,
    OutputFile,
    ParquetUnsupported,
    RecordFile,
)
from streams.edges.files.timeline import due_times_of, key_of, merged_by_time

AT_MS = 1_736_899_200_000
# Each begins like a record (or is blank): a file that begins with another format's mark is that.
Lines = st.lists(
    st.binary(max_size=60).map(lambda b: b and b"{" + b.replace(b"\n", b" ")), max_size=40
)


def values_of(path: Path, records: int = 10_000) -> list[bytes | None]:
    with RecordFile(path, "follows") as file:
        return [value for chunk in file.chunks(records) for value in chunk.values]


def record(at_ms: object, creator_id: str = "c-1") -> bytes:
    return json.dumps({"creator_id": creator_id, "at_ms": at_ms}).encode()


def chunk_of(values: list[bytes], topic: str = "follows") -> RawChunk:
    after = len(values)
    return RawChunk(topic, 0, values, range(after), after, -1, after)


@given(lines=Lines, name=st.sampled_from(["f.ndjson", "f.ndjson.gz"]), records=st.integers(1, 50))
def test_lines_written_are_the_records_read(
    tmp_path_factory: pytest.TempPathFactory, lines: list[bytes], name: str, records: int
) -> None:
    path = tmp_path_factory.mktemp("files") / name
    with OutputFile(path) as out:
        out.write_lines(lines)
    assert values_of(path, records) == lines


def test_chunks_have_the_asked_size_and_offsets_that_count_the_records(tmp_path: Path) -> None:
    path = tmp_path / "follows.ndjson"
    path.write_bytes(b"".join(b"%d\n" % n for n in range(25)))
    with RecordFile(path, "follows") as file:
        chunks = list(file.chunks(10))
        assert file.position_bytes == file.size_bytes == path.stat().st_size
    assert [len(chunk.values) for chunk in chunks] == [10, 10, 5]
    assert [list(chunk.offsets) for chunk in chunks][2] == [20, 21, 22, 23, 24]
    assert [chunk.next_offset for chunk in chunks] == [10, 20, 25]
    assert chunks[0].topic == "follows"


def test_lines_longer_than_a_block_and_blank_ones_are_records(tmp_path: Path) -> None:
    path = tmp_path / "long.ndjson"
    lines = [b"x" * 3_000_000, b"", b"y", b"no newline at the end"]
    path.write_bytes(b"\n".join(lines))
    assert values_of(path) == lines


def test_gzip_is_known_by_content_and_position_counts_packed_bytes(tmp_path: Path) -> None:
    path = tmp_path / "named.ndjson"
    path.write_bytes(gzip.compress(b"a\nb\n") + gzip.compress(b"c\n"))
    with RecordFile(path, "follows") as file:
        [chunk] = file.chunks()
        assert chunk.values == [b"a", b"b", b"c"]
        assert file.position_bytes == file.size_bytes == path.stat().st_size


def test_bom_at_the_start_is_no_part_of_the_first_record(tmp_path: Path) -> None:
    path = tmp_path / "bom.ndjson"
    path.write_bytes(b"\xef\xbb\xbf{}\n\xef\xbb\xbf\n")
    assert values_of(path) == [b"{}", b"\xef\xbb\xbf"]


def test_empty_file_holds_no_record(tmp_path: Path) -> None:
    path = tmp_path / "empty"
    path.write_bytes(b"")
    assert values_of(path) == []


def test_same_lines_gzipped_twice_are_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a.gz", "b.gz"):
        with OutputFile(tmp_path / name) as out:
            out.write_lines([b"x", b"y"])
    assert (tmp_path / "a.gz").read_bytes() == (tmp_path / "b.gz").read_bytes()


def test_missing_file_is_told_by_name(tmp_path: Path) -> None:
    with pytest.raises(FileMissing, match=r"nothing\.ndjson: no such file"):
        RecordFile(tmp_path / "nothing.ndjson", "follows")
    with pytest.raises(FileBroken, match="is a folder"):
        RecordFile(tmp_path, "follows")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (gzip.compress(b"line\n" * 400_000, mtime=0)[:-900], "middle of its gzip data, at line"),
        (gzip.compress(b"line\n", mtime=0) + b"garbage", "cannot be read at line 1: Not a gzipped"),
        (b"\x1f\x8b\x08\x00" + b"\xff" * 40, "cannot be read at line 1"),
        (b"\x28\xb5\x2f\xfd rest", "is packed with zstd"),
        (b"PK\x03\x04 rest", "is packed with zip"),
        (b"PAR1 and no more", "cannot be read at row 1"),
    ],
)
def test_broken_file_says_where_in_one_line(tmp_path: Path, data: bytes, words: str) -> None:
    path = tmp_path / "broken"
    path.write_bytes(data)
    with pytest.raises(FileBroken, match=words) as caught:
        values_of(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


def test_truncated_gzip_gives_all_lines_before_its_end(tmp_path: Path) -> None:
    path = tmp_path / "cut.gz"
    path.write_bytes(gzip.compress(b"".join(b"%d\n" % n for n in range(900_000)))[:-2_000])
    seen: list[bytes | None] = []
    with RecordFile(path, "follows") as file, pytest.raises(FileBroken):
        seen.extend(value for chunk in file.chunks(1000) for value in chunk.values)
    assert len(seen) > 500_000
    assert seen == [b"%d" % n for n in range(len(seen))]


def test_endless_line_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "LINE_BYTES_MAX", 2_000_000)
    path = tmp_path / "endless"
    path.write_bytes(b"ok\n" + b"x" * 5_000_000)
    with pytest.raises(FileBroken, match="line 2 is longer than 2000000 bytes"):
        values_of(path)


def test_output_that_fails_leaves_the_old_file_and_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "truth.json"
    path.write_bytes(b"old")
    out = OutputFile(path)
    out.write(b"new")
    out.__exit__(RuntimeError, RuntimeError(), None)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_output_into_no_folder_or_full_disk_is_told_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(FileUnwritable, match="cannot be written: No such file or directory"):
        OutputFile(tmp_path / "none" / "f.ndjson")
    with pytest.raises(FileUnwritable, match="No space left"), OutputFile(Path("/dev/full")) as out:
        out.write(b"x" * 100_000)
    assert Path("/dev/full").is_char_device()


def test_output_through_a_link_changes_what_it_points_to(tmp_path: Path) -> None:
    real, link = tmp_path / "real", tmp_path / "link"
    real.write_bytes(b"old")
    link.symlink_to(real)
    with OutputFile(link) as out:
        out.write(b"new")
    assert link.is_symlink()
    assert real.read_bytes() == b"new"


def parquet_of(path: Path, columns: dict[str, Any]) -> Path:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    parquet.write_table(pyarrow.table(columns), path, row_group_size=3)
    return path


def test_parquet_rows_are_json_records_without_nulls(tmp_path: Path) -> None:
    columns = {
        "creator_id": ["c-1", "c-2", "ç-3", "c-4"],
        "at_ms": [AT_MS, AT_MS + 1, None, AT_MS + 3],
        "lang": ["zh", None, "en", "en"],
    }
    path = parquet_of(tmp_path / "f.parquet", columns)
    with RecordFile(path, "follows") as file:
        chunks = list(file.chunks(2))
        assert file.position_bytes == file.size_bytes
    assert [json.loads(v or b"") for chunk in chunks for v in chunk.values] == [
        {"creator_id": "c-1", "at_ms": AT_MS, "lang": "zh"},
        {"creator_id": "c-2", "at_ms": AT_MS + 1},
        {"creator_id": "ç-3", "lang": "en"},
        {"creator_id": "c-4", "at_ms": AT_MS + 3, "lang": "en"},
    ]
    assert [chunk.next_offset for chunk in chunks] == [2, 4]


def test_parquet_moments_and_float_times_become_whole_milliseconds(tmp_path: Path) -> None:
    moment = datetime.fromtimestamp(AT_MS / 1000, tz=UTC)
    columns = {
        "at_ms": [moment, None],
        "account_created_ms": [float(AT_MS), float("nan")],
        "raw": [b"a\xff", None],
    }
    path = parquet_of(tmp_path / "f.parquet", columns)
    first, second = values_of(path)
    told = {"at_ms": AT_MS, "account_created_ms": AT_MS, "raw": "a�"}
    assert json.loads(first or b"") == told
    assert second == b"{}"


def test_parquet_cut_in_the_middle_is_broken(tmp_path: Path) -> None:
    path = parquet_of(tmp_path / "f.parquet", {"at_ms": list(range(1000))})
    data = bytearray(path.read_bytes())
    data[40:400] = b"\xff" * 360
    path.write_bytes(bytes(data))
    with pytest.raises(FileBroken, match="cannot be read at row"):
        values_of(path)


def test_parquet_without_pyarrow_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = parquet_of(tmp_path / "f.parquet", {"at_ms": [1]})
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ParquetUnsupported, match=r"pip install 'surgewatch\[parquet\]'") as caught:
        values_of(path)
    assert caught.value.exit_code == 2


def test_key_is_the_creator_even_of_a_record_that_is_not_json() -> None:
    assert key_of(b'{"creator_id":"c-7","at_ms":') == b"c-7"
    assert key_of('{"creator_id" : "ç"}'.encode()) == "ç".encode()
    assert key_of(b'{"creator_id":5}') is None
    assert key_of(b"") is None


@given(st.lists(st.integers(AT_MS, AT_MS + 80_000_000), min_size=1, max_size=60))
def test_sorted_times_are_due_as_they_are_told(times: list[int]) -> None:
    times.sort()
    due = due_times_of([record(t) for t in times], 0)
    assert due.tolist() == times


@given(
    wrong=st.sampled_from([1_736_899_200, -5, AT_MS + 10**11, 10**12, "x", 4_102_444_799_999]),
    place=st.integers(0, 39),
)
def test_lone_wrong_time_moves_no_other_record(wrong: object, place: int) -> None:
    times: list[object] = [AT_MS + n * 1000 for n in range(40)]
    right = due_times_of([record(t) for t in times], AT_MS)
    times[place] = wrong
    due = due_times_of([record(t) for t in times], AT_MS)
    assert abs(due - right).max() <= 5000
    assert (due[1:] >= due[:-1]).all()


def test_records_without_time_are_due_with_the_one_before() -> None:
    assert due_times_of([b"", b"x"], 7).tolist() == [7, 7]
    values = [b"?", record(AT_MS), b"", record(AT_MS + 5)]
    assert due_times_of(values, 0).tolist() == [AT_MS, AT_MS, AT_MS, AT_MS + 5]


@given(
    st.lists(st.lists(st.integers(AT_MS, AT_MS + 100_000), max_size=30), min_size=1, max_size=3),
    st.integers(1, 7),
    st.sampled_from([1, 1000, 60_000]),
)
def test_merge_keeps_every_record_in_file_order_and_the_files_in_step(
    files_times: list[list[int]], records: int, slice_ms: int
) -> None:
    sources = []
    for times in files_times:
        values = [record(t) for t in sorted(times)]
        sources.append(
            iter([chunk_of(values[n : n + records]) for n in range(0, len(values), records)])
        )
    told: list[list[int]] = [[] for _ in files_times]
    starts = []
    for start_ms, number, timed in merged_by_time(sources, slice_ms):
        assert len(timed.at_ms) == len(timed.chunk.values) > 0
        assert all(start_ms <= t < start_ms + slice_ms for t in timed.at_ms.tolist())
        told[number] += [json.loads(v or b"")["at_ms"] for v in timed.chunk.values]
        starts.append((start_ms, number))
    assert told == [sorted(times) for times in files_times]
    assert starts == sorted(starts)
