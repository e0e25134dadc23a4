"""Rows of decoded chunks: chosen, joined, and put in an order that their content alone decides."""

from collections.abc import Callable, Sequence
from dataclasses import fields
from typing import Any, Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from streams.core.records.chunks import CommentChunk, FollowChunk
from streams.core.records.texts import PAD, Ints, Texts, Words, joined_texts

Chunk = TypeVar("Chunk", bound=FollowChunk | CommentChunk)
Rows = Ints | NDArray[np.bool_]

_WORDS_MAX: Final = 8
"""Longer texts are laid out one by one: all would be given the room of the longest."""
_MIX: Final = np.uint64(0x9E3779B97F4A7C15)
_TIME: Final = "at_ms"


def taken(chunk: Chunk, rows: Rows) -> Chunk:
    """Only these rows, in their order; the texts' buffers are shared."""
    return _each(
        chunk, lambda column: column.take(rows) if isinstance(column, Texts) else column[rows]
    )


def cut(chunk: Chunk, begin: int, end: int) -> Chunk:
    """Rows from ``begin`` up to ``end``; everything is shared."""
    return _each(chunk, lambda column: column[begin:end])


def joined(chunks: Sequence[Chunk]) -> Chunk:
    """All rows in one chunk, with as much of the texts' buffers as they span."""
    if len(chunks) == 1:
        return chunks[0]
    columns = list[Any]()
    kind: Any = type(chunks[0])
    for field in fields(chunks[0]):
        parts = [getattr(chunk, field.name) for chunk in chunks]
        if parts[0] is None:
            columns.append(None)
        elif isinstance(parts[0], Texts):
            columns.append(joined_texts([_trimmed(part) for part in parts if len(part)]))
        else:
            columns.append(np.concatenate(parts))
    whole: Chunk = kind(*columns)
    return whole


def repacked(chunk: Chunk) -> Chunk:
    """The same rows in buffers of their own that hold nothing else, in their order."""
    return _each(
        chunk, lambda column: _repacked(column) if isinstance(column, Texts) else column.copy()
    )


def content_order(chunk: FollowChunk | CommentChunk, moments: Ints | None = None) -> Ints | None:
    """Order by moment, ``at_ms`` and content; None: they stand so.

    Rows that are equal in every column may stand in any order: nobody can tell them apart.
    """
    at_ms = chunk.at_ms
    if moments is None:
        if (at_ms[1:] > at_ms[:-1]).all():
            return None
        order = np.argsort(at_ms, kind="stable")
    else:
        order = np.lexsort((at_ms, moments))
    at_ms = at_ms[order]
    ties = at_ms[1:] == at_ms[:-1]
    if moments is not None:
        moments = moments[order]
        ties &= moments[1:] == moments[:-1]
    if ties.any():
        tied = np.zeros(len(order), dtype=np.bool_)
        tied[1:] = ties
        group: Ints = np.cumsum(~tied)
        tied[:-1] |= ties
        places = tied.nonzero()[0]
        order[places] = order[places][_by_content(taken(chunk, order[places]), group[places])]
    return order


def _by_content(chunk: FollowChunk | CommentChunk, group: Ints) -> Ints:
    """Order of rows by group, then by a hash of their content, then by the content itself."""
    hashes = _hashes_of(chunk)
    order = np.lexsort((hashes, group))
    first, second = order[:-1], order[1:]
    alike = (hashes[first] == hashes[second]) & (group[first] == group[second])
    if not alike.any() or _are_same(chunk, first[alike], second[alike]):
        return order
    texts = [column.encoded() if isinstance(column, Texts) else column.tolist()
             for column in _columns_of(chunk) if column is not None]  # fmt: skip
    keys = list(zip(group.tolist(), hashes.tolist(), *texts, strict=True))
    return np.array(sorted(range(len(keys)), key=keys.__getitem__), dtype=np.int64)


def _hashes_of(chunk: Chunk) -> Words:
    total = np.zeros(len(chunk), dtype=np.uint64)
    for field in fields(chunk):
        column = getattr(chunk, field.name)
        if column is None or field.name == _TIME:
            continue
        total *= _MIX
        total ^= column.hashes() if isinstance(column, Texts) else column.astype(np.uint64)
    return total


def _are_same(chunk: Chunk, rows: Ints, others: Ints) -> bool:
    for column in _columns_of(chunk):
        if isinstance(column, Texts):
            if not column.take(rows).same_as(column.take(others)).all():
                return False
        elif column is not None and (column[rows] != column[others]).any():
            return False
    return True


def _columns_of(chunk: Chunk) -> list[Any]:
    return [getattr(chunk, field.name) for field in fields(chunk)]


def _each(chunk: Chunk, change: Callable[[Any], Any]) -> Chunk:
    kind: Any = type(chunk)
    changed: Chunk = kind(*(None if one is None else change(one) for one in _columns_of(chunk)))
    return changed


def _trimmed(texts: Texts) -> Texts:
    """The same texts with no more of the buffer than they span."""
    begin = int(texts.starts.min())
    end = int((texts.starts + texts.lengths).max()) + len(PAD)
    return Texts(texts.data[begin:end], texts.starts - begin, texts.lengths)


def _repacked(texts: Texts) -> Texts:
    longest = int(texts.lengths.max()) if len(texts) else 0
    if longest > 8 * _WORDS_MAX:
        return Texts.of_bytes(texts.encoded())
    words = texts.words()
    each = len(words)
    laid = np.zeros(len(texts) * each + 1, dtype=np.uint64)  # one more: the pad
    for place, word in enumerate(words):
        laid[place:-1:each] = word
    return Texts(laid.view(np.uint8), np.arange(len(texts)) * (8 * each), texts.lengths.copy())
