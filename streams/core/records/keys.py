"""Keys interned to slots: small whole numbers that index every column.

The keys stand as UTF-8 in one arena, found by a hash table in numpy: a key costs its own bytes
(rounded up to eight) and some twenty more, and a chunk's keys are looked up together. Which slot
a key gets depends on the order of first meetings only, never on hashes.
"""

from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from streams.core.records.texts import Ints, Texts, Words

GROUP_KEYS: Final = 128
"""Keys that share one hash in the store: as many as Redis keeps in a listpack by default."""
UNMET: Final = -1
"""Slot of a key that was never met."""

_LOAD_MAX: Final = 0.6
_ROOMS: Final = (2048, 2048, 1024)
"""Room at the beginning: entries of the hash table, words of the arena, keys."""
_Kind = TypeVar("_Kind", bound=np.generic)
_HALF: Final = np.uint64(32)
_SLOT: Final = np.uint64(0xFFFFFFFF)


class Keys:
    """The keys that a table has met, in the order of their first meeting.

    A key's slot never changes. Its group (slot // 128 for a key that was never stored) names the
    hash that holds its state, and never changes either, restarts included. There is room at once
    for as many keys as ``like`` has.
    """

    __slots__ = ("_arena", "_end", "_fill", "_groups", "_lengths", "_next_group", "_places",
                 "_size", "_table")  # fmt: skip

    def __init__(self, like: "Keys | None" = None) -> None:
        self._empty(_ROOMS if like is None else like._rooms)

    def _empty(self, rooms: tuple[int, int, int]) -> None:
        tabled, worded, roomy = rooms
        self._size = 0
        # 0: free; else the upper half of its hash, which tells its place, and slot + 1
        self._table: Words = np.zeros(tabled, dtype=np.uint64)
        self._arena: Words = np.zeros(worded, dtype=np.uint64)
        self._end = 0
        self._places = np.zeros(roomy, dtype=np.uint32)  # where in the arena, in words
        self._lengths = np.zeros(roomy, dtype=np.uint16)
        self._groups = np.zeros(roomy, dtype=np.int32)
        self._next_group = 0
        self._fill = 0

    @property
    def _rooms(self) -> tuple[int, int, int]:
        return len(self._table), len(self._arena), len(self._places)

    def __len__(self) -> int:
        return self._size

    def __contains__(self, key: str) -> bool:
        return self.slot_of(key) is not None

    def slots_of(self, keys: Texts) -> Ints:
        """Slot of each key; keys not met before are interned in the order given."""
        hashes = keys.hashes()
        slots = self._find(keys, hashes)
        unmet = (slots < 0).nonzero()[0]
        if not len(unmet):
            return slots
        if len(unmet) == len(keys):
            return self._intern(keys, hashes)
        slots[unmet] = self._intern(keys.take(unmet), hashes[unmet])
        return slots

    def find(self, keys: Texts) -> Ints:
        """Slot of each key, ``UNMET`` where there is none; interns nothing."""
        return self._find(keys, keys.hashes())

    def slot_of(self, key: str) -> int | None:
        """Slot of a key, None if it was never met; interns nothing."""
        slot = int(self.find(Texts.of([key]))[0])
        return None if slot == UNMET else slot

    def name_of(self, slot: int) -> str:
        """Key in a slot."""
        assert 0 <= slot < self._size, "a slot that was given out"
        place = int(self._places[slot])
        length = int(self._lengths[slot])
        return self._arena[place : place + (length + 7) // 8].tobytes()[:length].decode()

    def names_of(self, slots: Ints) -> Texts:
        """Keys in these slots; good until the next key is interned."""
        starts = self._places[slots].astype(np.int64) * 8
        return Texts(self._arena.view(np.uint8), starts, self._lengths[slots].astype(np.int64))

    def groups_of(self, slots: Ints) -> NDArray[np.int32]:
        """Group of each slot."""
        return self._groups[slots]

    def admit(self, keys: Texts, groups: NDArray[np.int32]) -> Ints:
        """Intern stored keys, not met before, with the groups that they are stored in.

        There are fewer new slots than texts if one of them stood there twice.
        """
        given = self._next_group, self._fill
        slots = self.slots_of(keys)
        self._next_group, self._fill = given
        self._groups[slots] = groups
        self.skip_groups(int(groups.max(initial=-1)))
        return slots

    def skip_groups(self, highest: int) -> None:
        """Give new keys groups above this one, which the store holds."""
        if highest >= self._next_group:
            self._next_group, self._fill = highest + 1, 0

    def keep(self, slots: Ints) -> None:
        """Forget all keys but these, in rising slots; slot i is then what ``slots[i]`` was."""
        names, groups, given = self.names_of(slots), self._groups[slots], self._next_group
        fill, place = self._fill, len(slots)
        self._empty(_ROOMS)  # in place: others hold this object
        if place:
            self._append(names)
            self._insert(names.hashes(), np.arange(place))
            self._groups[:place] = groups
        self._next_group, self._fill = given, fill

    def _find(self, keys: Texts, hashes: Words) -> Ints:
        """Slot of each key, -1 where it was not met. Linear probing, all keys a step at a time."""
        slots = np.full(len(keys), UNMET, dtype=np.int64)
        if not self._size:
            return slots
        table, mask = self._table, np.uint64(len(self._table) - 1)
        tags = hashes >> _HALF
        places = tags & mask
        rows: Ints | None = None
        while True:
            entries = table[places.view(np.int64)]
            going_on = entries != 0  # a free place ends the search, a hit too
            tagged = (entries >> _HALF) == tags
            tagged &= going_on
            hits = tagged.nonzero()[0]
            if len(hits):  # the last of twenty steps are of few keys, and seldom hit
                found = (entries[hits] & _SLOT).astype(np.int64) - 1
                at = hits if rows is None else rows[hits]
                same = self._is_at(keys if len(at) == len(keys) else keys.take(at), found)
                if not same.all():
                    at, found, hits = at[same], found[same], hits[same]
                slots[at] = found
                going_on[hits] = False
            left = going_on.nonzero()[0]
            if not len(left):
                return slots
            rows = left if rows is None else rows[left]
            tags, places = tags[left], (places[left] + np.uint64(1)) & mask

    def _is_at(self, keys: Texts, slots: Ints) -> NDArray[np.bool_]:
        """Whether each key is the one in its slot."""
        same: NDArray[np.bool_] = self._lengths[slots] == keys.lengths
        if not len(slots):
            return same
        arena, places = self._arena, self._places[slots]
        shortest = int(keys.lengths.min())
        for place, word in enumerate(keys.words()):
            equal = arena[places + np.uint32(place)] == word
            if 8 * place >= shortest:  # past a short key's end stands another key
                equal |= keys.lengths <= 8 * place
            same &= equal
        return same

    def _intern(self, keys: Texts, hashes: Words) -> Ints:
        """Give slots to keys that were not met before; a key may stand there more than once."""
        begin = self._size
        if are_distinct(hashes):
            self._append(keys)
            slots = np.arange(begin, self._size)
            self._insert(hashes, slots)
            return slots
        _, first, inverse = np.unique(hashes, return_index=True, return_inverse=True)
        if not keys.same_as(keys.take(first[inverse])).all():  # two keys with one 64-bit hash
            return np.array([self._intern_one(keys[row : row + 1]) for row in range(len(keys))])
        order = np.argsort(first)
        ranks = np.empty(len(order), dtype=np.int64)
        ranks[order] = np.arange(len(order))
        chosen = first[order]
        self._append(keys.take(chosen))
        self._insert(hashes[chosen], np.arange(begin, self._size))
        return begin + ranks[inverse]

    def _intern_one(self, key: Texts) -> int:
        slot = int(self.find(key)[0])
        if slot == UNMET:
            slot = self._size
            self._append(key)
            self._insert(key.hashes(), np.array([slot]))
        return slot

    def _append(self, keys: Texts) -> None:
        """Copy distinct new keys to the arena and give them their groups."""
        begin, count = self._size, len(keys)
        sizes = (keys.lengths + 7) // 8
        ends = self._end + np.cumsum(sizes)
        self._arena = _with_room(self._arena, int(ends[-1]) + 1)
        for name in ("_places", "_lengths", "_groups"):
            setattr(self, name, _with_room(getattr(self, name), begin + count))
        places = ends - sizes
        for place, word in enumerate(keys.words()):
            longer = sizes > place
            if longer.all():
                self._arena[places + place] = word
            else:
                self._arena[(places + place)[longer]] = word[longer]
        self._end = int(ends[-1])
        self._size = begin + count
        self._places[begin : self._size] = places
        self._lengths[begin : self._size] = keys.lengths
        self._give_groups(begin)

    def _give_groups(self, begin: int) -> None:
        positions = np.arange(self._size - begin) + self._fill
        self._groups[begin : self._size] = self._next_group + positions // GROUP_KEYS
        filled = self._fill + self._size - begin
        self._next_group += filled // GROUP_KEYS
        self._fill = filled % GROUP_KEYS

    def _insert(self, hashes: Words, slots: Ints) -> None:
        """Enter distinct slots that stand nowhere in the table yet."""
        entries = (hashes >> _HALF << _HALF) | (slots + 1).astype(np.uint64)
        if self._size > _LOAD_MAX * len(self._table):
            room = len(self._table)
            while self._size > _LOAD_MAX * room / 2:  # half full at the most after growing
                room *= 2
            entries = np.concatenate((self._table[self._table.nonzero()[0]], entries))
            self._table = np.zeros(room, dtype=np.uint64)
        table, mask = self._table, np.uint64(len(self._table) - 1)
        places = ((entries >> _HALF) & mask).view(np.int64)
        while len(entries):
            free = (table[places] == 0).nonzero()[0]
            table[places[free]] = entries[free]  # of several for one place the last one stays
            left = (table[places] != entries).nonzero()[0]
            entries, places = entries[left], (places[left] + 1) & np.int64(mask)


def are_distinct(hashes: Words) -> bool:
    """Whether no two are the same."""
    ordered = np.sort(hashes)
    return bool((ordered[1:] != ordered[:-1]).all())


def _with_room(column: NDArray[_Kind], size: int) -> NDArray[_Kind]:
    """The column, made longer by half or more if it is shorter than ``size``."""
    have = len(column)
    if size <= have:
        return column
    room = max(size, have + have // 2)
    return np.concatenate((column, np.zeros(room - have, dtype=column.dtype)))
