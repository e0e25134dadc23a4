"""The whole job for one partition of one topic, with no server in sight.

A chunk goes in; surges come out, and from time to time the changed state is drained to be
stored. The worker, the back-test and the tests all run this object, so a surge in a back-test is
the surge that the worker announces.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from streams.core.buckets import BUCKET_MS, WINDOW_BUCKETS, oldest_bucket_of
from streams.core.events import CommentChunk, FollowChunk
from streams.core.languages import Languages
from streams.core.packing import PackedSeries, StoredSeries
from streams.core.repeats import RepeatPolicy, Repeats
from streams.core.runs import Stretch
from streams.core.surges import Happening, OpenSurge, Surge
from streams.core.table import Table
from streams.core.tally import Tally
from streams.core.texts import Ints, Texts
from streams.core.watch import Watch, in_order

_ENCODER: Final = msgspec.json.Encoder()


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a chunk: records counted, too late to count, repeated; surges in order."""

    counted: int
    late: int
    surges: list[Surge]
    repeated: int = 0


@dataclass(frozen=True, slots=True)
class StateChange:
    """State that changed since the last drain. ``surges``: name to content, None to delete."""

    watermark_ms: int
    series: list[PackedSeries]
    surges: dict[str, bytes | None]

    @property
    def keys(self) -> int:
        """How many keys changed."""
        return sum(len(series.names) for series in self.series)


class LeftOut(NamedTuple):
    """Keys of one series that the store holds, without their values; the group of each."""

    names: Texts
    groups: list[int]


@dataclass(frozen=True, slots=True)
class StoredState:
    """A partition's state as it stands in the store.

    ``left_out``: keys that are read when they are met, by series; some may be in ``series`` too.
    """

    watermark_ms: int = -1
    series: dict[str, StoredSeries] = field(default_factory=dict)
    surges: dict[str, bytes] = field(default_factory=dict)
    left_out: dict[str, LeftOut] = field(default_factory=dict)


class _Rows(NamedTuple):
    """Rows of a chunk that count while the watermark stands in bucket ``water``."""

    indexes: Ints
    buckets: Ints
    at_ms: Ints
    seen_ms: Ints
    water: int

    def of(self, chosen: NDArray[np.bool_] | slice) -> "_Rows":
        """Only the chosen rows."""
        indexes, buckets, at_ms, seen_ms, water = self
        return _Rows(indexes[chosen], buckets[chosen], at_ms[chosen], seen_ms[chosen], water)

    def stretch(self, slots: Ints, creator_ids: Texts) -> Stretch:
        """These rows for one table; ``slots`` are those of the whole chunk in it."""
        indexes, buckets, at_ms, seen_ms, water = self
        return Stretch(slots[indexes], buckets, at_ms, seen_ms, indexes, creator_ids, water)


_Count = Callable[[_Rows], list[Happening]]
_Prepare = Callable[[_Rows], _Count]
"""Takes the rows of a chunk that are not late, once, and gives what counts a stretch of them."""


