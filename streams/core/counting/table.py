"""Keys and their bucket counts: what watches and tallies have in common."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streams.core.counting.counts import Counts, Ints
from streams.core.counting.directory import Directory
from streams.core.counting.packing import PackedSeries, StateDamaged, StoredSeries, pack, unpack
from streams.core.records.keys import UNMET, Keys
from streams.core.records.texts import Texts


class Table:
    """Interned keys, their counts, and which changed. ``name`` is the series' name in the store.

    ``directory``: where the store holds the keys that were let go, or left out at the start.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.keys = Keys()
        self.counts = Counts()
        self.directory = Directory()
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

    def packed_shared(self) -> list[PackedSeries]:
        """What its keys share, if it changed since the last call."""
        return []

    def restore_shared(self, stored: Mapping[str, StoredSeries]) -> None:
        """Take up what keys share, if the store holds it."""

    def pack(self, slots: Ints, states: NDArray[Any] | None) -> PackedSeries:
        """Pack the counts of these slots, with detector states of a fixed size or without."""
        names, groups = self.keys.names_of(slots), self.keys.groups_of(slots)
        return pack(self.name, names, groups, (self.counts, slots), states)

    def restore(self, stored: Mapping[str, StoredSeries]) -> None:
        """Take up what the store holds of keys that are not in memory. Raises LayoutUnknown."""
        self.unpack(stored[self.name], None)

    def unpack(
        self, series: StoredSeries, state_dtype: np.dtype[Any] | None
    ) -> tuple[Ints, NDArray[Any] | None]:
        """Take up keys and counts; their slots, and their detector states if there are any."""
        known = len(self.keys)
        slots = self.keys.admit(series.names, np.array(series.groups, dtype=np.int32))
        if len(self.keys) - known != len(series.names):
            raise StateDamaged
        self.grow()
        rows = unpack(series.values, state_dtype)
        self.counts.restore(slots, rows.entries, rows.sizes)
        return slots, rows.states

    def leave_out(self, names: Texts, groups: list[int]) -> None:
        """Take note of keys that the store holds and that are not taken up yet."""
        if len(names):
            held = np.array(groups, dtype=np.int32)
            out = self.keys.find(names) == UNMET
            self.directory.add(names.take(out), held[out])
            self.keys.skip_groups(int(held.max()))

    def left_out(self, keys: Texts) -> list[tuple[int, bytes]]:
        """Group and name of those keys that the store may hold and that are not in memory."""
        if not len(self.directory):
            return []
        absent = keys.take(self.keys.find(keys) == UNMET)
        rows, groups = self.directory.find(absent)
        return list(dict.fromkeys(zip(groups.tolist(), absent.take(rows).encoded(), strict=True)))

    def let_go(self, count: int, oldest: int) -> int:
        """Let go of the ``count`` least recently met keys; how many went.

        The store must hold all that has not changed since the last drain. A tally lets go only
        of keys with nothing from bucket ``oldest`` on: others may be asked for without a record.
        """
        newest = self.counts.newest[: len(self.keys)]
        stays = self._dirty[: len(self.keys)] | (newest >= oldest)
        return self._keep(np.flatnonzero(stays))

    def _keep(self, kept: Ints) -> int:
        """Keep only these slots, renumbered; how many went."""
        gone = np.ones(len(self.keys), dtype=np.bool_)
        gone[kept] = False
        slots = np.flatnonzero(gone)
        if len(slots) and self.keep_columns(kept):
            self.directory.add(self.keys.names_of(slots), self.keys.groups_of(slots))
            self.keys.keep(kept)
            self.counts.keep(kept)
            self._dirty = self._dirty[kept]
            return len(slots)
        return 0

    def keep_columns(self, slots: Ints) -> bool:
        """Keep these slots, renumbered, in the columns that a kind of table adds; False: cannot."""
        return True

    def drain_slots(self) -> Ints:
        """Slots changed since the last call, in the order of their groups."""
        slots = np.flatnonzero(self._dirty)
        self._dirty[slots] = False
        groups = self.keys.groups_of(slots)
        if (groups[1:] < groups[:-1]).any():  # keys that were read back stand among the newest
            slots = slots[np.argsort(groups, kind="stable")]
        return slots
