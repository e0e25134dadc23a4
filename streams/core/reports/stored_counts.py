"""What is told of stored counts: the rolling 24 hours of creators and posts, many at a time."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, Self

import msgspec
import numpy as np
from numpy.typing import NDArray

from streams.core.counting.packing import unpack
from streams.core.surges.watch_state import WATCH_STATE_DTYPE
from streams.core.time.buckets import BUCKET_MS, bucket_of, oldest_bucket_of

Ints = NDArray[np.int64]

_COUNT_MASK: Final = 0xFFFFFFFF
_NOT_THERE: Final = -1
_REST_KEYS: Final = 8_192


class CreatorCounts(msgspec.Struct, frozen=True, kw_only=True):
    """Counts of one creator in the 24 hours that end with the bucket of ``as_of_ms``.

    ``buckets`` are the follows: [start of the bucket in ms, count] for each that is not empty,
    in the order of time; the other two likewise. Each total is the sum of its buckets.
    """

    creator_id: str
    follows_24h: int
    unfollows_24h: int
    comments_24h: int
    as_of_ms: int
    buckets: list[list[int]]
    unfollow_buckets: list[list[int]]
    comment_buckets: list[list[int]]


class PostCounts(msgspec.Struct, frozen=True, kw_only=True):
    """Comments on one post in the same 24 hours, and by language, most first."""

    post_id: str
    comments_24h: int
    as_of_ms: int
    langs: dict[str, int]
    comment_buckets: list[list[int]]


@dataclass(frozen=True, slots=True)
class Windows:
    """Buckets of many keys that lie within the 24 hours.

    ``sizes[i]`` rows of ``pairs`` (start_ms, count), one after another, are key i's;
    ``totals[i]`` is the sum of their counts.
    """

    totals: Ints
    sizes: Ints
    pairs: Ints

    def of(self, rows: Ints) -> "Windows":
        """Windows of these keys; -1 stands for a key that has none."""
        there = rows != _NOT_THERE
        sizes, totals = np.zeros(len(rows), np.int64), np.zeros(len(rows), np.int64)
        chosen = rows[there]
        sizes[there], totals[there] = self.sizes[chosen], self.totals[chosen]
        begins = np.zeros(len(rows), np.int64)
        begins[there] = (np.cumsum(self.sizes) - self.sizes)[chosen]
        shifts = np.repeat(begins - (np.cumsum(sizes) - sizes), sizes)
        return Windows(totals, sizes, self.pairs[np.arange(len(shifts)) + shifts])

    def lists(self) -> list[list[list[int]]]:
        """Buckets of each key as they are told."""
        pairs, ends = self.pairs.tolist(), np.cumsum(self.sizes).tolist()
        begins = [0, *ends]
        return [pairs[begin:end] for begin, end in zip(begins, ends, strict=False)]

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        """Windows of all parts' keys, in their order."""
        none = (np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros((0, 2), np.int64))
        columns = zip(none, *((part.totals, part.sizes, part.pairs) for part in parts), strict=True)
        return cls(*(np.concatenate(column) for column in columns))


def windows_of(values: Sequence[bytes], *, watched: bool, oldest_bucket: int) -> Windows:
    """Read stored values; ``watched``: a detector's state stands in each.

    Raises LayoutUnknown, StateDamaged.
    """
    if not values:
        return Windows.joined([])
    rows = unpack(values, WATCH_STATE_DTYPE if watched else None)
    buckets, counts = rows.entries >> 32, rows.entries & _COUNT_MASK
    kept = buckets >= oldest_bucket
    ends = np.cumsum(rows.sizes)
    begins = ends - rows.sizes
    sums, numbers = _sums_before(counts * kept), _sums_before(kept.astype(np.int64))
    return Windows(
        totals=sums[ends] - sums[begins],
        sizes=numbers[ends] - numbers[begins],
        pairs=np.column_stack((buckets[kept] * BUCKET_MS, counts[kept])),
    )


def _sums_before(column: Ints) -> Ints:
    """Sum of everything before each place, and of all at the end."""
    return np.concatenate((np.zeros(1, np.int64), np.cumsum(column)))


class Batch(NamedTuple):
    """Some keys of one series as they are stored."""

    keys: list[str]
    values: list[bytes]


class StoredRows(NamedTuple):
    """One series of a partition, batch by batch; ``watched``: values hold a detector's state."""

    batches: Iterable[Batch]
    watched: bool


class StoredCreators(NamedTuple):
    """What is stored of the creators of one partition of both topics."""

    follows: StoredRows
    unfollows: StoredRows
    comments: StoredRows
    as_of_ms: int


def creators_of(stored: StoredCreators, *, idle: bool) -> Iterator[list[CreatorCounts]]:
    """Counts of a partition's creators, in batches; ``idle``: those with nothing in 24 h too.

    Follows pass by; what is held in memory is the 24 hours of unfollows and comments.
    """
    oldest = oldest_bucket_of(bucket_of(stored.as_of_ms))
    unfollows = _Side(stored.unfollows, oldest, idle=idle)
    comments = _Side(stored.comments, oldest, idle=idle)
    for keys, values in stored.follows.batches:
        windows = windows_of(values, watched=stored.follows.watched, oldest_bucket=oldest)
        yield _told(keys, (windows, unfollows.take(keys), comments.take(keys)), stored, idle)
    for keys in _in_parts(dict.fromkeys([*unfollows.keys(), *comments.keys()])):
        nothing = Windows.joined([]).of(np.full(len(keys), _NOT_THERE))
        yield _told(keys, (nothing, unfollows.take(keys), comments.take(keys)), stored, idle)