class Partition:
    """Base of the two jobs: watermark, stretches, drain and restore."""

    def __init__(
        self, watches: Sequence[Watch], tallies: Sequence[Tally], repeats: RepeatPolicy | None
    ) -> None:
        self.watermark_ms = -1
        self.repeats = None if repeats is None else Repeats(repeats)
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

    @property
    def watched(self) -> tuple[str, ...]:
        """Series that may be left out of memory."""
        return tuple(self._watches)

    def drain(self) -> StateChange:
        """Give the state that changed since the last call, packed; nothing is kept as changed."""
        series: list[PackedSeries] = []
        surges: dict[str, bytes | None] = {}
        for table in (*self._watches.values(), *self._tallies.values()):
            slots = table.drain_slots()
            if len(slots):
                series += table.packed(slots)
        for name, watch in self._watches.items():
            drained = watch.drain_surges()
            kept = [(key, surge) for key, surge in drained.items() if surge is not None]
            lines = _ENCODER.encode_lines([surge for _, surge in kept]).split(b"\n")
            surges |= dict.fromkeys([f"{name}|{key}" for key in drained])
            surges |= zip([f"{name}|{key}" for key, _ in kept], lines, strict=False)
        return StateChange(self.watermark_ms, series, surges)

    def restore(self, stored: StoredState) -> None:
        """Take up stored state. Needs a new partition. Raises LayoutUnknown."""
        self.watermark_ms = stored.watermark_ms
        self._water = stored.watermark_ms // BUCKET_MS
        for table in (*self._watches.values(), *self._tallies.values()):
            if table.name in stored.series:
                table.restore(stored.series)
            if table.name in stored.left_out:
                table.leave_out(*stored.left_out[table.name])
        surges: dict[str, list[OpenSurge]] = {name: [] for name in self._watches}
        for name, content in sorted(stored.surges.items()):
            watch_name, _, _ = name.partition("|")
            surges[watch_name].append(msgspec.json.decode(content, type=OpenSurge))
        for watch_name, watch in self._watches.items():
            watch.restore_surges(surges[watch_name])

    def left_out_of(self, chunk: Any) -> dict[str, list[tuple[int, bytes]]]:
        """Keys of a chunk that are not in memory, but that the store may hold, by series.

        Each with its group. `admit` what the store holds of them before the chunk is taken.
        """
        found = {table.name: table.left_out(keys) for table, keys in self._keys_of(chunk)}
        return {name: keys for name, keys in found.items() if keys}

    def admit(self, series: Mapping[str, StoredSeries]) -> None:
        """Take up keys that were left out or let go, as the store holds them."""
        for table in (*self._watches.values(), *self._tallies.values()):
            if table.name in series:
                table.restore(series)

    def let_go(self, keys_max: int) -> int:
        """Let go of the least recently met keys when there are more than so many; how many went.

        The store must hold all that has not changed since the last drain. A quarter more than
        need be is let go, so that it happens seldom.
        """
        if self.keys_known <= keys_max:
            return 0
        oldest, gone = oldest_bucket_of(self._water), 0
        for tally in self._tallies.values():
            gone += tally.let_go(0, oldest)
        watched = sum(len(watch.keys) for watch in self._watches.values())
        too_many = self.keys_known - keys_max * 3 // 4
        for watch in self._watches.values():
            share = too_many * len(watch.keys) // max(watched, 1)
            gone += watch.let_go(max(share, 0), oldest)
        return gone

    def _keys_of(self, chunk: Any) -> list[tuple[Table, Texts]]:
        """Tables and the keys that a chunk has in them."""
        raise NotImplementedError

    def relearn(self, chunk: FollowChunk | CommentChunk, watermark_ms: int) -> int:
        """Take up the event ids of records that were counted before; the watermark after them.

        ``watermark_ms`` is what it was before the first of them. A record later than the restored
        watermark was in the future when it came, and dead.
        """
        counted = chunk.at_ms <= self.watermark_ms
        if self.repeats is None or chunk.event_ids is None or not counted.any():
            return watermark_ms
        at_ms = chunk.at_ms[counted]
        seen_ms = np.maximum(np.maximum.accumulate(at_ms), watermark_ms)
        self.repeats.take(chunk.event_ids.take(counted), seen_ms)
        return int(seen_ms[-1])

    def _walk(self, chunk: FollowChunk | CommentChunk, prepare: _Prepare) -> Outcome:
        """Move the watermark over the records and have each stretch counted."""
        at_ms = chunk.at_ms
        if not len(at_ms):
            return Outcome(0, 0, [])
        seen_ms = np.maximum(np.maximum.accumulate(at_ms), self.watermark_ms)
        buckets, water = at_ms // BUCKET_MS, seen_ms // BUCKET_MS
        late = buckets <= water - WINDOW_BUCKETS
        lates, repeated = int(np.count_nonzero(late)), 0
        left_out, some_left_out = late, lates > 0
        if self.repeats is not None and chunk.event_ids is not None:
            again = self.repeats.take(chunk.event_ids, seen_ms)
            again &= ~late
            if repeated := int(np.count_nonzero(again)):
                left_out, some_left_out = late | again, True
        rows = _Rows(np.arange(len(at_ms)), buckets, at_ms, seen_ms, -1)
        count = prepare(rows.of(~left_out) if some_left_out else rows)
        begins = [0, *((water[1:] != water[:-1]).nonzero()[0] + 1).tolist()]
        happenings: list[Happening] = []
        for begin, end in zip(begins, [*begins[1:], len(at_ms)], strict=True):
            bucket = int(water[begin])
            if bucket > self._water:
                happenings += self._advance(bucket, begin)
            here = rows.of(slice(begin, end))._replace(water=bucket)
            happenings += count(here.of(~left_out[begin:end]) if some_left_out else here)
            self.watermark_ms = int(seen_ms[end - 1])
        return Outcome(len(at_ms) - lates - repeated, lates, in_order(happenings), repeated)

    def _advance(self, water: int, row: int) -> list[Happening]:
        self._water = water
        ended: list[Happening] = []
        for watch in self._watches.values():
            ended += watch.advance(water, row)
        return ended


