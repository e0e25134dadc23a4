"""Records that have one shape, decoded together: the hottest code of the worker.

Records of one producer differ in a few texts and numbers and agree in all other bytes:

    {"kind":"follow","creator_id":"c-17","follower_id":"f-9","at_ms":1736899200000}
    ----------------              ----                 ---          -------------

A shape is learnt from one record that the decoder accepts: the bytes that all have (segments,
dashed out above) and the variable parts between them. A record has the shape when every segment
stands where the part before it ends. That makes it valid, with the same fields, because

- a variable text holds no quotation mark, backslash, control or non-ASCII byte, so it ends at its
  closing mark and reads as it stands;
- a variable number is thirteen digits, the first not 0;
- everything else is, byte for byte, what the decoder accepted.

A record that does not have a known shape is decoded one by one, and has the same fate either way.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from streams.core.texts import PAD, Bytes, Ints, Words

SHAPES_MAX: Final = 6
"""Shapes looked for in a chunk; what is left is decoded one by one."""
ROWS_MIN: Final = 128
"""Fewer records are quicker one by one."""
_QUOTE: Final = ord('"')
_DIGITS: Final = 13
_TIME: Final = "at_ms"
_TOKEN: Final = re.compile(
    rb'"([^"]*)" *: *(?:"([^"]*)"|([^" ,:{}\[\]]+)) *([,}]) *'  # name, text, bare value, end
)
_MASKS: Final = np.array([(1 << 8 * size) - 1 for size in range(9)], dtype=np.uint64)

Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class TextField:
    """What a text field may be: its length in characters, or one of few words."""

    characters_min: int
    characters_max: int
    words: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class TimeField:
    """What a time field may be: whole milliseconds in [start_ms, end_ms)."""

    start_ms: int
    end_ms: int


Field = TextField | TimeField


class _Part(NamedTuple):
    """A variable part: a field's value; for a text, which quotation mark of the record ends it."""

    name: str
    is_text: bool
    mark: int


class Shape(NamedTuple):
    """Segments and the parts between them: one segment more than parts; ``marks`` in all."""

    segments: tuple[bytes, ...]
    parts: tuple[_Part, ...]
    marks: int


@dataclass(slots=True)
class Found:
    """Which rows had a shape, and their fields.

    ``texts[name]`` are starts and lengths in the buffer (a length of -1: the row has no such
    field). Only rows with ``known`` are set.
    """

    known: Flags
    texts: dict[str, tuple[Ints, Ints]]
    at_ms: Ints


def shape_of(value: bytes, fields: Mapping[str, Field]) -> Shape | None:
    """Shape of a record that the decoder accepts; None: its like is decoded one by one.

    >>> shape_of(b'{"id":"a","n":1}', {"id": TextField(1, 9)})
    Shape(segments=(b'{"id":"', b'","n":1}'), parts=(_Part(name='id', is_text=True, mark=3),), marks=6)
    """  # noqa: E501 one value, as it is printed
    at = len(value) - len(value[1:].lstrip(b" "))
    if value[:1] != b"{" or b"\\" in value:
        return None
    segments, parts, names = [], list[_Part](), set[bytes]()
    begin = marks = 0
    while token := _TOKEN.match(value, at):
        name, text, bare, end = token.groups()
        names.add(name)
        marks += 2
        field = fields.get(name.decode("ascii", "replace"))
        if text is not None:
            marks += 2
        if text is not None or (isinstance(field, TimeField) and re.fullmatch(rb"\d{13}", bare)):
            start, stop = token.span(2 if text is not None else 3)
            segments.append(value[begin:start])
            parts.append(_Part(name.decode("ascii", "replace"), text is not None, marks - 1))
            begin = stop
        at = token.end()
        if end == b"}":
            break
    else:
        return None
    if at != len(value) or len(names) != marks // 2 - sum(part.is_text for part in parts):
        return None  # something follows, or a name stands twice
    return Shape((*segments, value[begin:]), tuple(parts), marks)


