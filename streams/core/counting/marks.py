"""At which totals and from which bucket on each slot has something to tell."""

import numpy as np
from numpy.typing import NDArray

from streams.core.records.texts import Ints
from streams.core.surges.rules import NEVER, again_of, grown_mark_of, next_marks_of
from streams.core.surges.surge import Trigger


class Marks:
    """Columns by slot. ``rule`` and ``model`` are rolling totals at which a surge opens or grows.

    ``rule_again`` and ``model_again``: how often an open one may be told as grown after that.
    NEVER stands in ``model`` while the model has no open surge: it opens by score, not by total.
    ``quiet_until``: the bucket of the watermark from which on the model may alarm again.
    ``paged``: a surge by the model that is remembered is a page, so that no other becomes one.
    """

    __slots__ = ("_first", "model", "model_again", "paged", "quiet_until", "rule", "rule_again")

    def __init__(self, first: int) -> None:
        self._first = first
        self.rule: Ints = np.zeros(0, dtype=np.int64)
        self.model: Ints = np.zeros(0, dtype=np.int64)
        self.rule_again = np.zeros(0, dtype=np.int8)
        self.model_again = np.zeros(0, dtype=np.int8)
        self.quiet_until = np.zeros(0, dtype=np.int32)
        self.paged = np.zeros(0, dtype=np.bool_)

    def grow(self, size: int) -> None:
        """Make room for slots below ``size``."""
        room = size - len(self.rule)
        self.rule = np.concatenate((self.rule, np.full(room, self._first, dtype=np.int64)))
        self.model = np.concatenate((self.model, np.full(room, NEVER, dtype=np.int64)))
        again = np.zeros(room, dtype=np.int8)
        self.rule_again = np.concatenate((self.rule_again, again))
        self.model_again = np.concatenate((self.model_again, again))
        quiet = np.zeros(room, dtype=np.int32)
        self.quiet_until = np.concatenate((self.quiet_until, quiet))
        self.paged = np.concatenate((self.paged, np.zeros(room, dtype=np.bool_)))

    def keep(self, slots: Ints) -> None:
        """Forget all slots but these; slot i is then what ``slots[i]`` was."""
        self.rule, self.model = self.rule[slots], self.model[slots]
        self.rule_again, self.model_again = self.rule_again[slots], self.model_again[slots]
        self.quiet_until, self.paged = self.quiet_until[slots], self.paged[slots]

    def put(self, trigger: Trigger, slot: int, mark: int, again: int) -> None:
        """An open surge of a slot grows next at this total."""
        if trigger == "rule":
            self.rule[slot], self.rule_again[slot] = mark, again
        else:
            self.model[slot], self.model_again[slot] = mark, again

    def open_model(self, slots: Ints, totals: Ints, paged: NDArray[np.bool_]) -> None:
        """Surges by the model opened at these totals."""
        self.model[slots] = grown_mark_of(totals)
        page, notice = again_of(is_page=True), again_of(is_page=False)
        self.model_again[slots] = np.where(paged, page, notice)

    def pass_model(self, slots: Ints, totals: Ints) -> None:
        """Surges by the model were told as grown at these marks."""
        again = self.model_again[slots].astype(np.int64)
        self.model[slots], self.model_again[slots] = next_marks_of(totals, again)

    def pass_rule(self, slots: Ints, totals: Ints) -> None:
        """Surges by the rule opened or were told as grown at these marks."""
        opened = totals == self._first
        again = self.rule_again[slots].astype(np.int64)
        mark, left = next_marks_of(totals, again)
        self.rule[slots] = np.where(opened, grown_mark_of(totals), mark)
        self.rule_again[slots] = np.where(opened, again_of(is_page=True), left)

    def end(self, trigger: Trigger, slot: int) -> None:
        """Take back the mark of a surge that closed."""
        if trigger == "rule":
            self.rule[slot] = self._first
        else:
            self.model[slot] = NEVER
