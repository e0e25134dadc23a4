"""Counts of many keys in 5-minute buckets over 24 hours, as rows of one arena.

A row holds a key's non-empty buckets in the order of time, one int64 an entry: the bucket's
number in the upper 32 bits, its count in the lower 32. Rows live in regions of 1, 2, 4, … 512
entries; a full row is shifted to the front of its region or moved to one of twice the size, so a
key with one event costs 8 bytes and one with events in every bucket 4 KiB.

A row's content depends on the key's own records only: entries older than 24 hours before the
key's newest bucket are dropped when a newer bucket is begun, whatever the watermark is.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from streams.core.buckets import WINDOW_BUCKETS

Ints = NDArray[np.int64]

_COUNT_BITS: Final = 32
_COUNT_MASK: Final = (1 << _COUNT_BITS) - 1
_CLASSES: Final = 10  # regions of 2**0 … 2**9 entries: 288 fit, and a shift is rare
NO_BUCKET: Final = -1


class Counts:
    """Bucket counts by slot. Columns grow by doubling; see the module for the layout."""

    __slots__ = ("_arena", "_base", "_end", "_first", "_free", "_order", "newest", "size", "total")

    def __init__(self) -> None:
        self._arena = np.zeros(4096, dtype=np.int64)
        self._end = 0
        self._free: list[list[Ints]] = [[] for _ in range(_CLASSES)]
        self._base = np.zeros(0, dtype=np.int64)
        self._first = np.zeros(0, dtype=np.int16)
        self._order = np.zeros(0, dtype=np.int8)  # log2 of the region's entries, -1: no region
        self.size = np.zeros(0, dtype=np.int16)
        self.newest = np.zeros(0, dtype=np.int32)
        self.total = np.zeros(0, dtype=np.int64)

    def grow(self, size: int) -> None:
        """Make room for slots below ``size``; new slots are empty."""
        have = len(self.newest)
        if size <= have:
            return
        room = max(size, 2 * have, 1024) - have
        self._base = np.concatenate((self._base, np.zeros(room, dtype=np.int64)))
        self._first = np.concatenate((self._first, np.zeros(room, dtype=np.int16)))
        self._order = np.concatenate((self._order, np.full(room, -1, dtype=np.int8)))
        self.size = np.concatenate((self.size, np.zeros(room, dtype=np.int16)))
        self.newest = np.concatenate((self.newest, np.full(room, NO_BUCKET, dtype=np.int32)))
        self.total = np.concatenate((self.total, np.zeros(room, dtype=np.int64)))

    def newest_counts(self, slots: Ints) -> Ints:
        """Count in each slot's newest bucket; every slot must have one."""
        last = self._base[slots] + self._first[slots] + self.size[slots] - 1
        counts: Ints = self._arena[last] & _COUNT_MASK
        return counts

    def add_to_newest(self, slots: Ints, counts: Ints) -> None:
        """Add to the newest bucket of distinct slots."""
        last = self._base[slots] + self._first[slots] + self.size[slots] - 1
        self._arena[last] += counts
        self.total[slots] += counts

    def begin_bucket(self, slots: Ints, buckets: Ints, counts: Ints) -> None:
        """Begin a bucket newer than any before in distinct slots."""
        self._drop_expired(slots, buckets)
        full = np.flatnonzero(self._first[slots] + self.size[slots] == self._room_of(slots))
        if len(full):
            self._make_room(slots[full])
        ends = self._base[slots] + self._first[slots] + self.size[slots]
        self._arena[ends] = (buckets << _COUNT_BITS) + counts
        self.size[slots] += 1
        self.newest[slots] = buckets
        self.total[slots] += counts

    def add_earlier(self, slot: int, bucket: int, count: int) -> None:
        """Add to a bucket before the slot's newest one, within its 24 hours."""
        begin = int(self._base[slot]) + int(self._first[slot])
        end = begin + int(self.size[slot])
        place = begin + int(np.searchsorted(self._arena[begin:end], bucket << _COUNT_BITS))
        if int(self._arena[place]) >> _COUNT_BITS != bucket:
            place = self._insert(slot, place - begin, bucket)
        self._arena[place] += count
        self.total[slot] += count

    def row_of(self, slot: int) -> tuple[Ints, Ints]:
        """Non-empty buckets of one slot in the order of time, and their counts."""
        begin = int(self._base[slot]) + int(self._first[slot])
        row = self._arena[begin : begin + int(self.size[slot])]
        return row >> _COUNT_BITS, row & _COUNT_MASK

    def total_since(self, slot: int, oldest: int) -> int:
        """Events of one slot in buckets from ``oldest`` on."""
        buckets, counts = self.row_of(slot)
        return int(counts[int(np.searchsorted(buckets, oldest)) :].sum())

    def totals_since(self, slots: Ints, oldest: int) -> Ints:
        """Events of each slot in buckets from ``oldest`` on."""
        entries, ends = self.entries_of(slots)
        kept = np.where(entries >> _COUNT_BITS >= oldest, entries & _COUNT_MASK, 0)
        sums = np.concatenate((np.zeros(1, dtype=np.int64), np.cumsum(kept)))
        totals: Ints = sums[ends] - sums[ends - self.size[slots]]
        return totals

    def entries_of(self, slots: Ints) -> tuple[Ints, Ints]:
        """All entries of these slots one after another, and where each slot's entries end."""
        sizes = self.size[slots].astype(np.int64)
        ends = np.cumsum(sizes)
        begins = self._base[slots] + self._first[slots]
        places = np.repeat(begins - (ends - sizes), sizes) + np.arange(int(sizes.sum()))
        return self._arena[places], ends

    def restore(self, slots: Ints, entries: Ints, sizes: Ints) -> None:
        """Lay stored rows into empty slots: each slot's entries follow the one before."""
        orders = np.ceil(np.log2(np.maximum(sizes, 1))).astype(np.int8)
        ends = np.cumsum(sizes)
        for order in np.unique(orders).tolist():
            rows = np.flatnonzero((orders == order) & (sizes > 0))
            self._base[slots[rows]] = self._allocate(order, len(rows))
            self._order[slots[rows]] = order
        filled = np.flatnonzero(sizes > 0)
        places = np.repeat(self._base[slots] - (ends - sizes), sizes) + np.arange(len(entries))
        self._arena[places] = entries
        self.size[slots] = sizes
        self.newest[slots[filled]] = entries[ends[filled] - 1] >> _COUNT_BITS
        sums = np.concatenate((np.zeros(1, dtype=np.int64), np.cumsum(entries & _COUNT_MASK)))
        self.total[slots] = sums[ends] - sums[ends - sizes]

    def _drop_expired(self, slots: Ints, buckets: Ints) -> None:
        oldest = (buckets - WINDOW_BUCKETS + 1) << _COUNT_BITS
        live = np.flatnonzero(self.size[slots] > 0)
        slots, oldest = slots[live], oldest[live]
        while len(slots):
            fronts = self._arena[self._base[slots] + self._first[slots]]
            old = np.flatnonzero(fronts < oldest)
            slots, oldest = slots[old], oldest[old]
            self.total[slots] -= fronts[old] & _COUNT_MASK
            self._first[slots] += 1
            self.size[slots] -= 1
            emptied = self.size[slots] == 0
            self._first[slots[emptied]] = 0
            slots, oldest = slots[~emptied], oldest[~emptied]

    def _room_of(self, slots: Ints) -> NDArray[np.int16]:
        orders = self._order[slots]
        rooms = np.left_shift(np.int16(1), np.maximum(orders, 0).astype(np.int16))
        return np.where(orders < 0, np.int16(0), rooms)

    def _make_room(self, slots: Ints) -> None:
        """Give each slot, whose region is used to its end, room for one entry more."""
        orders = self._order[slots]
        # no region yet counts as crowded; the largest region has room for 24 hours and only shifts
        crowded = (2 * self.size[slots] >= self._room_of(slots)) & (orders < _CLASSES - 1)
        for order in np.unique(orders).tolist():
            of_order = orders == order
            self._shift(slots[of_order & ~crowded], order)
            self._move(slots[of_order & crowded], order)

    def _shift(self, slots: Ints, order: int) -> None:
        """Move rows to the front of their regions of 2**order entries."""
        if len(slots):
            width = np.arange(1 << order)
            begins = self._base[slots][:, None]
            sources = np.minimum(self._first[slots][:, None] + width, (1 << order) - 1)
            self._arena[begins + width] = self._arena[begins + sources]
            self._first[slots] = 0

    def _move(self, slots: Ints, order: int) -> None:
        """Move rows of regions of 2**order entries (-1: none yet) to regions of twice the size."""
        if not len(slots):
            return
        fresh = self._allocate(order + 1, len(slots))
        if order >= 0:
            width = np.arange(1 << order)
            old = self._base[slots]
            self._arena[fresh[:, None] + width] = self._arena[old[:, None] + width]
            self._free[order].append(old)
        self._base[slots] = fresh
        self._order[slots] = order + 1

    def _allocate(self, order: int, rows: int) -> Ints:
        parts: list[Ints] = []
        free = self._free[order]
        while rows and free:
            part = free.pop()
            if len(part) > rows:
                free.append(part[rows:])
                part = part[:rows]
            parts.append(part)
            rows -= len(part)
        if rows:
            size = rows << order
            self._reserve(self._end + size)
            parts.append(np.arange(self._end, self._end + size, 1 << order, dtype=np.int64))
            self._end += size
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _reserve(self, size: int) -> None:
        if size > len(self._arena):
            room = max(size, len(self._arena) + max(len(self._arena) // 2, 4096))
            self._arena = np.concatenate(
                (self._arena, np.zeros(room - len(self._arena), dtype=np.int64))
            )

    def _insert(self, slot: int, position: int, bucket: int) -> int:
        """Open an empty entry for ``bucket`` at ``position`` of a row; its place in the arena."""
        if int(self._first[slot]) + int(self.size[slot]) == int(self._room_of(np.array([slot]))[0]):
            self._make_room(np.array([slot]))
        begin = int(self._base[slot]) + int(self._first[slot])
        end, place = begin + int(self.size[slot]), begin + position
        self._arena[place + 1 : end + 1] = self._arena[place:end].copy()
        self._arena[place] = bucket << _COUNT_BITS
        self.size[slot] += 1
        return place
