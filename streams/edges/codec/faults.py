"""Why a record cannot be used: one reason, the same whatever the chunk that it came in.

The order in which faults are looked for is the order of this list, so a record with several has
the first one: empty, too_large, null_byte (a raw one), invalid_utf8, too_deep, not_json,
not_an_object, the creator's faults, the time's faults, the other fields' in the order of the
contract. A field that is null counts as missing.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from streams.core.records.chunks import Reason

DEPTH_MAX: Final = 64
"""Deepest nesting of a record. A decoder's own limit depends on the caller's stack."""
ID_CHARACTERS_MAX: Final = 256
LANG_CHARACTERS_MAX: Final = 35
REGION_CHARACTERS_MAX: Final = 16
AT_MS_MIN: Final = 946_684_800_000
"""2000-01-01 UTC: an earlier time is a mistake."""
AT_MS_END: Final = 4_102_444_800_000
"""2100-01-01 UTC: the first time that no record may have."""

_SECONDS = range(100_000_000, 100_000_000_000)
"""Numbers that read as seconds since 1970 fall in 1973 to 5138."""
_TOKENS = re.compile(rb'"(?:[^"\\]|\\.)*"?|[\[{]|[\]}]', re.DOTALL)
_RAW = msgspec.json.Decoder(msgspec.Raw)
_FIELDS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_UNREADABLE: Final = object()

Check = Callable[[Any], Reason | None]
"""Takes a field's value (``None``: absent or null), gives its fault."""


def bytes_fault(value: bytes | None, record_bytes_max: int) -> Reason | None:
    """Fault that is seen without reading the JSON, or None.

    >>> bytes_fault(b"", 100).value, bytes_fault(b"{}", 100)
    ('empty', None)
    """
    if not value:
        return Reason.EMPTY
    if len(value) > record_bytes_max:
        return Reason.TOO_LARGE
    if b"\x00" in value:
        return Reason.NULL_BYTE
    if not value.isascii():
        try:
            value.decode()
        except UnicodeDecodeError:
            return Reason.INVALID_UTF8
    if value.count(b"[") + value.count(b"{") > DEPTH_MAX and depth_of(value) > DEPTH_MAX:
        return Reason.TOO_DEEP
    return None


def depth_of(value: bytes) -> int:
    """Deepest nesting of arrays and objects; brackets inside strings do not count.

    >>> depth_of(b'{"a": [1, {"b": "[[["}]}')
    3
    """
    deepest = depth = 0
    for token in _TOKENS.finditer(value):
        first = token.group()[:1]
        if first in b"[{":
            depth += 1
            deepest = max(deepest, depth)
        elif first in b"]}":
            depth -= 1
    return deepest


def field_fault(value: bytes, checks: Mapping[str, Check]) -> Reason | None:
    """Fault of a record in which ``bytes_fault`` found nothing, or None.

    ``checks`` has one check for each field, in the order of precedence.
    """
    try:
        _RAW.decode(value)
    except msgspec.DecodeError:
        return Reason.NOT_JSON
    try:
        fields = _FIELDS.decode(value)
    except msgspec.DecodeError:
        return Reason.NOT_AN_OBJECT
    for name, check in checks.items():
        reason = check(_value_of(fields.get(name)))
        if reason is not None:
            return reason
    return None


def _value_of(raw: msgspec.Raw | None) -> Any:
    try:
        return None if raw is None else msgspec.json.decode(raw)
    except msgspec.DecodeError:
        return _UNREADABLE  # a number beyond what Python reads, as 1e999


def creator_fault(value: Any) -> Reason | None:
    """Fault of ``creator_id``: text of 1 to 256 characters without null characters."""
    if value is None:
        return Reason.CREATOR_MISSING
    if not isinstance(value, str) or not value:
        return Reason.CREATOR_INVALID
    if len(value) > ID_CHARACTERS_MAX:
        return Reason.CREATOR_TOO_LONG
    return Reason.NULL_BYTE if "\0" in value else None


def time_fault(value: Any) -> Reason | None:
    """Fault of ``at_ms``: a whole number of milliseconds in the years 2000 to 2099.

    >>> time_fault(1_736_899_200).value, time_fault(1.0).value, time_fault(1_736_899_200_000)
    ('at_ms_in_seconds', 'at_ms_invalid', None)
    """
    if value is None:
        return Reason.AT_MS_MISSING
    if type(value) is not int:
        return Reason.AT_MS_INVALID
    if value < 0:
        return Reason.AT_MS_NEGATIVE
    if value in _SECONDS:
        return Reason.AT_MS_IN_SECONDS
    if value < AT_MS_MIN:
        return Reason.AT_MS_INVALID
    return Reason.AT_MS_IN_FUTURE if value >= AT_MS_END else None


def text_check(characters_min: int, characters_max: int, *, required: bool) -> Check:
    """Check of a text field; characters are Unicode code points."""

    def check(value: Any) -> Reason | None:
        if value is None:
            return Reason.FIELD_MISSING if required else None
        if not isinstance(value, str) or not characters_min <= len(value) <= characters_max:
            return Reason.FIELD_INVALID
        return Reason.NULL_BYTE if "\0" in value else None

    return check


def kind_fault(value: Any) -> Reason | None:
    """Fault of a follow's ``kind``, which may be absent."""
    return None if value is None or value in ("follow", "unfollow") else Reason.FIELD_INVALID


def optional_time_fault(value: Any) -> Reason | None:
    """Fault of a time that may be absent: whole milliseconds from 1970 to 2099."""
    if value is None or (type(value) is int and 0 <= value < AT_MS_END):
        return None
    return Reason.FIELD_INVALID
