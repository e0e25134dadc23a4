"""Where a block keeps its keys' state: one packed row of 52 bytes a key.

Rows, not columns: a chunk touches a few thousand keys out of a million, so one cache line a key
is fetched instead of nine. Layout version 2, little-endian:

====== ==== =============== =====================================================================
offset type field           what
====== ==== =============== =====================================================================
0      i4   birth_bucket    bucket in which the key was first met; its days are counted from here.
                            In bits 27 to 30: the direction of its day (``rhythm.py``)
4      f4   top             largest evidence of the key's present day so far
8      f8   rate_count      a: fading sum of what was learnt, with the prior's part
16     3xf4 window_counts   X_1..X_3: fading sums of the counts before the open bucket
28     3xf4 phase           where on the circle of the day its events are (``rhythm.py``)
40     f4   tail_level      S: fading sum of daily maxima
44     f4   tail_share      C: fading number of daily maxima above the level
48     f4   tail_excess     V: fading sum of their excess over the level
====== ==== =============== =====================================================================

What a key's age tells is not stored: b, E_j and the learnt days W.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from streams.core.detection.block_tables import Floats, Ints

LAYOUT_VERSION: Final = 2
STATE_DTYPE: Final = np.dtype(
    [
        ("birth_bucket", "<i4"),
        ("top", "<f4"),
        ("rate_count", "<f8"),
        ("window_counts", "<f4", (3,)),
        ("phase", "<f4", (3,)),
        ("tail_level", "<f4"),
        ("tail_share", "<f4"),
        ("tail_excess", "<f4"),
    ]
)
"""One key's state, 52 bytes, no padding."""
_COLUMNS: Final = STATE_DTYPE.itemsize // 4
_BIRTH_BITS: Final = 27
_BIRTH_MASK: Final = (1 << _BIRTH_BITS) - 1
_RATE: Final = slice(2, 4)
"""The two halves of the rate's double."""
_PHASE: Final = slice(7, 9)
_SIGNED: Final = (0, 2, 3, 7, 8)
"""Columns that are no sums of what is 0 or more."""


def _halves_of(value: float) -> NDArray[np.float32]:
    """A double as two columns."""
    return np.array([value]).view("<f4")


class DetectorStateError(ValueError):
    """A stored detector state holds a number that no run of the detector can leave."""

    def __init__(self, row: int) -> None:
        super().__init__(
            f"stored detector state number {row} is not valid: its store was damaged or written"
            " by something else; empty the store and let the worker read the topics again"
        )
        self.row = row


@dataclass(slots=True)
class KeyColumns:
    """State of some keys, fresh and contiguous: integers and float64."""

    birth: Ints
    direction: Ints
    top: Floats
    rate_count: Floats
    windows: Floats
    """Three rows: X_1, X_2, X_3."""
    phase: Floats
    """Three rows: across and along the circle of the day, and the sum of squares."""
    tail: Floats
    """Three rows: S, C, V."""

    def only(self, chosen: NDArray[np.bool_]) -> "KeyColumns":
        """Of the chosen keys."""
        return KeyColumns(
            self.birth[chosen],
            self.direction[chosen],
            self.top[chosen],
            self.rate_count[chosen],
            self.windows[:, chosen],
            self.phase[:, chosen],
            self.tail[:, chosen],
        )


class RowStore:
    """Rows of a growing number of slots."""

    def __init__(self, rate_count: float) -> None:
        self._rows: NDArray[np.float32] = np.zeros((0, _COLUMNS), "<f4")
        self._rate_count = rate_count

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def nbytes(self) -> int:
        """Bytes held, room for growth included."""
        return self._rows.nbytes

    def grow(self, size: int) -> None:
        """Make room for slots < ``size``, by doubling; new slots hold a newborn's state."""
        held = len(self._rows)
        if size <= held:
            return
        rows = np.zeros((max(size, 2 * held, 1024), _COLUMNS), "<f4")
        rows[:held] = self._rows
        rows[held:, _RATE] = _halves_of(self._rate_count)
        self._rows = rows

    def keep(self, slots: Ints) -> None:
        """Forget all rows but these; slot i is then what ``slots[i]`` was."""
        self._rows = self._rows.take(slots, axis=0)

    def read(self, slots: Ints) -> KeyColumns:
        """Columns of the given slots, copied."""
        rows = self._rows.take(slots, axis=0)
        sums = rows[:, 4:].T.astype(np.float64, order="C")
        births = rows.view("<i4")[:, 0].astype(np.int64)
        return KeyColumns(
            birth=births & _BIRTH_MASK,
            direction=births >> _BIRTH_BITS,
            top=rows[:, 1].astype(np.float64),
            rate_count=rows[:, _RATE].copy().view("<f8")[:, 0],
            windows=sums[:3],
            phase=sums[3:6],
            tail=sums[6:],
        )

    def write(self, slots: Ints, keys: KeyColumns) -> None:
        """Put columns back; sums are rounded to float32 here, once a bucket."""
        rows = np.empty((len(slots), _COLUMNS), "<f4")
        rows.view("<i4")[:, 0] = keys.birth + (keys.direction << _BIRTH_BITS)
        rows[:, 1] = keys.top
        rows[:, _RATE] = keys.rate_count.view("<f4").reshape(-1, 2)
        rows[:, 4:7] = keys.windows.T
        rows[:, 7:10] = keys.phase.T
        rows[:, 10:] = keys.tail.T
        self._rows[slots] = rows

    def begin(self, slots: Ints, bucket: int) -> None:
        """Give the slots a newborn's state."""
        rows = np.zeros((len(slots), _COLUMNS), "<f4")
        rows.view("<i4")[:, 0] = bucket
        rows[:, _RATE] = _halves_of(self._rate_count)
        self._rows[slots] = rows

    def add(self, slots: Ints, weights: Floats) -> None:
        """Add to the window sums (three rows) and the rate (fourth row) of distinct slots."""
        self._rows[slots, 4:7] += weights[:3].T.astype("<f4")
        rate = self._rows[slots, _RATE].copy().view("<f8")[:, 0] + weights[3]
        self._rows[slots, _RATE] = rate.view("<f4").reshape(-1, 2)

    def add_in_turn(self, slot: int, weights: Floats) -> None:
        """Add column after column to one slot's sums, rounding after each as `add` does."""
        row = self._rows[slot]
        chain = np.concatenate((row[4:7, None], weights[:3].astype("<f4")), axis=1)
        row[4:7] = np.add.accumulate(chain, axis=1, dtype="<f4")[:, -1]
        rate = np.append(row[_RATE].copy().view("<f8"), weights[3])
        row[_RATE] = np.add.accumulate(rate)[-1:].view("<f4")

    def packed(self, slots: Ints) -> NDArray[Any]:
        """States as an array of `STATE_DTYPE`, copied."""
        return self._rows.take(slots, axis=0).view(STATE_DTYPE)[:, 0]

    def unpack(self, slots: Ints, states: NDArray[Any]) -> None:
        """Put packed states back, bit by bit. Raises `DetectorStateError` for an impossible one."""
        rows = np.ascontiguousarray(states, STATE_DTYPE).view("<f4").reshape(-1, _COLUMNS)
        sums = np.delete(rows, _SIGNED, axis=1)
        count = rows[:, _RATE].copy().view("<f8")[:, 0]
        good = np.isfinite(sums).all(axis=1) & (sums >= 0).all(axis=1)
        good &= np.isfinite(rows[:, _PHASE]).all(axis=1)
        good &= np.isfinite(count) & (count > 0)
        if not good.all():
            raise DetectorStateError(int(np.argmin(good)))
        self._rows[slots] = rows