class Lot:
    """Values in one buffer, with what is looked up once for all shapes.

    ``more`` (plain ASCII) stands after them, from ``more_at`` on. Raises TypeError for a value
    that is None.
    """

    def __init__(self, values: Sequence[bytes], more: bytes = b"") -> None:
        self.lengths = np.fromiter(map(len, values), np.int64, len(values))
        self.ends = np.cumsum(self.lengths)
        self.starts = self.ends - self.lengths
        self.raw = b"".join((*values, more, PAD))
        self.more_at = len(self.raw) - len(more) - len(PAD)
        self.data: Bytes = np.frombuffer(self.raw, np.uint8)
        view: Any = np.ndarray((len(self.raw) - 7,), "<u8", self.raw, strides=(1,))
        self._words: Words = view
        self._last = len(self.raw) - 8
        self._quotes = (self.data == _QUOTE).nonzero()[0]
        self._first_mark = self._marks_before()

    def _marks_before(self) -> Ints:
        """How many quotation marks stand before each record, and in all."""
        rows, quotes = len(self.starts), self._quotes
        if rows and len(quotes) % rows == 0:
            each = len(quotes) // rows
            table = quotes.reshape(rows, each)
            if each and (table[:, 0] >= self.starts).all() and (table[:, -1] < self.ends).all():
                return np.arange(rows + 1) * each
        return np.searchsorted(quotes, np.append(self.starts, len(self.raw)))

    def plain(self, record_bytes_max: int) -> Flags:
        """Rows of allowed length that hold neither escapes nor control nor non-ASCII bytes."""
        plain: Flags = self.lengths <= record_bytes_max
        plain &= self.lengths > 0
        values = self.data[: self.more_at]
        odd = [np.zeros(0, np.int64)]
        if b"\\" in self.raw:
            odd.append((values == ord("\\")).nonzero()[0])
        if not self.raw.isascii():
            odd.append((values >= 0x80).nonzero()[0])
        if len(values) and values.min() < 0x20:
            odd.append((values < 0x20).nonzero()[0])
        places = np.concatenate(odd)
        if len(places):
            plain[np.searchsorted(self.ends, places, side="right")] = False
        return plain

    def of_shape(self, shape: Shape, rows: Ints) -> tuple[Flags, list[tuple[Ints, Ints]]]:
        """Which of these rows have the shape; where each part starts and how long it is."""
        first = self._first_mark[rows]
        has = self._first_mark[rows + 1] - first == shape.marks
        if not has.all():
            first = np.where(has, first, 0)  # another row's marks: of no matter, never read
        at, spans = self.starts[rows], []
        for segment, part in zip(shape.segments, (*shape.parts, None), strict=True):
            self._check(has, at, segment)
            at = at + len(segment)
            if part is None:
                break
            if part.is_text:
                end = self._quotes.take(first + part.mark, mode="clip")
            else:
                end = at + _DIGITS
            spans.append((at, end - at))
            at = end
        has &= at == self.ends[rows]
        return has, spans

    def _check(self, has: Flags, at: Ints, segment: bytes) -> None:
        """Clear the flags of rows in which the segment does not stand at ``at``."""
        for begin in range(0, len(segment), 8):
            piece = segment[begin : begin + 8]
            found = self.word(at + begin)
            if len(piece) < 8:
                found &= _MASKS[len(piece)]
            has &= found == np.uint64(int.from_bytes(piece, "little"))

    def word(self, at: Ints) -> Words:
        """Eight bytes from each place on, as a little-endian number."""
        if len(at) and (int(at.max()) > self._last or int(at.min()) < 0):
            at = np.clip(at, 0, self._last)
        found: Words = self._words[at]
        return found

    def time(self, at: Ints) -> tuple[Flags, Ints]:
        """Thirteen digits from each place on: whether they are that, and their number."""
        upper, lower = self.word(at), self.word(at + _DIGITS - 8)
        number = (_number_of(upper) * np.uint64(100_000)).view(np.int64)
        number += (_number_of(lower) % np.uint64(100_000)).view(np.int64)
        are = _are_digits(upper)
        are &= _are_digits(lower)
        are &= number >= 10 ** (_DIGITS - 1)
        return are, number


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


class Reader:
    """Reads lots of records of one topic by their shapes.

    ``fields`` are all fields that the decoder knows; ``wanted`` the texts that are given back.
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
        found = Found(
            np.zeros(rows, np.bool_),
            {name: (np.zeros(rows, np.int64), np.full(rows, -1)) for name in self._wanted},
            np.zeros(rows, np.int64),
        )
        pending = lot.plain(record_bytes_max).nonzero()[0]
        for _ in range(SHAPES_MAX):
            if len(pending) < ROWS_MIN:
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
            if name == _TIME:
                found.at_ms[chosen] = start[kept]
            elif name in found.texts:
                starts, lengths = found.texts[name]
                starts[chosen], lengths[chosen] = start[kept], length[kept]
        return good

    @staticmethod
    def _allowed(lot: Lot, field: TextField, start: Ints, length: Ints) -> Flags:
        if not field.words:
            allowed: Flags = length >= field.characters_min
            allowed &= length <= field.characters_max
            return allowed
        first, allowed = lot.word(start), np.zeros(len(start), np.bool_)
        for word in field.words:
            number = np.uint64(int.from_bytes(word, "little"))
            allowed |= (length == len(word)) & (first & _MASKS[len(word)] == number)
        return allowed
