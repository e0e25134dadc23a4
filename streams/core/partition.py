"""The whole job for one partition of one topic, with no server in sight.

A chunk goes in; surges come out, and from time to time the changed state is drained to be
stored. The worker, the back-test and the tests all run this object, so a surge in a back-test is
the surge that the worker announces.
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from streams.core.counting.let_go import let_go_of
from streams.core.counting.packing import PackedSeries, StoredSeries
from streams.core.counting.table import Table
from streams.core.counting.tally import Tally
from streams.core.detection.cohorts import COHORTS_NAME, Cohorts
from streams.core.mixes.languages import Languages
from streams.core.mixes.shift import MixPolicy
from streams.core.mixes.watches import Mixes
from streams.core.partition_state import Outcome, StateChange, StoredState
from streams.core.records.chunk_rows import taken
from streams.core.records.chunks import CommentChunk, FollowChunk
from streams.core.records.comers import comers_of
from streams.core.records.hold import Hold, LatenessPolicy, Ready, Standing
from streams.core.records.repeats import Moment, RepeatPolicy, Repeats
from streams.core.records.rows import Rows, count_of, nothing_left, parts_of, slots_of_rows
from streams.core.records.texts import Ints, Texts
from streams.core.surges.stored import drained_surges, restore_surges
from streams.core.surges.surge import Happening
from streams.core.surges.watch import Watch, in_order
from streams.core.time.agreed_clock import AgreedClock
from streams.core.time.buckets import BUCKET_MS, WINDOW_BUCKETS, oldest_bucket_of

_Count = Callable[[Rows], list[Happening]]
_Begin = Callable[[Rows], _Count]
"""Takes the rows of a part of a chunk, between which nothing changes that keys share."""
_Prepare = Callable[[Ints], _Begin]
"""Takes the indexes of all rows of a chunk that count, once: keys are looked up together."""


class Partition:
    """Base of the two jobs: watermark, stretches, drain and restore.

    ``standing`` is that of what was counted; None where nothing is held back. ``tables``: of all
    series; ``watches`` and ``mixes`` are of those that tell surges.
    """

    def __init__(
        self,
        watches: Sequence[Watch],
        tallies: Sequence[Tally],
        repeats: RepeatPolicy | None,
        lateness: LatenessPolicy | None,
    ) -> None:
        self.watermark_ms = -1
        self.repeats = None if repeats is None else Repeats(repeats)
        self.hold = None if lateness is None else Hold(lateness)
        self.standing = None if self.hold is None else self.hold.standing
        self.clock = AgreedClock()
        self._water = -1
        self.watches = {watch.name: watch for watch in watches}
        self._tallies = {tally.name: tally for tally in tallies}
        self.tables: tuple[Table, ...] = (*watches, *tallies)
        self.mixes: Mixes | None = None
        self.cohorts = Cohorts()
        self.waves = [watch.waves for watch in watches if watch.waves is not None]
        for waves in self.waves:
            waves.name_by(self.cohorts)

    @property
    def creators_known(self) -> int:
        """Creators in memory."""
        return len(next(iter(self.watches.values())).keys)

    @property
    def read_ms(self) -> int:
        """The watermark of what was read, held records included."""
        return self.watermark_ms if self.standing is None else self.standing.read_ms

    @property
    def moment(self) -> Moment:
        """Where the partition stands."""
        return Moment(self.read_ms, self.clock.state)

    @property
    def keys_known(self) -> int:
        """Keys of all series in memory."""
        return sum(len(table.keys) for table in self.tables)

    @property
    def watched(self) -> tuple[str, ...]:
        """Series that may be left out of memory."""
        return tuple(self.watches)

    def take_forgotten(self) -> int:
        """Closed surges that were forgotten for want of room since the last call."""
        return sum(watch.take_forgotten() for watch in self.watches.values())

    def drain(self) -> StateChange:
        """Give the state that changed since the last call, packed; nothing is kept as changed."""
        series: list[PackedSeries] = []
        for table in self.tables:
            slots = table.drain_slots()
            if len(slots):
                series += table.packed(slots)
            series += table.packed_shared()
        surges = drained_surges(self.watches, self.mixes) | self.cohorts.drain()
        return StateChange(self.watermark_ms, series, surges, self.standing)

    def restore(self, stored: StoredState) -> None:
        """Take up stored state. Needs a new partition. Raises LayoutUnknown."""
        self.watermark_ms = stored.watermark_ms
        self._water = stored.watermark_ms // BUCKET_MS
        self._stand(stored.standing or Standing(stored.watermark_ms, stored.watermark_ms))
        for table in self.tables:
            if table.name in stored.series:
                table.restore(stored.series)
            if table.name in stored.left_out:
                table.leave_out(*stored.left_out[table.name])
            table.restore_shared(stored.series)
        surges = dict(stored.surges)
        self.cohorts.restore(surges.pop(COHORTS_NAME, None))
        restore_surges(surges, self.watches, self.mixes)

    def _stand(self, standing: Standing) -> None:
        if self.hold is None and standing.frontier_ms < standing.read_ms:
            self.hold = Hold(LatenessPolicy(0, 0))  # held by a worker that was to wait
        if self.hold is not None:
            self.hold.standing = self.standing = standing

    def take(self, chunk: Any) -> Outcome:
        """Take a chunk, count what is ready of it and tell the surges that came of it."""
        return self.count(self.ready(chunk))

    def take_held(self) -> Outcome:
        """Count what is still held: no more records come."""
        ready = self.ready_held()
        return Outcome(0, 0, []) if ready is None else self.count(ready)

    def ready(self, chunk: Any) -> Ready:
        """Take a chunk; what is to be counted now, which the caller must `count`."""
        if self.hold is None and self.repeats is None:
            return Ready(chunk)
        floor_ms = self._floor_ms
        floors_ms = self._floors_of(chunk.at_ms)
        if self.hold is None:
            return Ready(chunk, np.maximum(chunk.at_ms, floors_ms), None, floor_ms)
        return self.hold.take(chunk, floors_ms)._replace(floor_ms=floor_ms)

    def ready_held(self) -> Ready | None:
        """All that is held, to be counted now; None: nothing."""
        return None if not self.hold else self.hold.take_all()._replace(floor_ms=self._floor_ms)

    @property
    def _floor_ms(self) -> int:
        """No event id comes before it any more."""
        return self.clock.state.ms - (0 if self.hold is None else self.hold.allowed_ms)

    def _floors_of(self, at_ms: Ints) -> Ints:
        """Move the clock over records; the times before which each one's event id cannot come."""
        allowed_ms = 0 if self.hold is None else self.hold.allowed_ms
        return self.clock.take(at_ms) - allowed_ms

    def count(self, ready: Ready) -> Outcome:
        """Count what is ready, and tell the surges that came of it."""
        outcome = self._count(ready)
        if ready.standing is not None:
            self.standing = ready.standing
        return outcome

    def _count(self, ready: Ready) -> Outcome:
        raise NotImplementedError

    def left_out_of(self, chunk: Any) -> dict[str, list[tuple[int, bytes]]]:
        """Keys of a chunk that are not in memory, but that the store may hold, by series.

        Each with its group. `admit` what the store holds of them before the chunk is taken.
        """
        found = {table.name: table.left_out(keys) for table, keys in self._keys_of(chunk)}
        return {name: keys for name, keys in found.items() if keys}

    def admit(self, series: Mapping[str, StoredSeries]) -> None:
        """Take up keys that were left out or let go, as the store holds them."""
        for table in self.tables:
            if table.name in series:
                table.restore(series)

    def let_go(self, keys_max: int) -> int:
        """See `let_go_of`."""
        watches, tallies = [*self.watches.values()], [*self._tallies.values()]
        return let_go_of(watches, tallies, keys_max, oldest_bucket_of(self._water))

    def _keys_of(self, chunk: Any) -> list[tuple[Table, Texts]]:
        """Tables and the keys that a chunk has in them."""
        raise NotImplementedError

    def relearn(self, chunk: FollowChunk | CommentChunk, watermark_ms: int) -> int:
        """Take up the records that were read before; the watermark after them.

        ``watermark_ms`` is what it was before the first of them. Of what was counted the event
        ids are learnt; the others are held again. A record later than the restored watermark was
        in the future when it came, and dead.
        """
        frontier_ms = self.watermark_ms if self.standing is None else self.standing.frontier_ms
        was_read = chunk.at_ms <= self.read_ms
        if not was_read.any():
            return watermark_ms
        at_ms = chunk.at_ms[was_read]
        floor_ms, floors_ms = self._floor_ms, self._floors_of(at_ms)
        if self.hold is not None:
            self.hold.put(taken(chunk, was_read & (chunk.at_ms > frontier_ms)))
        counted = at_ms <= frontier_ms
        if self.repeats is not None and chunk.event_ids is not None and counted.any():
            came_ms = np.maximum(at_ms, floors_ms)[:, counted]
            self.repeats.take(chunk.event_ids.take(was_read).take(counted), came_ms, floor_ms)
        return max(watermark_ms, int(at_ms.max()))

    def _walk(self, ready: Ready, prepare: _Prepare) -> Outcome:
        """Move the watermark over the records and have each stretch counted."""
        chunk, ids_ms, _, floor_ms = ready
        at_ms = chunk.at_ms
        if not len(at_ms):
            return Outcome(0, 0, [])
        seen_ms = np.maximum(np.maximum.accumulate(at_ms), self.watermark_ms)
        buckets, water = at_ms // BUCKET_MS, seen_ms // BUCKET_MS
        late = buckets <= water - WINDOW_BUCKETS
        lates, repeated = int(np.count_nonzero(late)), 0
        left_out, some_left_out = late, lates > 0
        if self.repeats is not None and chunk.event_ids is not None and ids_ms is not None:
            # of records that are held back some still come with earlier times
            next_floor_ms = self._floor_ms if self.hold is None else floor_ms
            again = self.repeats.take(chunk.event_ids, ids_ms, floor_ms, next_floor_ms)
            again &= ~late
            if repeated := int(np.count_nonzero(again)):
                left_out, some_left_out = late | again, True
        told = chunk.audiences
        if told is not None and not told.any():
            told = None  # nobody votes
        comers = None if told is None else comers_of(self.cohorts.numbers_of(told), chunk.accounts)
        rows = Rows(np.arange(len(at_ms)), buckets, at_ms, seen_ms, -1, comers)
        bounds = [0, *((water[1:] != water[:-1]).nonzero()[0] + 1).tolist(), len(at_ms)]
        happenings: list[Happening] = []
        begin_part = prepare((~left_out).nonzero()[0] if some_left_out else rows.indexes)
        for part in parts_of([*self.watches.values()], water, bounds):
            count = begin_part(
                rows.of(part).of(~left_out[part]) if some_left_out else rows.of(part)
            )
            steps = [row for row in bounds if part.start <= row <= part.stop]
            if count is nothing_left and self._is_idle:
                steps = steps[-2:]  # no step on the way tells anything
            for begin, end in pairwise(steps):
                bucket = int(water[begin])
                if bucket > self._water:
                    happenings += self._advance(bucket, begin)
                here = rows.of(slice(begin, end))._replace(water=bucket)
                happenings += count(here.of(~left_out[begin:end]) if some_left_out else here)
                self.watermark_ms = int(seen_ms[end - 1])
            for watch in self.watches.values():
                watch.keep_ahead()
        counted, surges = len(at_ms) - lates - repeated, in_order(happenings)
        reports = [one for waves in self.waves for one in waves.take_reports()]
        return Outcome(counted, lates, surges, repeated, reports)

    @property
    def _is_idle(self) -> bool:
        return self.mixes is None and all(watch.is_idle for watch in self.watches.values())

    def _advance(self, water: int, row: int) -> list[Happening]:
        closed, self._water = self._water, water
        ended: list[Happening] = []
        for watch in self.watches.values():
            ended += watch.advance(water, row)
        if self.mixes is not None:
            ended += self.mixes.advance(closed, water, row)
        return ended


