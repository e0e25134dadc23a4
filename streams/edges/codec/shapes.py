"""Records that have one shape, decoded together: the hottest code of the worker.

Records of one producer differ in a few texts and numbers and agree in all other bytes:

    {"kind":"follow","creator_id":"c-17","follower_id":"f-9","at_ms":1736899200000}
    ----------------              ----                 ---          -------------

A shape is learnt from one record that the decoder accepts: the bytes that all have (segments,
dashed out above) and the variable parts between them. A record has the shape when every segment
stands where the part before it ends. That makes it valid, with the same fields, because

- a variable text ends at the first quotation mark, backslash, control or non-ASCII byte, and the
  segment that follows begins with a mark: so that mark closes it, and it reads as it stands;
- a variable number is thirteen digits, the first not 0;
- everything else is, byte for byte, what the decoder accepted.

A record that does not have a known shape is decoded one by one, and has the same fate either way.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from streams.core.records.texts import Bytes, Ints, Words
from streams.core.records.values import Values
from streams.edges.codec.learning import (
    PLAIN_FROM,
    WINDOWS,
    Field,
    Shape,
    TextField,
    TimeField,
    is_plain,
    shape_of,
)

SHAPES_MAX: Final = 6
"""Shapes looked for in a chunk; what is left is decoded one by one."""
ROWS_MIN: Final = 512
"""Fewer records are quicker one by one (0.6 us each; by shape 0.14, and 270 us a chunk)."""
SHAPE_ROWS_MIN: Final = 128
"""Fewer records that are left are quicker one by one than by one more shape."""
_SAMPLES_MAX: Final = 64
"""Odd records passed over, when a shape is looked for, before it is given up."""
_QUOTE: Final = ord('"')
_BACKSLASH: Final = ord("\\")
_ODD: Final = re.compile(rb'["\\\x00-\x1f\x80-\xff]')
_FEW_ROWS: Final = 32
_DIGITS: Final = 13
_TIME: Final = "at_ms"
_MASKS: Final = np.array([(1 << 8 * size) - 1 for size in range(9)], dtype=np.uint64)
_GATHERED_BYTES: Final = 64
_TAIL: Final = bytes(_GATHERED_BYTES)
"""What follows the last value, so that so many bytes can be read from any place in it."""

Flags = NDArray[np.bool_]


@dataclass(slots=True)
class Found:
    """Which rows had a shape, and their fields.

    ``texts[name]`` are starts and lengths in the buffer (a length of -1: the row has no such
    field), of the fields that any shape had. So are ``times[name]``, -1 where the row has none.
    Only rows with ``known`` are set.
    """

    known: Flags
    texts: dict[str, tuple[Ints, Ints]]
    times: dict[str, Ints]

    def column(self, name: str) -> tuple[Ints, Ints]:
        """Starts and lengths of a field, to be set."""
        if name not in self.texts:
            rows = len(self.known)
            self.texts[name] = np.zeros(rows, np.int64), np.full(rows, -1)
        return self.texts[name]

    def time(self, name: str) -> Ints:
        """Values of a time, to be set."""
        if name not in self.times:
            self.times[name] = np.full(len(self.known), -1)
        return self.times[name]


class Lot:
    """Values in one buffer, with what is looked up once for all shapes.

    ``more`` (plain ASCII) stands after them, from ``more_at`` on. Raises TypeError for a value
    that is None.
    """

    def __init__(self, values: Sequence[bytes], more: bytes = b"") -> None:
        self.raw, self.starts, self.lengths = _laid_out(values, more)
        self.ends = self.starts + self.lengths
        self.more_at = len(self.raw) - len(more) - len(_TAIL)
        self.data: Bytes = np.frombuffer(self.raw, np.uint8)

    def of_shape(self, shape: Shape, rows: Ints) -> tuple[Flags, list[tuple[Ints, Ints]]]:
        """Which of these rows have the shape; where each part starts and how long it is."""
        has = np.ones(len(rows), np.bool_)
        at, ends, spans = self.starts[rows], self.ends[rows], []
        for segment, part in zip(shape.segments, (*shape.parts, None), strict=True):
            self._check(has, at, segment)
            at = at + len(segment)
            if part is None:
                break
            if part.window:
                length = self._plain_lengths(has, at, ends, part.window)
            else:
                length = np.full(len(at), _DIGITS)
            spans.append((at, length))
            at = at + length
        has &= at == ends
        return has, spans

    def _plain_lengths(self, has: Flags, at: Ints, ends: Ints, window: int) -> Ints:
        """How many bytes from each place on are plain and no quotation mark.

        Looked for up to the row's end, and only where ``has``; elsewhere it may be any number.
        """
        lengths = self._plain_in_window(at, window)
        whole = (has & (lengths == window)).nonzero()[0]
        while len(whole) > _FEW_ROWS:
            begin = at[whole] + lengths[whole]
            inside = begin < ends[whole]
            whole, begin = whole[inside], begin[inside]
            found = self._plain_in_window(begin, _GATHERED_BYTES)
            lengths[whole] += found
            whole = whole[found == _GATHERED_BYTES]
        for row in whole.tolist():  # a long text among short ones
            odd = _ODD.search(self.raw, int(at[row] + lengths[row]), int(ends[row]))
            lengths[row] = (int(ends[row]) if odd is None else odd.start()) - int(at[row])
        return lengths

    def _plain_in_window(self, at: Ints, window: int) -> Ints:
        """Plain bytes from each place on, up to the first odd one: at most ``window``."""
        octets = self.words(at, window // 8).reshape(-1).view(np.uint8)
        odd = octets - np.uint8(PLAIN_FROM) >= 0x80 - PLAIN_FROM
        odd |= octets == _QUOTE
        odd |= octets == _BACKSLASH
        bits = np.packbits(odd, bitorder="little").view(WINDOWS[window])
        below: Ints = np.bitwise_count(~bits & (bits - 1)).astype(np.int64)  # the lowest set bit
        return below

    def _check(self, has: Flags, at: Ints, segment: bytes) -> None:
        """Clear the flags of rows in which the segment does not stand at ``at``."""
        for begin in range(0, len(segment), _GATHERED_BYTES):
            piece = segment[begin : begin + _GATHERED_BYTES]
            words = self.words(at + begin if begin else at, -(-len(piece) // 8))
            for place, word in enumerate(words.T):
                part = piece[8 * place : 8 * place + 8]
                found = word if len(part) == 8 else word & _MASKS[len(part)]
                has &= found == np.uint64(int.from_bytes(part, "little"))

    def words(self, at: Ints, count: int) -> Words:
        """``count`` words of eight bytes from each place on, as little-endian numbers, by row.

        They are those at the place only where all of them lie in the buffer.
        """
        # One gather of many bytes costs what one of eight does: 4 ns a row.
        size, last = 8 * count, len(self.raw) - 8 * count
        if last < 0:
            return np.zeros((len(at), count), np.uint64)
        view: Any = np.ndarray((last + 1,), f"V{size}", self.raw, strides=(1,))
        if len(at) and (int(at.max()) > last or int(at.min()) < 0):
            at = np.clip(at, 0, last)
        found: Words = view[at].view("<u8").reshape(-1, count)
        return found

    def time(self, at: Ints) -> tuple[Flags, Ints]:
        """Thirteen digits from each place on: whether they are that, and their number."""
        words = self.words(at, 2)
        upper, lower = words[:, 0], words[:, 1]
        lower = upper >> np.uint64(8 * (_DIGITS - 8)) | lower << np.uint64(8 * (16 - _DIGITS))
        number = (_number_of(upper) * np.uint64(100_000)).view(np.int64)
        number += (_number_of(lower) % np.uint64(100_000)).view(np.int64)
        are = _are_digits(upper)
        are &= _are_digits(lower)
        are &= number >= 10 ** (_DIGITS - 1)
        return are, number


def _laid_out(values: Sequence[bytes], more: bytes) -> tuple[bytes, Ints, Ints]:
    """Values in one buffer, and their starts and lengths in it; framing may stand between."""
    if isinstance(values, Values) and len(values):
        begin, end = int(values.starts[0]), int(values.starts[-1] + values.lengths[-1])
        whole = memoryview(values.data)[begin:end]
        return b"".join((whole, more, _TAIL)), values.starts - begin, values.lengths
    lengths = np.fromiter(map(len, values), np.int64, len(values))
    return b"".join((*values, more, _TAIL)), np.cumsum(lengths) - lengths, lengths


def _are_digits(word: Words) -> Flags:
    high = np.uint64(0xF0F0F0F0F0F0F0F0)
    zeros = np.uint64(0x3030303030303030)
    are: Flags = (word & high) == zeros
    are &= ((word + np.uint64(0x0606060606060606)) & high) == zeros
    return are


def _number_of(word: Words) -> Words:
    """Number of eight digits: pairs, then fours, then all, side by side in one word."""
    word = (word & np.uint64(0x0F0F0F0F0F0F0F0F)) * np.uint64(2561) >> np.uint64(8)
    word = (word & np.uint64(0x00FF00FF00FF00FF)) * np.uint64(6553601) >> np.uint64(16)
    return (word & np.uint64(0x0000FFFF0000FFFF)) * np.uint64(42949672960001) >> np.uint64(32)


def _from_plain(values: Sequence[bytes], rows: Ints) -> Ints:
    """Rows from the first plain one on; none if it is not among the first ones."""
    for place, row in enumerate(rows[:_SAMPLES_MAX].tolist()):
        if is_plain(values[row]):
            return rows[place:]
    return rows[:0]


class Reader:
    """Reads lots of records of one topic by their shapes.

    ``fields`` are all fields that the decoder knows; ``wanted`` those that are given back.
    """

    def __init__(
        self,
        fields: Mapping[str, Field],
        wanted: Sequence[str],
        decoder: msgspec.json.Decoder[Any],
    ) -> None:
        self._fields, self._wanted, self._decoder = fields, wanted, decoder

    def read(self, lot: Lot, values: Sequence[bytes], record_bytes_max: int) -> Found:
        """Fields of all rows that have one of the first shapes met."""
        rows = len(values)
        found = Found(np.zeros(rows, np.bool_), {}, {})
        pending = ((lot.lengths > 0) & (lot.lengths <= record_bytes_max)).nonzero()[0]
        for _ in range(SHAPES_MAX):
            pending = _from_plain(values, pending)
            if len(pending) < SHAPE_ROWS_MIN:
                break
            sample = values[int(pending[0])]
            shape = self._learnt(sample)
            if shape is None:
                pending = pending[1:]
                continue
            good = self._take(lot, shape, pending, found)
            pending = pending[1:] if good is None else pending[~good]
        return found

    def _learnt(self, sample: bytes) -> Shape | None:
        try:
            self._decoder.decode(sample)
        except msgspec.DecodeError:
            return None
        shape = shape_of(sample, self._fields)
        # a time of other than 13 digits is a segment: right for one record, so not worth learning
        if shape is None or _TIME not in {part.name for part in shape.parts}:
            return None
        return shape

    def _take(self, lot: Lot, shape: Shape, rows: Ints, found: Found) -> Flags | None:
        """Fields of the rows that have the shape; None: not even the sample has."""
        good, spans = lot.of_shape(shape, rows)
        columns: list[tuple[str, Ints, Ints]] = []
        for part, (start, length) in zip(shape.parts, spans, strict=True):
            field = self._fields.get(part.name)
            if isinstance(field, TimeField):
                are, number = lot.time(start)
                good &= are & (number >= field.start_ms) & (number < field.end_ms)
                columns.append((part.name, number, length))
            elif field is not None:
                good &= self._allowed(lot, field, start, length)
                columns.append((part.name, start, length))
        if not good.any():
            return None
        all_of_them = len(rows) == len(found.known) and bool(good.all())
        chosen = slice(None) if all_of_them else rows[good]
        kept = slice(None) if all_of_them else good
        found.known[chosen] = True
        for name, start, length in columns:
            if name not in self._wanted:
                continue
            if isinstance(self._fields[name], TimeField):
                found.time(name)[chosen] = start[kept]
            else:
                starts, lengths = found.column(name)
                starts[chosen], lengths[chosen] = start[kept], length[kept]
        return good

    @staticmethod
    def _allowed(lot: Lot, field: TextField, start: Ints, length: Ints) -> Flags:
        if not field.words:
            allowed: Flags = length >= field.characters_min
            allowed &= length <= field.characters_max
            return allowed
        first, allowed = lot.words(start, 1)[:, 0], np.zeros(len(start), np.bool_)
        for word in field.words:
            number = np.uint64(int.from_bytes(word, "little"))
            allowed |= (length == len(word)) & (first & _MASKS[len(word)] == number)
        return allowed
