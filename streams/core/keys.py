"""Keys interned to slots: small whole numbers that index every column."""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

GROUP_KEYS: Final = 128
"""Keys that share one hash in the store: as many as Redis keeps in a listpack by default."""


class _Index(dict[str, int]):
    """Key to slot; a key met first takes the next slot. ``__missing__`` keeps look-ups in C."""

    __slots__ = ()

    def __missing__(self, key: str) -> int:
        slot = len(self)
        self[key] = slot
        return slot


class Keys:
    """The keys that a table has met, in the order of their first meeting.

    A key's slot never changes. Its group (slot // 128 for a key that was never stored) names the
    hash that holds its state, and never changes either, restarts included.
    """

    __slots__ = ("_fill", "_groups", "_index", "_names", "_next_group")

    def __init__(self) -> None:
        self._index = _Index()
        self._names: list[str] = []
        self._groups = np.zeros(1024, dtype=np.int32)
        self._next_group = 0
        self._fill = 0

    def __len__(self) -> int:
        return len(self._names)

    def __contains__(self, key: str) -> bool:
        return key in self._index

    def slots_of(self, keys: Sequence[str]) -> NDArray[np.int64]:
        """Slot of each key; keys not met before are interned in the order given."""
        known = len(self._names)
        slots = np.fromiter(map(self._index.__getitem__, keys), np.int64, len(keys))
        if len(self._index) > known:
            self._names.extend(self._new_names(known))
            self._fill_groups(known)
        return slots

    def slot_of(self, key: str) -> int | None:
        """Slot of a key, None if it was never met; interns nothing."""
        return self._index.get(key)

    def name_of(self, slot: int) -> str:
        """Key in a slot."""
        return self._names[slot]

    def names_of(self, slots: NDArray[np.int64]) -> list[str]:
        """Keys in these slots."""
        return [self._names[slot] for slot in slots.tolist()]

    def groups_of(self, slots: NDArray[np.int64]) -> NDArray[np.int32]:
        """Group of each slot."""
        return self._groups[slots]

    def restore(self, keys: Sequence[str], groups: NDArray[np.int32]) -> NDArray[np.int64]:
        """Intern stored keys with the groups they are stored in. Needs an empty table."""
        assert not self._names, "restore needs an empty table"
        self._index.update(zip(keys, range(len(keys)), strict=True))
        assert len(self._index) == len(keys), "a stored key stands in two groups"
        self._names.extend(keys)
        self._reserve(len(keys))
        self._groups[: len(keys)] = groups
        self._next_group = int(groups.max()) + 1 if len(keys) else 0
        self._fill = 0
        return np.arange(len(keys), dtype=np.int64)

    def _new_names(self, known: int) -> list[str]:
        # dicts keep insertion order and iterate backwards at no cost: only the new ones are walked
        count = len(self._index) - known
        newest = [key for key, _ in zip(reversed(self._index), range(count), strict=False)]
        newest.reverse()
        return newest

    def _fill_groups(self, known: int) -> None:
        size = len(self._names)
        self._reserve(size)
        positions = np.arange(size - known) + self._fill
        self._groups[known:size] = self._next_group + positions // GROUP_KEYS
        filled = self._fill + size - known
        self._next_group += filled // GROUP_KEYS
        self._fill = filled % GROUP_KEYS

    def _reserve(self, size: int) -> None:
        if size > len(self._groups):
            room = max(size, 2 * len(self._groups))
            self._groups = np.concatenate(
                (self._groups, np.zeros(room - len(self._groups), dtype=np.int32))
            )
