"""The whole job for one partition of one topic, with no server in sight.

A chunk goes in; surges come out, and from time to time the changed state is drained to be
stored. The worker, the back-test and the tests all run this object, so a surge in a back-test is
the surge that the worker announces.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from streams.core.buckets import BUCKET_MS, WINDOW_BUCKETS
from streams.core.events import CommentChunk, FollowChunk
from streams.core.languages import Languages
from streams.core.packing import PackedSeries, StoredSeries
from streams.core.runs import Ints, Stretch
from streams.core.surges import OpenSurge, Surge
from streams.core.table import Table
from streams.core.tally import Tally
from streams.core.watch import Happening, Watch


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a chunk: records counted, records too late to count, surges in order."""

    counted: int
    late: int
    surges: list[Surge]


@dataclass(frozen=True, slots=True)
class StateChange:
    """State that changed since the last drain. ``surges``: name to content, None to delete."""

    watermark_ms: int
    series: list[PackedSeries]
    surges: dict[str, bytes | None]

    @property
    def keys(self) -> int:
        """How many keys changed."""
        return sum(len(series.keys) for series in self.series)


@dataclass(frozen=True, slots=True)
class StoredState:
    """A partition's state as it stands in the store."""

    watermark_ms: int = -1
    series: dict[str, StoredSeries] = field(default_factory=dict)
    surges: dict[str, bytes] = field(default_factory=dict)


class _Rows(NamedTuple):
    """Rows of a chunk that count while the watermark stands in bucket ``water``."""

    indexes: Ints
    buckets: Ints
    at_ms: Ints
    seen_ms: Ints
    water: int

    def of(self, chosen: NDArray[np.bool_]) -> "_Rows":
        """Only the chosen rows."""
        indexes, buckets, at_ms, seen_ms, water = self
        return _Rows(indexes[chosen], buckets[chosen], at_ms[chosen], seen_ms[chosen], water)


_Count = Callable[[_Rows], list[Happening]]


class Partition:
    """Base of the two jobs: watermark, stretches, drain and restore."""

    def __init__(self, watches: Sequence[Watch], tallies: Sequence[Tally]) -> None:
        self.watermark_ms = -1
        self._water = -1
        self._watches = {watch.name: watch for watch in watches}
        self._tallies = {tally.name: tally for tally in tallies}

    @property
    def creators_known(self) -> int:
        """Creators in memory."""
        return len(next(iter(self._watches.values())).keys)

    @property
    def keys_known(self) -> int:
        """Keys of all series in memory."""
        watches = sum(len(watch.keys) for watch in self._watches.values())
        return watches + sum(len(tally.keys) for tally in self._tallies.values())

    def drain(self) -> StateChange:
        """Give the state that changed since the last call, packed; nothing is kept as changed."""
        series: list[PackedSeries] = []
        surges: dict[str, bytes | None] = {}
        for table in (*self._watches.values(), *self._tallies.values()):
            slots = table.drain_slots()
            if len(slots):
                series += table.packed(slots)
        for name, watch in self._watches.items():
            for key, surge in watch.drain_surges().items():
                surges[f"{name}|{key}"] = None if surge is None else msgspec.json.encode(surge)
        return StateChange(self.watermark_ms, series, surges)

    def restore(self, stored: StoredState) -> None:
        """Take up stored state. Needs a new partition. Raises LayoutUnknown."""
        self.watermark_ms = stored.watermark_ms
        self._water = stored.watermark_ms // BUCKET_MS
        for table in (*self._watches.values(), *self._tallies.values()):
            if table.name in stored.series:
                table.restore(stored.series)
        for name, content in sorted(stored.surges.items()):
            watch_name, _, _ = name.partition("|")
            surge = msgspec.json.decode(content, type=OpenSurge)
            self._watches[watch_name].restore_surge(surge)

    def _walk(self, at_ms: Ints, count: _Count) -> Outcome:
        """Move the watermark over the records and have each stretch counted by ``count``."""
        if not len(at_ms):
            return Outcome(0, 0, [])
        seen_ms = np.maximum(np.maximum.accumulate(at_ms), self.watermark_ms)
        buckets, water = at_ms // BUCKET_MS, seen_ms // BUCKET_MS
        late = buckets <= water - WINDOW_BUCKETS
        begins = np.flatnonzero(np.diff(water, prepend=water[0] - 1)).tolist()
        happenings: list[Happening] = []
        for begin, end in zip(begins, [*begins[1:], len(at_ms)], strict=True):
            bucket = int(water[begin])
            if bucket > self._water:
                happenings += self._advance(bucket, begin)
            rows = np.flatnonzero(~late[begin:end]) + begin
            happenings += count(_Rows(rows, buckets[rows], at_ms[rows], seen_ms[rows], bucket))
            self.watermark_ms = int(seen_ms[end - 1])
        happenings.sort(key=lambda one: (one.row, one.surge.surge_id, one.surge.revision))
        lates = int(late.sum())
        return Outcome(len(at_ms) - lates, lates, [one.surge for one in happenings])

    def _advance(self, water: int, row: int) -> list[Happening]:
        self._water = water
        ended: list[Happening] = []
        for watch in self._watches.values():
            ended += watch.advance(water, row)
        return ended


