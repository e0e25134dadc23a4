"""Counts of many keys in 5-minute buckets over 24 hours, as rows of one arena.

A row holds a key's non-empty buckets in the order of time, one int64 an entry: the bucket's
number in the upper 32 bits, its count in the lower 32. Rows live in regions of 1, 2, 4, … 512
entries; a row that has used its region moves to a fresh one, of twice the size if it is more than
half full, so a key with one event costs 8 bytes and one with events in every bucket 4 KiB. What
moved rows leave behind is waste until the arena is full; then all rows are packed together.

A row's content depends on the key's own records only: entries older than 24 hours before the
key's newest bucket are dropped when a newer bucket is begun, whatever the watermark is.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from streams.core.time.buckets import WINDOW_BUCKETS, oldest_bucket_of

Ints = NDArray[np.int64]

_COUNT_BITS: Final = 32
_COUNT_MASK: Final = (1 << _COUNT_BITS) - 1
_ROOM_MAX: Final = 512  # 288 fit, and a move is rare
NO_BUCKET: Final = -1


class Counts:
    """Bucket counts by slot. Columns grow by doubling; see the module for the layout."""

    __slots__ = ("_arena", "_begin", "_end", "_left", "_room", "newest", "size", "total")

    def __init__(self) -> None:
        self._arena = np.zeros(4096, dtype=np.int64)
        self._end = 0
        self._begin = np.zeros(0, dtype=np.int64)  # where a row's oldest entry stands
        self._room = np.zeros(0, dtype=np.int16)  # entries of a row's region, 0: no region
        self._left = np.zeros(0, dtype=np.int16)  # free ones after its newest entry
        self.size = np.zeros(0, dtype=np.int16)
        self.newest = np.zeros(0, dtype=np.int32)
        self.total = np.zeros(0, dtype=np.int64)

    def grow(self, size: int) -> None:
        """Make room for slots below ``size``; new slots are empty."""
        have = len(self.newest)
        if size <= have:
            return
        room = max(size, 2 * have, 1024) - have
        for name in ("_begin", "_room", "_left", "size", "total"):
            column = getattr(self, name)
            setattr(self, name, np.concatenate((column, np.zeros(room, dtype=column.dtype))))
        self.newest = np.concatenate((self.newest, np.full(room, NO_BUCKET, dtype=np.int32)))

    def newest_counts(self, slots: Ints) -> Ints:
        """Count in each slot's newest bucket; every slot must have one."""
        counts: Ints = self._arena[self._begin[slots] + self.size[slots] - 1]
        counts &= _COUNT_MASK
        return counts

    def add_to_newest(self, slots: Ints, counts: Ints) -> None:
        """Add to the newest bucket of distinct slots."""
        self._arena[self._begin[slots] + self.size[slots] - 1] += counts
        self.total[slots] += counts

    def begin_bucket(self, slots: Ints, buckets: Ints, counts: Ints) -> None:
        """Begin a bucket newer than any before in distinct slots."""
        self._drop_expired(slots, buckets)
        full = (self._left[slots] == 0).nonzero()[0]
        if len(full):
            self._make_room(slots[full])
        sizes = self.size[slots]
        self._arena[self._begin[slots] + sizes] = (buckets << _COUNT_BITS) + counts
        sizes += 1
        self.size[slots] = sizes
        self._left[slots] -= 1
        self.newest[slots] = buckets
        self.total[slots] += counts

    def begin_buckets(self, slots: Ints, sizes: Ints, buckets: Ints, counts: Ints) -> None:
        """Begin ``sizes`` (>= 1) buckets, rising and newer than any before, in distinct slots.

        A slot's buckets follow those of the slot before; its first and last lie within 24 hours.
        """
        ends = np.cumsum(sizes)
        last = buckets[ends - 1]
        self._drop_expired(slots, last)
        full = (self._left[slots] < sizes).nonzero()[0]
        if len(full):
            self._make_room(slots[full], sizes[full])
        held = self.size[slots]
        places = _places(self._begin[slots] + held, sizes)
        self._arena[places] = (buckets << _COUNT_BITS) + counts
        self.size[slots] = held + sizes
        self._left[slots] -= sizes.astype(np.int16)
        self.newest[slots] = last
        self.total[slots] += np.add.reduceat(counts, ends - sizes)

    def add_earlier(self, slot: int, bucket: int, count: int) -> None:
        """Add to a bucket before the slot's newest one, within its 24 hours."""
        begin = int(self._begin[slot])
        end = begin + int(self.size[slot])
        place = begin + int(np.searchsorted(self._arena[begin:end], bucket << _COUNT_BITS))
        if int(self._arena[place]) >> _COUNT_BITS != bucket:
            place = self._insert(slot, place - begin, bucket)
        self._arena[place] += count
        self.total[slot] += count

    def row_of(self, slot: int) -> tuple[Ints, Ints]:
        """Non-empty buckets of one slot in the order of time, and their counts."""
        begin = int(self._begin[slot])
        row = self._arena[begin : begin + int(self.size[slot])]
        return row >> _COUNT_BITS, row & _COUNT_MASK

    def total_since(self, slot: int, oldest: int) -> int:
        """Events of one slot in buckets from ``oldest`` on."""
        buckets, counts = self.row_of(slot)
        return int(counts[int(np.searchsorted(buckets, oldest)) :].sum())

    def totals_since(self, slots: Ints, oldest: Ints | int) -> Ints:
        """Events of each slot in buckets from ``oldest`` (of all, or of each) on."""
        entries, ends = self.entries_of(slots)
        if isinstance(oldest, np.ndarray):
            oldest = np.repeat(oldest, self.size[slots])
        kept = np.where(entries >> _COUNT_BITS >= oldest, entries & _COUNT_MASK, 0)
        sums = np.concatenate((np.zeros(1, dtype=np.int64), np.cumsum(kept)))
        totals: Ints = sums[ends] - sums[ends - self.size[slots]]
        return totals

    def recent(self, slots: Ints, water: int, windows: Sequence[int]) -> Ints:
        """Events of each slot (columns) in its last ``windows`` buckets (rows, rising).

        The windows end with bucket ``water``, the newest. One more row, the last: in 24 hours.
        """
        sums = np.zeros((len(windows) + 1, len(slots)), dtype=np.int64)
        sizes, back = self.size[slots], np.arange(windows[-1])
        places = (self._begin[slots] + sizes - 1)[:, None] - back
        entries = self._arena[np.maximum(places, 0)]
        counts = np.where(back < sizes[:, None], entries & _COUNT_MASK, 0)
        buckets = entries >> _COUNT_BITS
        for row, window in enumerate(windows):
            sums[row] = np.where(buckets > water - window, counts, 0).sum(axis=1)
        sums[-1] = self.total[slots] - self._expired(slots, oldest_bucket_of(water))
        return sums

    def _expired(self, slots: Ints, oldest: int) -> Ints:
        """Events of each slot in buckets before ``oldest``: few, as rows drop them in time."""
        expired = np.zeros(len(slots), dtype=np.int64)
        rows, places = np.arange(len(slots)), self._begin[slots]
        ends = places + self.size[slots]
        while len(rows):
            old = places < ends
            old &= self._arena[np.minimum(places, len(self._arena) - 1)] >> _COUNT_BITS < oldest
            rows, places, ends = rows[old], places[old], ends[old]
            expired[rows] += self._arena[places] & _COUNT_MASK
            places = places + 1
        return expired

    def windows_below(self, slots: Ints, below: float) -> Ints:
        """Bucket whose 24 hours are the first to hold fewer than ``below`` events of each slot.

        That is if no events come; events only put it off. 0: of a slot that holds fewer now, as
        after a threshold was raised.
        """
        buckets = np.zeros(len(slots), dtype=np.int64)
        holding = self.total[slots] >= below
        if holding.any():
            buckets[holding] = self._ends_of(slots[holding], below)
        return buckets

    def _ends_of(self, slots: Ints, below: float) -> Ints:
        entries, ends = self.entries_of(slots)
        sizes = self.size[slots].astype(np.int64)
        sums: Ints = np.cumsum(entries & _COUNT_MASK)
        left = np.repeat(sums[ends - 1], sizes) - sums
        kept = np.concatenate((np.zeros(1, dtype=np.int64), np.cumsum(left >= below)))
        begins = ends - sizes
        last = begins + (kept[ends] - kept[begins])
        first_below: Ints = (entries[last] >> _COUNT_BITS) + WINDOW_BUCKETS
        return first_below

    def entries_of(self, slots: Ints) -> tuple[Ints, Ints]:
        """All entries of these slots one after another, and where each slot's entries end."""
        sizes = self.size[slots].astype(np.int64)
        ends = np.cumsum(sizes)
        return self._arena[_places(self._begin[slots], sizes)], ends

    def restore(self, slots: Ints, entries: Ints, sizes: Ints) -> None:
        """Lay stored rows into empty slots: each slot's entries follow the one before."""
        if not len(slots):
            return
        rooms = _rooms_of(sizes)
        self._begin[slots] = self._allocate(rooms)
        self._arena[_places(self._begin[slots], sizes)] = entries
        self._room[slots] = rooms
        self._left[slots] = rooms - sizes
        self.size[slots] = sizes
        ends = np.cumsum(sizes)
        filled = np.flatnonzero(sizes > 0)
        self.newest[slots[filled]] = entries[ends[filled] - 1] >> _COUNT_BITS
        sums = np.concatenate((np.zeros(1, dtype=np.int64), np.cumsum(entries & _COUNT_MASK)))
        self.total[slots] = sums[ends] - sums[ends - sizes]

    def keep(self, slots: Ints) -> None:
        """Forget all rows but these, in rising slots; slot i is then what ``slots[i]`` was."""
        for name in ("_begin", "_room", "_left", "size", "total", "newest"):
            setattr(self, name, getattr(self, name)[slots])
        self._pack(0)

    def _drop_expired(self, slots: Ints, buckets: Ints) -> None:
        """Drop entries of more than 24 hours before each slot's new bucket."""
        oldest = (buckets - WINDOW_BUCKETS + 1) << _COUNT_BITS
        while len(slots):
            fronts = self._arena[self._begin[slots]]
            old = ((fronts < oldest) & (self.size[slots] > 0)).nonzero()[0]
            if not len(old):
                return
            slots, oldest = slots[old], oldest[old]
            self.total[slots] -= fronts[old] & _COUNT_MASK
            self._begin[slots] += 1
            self.size[slots] -= 1

    def _make_room(self, slots: Ints, more: Ints | int = 1) -> None:
        """Give each slot, whose region is used to its end or nearly so, room for ``more`` entries.

        Rows move to a fresh region, of twice the size if theirs is more than half full; what
        they leave is waste until the arena is packed.
        """
        rooms, sizes = self._room[slots].astype(np.int64), self.size[slots].astype(np.int64)
        crowded = 2 * sizes >= rooms
        crowded &= rooms < _ROOM_MAX
        rooms <<= crowded
        np.maximum(rooms, 1, out=rooms)
        needed = sizes + more
        while (tight := rooms < needed).any():
            rooms <<= tight
        fresh = self._allocate(rooms)
        old = self._begin[slots]  # read now: allocating may have moved every row
        self._arena[_places(fresh, sizes)] = self._arena[_places(old, sizes)]
        self._begin[slots] = fresh
        self._room[slots] = rooms
        self._left[slots] = rooms - sizes

    def _allocate(self, rooms: Ints) -> Ints:
        """Begins of fresh regions of these many entries."""
        ends = np.cumsum(rooms)
        needed = int(ends[-1]) if len(ends) else 0
        if self._end + needed > len(self._arena) - 1:  # one more, so that an empty row has a front
            self._pack(needed)
        begins: Ints = ends - rooms
        begins += self._end
        self._end += needed
        return begins

    def _pack(self, needed: int) -> None:
        """Lay all rows one after another in an arena with room for ``needed`` entries more."""
        slots = (self._room > 0).nonzero()[0]
        sizes = self.size[slots].astype(np.int64)
        rooms = self._room[slots].astype(np.int64)
        ends = np.cumsum(rooms)
        used = int(ends[-1]) if len(ends) else 0
        arena = np.zeros(max(4096, (used + needed) * 3 // 2 + 1), dtype=np.int64)
        begins = ends - rooms
        arena[_places(begins, sizes)] = self._arena[_places(self._begin[slots], sizes)]
        self._begin[slots] = begins
        self._left[slots] = rooms - sizes
        self._arena, self._end = arena, used

    def _insert(self, slot: int, position: int, bucket: int) -> int:
        """Open an empty entry for ``bucket`` at ``position`` of a row; its place in the arena."""
        if not int(self._left[slot]):
            self._make_room(np.array([slot]))
        begin = int(self._begin[slot])
        end, place = begin + int(self.size[slot]), begin + position
        self._arena[place + 1 : end + 1] = self._arena[place:end].copy()
        self._arena[place] = bucket << _COUNT_BITS
        self.size[slot] += 1
        self._left[slot] -= 1
        return place


def _places(begins: Ints, sizes: Ints) -> Ints:
    """Places begins[0], begins[0] + 1, …, of sizes[0] entries, then those of the next row."""
    ends = np.cumsum(sizes)
    places: Ints = np.repeat(begins - (ends - sizes), sizes)
    places += np.arange(len(places))
    return places


def _rooms_of(sizes: Ints) -> Ints:
    """Smallest powers of two that hold so many entries; 0 for none."""
    rooms = np.zeros(len(sizes), dtype=np.int64)
    some = sizes > 0
    rooms[some] = 1 << np.ceil(np.log2(sizes[some])).astype(np.int64)
    return rooms