class _Side:
    """Windows of one series by key, each given away once."""

    def __init__(self, rows: StoredRows, oldest_bucket: int, *, idle: bool) -> None:
        parts, self._index = [], dict[str, int]()
        for keys, values in rows.batches:
            windows = windows_of(values, watched=rows.watched, oldest_bucket=oldest_bucket)
            chosen = np.arange(len(keys)) if idle else np.flatnonzero(windows.sizes)
            names = [keys[row] for row in chosen.tolist()]
            first = len(self._index)
            self._index.update(zip(names, range(first, first + len(names)), strict=True))
            parts.append(windows.of(chosen))
        self._windows = Windows.joined(parts)

    def keys(self) -> Iterable[str]:
        """Keys that were not taken yet."""
        return self._index.keys()

    def take(self, keys: Sequence[str]) -> Windows:
        """Windows of these keys, empty where there are none."""
        pop = self._index.pop
        return self._windows.of(
            np.fromiter((pop(key, _NOT_THERE) for key in keys), np.int64, len(keys))
        )


def _told(
    keys: list[str], windows: tuple[Windows, Windows, Windows], stored: StoredCreators, idle: bool
) -> list[CreatorCounts]:
    follows, unfollows, comments = windows
    if idle:
        chosen = np.arange(len(keys))
    else:
        chosen = np.flatnonzero(follows.sizes + unfollows.sizes + comments.sizes)
    if len(chosen) < len(keys):
        keys = [keys[row] for row in chosen.tolist()]
        windows = (follows.of(chosen), unfollows.of(chosen), comments.of(chosen))
    columns: list[list[Any]] = [part.totals.tolist() for part in windows]
    columns += [part.lists() for part in windows]
    return [
        CreatorCounts(
            creator_id=key,
            follows_24h=follows_24h,
            unfollows_24h=unfollows_24h,
            comments_24h=comments_24h,
            as_of_ms=stored.as_of_ms,
            buckets=buckets,
            unfollow_buckets=unfollow_buckets,
            comment_buckets=comment_buckets,
        )
        for (
            key, follows_24h, unfollows_24h, comments_24h,
            buckets, unfollow_buckets, comment_buckets,
        ) in zip(keys, *columns, strict=True)
    ]  # fmt: skip


def _in_parts(keys: Iterable[str]) -> Iterator[list[str]]:
    names = list(keys)
    for first in range(0, len(names), _REST_KEYS):
        yield names[first : first + _REST_KEYS]


def post_of(post_id: str, stored: tuple[bytes, bool], langs: Batch, as_of_ms: int) -> PostCounts:
    """Counts of one post: its value and whether it is watched, its languages' values."""
    value, watched = stored
    oldest = oldest_bucket_of(bucket_of(as_of_ms))
    windows = windows_of([value], watched=watched, oldest_bucket=oldest)
    totals = windows_of(langs.values, watched=False, oldest_bucket=oldest).totals.tolist()
    by_lang = [(lang, total) for lang, total in zip(langs.keys, totals, strict=True) if total]
    return PostCounts(
        post_id=post_id,
        comments_24h=int(windows.totals[0]),
        as_of_ms=as_of_ms,
        langs=dict(sorted(by_lang, key=lambda one: (-one[1], one[0]))),
        comment_buckets=windows.lists()[0],
    )


def sum_of_creator(parts: Sequence[CreatorCounts]) -> CreatorCounts:
    """Counts of a creator whose records are in several partitions, in the last 24 hours of all."""
    as_of_ms = max(part.as_of_ms for part in parts)
    follows = _sum_of_buckets([part.buckets for part in parts], as_of_ms)
    unfollows = _sum_of_buckets([part.unfollow_buckets for part in parts], as_of_ms)
    comments = _sum_of_buckets([part.comment_buckets for part in parts], as_of_ms)
    return CreatorCounts(
        creator_id=parts[0].creator_id,
        follows_24h=sum(count for _, count in follows),
        unfollows_24h=sum(count for _, count in unfollows),
        comments_24h=sum(count for _, count in comments),
        as_of_ms=as_of_ms,
        buckets=follows,
        unfollow_buckets=unfollows,
        comment_buckets=comments,
    )


def sum_of_post(parts: Sequence[PostCounts]) -> PostCounts:
    """Counts of a post whose records are in several partitions; languages of each one's day."""
    as_of_ms = max(part.as_of_ms for part in parts)
    comments = _sum_of_buckets([part.comment_buckets for part in parts], as_of_ms)
    langs: dict[str, int] = {}
    for part in parts:
        for lang, count in part.langs.items():
            langs[lang] = langs.get(lang, 0) + count
    return PostCounts(
        post_id=parts[0].post_id,
        comments_24h=sum(count for _, count in comments),
        as_of_ms=as_of_ms,
        langs=dict(sorted(langs.items(), key=lambda one: (-one[1], one[0]))),
        comment_buckets=comments,
    )


def _sum_of_buckets(parts: Sequence[list[list[int]]], as_of_ms: int) -> list[list[int]]:
    oldest_ms = oldest_bucket_of(bucket_of(as_of_ms)) * BUCKET_MS
    totals: dict[int, int] = {}
    for start_ms, count in (row for part in parts for row in part):
        if start_ms >= oldest_ms:
            totals[start_ms] = totals.get(start_ms, 0) + count
    return [[start_ms, count] for start_ms, count in sorted(totals.items())]


def shown(text: str) -> str:
    r"""Text that cannot move a terminal's cursor or forge a line: odd characters are escaped.

    >>> shown("c-1\x1b[2J")
    'c-1\\x1b[2J'
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
