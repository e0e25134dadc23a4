"""Deals the records of a file to partitions, as Kafka's producers do: each creator to one."""

from collections.abc import Callable, Iterator, Sequence
from typing import Final

import numpy as np

from streams.core.events import CommentChunk, FollowChunk
from streams.core.runs import Ints

_KNOWN_MAX: Final = 500_000


class _Known(dict[str, int]):
    """Creator to partition; ``__missing__`` keeps look-ups in C."""

    def __init__(self, partition_of: Callable[[str], int]) -> None:
        super().__init__()
        self._partition_of = partition_of

    def __missing__(self, creator_id: str) -> int:
        partition = self[creator_id] = self._partition_of(creator_id)
        return partition


class Dealer:
    """Splits chunks by partition; records of one partition keep their order."""

    def __init__(self, partition_count: int, partition_of: Callable[[str], int]) -> None:
        self._count = partition_count
        self._known = _Known(partition_of)

    def deal_follows(self, chunk: FollowChunk) -> Iterator[tuple[int, FollowChunk]]:
        """Parts of a chunk that are not empty, with their partitions."""
        for partition, rows in self._rows(chunk.creator_ids):
            ids = _of(chunk.creator_ids, rows)
            yield partition, FollowChunk(ids, chunk.at_ms[rows], chunk.unfollows[rows])

    def deal_comments(self, chunk: CommentChunk) -> Iterator[tuple[int, CommentChunk]]:
        """Parts of a chunk that are not empty, with their partitions."""
        for partition, rows in self._rows(chunk.creator_ids):
            texts = (chunk.creator_ids, chunk.post_ids, chunk.langs)
            ids, posts, langs = (_of(column, rows) for column in texts)
            yield partition, CommentChunk(ids, posts, langs, chunk.at_ms[rows])

    def _rows(self, creator_ids: Sequence[str]) -> Iterator[tuple[int, Ints]]:
        if len(self._known) > _KNOWN_MAX:
            self._known.clear()
        found = map(self._known.__getitem__, creator_ids)
        partitions = np.fromiter(found, np.int64, len(creator_ids))
        order = np.argsort(partitions, kind="stable")
        sizes = np.bincount(partitions, minlength=self._count)
        ends = np.cumsum(sizes)
        for partition in np.flatnonzero(sizes).tolist():
            yield partition, order[ends[partition] - sizes[partition] : ends[partition]]


def _of(column: Sequence[str], rows: Ints) -> list[str]:
    return [column[row] for row in rows.tolist()]
