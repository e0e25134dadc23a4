"""Files of records: NDJSON, gzipped or not, and Parquet, read in file order in chunks.

What a file is, its first bytes say, not its name. Reading holds a block and a chunk in memory,
whatever the size of the file. A blank line is a record too: an empty one.
"""

import gzip
import os
import stat
import zlib
from collections.abc import Iterator, Sequence
from io import BufferedReader
from pathlib import Path
from types import TracebackType
from typing import IO, Final, Self

from streams.core.records.chunks import RawChunk
from streams.edges.errors import DataError, SettingsError
from streams.edges.files.parquet import PARQUET_ERRORS, parquet_reader

CHUNK_RECORDS: Final = 10_000
LINE_BYTES_MAX: Final = 16 * 2**20
"""A longer line is taken for a sign that the file is not NDJSON."""
_BLOCK_BYTES: Final = 2**20
_BOM: Final = b"\xef\xbb\xbf"
_GZIP_MAGIC: Final = b"\x1f\x8b"
_PARQUET_MAGIC: Final = b"PAR1"
_FOREIGN_MAGICS: Final = {
    b"\x28\xb5\x2f\xfd": "zstd",
    b"BZh": "bzip2",
    b"\xfd7zXZ": "xz",
    b"PK\x03\x04": "zip",
}


class FileMissing(DataError):
    """There is no such file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        super().__init__(f"{path}: no such file")


class FileBroken(DataError):
    """A file cannot be read, or not from some place on."""

    def __init__(self, path: Path, cause: str) -> None:
        self.path = path
        self.cause = cause
        super().__init__(f"{path}: {cause}")


class FileUnwritable(DataError):
    """A file cannot be written; what stood there before is untouched."""

    def __init__(self, path: Path, cause: str) -> None:
        self.path = path
        self.cause = cause
        super().__init__(f"{path}: cannot be written: {cause}")


class ParquetUnsupported(SettingsError):
    """A file is Parquet and pyarrow is not installed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        super().__init__(
            f"{path} is Parquet: install its reader: pip install 'surgewatch[parquet]'"
        )


class RecordFile:
    """One file of records, open for reading; a context manager, walked once.

    ``size_bytes`` is the file's size as it lies on disk and ``position_bytes`` how much of it
    has been read, for progress bars. Raises FileMissing, FileBroken, ParquetUnsupported.
    """

    def __init__(self, path: Path, topic: str) -> None:
        self.path = path
        self.topic = topic
        self._raw = _opened(path)
        status = os.fstat(self._raw.fileno())
        self.size_bytes = status.st_size
        self.is_regular = stat.S_ISREG(status.st_mode)
        """Whether it can be opened once more, and read from its beginning."""
        self._rows_share = 0.0
        try:
            self._kind = _kind_of(path, self._raw.peek(8)[:8])
        except FileBroken:
            self._raw.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._raw.close()

    @property
    def is_parquet(self) -> bool:
        """Whether its rows are Parquet's."""
        return self._kind == "parquet"

    @property
    def position_bytes(self) -> int:
        """Bytes read so far, 0 to ``size_bytes``; for Parquet the share of its rows of it."""
        if self._kind == "parquet":
            return int(self.size_bytes * self._rows_share)
        if self._raw.closed or not self.is_regular:
            return self.size_bytes  # of a pipe: 0
        return min(self._raw.tell(), self.size_bytes)

    def chunks(self, records: int = CHUNK_RECORDS) -> Iterator[RawChunk]:
        """Walk the records in chunks of ``records``; offsets count them from 0.

        Raises FileBroken with the line (or row) up to which the file could be read.
        """
        blocks = self._parquet_rows(records) if self._kind == "parquet" else self._lines()
        first, kept = 0, list[bytes]()
        for block in blocks:
            kept += block
            whole = len(kept) - len(kept) % records
            for start in range(0, whole, records):
                yield self._chunk(kept[start : start + records], first)
                first += records
            del kept[:whole]
        if kept:
            yield self._chunk(kept, first)

    def _chunk(self, values: list[bytes], first: int) -> RawChunk:
        after = first + len(values)
        return RawChunk(
            topic=self.topic,
            partition=0,
            values=values,
            offsets=range(first, after),
            next_offset=after,
            appended_ms=-1,
            end_offset=after,
        )

    def _lines(self) -> Iterator[list[bytes]]:
        plain: BufferedReader | gzip.GzipFile = self._raw
        if self._kind == "gzip":
            plain = gzip.GzipFile(fileobj=self._raw, mode="rb")
        tail, line_no = b"", 1
        while block := self._block(plain, line_no):
            tail += block
            if line_no == 1:
                tail = tail.removeprefix(_BOM)
            lines = tail.split(b"\n")
            tail = lines.pop()
            line_no += len(lines)
            if len(tail) > LINE_BYTES_MAX:
                cause = f"line {line_no} is longer than {LINE_BYTES_MAX} bytes: is it NDJSON?"
                raise FileBroken(self.path, cause)
            yield lines
        if tail:
            yield [tail]

    def _block(self, plain: BufferedReader | gzip.GzipFile, line_no: int) -> bytes:
        try:
            return plain.read(_BLOCK_BYTES)
        except EOFError as error:
            cause = f"ends in the middle of its gzip data, at line {line_no}: copy it again"
            raise FileBroken(self.path, cause) from error
        except (OSError, zlib.error) as error:
            raise FileBroken(self.path, f"cannot be read at line {line_no}: {error}") from error

    def _parquet_rows(self, records: int) -> Iterator[list[bytes]]:
        rows = 0
        try:
            reader = parquet_reader(self._raw)
            for block in reader.blocks(records):
                rows += len(block)
                self._rows_share = rows / reader.row_count
                yield block
        except ImportError as error:
            raise ParquetUnsupported(self.path) from error
        except PARQUET_ERRORS as error:
            cause = str(error).splitlines()[0]
            raise FileBroken(self.path, f"cannot be read at row {rows + 1}: {cause}") from error


