"""Keys and their bucket counts: what watches and tallies have in common."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streams.core.counts import Counts, Ints
from streams.core.keys import Keys
from streams.core.packing import PackedSeries, StateDamaged, StoredSeries, pack, unpack
from streams.core.texts import Texts


class Table:
    """Interned keys, their counts, and which changed. ``name`` is the series' name in the store."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.keys = Keys()
        self.counts = Counts()
        self._dirty = np.zeros(0, dtype=np.bool_)

    def slots_of(self, keys: Texts) -> Ints:
        """Slots of keys; columns grow to hold the new ones."""
        slots = self.keys.slots_of(keys)
        self.grow()
        return slots

    def grow(self) -> None:
        """Make every column as long as there are keys."""
        have, need = len(self._dirty), len(self.keys)
        if need > have:
            size = max(need, 2 * have, 1024)
            self._dirty = np.concatenate((self._dirty, np.zeros(size - have, dtype=np.bool_)))
            self.counts.grow(size)
            self.grow_columns(size)

    def grow_columns(self, size: int) -> None:
        """Make room for slots below ``size`` in the columns that a kind of table adds."""

    def mark_changed(self, slots: Ints) -> None:
        """Remember that these slots changed."""
        self._dirty[slots] = True

    def packed(self, slots: Ints) -> list[PackedSeries]:
        """State of these slots for the store."""
        return [self.pack(slots, None)]

    def pack(self, slots: Ints, states: NDArray[Any] | None) -> PackedSeries:
        """Pack the counts of these slots, with detector states of a fixed size or without."""
        names, groups = self.keys.names_of(slots), self.keys.groups_of(slots)
        return pack(self.name, names, groups, (self.counts, slots), states)

    def restore(self, stored: Mapping[str, StoredSeries]) -> None:
        """Take up this table's stored series. Needs an empty table. Raises LayoutUnknown."""
        self.unpack(stored[self.name], None)

    def unpack(
        self, series: StoredSeries, state_dtype: np.dtype[Any] | None
    ) -> tuple[Ints, NDArray[Any] | None]:
        """Restore keys and counts; their slots, and their detector states if there are any."""
        slots = self.keys.restore(series.names, np.array(series.groups, dtype=np.int32))
        if len(self.keys) != len(series.names):
            raise StateDamaged
        self.grow()
        rows = unpack(series.values, state_dtype)
        self.counts.restore(slots, rows.entries, rows.sizes)
        return slots, rows.states

    def drain_slots(self) -> Ints:
        """Slots changed since the last call."""
        slots = np.flatnonzero(self._dirty)
        self._dirty[slots] = False
        return slots