class FollowPartition(Partition):
    """The job for a partition of the follows topic: followers watched, unfollows counted."""

    def __init__(
        self,
        followers: Watch,
        repeats: RepeatPolicy | None = None,
        lateness: LatenessPolicy | None = None,
    ) -> None:
        self._followers = followers
        self._unfollows = Tally("unfollows")
        super().__init__([followers], [self._unfollows], repeats, lateness)

    def _count(self, ready: Ready) -> Outcome:
        chunk: FollowChunk = ready.chunk
        ids, gone = chunk.creator_ids, chunk.unfollows
        tables = (self._followers, self._unfollows)

        def prepare(kept: Ints) -> _Begin:
            if not gone.any():
                slots = slots_of_rows(self._followers, ids, kept)
                return lambda rows: count_of(self._followers, slots, ids, rows)
            parts = (kept[~gone[kept]], kept[gone[kept]])
            columns = [slots_of_rows(of, ids, part) for of, part in zip(tables, parts, strict=True)]

            def begin(rows: Rows) -> _Count:
                follow = count_of(self._followers, columns[0], ids, rows.of(~gone[rows.indexes]))

                def count(rows: Rows) -> list[Happening]:
                    left = gone[rows.indexes]
                    self._unfollows.count(rows.of(left).stretch(columns[1], ids))
                    return follow(rows.of(~left))

                return count

            return begin

        return self._walk(ready, prepare)

    def _keys_of(self, chunk: FollowChunk) -> list[tuple[Table, Texts]]:
        gone = chunk.unfollows
        if not gone.any():
            return [(self._followers, chunk.creator_ids)]
        ids = chunk.creator_ids
        return [(self._followers, ids.take(~gone)), (self._unfollows, ids.take(gone))]


