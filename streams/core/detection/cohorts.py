"""Cohorts: the language and region that most of a key's audience has.

A record says the language and region of who followed or commented. The first record of each of a
key's buckets has one vote, and the key's cohort is what holds the majority (Boyer and Moore's
algorithm, 1981): a small number and a count of votes, whatever the number of cohorts. The votes
that one may be ahead are limited, so that an audience that changes is noticed.
"""

from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from streams.core.records.texts import Ints, Words

AUDIENCE_BYTES: Final = 4
"""Bytes of language and of region that are told apart: room for every ISO code."""
COHORTS_MAX: Final = 200
"""Cohorts told apart in a partition; what comes beyond counts as unknown."""
UNKNOWN: Final = 0
"""Cohort of a key of whose audience nothing is known."""
COHORTS_NAME: Final = "cohorts|names"
"""Where a partition's cohorts are stored, among its surges: a JSON list of names by number."""
VOTE_DTYPE: Final = np.dtype([("cohort", "u1"), ("votes", "u1")])
"""What is stored of a key: its cohort's number in the partition, and its votes ahead."""
_VOTES_MAX: Final = 60
_VOTES_FIRST: Final = 3
"""Votes ahead up to which a cohort is new."""
_TABLE_BITS: Final = 12
_MIX: Final = np.uint64(0x9E3779B97F4A7C15)
_UND: Final = "und"


def audience_of(lang: str, region: str) -> int:
    """Pack a language and a region, as far as they are told apart; 0: neither is told.

    >>> audience_of("zh", "CN").to_bytes(8, "little").decode().split(chr(0) * 2)
    ['zh', 'CN', '']
    """
    words = (text.encode()[:AUDIENCE_BYTES].ljust(AUDIENCE_BYTES, b"\0") for text in (lang, region))
    return int.from_bytes(b"".join(words), "little")


def names_in(audience: int) -> tuple[str, str]:
    """Language and region as cohorts are named: without subtags, "und" where not told.

    >>> names_in(audience_of("zh-Hans", "us-CA")), names_in(0)
    (('zh', 'US'), ('und', 'und'))
    """
    raw = audience.to_bytes(2 * AUDIENCE_BYTES, "little")
    lang, region = (
        part.rstrip(b"\0").decode(errors="replace").partition("-")[0]
        for part in (raw[:AUDIENCE_BYTES], raw[AUDIENCE_BYTES:])
    )
    return lang.lower() or _UND, region.upper() if region.lower() != _UND and region else _UND


class Cohorts:
    """Cohorts that a partition has met, numbered in the order of their first meeting from 1 on."""

    def __init__(self) -> None:
        self.names: list[tuple[str, str]] = []
        self._numbers: dict[tuple[str, str], int] = {}
        self.number_of((_UND, _UND))
        self._drained = 1
        self._audiences: Words = np.zeros(1 << _TABLE_BITS, dtype=np.uint64)
        self._known = np.zeros(1 << _TABLE_BITS, dtype=np.uint8)  # of audience 0: unknown

    def __len__(self) -> int:
        """How many there are, the unknown one included."""
        return len(self.names)

    def drain(self) -> dict[str, bytes]:
        """What has to be stored since the last call."""
        if self._drained == len(self.names):
            return {}
        self._drained = len(self.names)
        return {COHORTS_NAME: msgspec.json.encode(self.names)}

    def restore(self, stored: bytes | None) -> None:
        """Take up what was stored, if anything."""
        if stored is not None:
            for name in msgspec.json.decode(stored, type=list[tuple[str, str]]):
                self.number_of(name)
            self._drained = len(self.names)

    def numbers_of(self, audiences: Words) -> NDArray[np.uint8]:
        """Number of the cohort of each audience; new ones are numbered in their order."""
        places = _places_of(audiences)
        numbers = self._known[places]
        strange = (self._audiences[places] != audiences).nonzero()[0]
        if len(strange):
            numbers[strange] = self._met(audiences[strange])
        return numbers

    def _met(self, audiences: Words) -> NDArray[np.uint8]:
        """Numbers of audiences that do not stand in their place of the table."""
        every, first, inverse = np.unique(audiences, return_index=True, return_inverse=True)
        numbers, places = np.zeros(len(every), dtype=np.uint8), _places_of(every)
        for row in np.argsort(first).tolist():
            audience = every[row]
            numbers[row] = number = self.number_of(names_in(int(audience)))
            place = int(places[row])
            self._audiences[place], self._known[place] = audience, number
        found: NDArray[np.uint8] = numbers[inverse]
        return found

    def number_of(self, name: tuple[str, str]) -> int:
        """Number of a cohort; one that is new gets the next, while there is room."""
        number = self._numbers.get(name)
        if number is None:
            if len(self.names) > COHORTS_MAX:
                return UNKNOWN
            number = self._numbers[name] = len(self.names)
            self.names.append(name)
        return number


