"""A backup of partitions' state: one file, written once, that is either whole or refused.

    one line of JSON      `StateHeader`: what kind of state it is
    blocks                4 bytes (big-endian): length of what follows; MessagePack, packed by zlib:
                          for each place `PlaceBegins`, any number of `Hashes`, `PlaceEnds`;
                          after the last place `FileEnds`
    32 bytes              SHA-256 of all before

The checksum is looked at before anything else is believed. A file is written under another name
until it is whole, and takes the name that it is to have only then.
"""

import hashlib
import os
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final, Literal, NamedTuple, Self

import msgspec

from streams.edges.errors import DataError
from streams.edges.store import Place

FORMAT_VERSION: Final = 1
_DIGEST_BYTES: Final = 32
_HEADER_BYTES_MAX: Final = 1_048_576
_BLOCK_BYTES_MAX: Final = 1 << 30
_READ_BYTES: Final = 1_048_576
_LEVEL: Final = 1
"""zlib's quickest: level 6 takes three times as long for a tenth less."""


class StateFileDamaged(DataError):
    """A backup is cut, altered, or no backup at all."""

    def __init__(self, path: Path, problem: str) -> None:
        super().__init__(f"{path} cannot be used: {problem}")
        self.path = path


class StateHeader(msgspec.Struct, frozen=True, kw_only=True):
    """What a backup is of: the key prefix, and the fields of ``PREFIX:layout`` as they stood.

    Those are layout, partitions, detector, group, the cluster's id and each topic's id.
    """

    format: Literal["surgewatch-state"] = "surgewatch-state"
    version: int = FORMAT_VERSION
    written_ms: int
    prefix: str
    layout: dict[str, str]


class PlaceBegins(msgspec.Struct, frozen=True, tag="place_begins"):
    """The state of one partition follows; ``meta``: its fields (``docs/state.md``), no claim."""

    topic: str
    partition: int
    meta: dict[str, bytes]

    @property
    def place(self) -> Place:
        """The partition, as the store names it."""
        return Place(self.topic, self.partition)

    @property
    def offset(self) -> int:
        """Where reading goes on from this state."""
        return int(self.meta["offset"])

    @property
    def needed_offset(self) -> int:
        """The first offset that Kafka must still have: records held back are read again."""
        return int(self.meta.get("held_offset") or self.meta["offset"])


class Hashes(msgspec.Struct, frozen=True, tag="hashes"):
    """Parts of hashes: the key's end, as ``s:follows:0``, and fields and values in turn."""

    parts: list[tuple[str, list[bytes]]]


class PlaceEnds(msgspec.Struct, frozen=True, tag="place_ends"):
    """How many keys (of creators, posts, …) and how many hashes the partition has."""

    keys: int
    hashes: int


class FileEnds(msgspec.Struct, frozen=True, tag="file_ends"):
    """How many partitions there were."""

    places: int


Block = PlaceBegins | Hashes | PlaceEnds | FileEnds
_BLOCKS = msgspec.msgpack.Decoder(Block)
_HEADER = msgspec.json.Decoder(StateHeader)


class PlaceSum(NamedTuple):
    """One partition in a backup."""

    begins: PlaceBegins
    keys: int
    hashes: int


