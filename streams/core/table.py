"""Keys and their bucket counts: what watches and tallies have in common."""

from collections.abc import Sequence

import numpy as np

from streams.core.counts import Counts, Ints
from streams.core.keys import Keys


class Table:
    """Interned keys, their counts, and which changed. ``name`` is the series' name in the store."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.keys = Keys()
        self.counts = Counts()
        self._dirty = np.zeros(0, dtype=np.bool_)

    def slots_of(self, keys: Sequence[str]) -> Ints:
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

    def drain_slots(self) -> Ints:
        """Slots changed since the last call."""
        slots = np.flatnonzero(self._dirty)
        self._dirty[slots] = False
        return slots