def _places_of(audiences: Words) -> Words:
    return (audiences * _MIX) >> np.uint64(64 - _TABLE_BITS)


class Votes:
    """Cohort of each slot, by the votes of its audience: two bytes a key."""

    def __init__(self) -> None:
        self.cohorts = np.zeros(0, dtype=np.uint8)
        self._votes = np.zeros(0, dtype=np.uint8)

    def grow(self, size: int) -> None:
        """Make room for slots below ``size``; new ones are unknown."""
        room = np.zeros(max(size - len(self.cohorts), 0), dtype=np.uint8)
        self.cohorts = np.concatenate((self.cohorts, room))
        self._votes = np.concatenate((self._votes, room))

    def keep(self, slots: Ints) -> None:
        """Forget all slots but these; slot i is then what ``slots[i]`` was."""
        self.cohorts, self._votes = self.cohorts[slots], self._votes[slots]

    def take(self, slots: Ints, cohorts: NDArray[np.uint8]) -> None:
        """Count a vote of each of these distinct slots. "Unknown" has none."""
        held, votes = self.cohorts[slots], self._votes[slots]
        same = held == cohorts
        counted = cohorts != UNKNOWN
        taken = counted & ~same & ((votes == 0) | (held == UNKNOWN))
        self.cohorts[slots] = np.where(taken, cohorts, held)
        more = (votes < _VOTES_MAX) & same
        changed = np.where(taken, 1, np.where(more, votes + 1, np.where(same, votes, votes - 1)))
        self._votes[slots] = np.where(counted, changed, votes)

    def take_first(self, slots: Ints, cohorts: NDArray[np.uint8]) -> None:
        """As `take`, but only of slots that have no cohort yet, or have just got one."""
        new = self._votes[slots] < _VOTES_FIRST
        self.take(slots[new], cohorts[new])

    def take_in_turn(
        self, slots: Ints, sizes: Ints, cohorts: NDArray[np.uint8]
    ) -> NDArray[np.uint8]:
        """Count ``sizes`` (>= 1) votes of each of these distinct slots, one after the other.

        A slot's ``cohorts`` follow those of the slot before. The slot's cohort after each.
        """
        after = np.repeat(self.cohorts[slots], sizes)
        begins = np.cumsum(sizes) - sizes
        alike = np.add.reduceat(cohorts == after, begins) == sizes
        alike &= self.cohorts[slots] != UNKNOWN
        calm = slots[alike]
        self._votes[calm] = np.minimum(self._votes[calm] + sizes[alike], _VOTES_MAX)
        slots, begins, sizes = slots[~alike], begins[~alike], sizes[~alike]
        for turn in range(int(sizes.max(initial=0))):
            some = sizes > turn
            self.take(slots[some], cohorts[begins[some] + turn])
            after[begins[some] + turn] = self.cohorts[slots[some]]
        return after

    def packed(self, slots: Ints) -> NDArray[Any]:
        """States of these slots, as `VOTE_DTYPE`."""
        states = np.empty(len(slots), dtype=VOTE_DTYPE)
        states["cohort"], states["votes"] = self.cohorts[slots], self._votes[slots]
        return states

    def restore(self, slots: Ints, states: NDArray[Any]) -> None:
        """Put packed states back."""
        self.cohorts[slots], self._votes[slots] = states["cohort"], states["votes"]