class FollowPartition(Partition):
    """The job for a partition of the follows topic: followers watched, unfollows counted."""

    def __init__(self, followers: Watch) -> None:
        self._followers = followers
        self._unfollows = Tally("unfollows")
        super().__init__([followers], [self._unfollows])

    def take(self, chunk: FollowChunk) -> Outcome:
        """Count a chunk and tell the surges that came of it."""
        unfollows = chunk.unfollows if chunk.unfollows.any() else None

        ids = chunk.creator_ids

        def count(rows: _Rows) -> list[Happening]:
            if unfollows is not None:
                gone = unfollows[rows.indexes]
                self._unfollows.count(_stretch(self._unfollows, ids, rows.of(gone), ids))
                rows = rows.of(~gone)
            return self._followers.count(_stretch(self._followers, ids, rows, ids))

        return self._walk(chunk.at_ms, count)


class CommentPartition(Partition):
    """The job for a partition of the comments topic: creators and posts watched, languages."""

    def __init__(self, creators: Watch, posts: Watch) -> None:
        self._creators, self._posts = creators, posts
        self._languages = Languages()
        super().__init__([creators, posts], [self._languages.posts, self._languages.creators])

    def take(self, chunk: CommentChunk) -> Outcome:
        """Count a chunk and tell the surges that came of it."""
        ids, langs = chunk.creator_ids, self._languages
        pairs = (
            (langs.posts, langs.posts.pairs_of(chunk.post_ids, chunk.langs)),
            (langs.creators, langs.creators.pairs_of(ids, chunk.langs)),
        )

        def count(rows: _Rows) -> list[Happening]:
            told = self._creators.count(_stretch(self._creators, ids, rows, ids))
            posts = self._posts.count(_stretch(self._posts, chunk.post_ids, rows, ids))
            told += [_described(self._languages, one, chunk, rows) for one in posts]
            for tally, keys in pairs:
                tally.count(_stretch(tally, keys, rows, ids))
            return told

        return self._walk(chunk.at_ms, count)

    def _advance(self, water: int, row: int) -> list[Happening]:
        return [
            one
            if one.surge.post_id is None
            else one._replace(surge=self._languages.describe(one.surge))
            for one in super()._advance(water, row)
        ]


def _stretch(table: Table, keys: Sequence[str], rows: _Rows, creator_ids: Sequence[str]) -> Stretch:
    """Lay out rows of a chunk for one table; ``keys`` are the whole chunk's in that table."""
    indexes = rows.indexes
    if len(indexes) and int(indexes[-1]) - int(indexes[0]) == len(indexes) - 1:
        mine = keys[int(indexes[0]) : int(indexes[-1]) + 1]
    else:
        mine = [keys[index] for index in indexes.tolist()]
    return Stretch(
        slots=table.slots_of(mine),
        buckets=rows.buckets,
        at_ms=rows.at_ms,
        seen_ms=rows.seen_ms,
        indexes=indexes,
        creator_ids=creator_ids,
        water=rows.water,
    )


def _described(languages: Languages, one: Happening, chunk: CommentChunk, rows: _Rows) -> Happening:
    """Say a post's languages as of the record that told its surge."""
    on_post: list[str] = []
    on_others: list[str] = []
    for index in rows.indexes[rows.indexes <= one.row].tolist():
        if chunk.creator_ids[index] == one.surge.creator_id:
            same = chunk.post_ids[index] == one.surge.post_id
            (on_post if same else on_others).append(chunk.langs[index])
    return one._replace(surge=languages.describe(one.surge, on_post, on_others))