def _opened(path: Path) -> BufferedReader:
    try:
        return path.open("rb")
    except FileNotFoundError as error:
        raise FileMissing(path) from error
    except IsADirectoryError as error:
        raise FileBroken(path, "is a folder, not a file") from error
    except OSError as error:
        raise FileBroken(path, f"cannot be opened: {error.strerror or error}") from error


def _kind_of(path: Path, magic: bytes) -> str:
    for foreign, name in _FOREIGN_MAGICS.items():
        if magic.startswith(foreign):
            raise FileBroken(path, f"is packed with {name}: unpack it, or pack it with gzip")
    if magic.startswith(_GZIP_MAGIC):
        return "gzip"
    return "parquet" if magic.startswith(_PARQUET_MAGIC) else "ndjson"


class OutputFile:
    """A file that appears whole or not at all: written beside its place, then renamed.

    A name that ends in ``.gz`` is gzipped, with no time in its header. A device or pipe is
    written to directly. Raises FileUnwritable.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._target = Path(os.path.realpath(path))
        self._direct = self._target.exists() and not self._target.is_file()
        self._part = self._target.with_name(f".{self._target.name}.{os.getpid()}.part")
        try:
            self._raw: IO[bytes] = (self._target if self._direct else self._part).open("wb")
        except OSError as error:
            raise FileUnwritable(path, error.strerror or str(error)) from error
        self._packed: gzip.GzipFile | None = None
        if path.name.endswith(".gz"):
            self._packed = gzip.GzipFile("", "wb", compresslevel=1, fileobj=self._raw, mtime=0)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None:
            self.drop()
        else:
            self.commit()

    def write(self, data: bytes) -> None:
        """Add bytes."""
        try:
            (self._packed or self._raw).write(data)
        except OSError as error:
            raise FileUnwritable(self._path, error.strerror or str(error)) from error

    def write_lines(self, lines: Sequence[bytes]) -> None:
        """Add records, one a line."""
        if lines:
            self.write(b"\n".join(lines) + b"\n")

    def commit(self) -> None:
        """Finish the file and put it in its place."""
        try:
            if self._packed is not None:
                self._packed.close()
            self._raw.flush()
            if not self._direct:
                os.fsync(self._raw.fileno())
            self._raw.close()
            if not self._direct:
                self._part.replace(self._target)
        except OSError as error:
            self.drop()
            raise FileUnwritable(self._path, error.strerror or str(error)) from error

    def drop(self) -> None:
        """Throw away what was written."""
        self._raw.close()
        if not self._direct:
            self._part.unlink(missing_ok=True)
