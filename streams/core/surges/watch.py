"""Watches one series of keys: counts them, scores them, and lives through their surges.

A watch takes stretches: records between which the partition's watermark does not leave its
bucket. All it decides is a function of the records and their order, never of the chunks.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain
from operator import itemgetter
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from streams.core.counting.ahead import AheadCounter
from streams.core.counting.counts import NO_BUCKET, Ints
from streams.core.counting.marks import Marks
from streams.core.counting.packing import PackedSeries, StoredSeries, pack_bytes
from streams.core.counting.table import Table
from streams.core.detection.cohorts import Votes
from streams.core.detection.key_detector import KeyDetector
from streams.core.records.comers import Comers, cohorts_in
from streams.core.records.runs import Runs, Stretch, runs_of
from streams.core.records.texts import Texts
from streams.core.surges.life import SurgeLife, Watched
from streams.core.surges.look import Look, Run
from streams.core.surges.look_block import LookBlock
from streams.core.surges.pending import AT_ONCE_LIFT, Pending
from streams.core.surges.rules import NEVER
from streams.core.surges.surge import Happening, OpenSurge, Surge
from streams.core.surges.watch_policy import WatchPolicy
from streams.core.surges.watch_state import WATCH_STATE_DTYPE
from streams.core.time.buckets import oldest_bucket_of
from streams.core.waves.watch import WaveWatch

_TOGETHER_MIN: Final = 4
"""From so many runs on, one look at all of them costs less than a look at each."""


def in_order(happenings: list[Happening]) -> list[Surge]:
    """Surges by record; those of one record by id and revision."""
    rows = [row for row, _ in happenings]
    if len(set(rows)) == len(rows):
        happenings.sort(key=itemgetter(0))
    else:
        surges = [surge for _, surge in happenings]
        names = [surge.surge_id for surge in surges]
        revisions = [surge.revision for surge in surges]
        # of one id and revision there is one, so that no two surges are ever compared
        return [one[-1] for one in sorted(zip(rows, names, revisions, surges, strict=True))]
    return [surge for _, surge in happenings]


class Watch(Table):
    """Counts, detector and surges of one series (followers of creators, comments on posts, …)."""

    def __init__(self, policy: WatchPolicy, detector: KeyDetector[Any]) -> None:
        super().__init__(policy.name)
        self.policy = policy
        self.detector = detector
        self._marks = Marks(policy.rule.first_mark)
        self._votes = Votes()
        self._first: Comers = np.zeros(0, dtype=np.uint16)
        self._watched = Watched(policy, self.keys, self.counts, detector, self._marks, self._votes)
        self.life = SurgeLife(self._watched)
        self._pending = Pending(self._watched, self.life)
        waves = WaveWatch(policy.name, self.keys, self._votes)
        self.waves = waves if detector.lift_by(waves.factors) else None
        self._ahead = AheadCounter(self._watched, self.life, self._pending, self.waves)
        self._shared: dict[str, bytes] = {}

    def grow_columns(self, size: int) -> None:
        """Make room in the detector and the marks."""
        self._marks.grow(size)
        self._votes.grow(size)
        self._first = np.zeros(size, dtype=np.uint16)
        self.detector.grow(size)

    def packed(self, slots: Ints) -> list[PackedSeries]:
        """See Table. States of any length stand in a series of their own."""
        states = self.detector.state_of(slots)
        if isinstance(states, np.ndarray):
            both = np.empty(len(slots), dtype=WATCH_STATE_DTYPE)
            both["detector"], both["audience"] = states, self._votes.packed(slots)
            return [self.pack(slots, both)]
        names, groups = self.keys.names_of(slots), self.keys.groups_of(slots)
        return [self.pack(slots, None), pack_bytes(self._models, names, groups, states)]

    def restore(self, stored: Mapping[str, StoredSeries]) -> None:
        """See Table."""
        models = stored.get(self._models)
        slots, states = self.unpack(stored[self.name], None if models else WATCH_STATE_DTYPE)
        if states is not None:
            self.detector.restore(slots, states["detector"])
            self._votes.restore(slots, states["audience"])
        elif models is not None:
            self.detector.restore(self.keys.slots_of(models.names), models.values)

    def packed_shared(self) -> list[PackedSeries]:
        """See Table. A series with a key for each part."""
        parts = self.detector.shared_state()
        changed = {name: part for name, part in parts.items() if part != self._shared.get(name)}
        if not changed:
            return []
        self._shared = parts
        names, groups = Texts.of([*changed]), np.zeros(len(changed), dtype=np.int32)
        return [pack_bytes(self.shared_name, names, groups, [*changed.values()])]

    def restore_shared(self, stored: Mapping[str, StoredSeries]) -> None:
        """See Table."""
        series = stored.get(self.shared_name)
        if series is not None:
            names = [name.decode() for name in series.names.encoded()]
            self._shared = dict(zip(names, series.values, strict=True))
            self.detector.restore_shared(self._shared)

    def let_go(self, count: int, oldest: int) -> int:
        """See Table. A key that has a surge stays."""
        size = len(self.keys)
        stays = self._dirty[:size].copy()
        stays[[*self.life.book.slots(), *self._pending.slots]] = True
        if count >= size:
            return self._keep(np.flatnonzero(stays))
        stays[np.argpartition(self.counts.newest[:size], count)[count:]] = True
        return self._keep(np.flatnonzero(stays))

    def keep_columns(self, slots: Ints) -> bool:
        """See Table."""
        if self.waves is not None:
            self.waves.name_receivers()
        if not self.detector.keep(slots):
            return False
        self._marks.keep(slots)
        self._votes.keep(slots)
        mine = np.array([*self.life.book.slots(), *self._pending.slots], dtype=np.int64)
        moved = dict(zip(mine.tolist(), np.searchsorted(slots, mine).tolist(), strict=True))
        self.life.book.move(moved)
        self._pending.move(moved)
        return True

    @property
    def shared_name(self) -> str:
        """Series of what its keys share."""
        return f"{self.name}.shared"

    @property
    def _models(self) -> str:
        return f"{self.name}.models"

    def describe_by(self, describe: Callable[[Surge], Surge]) -> None:
        """Have surges that are told as the watermark moves described by what others know."""
        self.life.describe = describe

    def advance(self, water: int, row: int) -> list[Happening]:
        """Tell what waited, is over or was amended as record ``row`` moves the watermark there."""
        told: list[Surge] = []
        if self.waves is not None:
            waits, closed = self._waits, self.waves.bucket
            self.waves.advance(water)
            if self._ahead.is_ahead and self.waves.lasts:
                self.mark_changed(self._ahead.keep_before(water))
                self.waves.forget_from(water)
            if waits and closed is not None:
                told += self._pending.settle(closed, water)
        told += self.life.advance(water)
        return [(row, surge) for surge in told]

    @property
    def is_idle(self) -> bool:
        """Whether nothing is told as the watermark moves on, however far, if nothing comes."""
        return not (self.life.book or self._pending.slots)

    @property
    def is_ahead(self) -> bool:
        """Whether what `count_ahead` found need not be counted: no wave has begun since."""
        return self._ahead.is_ahead

    def count_ahead(
        self, slots: Ints, buckets: Ints, water: Ints, comers: Comers | None
    ) -> NDArray[np.bool_] | None:
        """Run ahead keys that tell nothing, before the watermark moves over these records.

        ``water`` is the watermark's bucket at each record, ``comers`` whose they are.
        Which need not be counted as long as `is_ahead`; None: none. `keep_ahead` comes after them.
        """
        return self._ahead.take(slots, buckets, water, comers)

    def keep_ahead(self) -> None:
        """Count what was run ahead, if anything."""
        if self._ahead.is_ahead:
            self.mark_changed(self._ahead.keep())

    def count(self, stretch: Stretch) -> list[Happening]:
        """Count a stretch and tell the surges that open or grow in it, in no set order."""
        happenings: list[Happening] = []
        for whole in runs_of(stretch):
            for runs in (whole,) if whole.in_open else self._pieces_of(whole):
                add = self._add_open if runs.in_open else self._add
                scored = add(runs, stretch)
                rows = self._candidates(runs, scored, stretch.water)
                if len(rows):
                    some = runs.placed(stretch).take(rows)
                    happenings += self._look_or_wait(some, scored[rows], stretch)
                if not runs.in_open:
                    self.life.take_late(runs, stretch.water)
        return happenings

    def drain_pending(self) -> dict[str, OpenSurge | None]:
        """Alarms that wait, changed since the last call, by name; None: forgotten."""
        return self._pending.drain()

    def restore_pending(self, surges: list[OpenSurge]) -> None:
        """Take up stored alarms that wait; their keys must have been restored."""
        self._pending.restore(surges)

    def take_forgotten(self) -> int:
        """Closed surges that were forgotten for want of room since the last call."""
        book = self.life.book
        forgotten, book.forgotten = book.forgotten, 0
        return forgotten

    def drain_surges(self) -> dict[str, OpenSurge | None]:
        """Surges changed since the last call, by name; None: forgotten."""
        return self.life.book.drain()

    def restore_surges(self, surges: Sequence[OpenSurge]) -> None:
        """Take up stored surges; their keys must have been restored."""
        self.life.restore(surges)

    def _pieces_of(self, runs: Runs) -> Iterator[Runs]:
        """Take a run of earlier records record by record where a mark may be reached in it.

        Each earlier record changes what the detector expects, so a surge told at the first of
        them must not know the others.
        """
        slots, buckets, added, order, begins = runs
        assert begins is not None, "only runs that are not all of the open bucket are cut"
        early = (self.counts.newest[slots] > buckets) & (added > 1)
        if early.any():
            marks = np.minimum(self._marks.rule[slots], self._marks.model[slots])
            early &= self.counts.total[slots] + added >= marks
        if not early.any():
            yield runs
            return
        yield runs.take(~early)
        one = np.ones(1, dtype=np.int64)
        for row in np.flatnonzero(early).tolist():
            for nth in range(int(added[row])):
                at = slice(row, row + 1)
                yield Runs(slots[at], buckets[at], one, order, begins[at] + nth)

    def _add(self, runs: Runs, stretch: Stretch) -> NDArray[np.float64]:
        """Count the runs; the score of each slot's newest bucket, 0 where the run was earlier."""
        slots, buckets, added = runs.slots, runs.buckets, runs.counts
        self.mark_changed(slots)
        newest = self.counts.newest[slots]
        same, newer = newest == buckets, newest < buckets
        if newer.any():
            self._begin(slots[newer], newest[newer], buckets[newer], added[newer])
            if stretch.comers is not None and runs.order is not None and runs.begins is not None:
                first = stretch.comers[stretch.indexes[runs.order[runs.begins[newer]]]]
                self._came(slots[newer], first, first[buckets[newer] == stretch.water], stretch)
        if same.any():
            self.counts.add_to_newest(slots[same], added[same])
        on_time = same | newer
        if on_time.all():
            return self._score(runs, stretch.water)
        for row in np.flatnonzero(~on_time).tolist():
            self.counts.add_earlier(int(slots[row]), int(buckets[row]), int(added[row]))
        late = ~on_time
        self.detector.amend(slots[late], buckets[late], newest[late].astype(np.int64), added[late])
        scores = np.zeros(len(slots))
        scores[on_time] = self._score(runs.take(on_time), stretch.water)
        return scores

    def _score(self, runs: Runs, water: int) -> NDArray[np.float64]:
        """Score runs of their slots' newest buckets; waves hear of those that are open."""
        slots, buckets = runs.slots, runs.buckets
        now = self.counts.newest_counts(slots)
        columns = self.detector.score(slots, now, opened=buckets)
        here = buckets == water
        if self.waves is not None and here.any():
            self.waves.count(water, runs.take(here), now[here], columns.only(here))
        return columns.score

    def _came(self, slots: Ints, comers: Comers, here: Comers, stretch: Stretch) -> None:
        """Count votes of who came first to slots; tell waves of those in the open bucket."""
        # in a wave a cohort must get what its keys' rates add up to: nobody changes hers
        is_calm = self.waves is None or not self.waves.lasts
        (self._votes.take if is_calm else self._votes.take_first)(slots, cohorts_in(comers))
        if self.waves is not None and len(here):
            self.waves.count_first(stretch.water, here)

    def _add_open(self, runs: Runs, stretch: Stretch) -> NDArray[np.float64]:
        """As `_add`, where every run is of the watermark's bucket: most are, so with few calls."""
        slots, buckets, added = runs.slots, runs.buckets, runs.counts
        counts, water = self.counts, stretch.water
        self.mark_changed(slots)
        newest = counts.newest[slots]
        older = newest != water
        rows = older.nonzero()[0]
        if len(rows) < len(slots):
            same = ~older
            counts.add_to_newest(slots[same], added[same])
        if len(rows):
            begun, opened = slots[rows], newest[rows].astype(np.int64)
            is_old = opened != NO_BUCKET
            known, fresh = begun[is_old], begun[~is_old]
            if len(fresh):
                self.detector.begin(fresh, water)
            if len(known):
                closed = counts.newest_counts(known)
                self.detector.advance(known, opened[is_old], closed, water)
            counts.begin_bucket(begun, buckets[rows], added[rows])
            if stretch.comers is not None:  # of several records of a slot the last one stays
                back = slice(None, None, -1)
                self._first[stretch.slots[back]] = stretch.comers[stretch.indexes[back]]
                first = self._first[begun]
                self._came(begun, first, first, stretch)
        now = counts.newest_counts(slots)
        columns = self.detector.score(slots, now, opened=water)
        if self.waves is not None:
            self.waves.count(water, runs, now, columns)
        return columns.score

    def _begin(self, slots: Ints, newest: NDArray[np.int32], buckets: Ints, added: Ints) -> None:
        fresh = newest == NO_BUCKET
        for bucket in np.unique(buckets).tolist():
            here = buckets == bucket
            new, old = slots[here & fresh], slots[here & ~fresh]
            if len(new):
                self.detector.begin(new, bucket)
            if len(old):
                opened = newest[here & ~fresh].astype(np.int64)
                self.detector.advance(old, opened, self.counts.newest_counts(old), bucket)
        self.counts.begin_bucket(slots, buckets, added)

    def _candidates(self, runs: Runs, scores: NDArray[np.float64], water: int) -> Ints:
        """Rows of runs in which something may be told; exact-safe, none is missed."""
        slots = runs.slots
        totals = self.counts.total[slots]
        marked = (totals >= self._marks.rule[slots]) | (totals >= self._marks.model[slots])
        alarmed = scores >= 1
        if alarmed.any():
            quiet = (self._marks.quiet_until[slots] > water) | (self._marks.model[slots] < NEVER)
            marked |= alarmed & ~quiet
            page = self.policy.page
            if page is not None:
                marked |= (scores >= page.bar) & ~self._marks.paged[slots]
        return np.flatnonzero(marked)

    @property
    def _waits(self) -> bool:
        """Whether alarms wait for the end of their bucket: enough happens for a wave."""
        return self.waves is not None and (self.waves.can_begin or self.waves.lasts)

    def _look_or_wait(
        self, runs: Runs, scores: NDArray[np.float64], stretch: Stretch
    ) -> Iterator[Happening]:
        """Tell what these runs open or let grow; what a wave may explain waits for its bucket."""
        if not self._waits:
            return self._look(runs, scores, stretch, 1.0)
        here = (runs.buckets == stretch.water) & (self.counts.newest[runs.slots] == stretch.water)
        open_runs, late_runs = runs.take(here), runs.take(~here)
        judged = self._pending.judged(open_runs, scores[here], stretch)
        return chain(
            self._look(open_runs, judged, stretch, AT_ONCE_LIFT),
            self._look(late_runs, scores[~here], stretch, 1.0),
        )

    def _look(
        self, runs: Runs, scores: NDArray[np.float64], stretch: Stretch, lift: float
    ) -> Iterator[Happening]:
        """Find the records of these runs at which surges open or grow, and tell them.

        ``scores`` are at this ``lift`` of the wave.
        """
        together = runs.buckets == self.counts.newest[runs.slots]
        if np.count_nonzero(together) < _TOGETHER_MIN:
            together[:] = False
        if together.any():
            some = runs.take(together)
            seat = self.life, self._watched
            yield from LookBlock(seat, stretch, some, scores[together], lift).told()
        for row in np.flatnonzero(~together).tolist():
            yield from self._look_at(runs, row, (float(scores[row]), lift), stretch)

    def _look_at(
        self, runs: Runs, row: int, scored: tuple[float, float], stretch: Stretch
    ) -> Iterator[Happening]:
        """`_look` at one run, with its score and at which lift that is."""
        assert runs.order is not None, "placed"
        assert runs.begins is not None, "placed"
        slot, added, begin = int(runs.slots[row]), int(runs.counts[row]), int(runs.begins[row])
        total = self.counts.total_since(slot, oldest_bucket_of(stretch.water))
        rows = runs.order[begin : begin + added]
        run = Run(slot, int(runs.buckets[row]), rows, total - added, *scored)
        look = Look(self.life, self._watched, stretch, run)
        for at, surge in (*look.by_rule(), *look.by_model()):
            yield int(stretch.indexes[at]), surge