class FollowPartition(Partition):
    """The job for a partition of the follows topic: followers watched, unfollows counted."""

    def __init__(self, followers: Watch, repeats: RepeatPolicy | None = None) -> None:
        self._followers = followers
        self._unfollows = Tally("unfollows")
        super().__init__([followers], [self._unfollows], repeats)

    def take(self, chunk: FollowChunk) -> Outcome:
        """Count a chunk and tell the surges that came of it."""
        ids, gone = chunk.creator_ids, chunk.unfollows
        tables = (self._followers, self._unfollows)

        def prepare(rows: _Rows) -> _Count:
            kept = rows.indexes
            if not gone.any():
                slots = _slots_of(self._followers, ids, kept)
                return _count_of(self._followers, slots, ids, rows)
            parts = (kept[~gone[kept]], kept[gone[kept]])
            columns = [_slots_of(of, ids, part) for of, part in zip(tables, parts, strict=True)]
            follow = _count_of(self._followers, columns[0], ids, rows.of(~gone[kept]))

            def count(rows: _Rows) -> list[Happening]:
                left = gone[rows.indexes]
                self._unfollows.count(rows.of(left).stretch(columns[1], ids))
                return follow(rows.of(~left))

            return count

        return self._walk(chunk, prepare)

    def _keys_of(self, chunk: FollowChunk) -> list[tuple[Table, Texts]]:
        gone = chunk.unfollows
        if not gone.any():
            return [(self._followers, chunk.creator_ids)]
        ids = chunk.creator_ids
        return [(self._followers, ids.take(~gone)), (self._unfollows, ids.take(gone))]


class CommentPartition(Partition):
    """The job for a partition of the comments topic: creators and posts watched, languages."""

    def __init__(self, creators: Watch, posts: Watch, repeats: RepeatPolicy | None = None) -> None:
        self._creators, self._posts = creators, posts
        self._languages = Languages()
        posts.describe_by(self._languages.describe)
        tallies = [self._languages.posts, self._languages.creators]
        super().__init__([creators, posts], tallies, repeats)

    def take(self, chunk: CommentChunk) -> Outcome:
        """Count a chunk and tell the surges that came of it."""
        ids = chunk.creator_ids

        def prepare(rows: _Rows) -> _Count:
            kept = rows.indexes
            creators = _slots_of(self._creators, ids, kept)
            posts = _slots_of(self._posts, chunk.post_ids, kept)
            columns = [
                (tally, _slots_of(tally, tally.pairs_of(keys, chunk.langs), kept))
                for tally, keys in (
                    (self._languages.posts, chunk.post_ids),
                    (self._languages.creators, ids),
                )
            ]

            count_creators = _count_of(self._creators, creators, ids, rows)
            count_posts = _count_of(self._posts, posts, ids, rows)

            def count(rows: _Rows) -> list[Happening]:
                told = count_creators(rows)
                for one in count_posts(rows):
                    told.append(self._described(one, chunk, (creators, posts), rows.indexes))
                for tally, slots in columns:
                    tally.count(rows.stretch(slots, ids))
                return told

            return count

        return self._walk(chunk, prepare)

    def _keys_of(self, chunk: CommentChunk) -> list[tuple[Table, Texts]]:
        ids, posts, langs = chunk.creator_ids, chunk.post_ids, chunk.langs
        by_post, by_creator = self._languages.posts, self._languages.creators
        return [
            (self._creators, ids),
            (self._posts, posts),
            (by_post, by_post.pairs_of(posts, langs)),
            (by_creator, by_creator.pairs_of(ids, langs)),
        ]

    def _described(
        self, one: Happening, chunk: CommentChunk, columns: tuple[Ints, Ints], rows: Ints
    ) -> Happening:
        """Say a post's languages as of the record that told its surge."""
        creators, posts = columns
        row, surge = one
        before = rows[: int(np.searchsorted(rows, row, side="right"))]
        mine = before[creators[before] == creators[row]]
        here = posts[mine] == posts[row]
        on_post, on_others = (list(chunk.langs.take(mine[chosen])) for chosen in (here, ~here))
        return row, self._languages.describe(surge, on_post, on_others)


def _count_of(watch: Watch, slots: Ints, ids: Texts, rows: _Rows) -> _Count:
    """Count what a watch can count ahead of these rows, once, and give what counts the others."""
    counted = watch.count_ahead(slots[rows.indexes], rows.buckets, rows.seen_ms // BUCKET_MS)
    if counted is None:
        return lambda some: watch.count(some.stretch(slots, ids))
    left = np.zeros(len(slots), dtype=np.bool_)
    left[rows.indexes] = ~counted

    def count(some: _Rows) -> list[Happening]:
        here = left[some.indexes]
        return watch.count(some.of(here).stretch(slots, ids)) if here.any() else []

    return count


def _slots_of(table: Table, keys: Texts, rows: Ints) -> Ints:
    """Slots of these rows' keys in a column as long as the chunk; -1 in the other rows."""
    if len(rows) == len(keys):
        return table.slots_of(keys)
    column = np.full(len(keys), -1, dtype=np.int64)
    column[rows] = table.slots_of(keys.take(rows))
    return column
