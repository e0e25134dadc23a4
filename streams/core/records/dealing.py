"""Deals the records of a file to partitions, as Kafka's producers do: each creator to one."""

from collections.abc import Callable, Iterator
from typing import Final

import numpy as np

from streams.core.records.chunk_rows import taken
from streams.core.records.chunks import CommentChunk, FollowChunk
from streams.core.records.keys import Keys
from streams.core.records.texts import Ints, Texts

_KNOWN_MAX: Final = 500_000


class Dealer:
    """Splits chunks by partition; records of one partition keep their order."""

    def __init__(self, partition_count: int, partition_of: Callable[[bytes], int]) -> None:
        self._count = partition_count
        self._partition_of = partition_of
        self._forget()

    def _forget(self) -> None:
        self._known = Keys()
        self._partitions = np.zeros(0, np.int64)

    def deal_follows(self, chunk: FollowChunk) -> Iterator[tuple[int, FollowChunk]]:
        """Parts of a chunk that are not empty, with their partitions."""
        for partition, rows in self._rows(chunk.creator_ids):
            yield partition, taken(chunk, rows)

    def deal_comments(self, chunk: CommentChunk) -> Iterator[tuple[int, CommentChunk]]:
        """Parts of a chunk that are not empty, with their partitions."""
        for partition, rows in self._rows(chunk.creator_ids):
            yield partition, taken(chunk, rows)

    def _rows(self, creator_ids: Texts) -> Iterator[tuple[int, Ints]]:
        known = len(self._known)
        if known > _KNOWN_MAX:
            self._forget()
            known = 0
        slots = self._known.slots_of(creator_ids)
        fresh = self._known.names_of(np.arange(known, len(self._known))).encoded()
        found = np.fromiter(map(self._partition_of, fresh), np.int64, len(fresh))
        self._partitions = np.concatenate((self._partitions, found))
        partitions = self._partitions[slots]
        order = np.argsort(partitions, kind="stable")
        sizes = np.bincount(partitions, minlength=self._count)
        ends = np.cumsum(sizes)
        for partition in np.flatnonzero(sizes).tolist():
            yield partition, order[ends[partition] - sizes[partition] : ends[partition]]
