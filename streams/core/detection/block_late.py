"""Late records, added to the fading sums one event after the other.

Sums are rounded to float32, so adding 2 x 0.9 at once is not adding 0.9 twice. Adding event by
event makes the result the same however the late records were cut into chunks.
"""

from typing import Final

import numpy as np

from streams.core.detection.block_state import RowStore
from streams.core.detection.block_tables import Floats, Ints

_ROUNDS: Final = 16


def add_late(rows: RowStore, slots: Ints, weights: Floats, counts: Ints) -> None:
    """Add ``counts[i]`` times column i of ``weights`` to the sums of ``slots[i]``, in order.

    Weights have four rows: what one late event is still worth in the three windows and in the
    rate. Slots may repeat.
    """
    order = np.argsort(slots, kind="stable")
    entries = np.repeat(order, counts[order])
    keys, starts = np.unique(slots[entries], return_index=True)
    if not keys.size:
        return
    lengths = np.diff(starts, append=entries.size)
    for turn in range(min(int(lengths.max()), _ROUNDS)):
        some = np.flatnonzero(lengths > turn)
        rows.add(keys[some], weights[:, entries[starts[some] + turn]])
    for long in np.flatnonzero(lengths > _ROUNDS):
        rest = entries[starts[long] + _ROUNDS : starts[long] + lengths[long]]
        rows.add_in_turn(int(keys[long]), weights[:, rest])
