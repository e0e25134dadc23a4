"""At which totals and from which bucket on each slot has something to tell."""

import numpy as np

from streams.core.records.texts import Ints
from streams.core.surges.rules import NEVER


class Marks:
    """Columns by slot. ``rule`` and ``model`` are rolling totals at which a surge opens or grows.

    NEVER stands in ``model`` while the model has no open surge: it opens by score, not by total.
    ``quiet_until``: the bucket of the watermark from which on the model may alarm again.
    ``paged``: a surge by the model that is remembered is a page, so that no other becomes one.
    """

    __slots__ = ("_first", "model", "paged", "quiet_until", "rule")

    def __init__(self, first: int) -> None:
        self._first = first
        self.rule: Ints = np.zeros(0, dtype=np.int64)
        self.model: Ints = np.zeros(0, dtype=np.int64)
        self.quiet_until = np.zeros(0, dtype=np.int32)
        self.paged = np.zeros(0, dtype=np.bool_)

    def grow(self, size: int) -> None:
        """Make room for slots below ``size``."""
        room = size - len(self.rule)
        self.rule = np.concatenate((self.rule, np.full(room, self._first, dtype=np.int64)))
        self.model = np.concatenate((self.model, np.full(room, NEVER, dtype=np.int64)))
        quiet = np.zeros(room, dtype=np.int32)
        self.quiet_until = np.concatenate((self.quiet_until, quiet))
        self.paged = np.concatenate((self.paged, np.zeros(room, dtype=np.bool_)))

    def keep(self, slots: Ints) -> None:
        """Forget all slots but these; slot i is then what ``slots[i]`` was."""
        self.rule, self.model = self.rule[slots], self.model[slots]
        self.quiet_until, self.paged = self.quiet_until[slots], self.paged[slots]

    def end(self, trigger: str, slot: int) -> None:
        """Take back the mark of a surge that closed."""
        if trigger == "rule":
            self.rule[slot] = self._first
        else:
            self.model[slot] = NEVER