class StateWriter:
    """Writes a backup for the length of a ``with``; an error leaves no file."""

    def __init__(self, path: Path, header: StateHeader) -> None:
        self._path = path
        self._part = path.with_name(f"{path.name}.part")
        self._header = header
        self._digest = hashlib.sha256()
        self._begin = (0, self._digest)
        self._places = 0

    def __enter__(self) -> Self:
        """Open the file. Raises DataError if it is there already, or cannot be written."""
        if self._path.exists():
            message = f"{self._path} is there already: a backup is never written over"
            raise DataError(message)
        try:
            self._file = self._part.open("wb")
        except OSError as error:
            raise self._cannot_write(error) from error
        self._write(msgspec.json.encode(self._header) + b"\n")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Finish the file, or remove it if an error ends the run."""
        try:
            if error is None:
                self._put(FileEnds(self._places))
                self._write(self._digest.digest())
                self._flush()
                self._part.rename(self._path)
        except OSError as failure:
            raise self._cannot_write(failure) from failure
        finally:
            self._file.close()
            self._part.unlink(missing_ok=True)

    def begin_place(self, begins: PlaceBegins) -> None:
        """Begin a partition."""
        self._begin = (self._file.tell(), self._digest.copy())
        self._put(begins)

    def drop_place(self) -> None:
        """Forget the partition that was begun last."""
        at, self._digest = self._begin
        self._file.seek(at)
        self._file.truncate()

    def put_hashes(self, hashes: Hashes) -> None:
        """Add hashes, or parts of them, to the partition."""
        self._put(hashes)

    def end_place(self, ends: PlaceEnds) -> None:
        """End a partition."""
        self._put(ends)
        self._places += 1

    @property
    def size_bytes(self) -> int:
        """How long the file is so far."""
        return self._file.tell()

    def _put(self, block: Block) -> None:
        packed = zlib.compress(msgspec.msgpack.encode(block), _LEVEL)
        assert len(packed) < _BLOCK_BYTES_MAX, "blocks are made of a few megabytes"
        self._write(len(packed).to_bytes(4, "big") + packed)

    def _write(self, data: bytes) -> None:
        self._digest.update(data)
        try:
            self._file.write(data)
        except OSError as error:
            raise self._cannot_write(error) from error

    def _flush(self) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())

    def _cannot_write(self, error: OSError) -> DataError:
        return DataError(f"cannot write {self._path}: {error.strerror}")


class StateReader:
    """Reads a backup. Raises StateFileDamaged, DataError if it cannot be read at all."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def survey(self) -> tuple[StateHeader, list[PlaceSum]]:
        """Read it to its end and check all of it; what it is of."""
        with self._opened() as file:
            self._check_digest(file)
            header, found = self._header_in(file), list[PlaceSum]()
            for block in self._blocks_in(file):
                match block:
                    case PlaceBegins():
                        begins = block
                    case PlaceEnds():
                        found.append(PlaceSum(begins, block.keys, block.hashes))
                    case _:
                        pass
        return header, found

    def blocks(self) -> Iterator[Block]:
        """The blocks, of a file that was surveyed."""
        with self._opened() as file:
            self._header_in(file)
            yield from self._blocks_in(file)

    def _opened(self) -> BinaryIO:
        try:
            return self._path.open("rb")
        except OSError as error:
            message = f"cannot read {self._path}: {error.strerror}"
            raise DataError(message) from error

    def _check_digest(self, file: BinaryIO) -> None:
        if not file.read(len(_MAGIC)) == _MAGIC:
            raise StateFileDamaged(self._path, "it is no backup that surgewatch state export made")
        left = self._end_of(file)
        file.seek(0)
        digest = hashlib.sha256()
        while left > 0 and (data := file.read(min(left, _READ_BYTES))):
            digest.update(data)
            left -= len(data)
        if left or digest.digest() != file.read():
            problem = "its checksum is wrong, so it was cut or altered after it was written"
            raise StateFileDamaged(self._path, problem)
        file.seek(0)

    def _end_of(self, file: BinaryIO) -> int:
        """Where the checksum begins."""
        return max(0, os.fstat(file.fileno()).st_size - _DIGEST_BYTES)

    def _header_in(self, file: BinaryIO) -> StateHeader:
        try:
            header = _HEADER.decode(file.readline(_HEADER_BYTES_MAX))
        except msgspec.DecodeError as error:
            raise StateFileDamaged(self._path, f"its header: {error}") from error
        if header.version != FORMAT_VERSION:
            problem = f"its format is version {header.version}, this program reads {FORMAT_VERSION}"
            raise StateFileDamaged(self._path, problem)
        return header

    def _blocks_in(self, file: BinaryIO) -> Iterator[Block]:
        """Blocks in the order in which they must come; FileEnds is the last."""
        end, course = self._end_of(file), _Course()
        while file.tell() < end:
            length = int.from_bytes(file.read(4), "big")
            if file.tell() + length > end:
                raise StateFileDamaged(self._path, "a block goes beyond its end")
            try:
                block = _BLOCKS.decode(zlib.decompress(file.read(length)))
            except (zlib.error, msgspec.DecodeError) as error:
                raise StateFileDamaged(self._path, f"a block: {error}") from error
            if not course.takes(block):
                raise StateFileDamaged(self._path, f"{type(block).__name__} out of place")
            yield block
        if not course.is_over:
            raise StateFileDamaged(self._path, "its last block is missing")


_MAGIC: Final = b'{"format":"surgewatch-state","version":'


class _Course:
    """Whether blocks come in their order, as many as they say."""

    def __init__(self) -> None:
        self._keys = 0
        self._hashes: set[str] | None = None
        self._places: set[Place] = set()
        self.is_over = False

    def takes(self, block: Block) -> bool:
        """Whether this block may come now."""
        if self.is_over:
            return False
        match block:
            case PlaceBegins():
                fits = self._hashes is None and block.place not in self._places and _is_meta(block)
                self._places.add(block.place)
                self._keys, self._hashes = 0, set()
            case Hashes():
                fits = self._hashes is not None and all(map(self._takes_part, block.parts))
            case PlaceEnds():
                here = (self._keys, len(self._hashes or ()))
                fits = self._hashes is not None and (block.keys, block.hashes) == here
                self._hashes = None
            case FileEnds():
                fits = self._hashes is None and block.places == len(self._places)
                self.is_over = True
        return fits

    def _takes_part(self, part: tuple[str, Sequence[bytes]]) -> bool:
        name, pairs = part
        assert self._hashes is not None, "a place was begun"
        self._hashes.add(name)
        if name.startswith("s:"):
            self._keys += len(pairs) // 2
        return len(pairs) % 2 == 0 and len(pairs) > 0


def _is_meta(begins: PlaceBegins) -> bool:
    numbers = ("offset", "watermark_ms")
    return all(begins.meta.get(name, b"").lstrip(b"-").isdigit() for name in numbers)
