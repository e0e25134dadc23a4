"""The job that every engine gets: seeded follows, and the answers that must come out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

START_MS = 1_736_899_200_000
"""2025-01-15T00:00:00Z, the edge of a bucket: 24 hours from here are 288 whole buckets."""
DAY_MS = 86_400_000
BATCH_RECORDS = 20_000

Batch = tuple[list[bytes], list[bytes]]


@dataclass(frozen=True, slots=True)
class Truth:
    """What is right: records, the largest creator's, and who crossed the threshold at what time."""

    total: int
    largest: int
    crossed: dict[str, int]


@dataclass(frozen=True)
class Job:
    """Follows of 24 hours in the order of time; creator of rank k has a share like 1/k."""

    records: int
    creators: int = 100_000
    threshold: int = 5_000
    seed: int = 1
    topic: str = "follows"
    _drawn: list[tuple[NDArray[np.int64], NDArray[np.int64]]] = field(default_factory=list)

    def columns(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Creator's number and time of each record; drawn once."""
        if not self._drawn:
            draw = np.random.default_rng(self.seed)
            shares = 1.0 / np.arange(1, self.creators + 1)
            ids = draw.choice(self.creators, self.records, p=shares / shares.sum())
            at_ms = np.sort(draw.integers(0, DAY_MS, self.records)) + START_MS
            self._drawn.append((ids, at_ms))
        return self._drawn[0]

    def batches(self) -> Iterator[Batch]:
        """Keys and values, some thousand at a time."""
        return batches_of(*self.columns())

    def truth(self) -> Truth:
        """The right answers."""
        ids, at_ms = self.columns()
        crossed = crossed_of(ids, at_ms, self.threshold)
        return Truth(self.records, int(np.bincount(ids).max()), crossed)

    @property
    def record_bytes(self) -> float:
        """Mean length of a value."""
        values = next(self.batches())[1]
        return sum(map(len, values)) / len(values)


def crossed_of(
    ids: NDArray[np.int64],
    at_ms: NDArray[np.int64],
    threshold: int,
    name_of: Callable[[int], str] | None = None,
) -> dict[str, int]:
    """Creators with so many records, and the time of each one's threshold-th.

    ``name_of`` names a number; None: the creator of this number.

    >>> crossed_of(np.array([7, 1, 7, 7]), np.array([10, 20, 30, 40]), 2)
    {'c-0000007': 30}
    """
    order = np.argsort(ids, kind="stable")
    creators, begins, counts = np.unique(ids[order], return_index=True, return_counts=True)
    over = counts >= threshold
    rows = order[begins[over] + threshold - 1]
    names = map(name_of or creator_of, creators[over].tolist())
    return dict(zip(names, at_ms[rows].tolist(), strict=True))


def batches_of(
    ids: NDArray[np.int64], at_ms: NDArray[np.int64], first_event: int = 0
) -> Iterator[Batch]:
    """Keys and values of follows of these creators at these times.

    Event ids are numbers from ``first_event`` on: one that comes again would not count again.
    """
    for first in range(0, len(ids), BATCH_RECORDS):
        chosen = slice(first, first + BATCH_RECORDS)
        keys = [creator_of(creator).encode() for creator in ids[chosen].tolist()]
        values = [
            b'{"event_id":"e-%d","kind":"follow","creator_id":"%b","follower_id":"f-%d","at_ms":%d}'
            % (number, key, number, at)
            for number, (key, at) in enumerate(
                zip(keys, at_ms[chosen].tolist(), strict=True), first_event + first
            )
        ]
        yield keys, values


def creator_of(number: int) -> str:
    """Id of a creator.

    >>> creator_of(12)
    'c-0000012'
    """
    return f"c-{number:07d}"
