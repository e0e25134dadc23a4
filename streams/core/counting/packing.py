"""How a key's state is packed: layout 3, little-endian, read by anyone.

    byte 0        layout version, 3
    byte 1 … 4    newest non-empty bucket (int32; its start is this number × 300,000 ms)
    then          the detector's state of the key and its cohort (``watch_state.py``), for
                  watched series only
    then          6 bytes for each non-empty bucket in the order of time:
                  uint16 how many buckets before the newest, uint32 count

The state of many keys travels as columns (``PackedSeries``), so that no key costs Python time.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from streams.core.counting.counts import Counts, Ints
from streams.core.records.texts import Texts

LAYOUT_VERSION: Final = 3
ENTRY_DTYPE: Final = np.dtype([("back", "<u2"), ("count", "<u4")])
_HEAD_FIELDS: Final = [("layout", "u1"), ("newest", "<i4")]


class LayoutUnknown(ValueError):
    """Stored state has a layout that this version cannot read."""

    def __init__(self, found: int) -> None:
        super().__init__(f"stored state has layout {found}; this version reads {LAYOUT_VERSION}")
        self.found = found


class StateDamaged(ValueError):
    """A stored value has a length that no state has, or a key stands in two groups."""

    def __init__(self) -> None:
        super().__init__("a stored value has a length that no state has, or a key stands twice")


@dataclass(frozen=True, slots=True)
class PackedSeries:
    """State of some keys of one series.

    ``data`` are the keys' values one after another, that of key i up to ``ends[i]``. ``names``
    are the keys.
    """

    name: str
    names: Texts
    groups: NDArray[np.int32]
    data: bytes
    ends: Ints

    def values(self) -> list[bytes]:
        """Value of each key as it stands in the store."""
        ends = self.ends.tolist()
        return [self.data[b:e] for b, e in zip([0, *ends[:-1]], ends, strict=True)]


def head_dtype_of(state_dtype: np.dtype[Any] | None) -> np.dtype[Any]:
    """Layout of a value's head for a series whose detector state is ``state_dtype``."""
    fields: list[Any] = list(_HEAD_FIELDS)
    if state_dtype is not None:
        fields.append(("state", state_dtype))
    return np.dtype(fields)


def pack(
    name: str,
    keys: Texts,
    groups: NDArray[np.int32],
    rows: tuple[Counts, Ints],
    states: NDArray[Any] | None,
) -> PackedSeries:
    """Pack the keys in slots ``rows[1]`` of counts ``rows[0]``, with their detector states."""
    counts, slots = rows
    heads = np.zeros(len(slots), dtype=head_dtype_of(None if states is None else states.dtype))
    heads["layout"] = LAYOUT_VERSION
    heads["newest"] = counts.newest[slots]
    if states is not None:
        heads["state"] = states
    buckets_counts, _ = counts.entries_of(slots)
    sizes = counts.size[slots].astype(np.int64)
    entries = np.empty(len(buckets_counts), dtype=ENTRY_DTYPE)
    entries["back"] = np.repeat(heads["newest"], sizes) - (buckets_counts >> 32)
    entries["count"] = buckets_counts & 0xFFFFFFFF
    ends = np.cumsum(heads.itemsize + sizes * ENTRY_DTYPE.itemsize)
    data = np.empty(heads.nbytes + entries.nbytes, dtype=np.uint8)
    before = np.cumsum(sizes) - sizes  # entries of the keys before this one
    heads_at = np.arange(len(slots)) * heads.itemsize + before * ENTRY_DTYPE.itemsize
    _lay(data, heads, heads_at)
    entries_at = np.repeat(np.arange(1, len(slots) + 1) * heads.itemsize, sizes)
    _lay(data, entries, entries_at + np.arange(len(entries)) * ENTRY_DTYPE.itemsize)
    return PackedSeries(name, keys, groups, data.tobytes(), ends)


def _lay(data: NDArray[np.uint8], rows: NDArray[Any], places: Ints) -> None:
    """Copy each row's bytes to its place."""
    if len(rows):
        whole = np.dtype((np.void, rows.itemsize))
        view: Any = np.ndarray((len(data) - rows.itemsize + 1,), whole, data, strides=(1,))
        view[places] = rows.view(whole)


def pack_bytes(
    name: str, keys: Texts, groups: NDArray[np.int32], values: Sequence[bytes]
) -> PackedSeries:
    """Pack values of any length as they are."""
    ends = np.cumsum(np.fromiter(map(len, values), np.int64, len(values)))
    return PackedSeries(name, keys, groups, b"".join(values), ends)


@dataclass(frozen=True, slots=True)
class StoredSeries:
    """All keys of one series as they stand in the store: names, groups and values by row."""

    names: Texts
    groups: list[int]
    values: list[bytes]


@dataclass(frozen=True, slots=True)
class UnpackedRows:
    """Values read back: ``entries`` as ``Counts.restore`` takes them, states or None."""

    entries: Ints
    sizes: Ints
    states: NDArray[Any] | None


def unpack(values: Sequence[bytes], state_dtype: np.dtype[Any] | None) -> UnpackedRows:
    """Read packed values. Raises LayoutUnknown, StateDamaged."""
    head = head_dtype_of(state_dtype)
    lengths = np.fromiter(map(len, values), np.int64, len(values))
    raw = np.frombuffer(b"".join(values), dtype=np.uint8)
    ends = np.cumsum(lengths)
    begins = ends - lengths
    if len(values) and (found := raw[begins]).max(initial=0) != LAYOUT_VERSION:
        raise LayoutUnknown(int(found[found != LAYOUT_VERSION][0]))
    heads = raw[begins[:, None] + np.arange(head.itemsize)].view(head).ravel()
    sizes, rest = np.divmod(lengths - head.itemsize, ENTRY_DTYPE.itemsize)
    if (rest != 0).any() or (sizes < 0).any():
        raise StateDamaged
    is_entry = np.ones(len(raw), dtype=np.bool_)
    is_entry[(begins[:, None] + np.arange(head.itemsize)).ravel()] = False
    packed = raw[is_entry].view(ENTRY_DTYPE)
    newest = np.repeat(heads["newest"].astype(np.int64), sizes)
    entries = ((newest - packed["back"]) << 32) + packed["count"]
    return UnpackedRows(entries, sizes, heads["state"] if state_dtype is not None else None)
