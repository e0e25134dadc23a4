"""Where the store holds the keys that were let go from memory: key to group, in 13 to 27 bytes.

Only 32 bits of a key's hash are kept, so what is found is a candidate: the store says whether it
really holds the key there. A key that has no candidate was never let go, or its group is gone.
A group has 128 keys at the most, ever: a directory is as large as the groups that the store holds.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from streams.core.records.texts import Ints, Texts, Words

_LOAD_MAX: Final = 0.6
_ROOM_MIN: Final = 1024
_HALF: Final = np.uint64(32)
_GROUP: Final = np.uint64(0xFFFFFFFF)


class Directory:
    """Groups of keys that were let go. A key may have several, if it was forgotten between."""

    __slots__ = ("_size", "_table")

    def __init__(self) -> None:
        self._empty(0)

    def _empty(self, size: int) -> None:
        """Forget all, with room for so many."""
        room = _ROOM_MIN
        while size > _LOAD_MAX * room:
            room *= 2
        self._table: Words = np.zeros(room, dtype=np.uint64)  # 0: free; else tag, group + 1
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def add(self, keys: Texts, groups: NDArray[np.int32]) -> None:
        """Take note that these keys are held in these groups."""
        if not len(keys):
            return
        entries = np.unique(_tagged(keys) | (groups.astype(np.uint64) + np.uint64(1)))
        if self._size + len(entries) > _LOAD_MAX * len(self._table):
            held = self._table[self._table != 0]
            self._empty(self._size + len(entries))
            self._insert(held)
        self._insert(entries)

    def groups(self) -> Ints:
        """Groups that keys are held in, each once, rising."""
        return np.unique(self._groups_of(self._table[self._table != 0]))

    def forget(self, groups: Ints) -> int:
        """Forget the keys held in these groups, and the room that they took; how many."""
        held = self._table[self._table != 0]
        kept = held[~np.isin(self._groups_of(held), groups)]
        self._empty(len(kept))
        self._insert(kept)
        return len(held) - len(kept)

    def find(self, keys: Texts) -> tuple[Ints, Ints]:
        """Candidates: rows of keys, and for each a group that may hold the key."""
        mask, tags = len(self._table) - 1, _tagged(keys)
        rows, places = np.arange(len(keys)), _places(tags, mask)
        found_rows: list[Ints] = []
        found_groups: list[Ints] = []
        while len(rows):
            entries = self._table[places]
            hits = (((entries ^ tags) >> _HALF) == 0) & (entries != 0)
            found_rows.append(rows[hits])
            found_groups.append(self._groups_of(entries[hits]))
            left = entries != 0
            rows, tags, places = rows[left], tags[left], (places[left] + 1) & mask
        if not found_rows:
            return rows, rows
        return np.concatenate(found_rows), np.concatenate(found_groups)

    @staticmethod
    def _groups_of(entries: Words) -> Ints:
        return (entries & _GROUP).astype(np.int64) - 1

    def _insert(self, entries: Words) -> None:
        """Enter entries; one that stands there already is not entered twice."""
        table, mask = self._table, len(self._table) - 1
        places = _places(entries, mask)
        while len(entries):
            free = table[places] == 0
            table[places[free]] = entries[free]  # of several for one place the last one stays
            placed = table[places] == entries
            self._size += int(np.count_nonzero(placed & free))
            entries, places = entries[~placed], (places[~placed] + 1) & mask


def _tagged(keys: Texts) -> Words:
    """Upper half of each key's hash, in the upper half."""
    return keys.hashes() >> _HALF << _HALF


def _places(entries: Words, mask: int) -> Ints:
    """Where to look first: the tag is all that is known of a key when the table grows."""
    mixed = (entries >> _HALF) * np.uint64(0x9E3779B97F4A7C15) >> np.uint64(20)
    places: Ints = (mixed & np.uint64(mask)).astype(np.int64)
    return places
