"""Records to rows, many in one go: the hottest code of the worker.

A lot of values is joined to one JSON array and decoded in one call. That trusts that each value
is one object, so it is done only when that is certain:

1. every value begins with ``{``;
2. the lot holds as many ``{`` as values, so each value has no other one, not even in a string;
3. the array decodes to as many objects as there are values.

By 3 every ``{`` begins an object of the array, by 2 those are the values' first bytes. So each
object begins where a value begins and ends before the next one begins, with nothing between the
two but white space and the one comma that joined them: each value is one whole object. Every
other lot is decoded one by one, and a record has the same fate either way.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Final, Generic, TypeVar, cast

import msgspec
import numpy as np

from streams.core.records.chunks import Reason
from streams.edges.codec.faults import DEPTH_MAX, Check, bytes_fault, field_fault

LOT_RECORDS: Final = 1_000
"""Records joined at once: more save nothing."""
SMALL_LOT_RECORDS: Final = 125
"""A lot that fails is tried in such parts, so that one odd record slows only so many down."""
JOIN_RECORDS_MIN: Final = 8
"""Fewer records are quicker one by one."""
_NULL: Final = rb"\u0000"
_OPEN: Final = ord("{")

Row = TypeVar("Row")


@dataclass(frozen=True, slots=True)
class Form(Generic[Row]):
    """How one topic's records are decoded: one value, a joined lot, and a field's faults."""

    one: msgspec.json.Decoder[Row]
    many: msgspec.json.Decoder[list[Row]]
    checks: Mapping[str, Check]


@dataclass(slots=True)
class Found(Generic[Row]):
    """Rows of the values that can be used, in order, and the others' places with the reason."""

    rows: list[Row] = field(default_factory=list)
    faults: dict[int, Reason] = field(default_factory=dict)


def rows_of(values: Sequence[bytes | None], form: Form[Row], record_bytes_max: int) -> Found[Row]:
    """Decode values, by lots where that is certain to be the same as one by one."""
    found: Found[Row] = Found()
    for start in range(0, len(values), LOT_RECORDS):
        lot = values[start : start + LOT_RECORDS]
        joined = rows_of_joined(lot, form, record_bytes_max)
        if joined is not None:
            found.rows += joined
            continue
        for inner in range(0, len(lot), SMALL_LOT_RECORDS):
            small = lot[inner : inner + SMALL_LOT_RECORDS]
            joined = rows_of_joined(small, form, record_bytes_max)
            if joined is not None:
                found.rows += joined
            else:
                _add_one_by_one(found, small, start + inner, form, record_bytes_max)
    return found


def rows_of_joined(
    lot: Sequence[bytes | None], form: Form[Row], record_bytes_max: int
) -> list[Row] | None:
    """Rows of a whole lot in one call, or None: the lot must be decoded one by one."""
    try:
        joined = _joined(lot, record_bytes_max)
        if joined is None:
            return None
        if not joined.isascii():
            joined.decode()  # the decoder does not look into the text of unknown fields
        rows = form.many.decode(joined)
    except ValueError:
        return None  # UnicodeDecodeError and msgspec's errors
    return rows if len(rows) == len(lot) else None


def _joined(lot: Sequence[bytes | None], record_bytes_max: int) -> bytes | None:
    """JSON array of a lot in which each value holds one ``{``, its first byte; else None."""
    values = cast("Sequence[bytes]", lot)
    try:
        joined = b"[%b]" % b",".join(values)
        if len(lot) < JOIN_RECORDS_MIN or set(map(itemgetter(0), values)) != {_OPEN}:
            return None
    except (TypeError, IndexError):
        return None  # a value is None or empty
    if len(joined) > record_bytes_max and max(map(len, values)) > record_bytes_max:
        return None
    if np.count_nonzero(np.frombuffer(joined, np.uint8) == _OPEN) != len(lot):
        return None
    perhaps_deep = joined.find(b"[", 1) >= 0
    perhaps_null = b"\\" in joined and _NULL in joined
    return None if perhaps_deep or perhaps_null else joined


def _add_one_by_one(
    found: Found[Row],
    lot: Sequence[bytes | None],
    start: int,
    form: Form[Row],
    record_bytes_max: int,
) -> None:
    rows = found.rows
    decode = form.one.decode
    whole = b"".join([value for value in lot if value])
    # Nearly all values of an odd lot are plain: they are not looked at any further.
    plain = whole.isascii() and _NULL not in whole
    for place, value in enumerate(lot, start):
        if (
            plain
            and value
            and (length := len(value)) <= record_bytes_max
            and (length <= 2 * DEPTH_MAX or value.count(b"[") + value.count(b"{") <= DEPTH_MAX)
        ):
            try:
                rows.append(decode(value))
                continue
            except msgspec.DecodeError:
                pass
        row = row_of(value, form, record_bytes_max)
        if isinstance(row, Reason):
            found.faults[place] = row
        else:
            rows.append(row)


def row_of(value: bytes | None, form: Form[Row], record_bytes_max: int) -> Row | Reason:
    """Row of one value, or why it cannot be used."""
    fault = bytes_fault(value, record_bytes_max)
    if fault is not None or value is None:
        return fault or Reason.EMPTY
    try:
        row = form.one.decode(value)
    except msgspec.DecodeError:
        # Refused by the decoder alone: one name given twice, the first time with a bad value.
        return field_fault(value, form.checks) or Reason.FIELD_INVALID
    if _NULL in value:
        return field_fault(value, form.checks) or row
    return row
