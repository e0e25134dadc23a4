"""Shapes learnt from records that the decoder accepts (``shapes.py`` says what a shape is)."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, NamedTuple

PLAIN_FROM: Final = 0x20
"""The lowest byte that is no control character."""
WINDOWS: Final = MappingProxyType({16: "<u2", 32: "<u4", 64: "<u8"})
"""Windows in which a text's end is looked for, and the number that has a bit for each byte."""
_LONGER_BY: Final = 5
"""Texts that are so many bytes longer than the sample's are still found in the first window."""
_TOKEN: Final = re.compile(
    rb'"([^"]*)" *: *(?:"([^"]*)"|([^" ,:{}\[\]]+)) *([,}]) *'  # name, text, bare value, end
)


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
    """A variable part: a field's value.

    ``window``: how many bytes are looked at for a text's end at once; 0: it is a time.
    """

    name: str
    window: int


class Shape(NamedTuple):
    """Segments (plain ASCII) and the parts between them: one segment more than parts."""

    segments: tuple[bytes, ...]
    parts: tuple[_Part, ...]


def shape_of(value: bytes, fields: Mapping[str, Field]) -> Shape | None:
    """Shape of a record that the decoder accepts; None: its like is decoded one by one.

    >>> shape_of(b'{"id":"a","n":1}', {"id": TextField(1, 9)})
    Shape(segments=(b'{"id":"', b'","n":1}'), parts=(_Part(name='id', window=16),))
    """
    at = len(value) - len(value[1:].lstrip(b" "))
    if value[:1] != b"{" or not is_plain(value):
        return None
    segments, parts, names = [], list[_Part](), list[bytes]()
    begin = 0
    while token := _TOKEN.match(value, at):
        name, text, bare, end = token.groups()
        names.append(name)
        field = fields.get(name.decode())
        if text is not None or (isinstance(field, TimeField) and re.fullmatch(rb"\d{13}", bare)):
            start, stop = token.span(2 if text is not None else 3)
            segments.append(value[begin:start])
            parts.append(_Part(name.decode(), 0 if text is None else _window_of(len(text))))
            begin = stop
        at = token.end()
        if end == b"}":
            break
    else:
        return None
    if at != len(value) or len(set(names)) < len(names):
        return None  # something follows, or a name stands twice
    return Shape((*segments, value[begin:]), tuple(parts))


def is_plain(value: bytes) -> bool:
    """Whether it has neither escapes nor control nor non-ASCII bytes."""
    return value.isascii() and b"\\" not in value and min(value, default=0) >= PLAIN_FROM


def _window_of(length: int) -> int:
    return next((size for size in WINDOWS if length + _LONGER_BY <= size), max(WINDOWS))