class CommentPartition(Partition):
    """The job for a partition of the comments topic: creators and posts watched, languages."""

    def __init__(
        self,
        creators: Watch,
        posts: Watch,
        repeats: RepeatPolicy | None = None,
        lateness: LatenessPolicy | None = None,
    ) -> None:
        self._creators, self._posts = creators, posts
        self._languages = Languages()
        posts.describe_by(self._languages.describe)
        tallies = [self._languages.posts, self._languages.creators]
        super().__init__([creators, posts], tallies, repeats, lateness)
        policy = MixPolicy(creators.policy.false_alarm_rate)
        self.mixes: Mixes = Mixes(policy, self._languages)

    def _count(self, ready: Ready) -> Outcome:
        chunk: CommentChunk = ready.chunk
        ids = chunk.creator_ids

        def prepare(kept: Ints) -> _Begin:
            creators = slots_of_rows(self._creators, ids, kept)
            posts = slots_of_rows(self._posts, chunk.post_ids, kept)
            of_languages = (self._languages.posts, chunk.post_ids), (self._languages.creators, ids)
            columns = [
                (tally, slots_of_rows(tally, tally.pairs_of(keys, chunk.langs), kept))
                for tally, keys in of_languages
            ]

            def begin(rows: Rows) -> _Count:
                count_creators = count_of(self._creators, creators, ids, rows)
                count_posts = count_of(self._posts, posts, ids, rows)

                def count(rows: Rows) -> list[Happening]:
                    told = count_creators(rows)
                    for one in count_posts(rows):
                        told.append(self._described(one, chunk, (creators, posts), rows.indexes))
                    stretches = [rows.stretch(slots, ids) for _, slots in columns]
                    told += self.mixes.look(stretches)
                    for (tally, _), stretch in zip(columns, stretches, strict=True):
                        tally.count(stretch)
                    return told

                return count

            return begin

        return self._walk(ready, prepare)

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
