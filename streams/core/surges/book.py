"""The surges that one watch remembers, and when each has to be looked at again."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from itertools import repeat
from typing import Final

import msgspec

from streams.core.surges.surge import Closing, OpenSurge, Severity, Trigger

CLOSED_MAX: Final = 50_000
"""Closed surges of one series that a partition remembers: some 50 MB, the store's share too."""


class Entry(msgspec.Struct, frozen=True, gc=False):
    """A surge, and the slot of its key. As many as surges: no tuple, which would be walked."""

    slot: int
    surge: OpenSurge


class SurgeBook:
    """Open surges, and closed ones that a late record may still amend.

    A key has at most one open surge of a trigger. It has at most 287 closed ones: each closed as
    the watermark entered another bucket, and is forgotten 287 buckets later. Of all keys together
    it has ``closed_max``: when there are more, the earliest closed are forgotten, down to seven
    eighths, which ``forgotten`` counts. ``paged``: those that became pages, by trigger: surge_ids.
    """

    def __init__(self, closed_max: int = CLOSED_MAX) -> None:
        self.forgotten = 0
        self.paged: dict[Trigger, list[str]] = {"rule": [], "model": []}
        self._closed_max = closed_max
        self._closed = 0
        self._of_slot: dict[int, tuple[OpenSurge, ...]] = {}
        self._open: dict[Trigger, dict[int, OpenSurge]] = {"rule": {}, "model": {}}
        self._due: dict[int, list[Entry]] = {}
        self._unsaid: dict[str, Entry] = {}
        self._touched: dict[str, OpenSurge | None] = {}

    def __len__(self) -> int:
        """How many keys have a surge that is remembered."""
        return len(self._of_slot)

    def add(self, entry: Entry) -> None:
        """Take up a surge that opened, or comes from the store."""
        slot, surge = entry.slot, entry.surge
        self._of_slot[slot] = (*self.of(slot), surge)
        if surge.closing is None:
            self._open[surge.trigger][slot] = surge
        else:
            self._closed += 1
        if surge.late_records:
            self._note_unsaid(entry)

    def open_all(self, trigger: Trigger, slots: list[int], surges: list[OpenSurge]) -> None:
        """Take up surges of one trigger that open, each of another slot; the store has to know."""
        known = self.of_all(slots)
        now: Iterable[tuple[OpenSurge, ...]] = zip(surges, strict=True)
        if any(known):
            now = [(*mine, *some) for mine, some in zip(known, now, strict=True)]
        self._of_slot.update(zip(slots, now, strict=True))
        self._open[trigger].update(zip(slots, surges, strict=True))
        names = [f"{trigger}|{surge.key}" for surge in surges]  # `OpenSurge.name`: they are open
        self._touched.update(zip(names, surges, strict=True))

    def slots(self) -> list[int]:
        """Slots that have a surge, open or closed."""
        return list(self._of_slot)

    def move(self, slot_of: Mapping[int, int]) -> None:
        """Keys were given other slots: old to new, for every slot that has a surge."""

        def moved(entry: Entry) -> Entry:
            return Entry(slot_of[entry.slot], entry.surge)

        self._of_slot = {slot_of[slot]: surges for slot, surges in self._of_slot.items()}
        self._open = {
            trigger: {slot_of[slot]: surge for slot, surge in surges.items()}
            for trigger, surges in self._open.items()
        }
        self._unsaid = {name: moved(entry) for name, entry in self._unsaid.items()}
        # an entry whose surge was forgotten meanwhile is of no slot any more
        self._due = {
            bucket: [moved(entry) for entry in entries if entry.slot in slot_of]
            for bucket, entries in self._due.items()
        }

    def of(self, slot: int) -> tuple[OpenSurge, ...]:
        """Surges of a slot, open and closed."""
        return self._of_slot.get(slot, ())

    def of_all(self, slots: list[int]) -> list[tuple[OpenSurge, ...]]:
        """`of` each slot."""
        return [*map(self._of_slot.get, slots, repeat(()))]

    def has_page(self, slot: int) -> bool:
        """Whether a surge of a slot by the model, open or closed, is a page."""
        return any(one.trigger == "model" and one.severity == "page" for one in self.of(slot))

    def open_of(self, slot: int, trigger: Trigger) -> OpenSurge | None:
        """The open surge of a slot and trigger."""
        return self._open[trigger].get(slot)

    def open_of_all(self, slots: list[int], trigger: Trigger) -> list[OpenSurge | None]:
        """The open surge of each slot and this trigger."""
        return [*map(self._open[trigger].get, slots)]

    def models(self) -> Iterator[Entry]:
        """Open surges by the model."""
        return (Entry(slot, surge) for slot, surge in self._open["model"].items())

    def open_by_severity(self) -> Counter[Severity]:
        """How many surges are open: some 30 ns each."""
        every = (surge.severity for surges in self._open.values() for surge in surges.values())
        return Counter(every)

    def open_slots(self, severity: Severity) -> list[int]:
        """Slots with an open surge of this severity, once for each such surge: some 30 ns each."""
        return [
            slot
            for surges in self._open.values()
            for slot, surge in surges.items()
            if surge.severity == severity
        ]

    def open_pages(self) -> Iterator[OpenSurge]:
        """Open surges that are pages."""
        every = (surge for surges in self._open.values() for surge in surges.values())
        return (surge for surge in every if surge.severity == "page")

    def touch(self, surge: OpenSurge) -> None:
        """Remember that a surge changed: the store has to know."""
        self._touched[surge.name] = surge

    def take_late(self, slot: int, bucket: int, count: int) -> None:
        """Give late records of a slot and bucket to the surges that speak of it."""
        for surge in self.of(slot):
            if surge.speaks_of(bucket):
                surge.take_late(bucket, count)
                self.touch(surge)
                self._note_unsaid(Entry(slot, surge))

    def take_unsaid(self) -> list[Entry]:
        """Surges with late records that no announcement has told; once."""
        unsaid, self._unsaid = self._unsaid, {}
        return [one for one in unsaid.values() if one.surge.is_unsaid]

    def look_again(self, entry: Entry, bucket: int) -> None:
        """Have the surge in `take_due` when the watermark has reached a bucket; once."""
        self._due.setdefault(bucket, []).append(entry)

    def look_again_at_all(self, entries: Iterable[Entry], bucket: int) -> None:
        """`look_again` for each."""
        self._due.setdefault(bucket, []).extend(entries)

    def take_due(self, water: int) -> list[Entry]:
        """Surges that have to be looked at now that the watermark stands in ``water``."""
        due = [bucket for bucket in self._due if bucket <= water]
        return [entry for bucket in due for entry in self._due.pop(bucket)]

    def tellers(self, water: int) -> list[int]:
        """Slots with a surge by the model, an unsaid one, or one to be looked at by then."""
        due = [entry.slot for at, entries in self._due.items() if at <= water for entry in entries]
        return [*self._open["model"], *due, *(entry.slot for entry in self._unsaid.values())]

    def close(self, entry: Entry, closing: Closing) -> None:
        """Take note that a surge closed, which gives it another name."""
        slot, surge = entry.slot, entry.surge
        del self._open[surge.trigger][slot]
        self.drop(surge.name)
        surge.closing = closing
        self._closed += 1
        self.touch(surge)

    def forget_earliest(self) -> list[Entry]:
        """Drop the surges that closed first, if there are too many. Nothing of them is unsaid."""
        if self._closed <= self._closed_max:
            return []
        ends = [
            (closing.bucket, one.surge.surge_id, one)
            for entries in self._due.values()
            for one in entries
            if (closing := one.surge.closing) is not None
        ]
        ends.sort(key=lambda end: end[:2])
        gone = [one for *_, one in ends[: self._closed - self._closed_max * 7 // 8]]
        for one in gone:
            self.forget(one)
        self.forgotten += len(gone)
        names = {one.surge.surge_id for one in gone}
        self._due = {
            bucket: [one for one in entries if one.surge.surge_id not in names]
            for bucket, entries in self._due.items()
        }
        return gone

    def forget(self, entry: Entry) -> None:
        """Drop a closed surge."""
        self._closed -= 1
        slot, surge = entry.slot, entry.surge
        mine = tuple(one for one in self._of_slot[slot] if one is not surge)
        if mine:
            self._of_slot[slot] = mine
        else:
            del self._of_slot[slot]
        self.drop(surge.name)

    def drop(self, name: str) -> None:
        """Have the store forget a surge."""
        self._touched[name] = None

    def drain(self) -> dict[str, OpenSurge | None]:
        """Surges changed since the last call, by name; None: forgotten."""
        touched, self._touched = self._touched, {}
        return touched

    def _note_unsaid(self, entry: Entry) -> None:
        if entry.surge.is_unsaid:
            self._unsaid[entry.surge.surge_id] = entry
