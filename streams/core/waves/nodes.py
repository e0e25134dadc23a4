"""What a wave may be of: the platform, a language, a region, or a cohort, which has both."""

from collections.abc import Sequence
from typing import Final, Literal, NamedTuple

import numpy as np

from streams.core.detection.block_tables import Floats, Ints

Scope = Literal["platform", "language", "region", "cohort"]
PLATFORM = 0
SIDES: Final = 2
"""A node's totals by whose creators they are, and by who came."""
_PARTS = 4
"""A cohort is a part of its own node, of its language, its region and the platform."""


class Node(NamedTuple):
    """One of them; None: of any language, of any region."""

    lang: str | None
    region: str | None

    @property
    def scope(self) -> Scope:
        """What kind it is."""
        if self.lang is None:
            return "platform" if self.region is None else "region"
        return "language" if self.region is None else "cohort"


class Nodes:
    """Nodes by number: the platform, then those of each cohort in the order of their numbers."""

    def __init__(self) -> None:
        self.all: list[Node] = [Node(None, None)]
        self._number = {self.all[0]: PLATFORM}
        self._cohorts = 0
        self._of: list[list[int]] = [[], [], []]
        self._columns = [np.zeros(0, dtype=np.int64)] * 3
        self._places = np.zeros((0, 0), dtype=np.int64)  # a row: of the parts of a row of totals
        self.columns_of_cohorts: Ints = self._columns[0]
        """Column of each cohort among totals by ``SIDES``."""

    def __len__(self) -> int:
        return len(self.all)

    def grow(self, names: Sequence[tuple[str, str]]) -> None:
        """Have the nodes of these cohorts, those known before first."""
        if self._cohorts == len(names):
            return
        for lang, region in names[self._cohorts :]:
            wanted = (Node(lang, region), Node(lang, None), Node(None, region))
            for node, column in zip(wanted, self._of, strict=True):
                if node not in self._number:
                    self._number[node] = len(self.all)
                    self.all.append(node)
                column.append(self._number[node])
        self._cohorts = len(names)
        self._columns = [np.array(column, dtype=np.int64) for column in self._of]
        self._places = self._places[:0]
        self.columns_of_cohorts = SIDES * self._columns[0]

    @property
    def of_cohorts(self) -> Ints:
        """Node of each cohort."""
        return self._columns[0]

    @property
    def of_regions(self) -> Ints:
        """Node of each cohort's region."""
        return self._columns[2]

    def totals_of(self, rows: Floats) -> Floats:
        """Totals of all nodes, a row for each row of totals by cohort."""
        size, count = len(self.all), len(rows)
        if len(self._places) < count:
            where = np.concatenate((*self._columns, np.full(self._cohorts, PLATFORM)))
            self._places = where + size * np.arange(count)[:, None]
        every = np.concatenate((rows,) * _PARTS, axis=1)
        totals: Floats = np.bincount(
            self._places[:count].ravel(), every.ravel(), size * count
        ).astype(np.float64, copy=False)
        return totals.reshape(count, size)
