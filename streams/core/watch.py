"""Watches one series of keys: counts them, scores them, and lives through their surges.

A watch takes stretches: records between which the partition's watermark does not leave its
bucket. All it decides is a function of the records and their order, never of the chunks.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from streams.core.block_state import STATE_DTYPE
from streams.core.buckets import BUCKET_MS, WINDOW_BUCKETS, oldest_bucket_of, start_ms_of
from streams.core.counts import NO_BUCKET, Ints
from streams.core.key_detector import KeyDetector
from streams.core.packing import PackedSeries, StoredSeries, pack_bytes
from streams.core.rules import NEVER, Rule, grown_mark_of
from streams.core.runs import Runs, Stretch, rows_of_run, runs_of
from streams.core.surges import Kind, OpenSurge, State, Surge, Trigger, surge_id_of
from streams.core.table import Table

MODEL_WINDOW_BUCKETS: Final = 12
"""A model's surge tells the observed and the expected count of the last hour."""


@dataclass(frozen=True, slots=True)
class WatchPolicy:
    """What a watch looks for. ``name`` is the series' short name in the store."""

    name: str
    kind: Kind
    rule: Rule
    detector: str
    false_alarm_rate: float


class Happening(NamedTuple):
    """A surge told because of record ``row`` of the chunk."""

    row: int
    surge: Surge


class Watch(Table):
    """Counts, detector and surges of one series (followers of creators, comments on posts, …)."""

    def __init__(self, policy: WatchPolicy, detector: KeyDetector[Any]) -> None:
        super().__init__(policy.name)
        self.policy = policy
        self.detector = detector
        self.surges: dict[str, OpenSurge] = {}
        self._surge_slots: dict[str, int] = {}
        self._touched: set[str] = set()
        self._rule_mark = np.zeros(0, dtype=np.int64)
        self._model_mark = np.zeros(0, dtype=np.int64)
        self._quiet_until = np.zeros(0, dtype=np.int32)

    def grow_columns(self, size: int) -> None:
        """Make room in the detector and the marks."""
        room = size - len(self._rule_mark)
        marks = np.full(room, self.policy.rule.first_mark, dtype=np.int64)
        self._rule_mark = np.concatenate((self._rule_mark, marks))
        never = np.full(room, NEVER, dtype=np.int64)
        self._model_mark = np.concatenate((self._model_mark, never))
        self._quiet_until = np.concatenate((self._quiet_until, np.zeros(room, dtype=np.int32)))
        self.detector.grow(size)

    def packed(self, slots: Ints) -> list[PackedSeries]:
        """See Table. States of any length stand in a series of their own."""
        states = self.detector.state_of(slots)
        if isinstance(states, np.ndarray):
            return [self.pack(slots, states)]
        names, groups = self.keys.names_of(slots), self.keys.groups_of(slots)
        return [self.pack(slots, None), pack_bytes(self._models, names, groups, states)]

    def restore(self, stored: Mapping[str, StoredSeries]) -> None:
        """See Table."""
        models = stored.get(self._models)
        slots, states = self.unpack(stored[self.name], None if models else STATE_DTYPE)
        if models is None:
            self.detector.restore(slots, states)
        else:
            self.detector.restore(self.keys.slots_of(models.names), models.values)

    @property
    def _models(self) -> str:
        return f"{self.name}.models"

    def advance(self, water: int, row: int) -> list[Happening]:
        """End what is over as record ``row`` moves the watermark into ``water``."""
        happenings = []
        for name in sorted(self.surges):
            surge = self.surges[name]
            slot = self._surge_slots[surge.key]
            if surge.closed:
                if surge.quiet_until <= water:
                    self._forget(name)
            elif self._is_over(surge, slot, water):
                happenings.append(Happening(row, self._close(surge, slot, water)))
        return happenings

    def count(self, stretch: Stretch) -> list[Happening]:
        """Count a stretch and tell the surges that open or grow in it, in no set order."""
        happenings: list[Happening] = []
        for whole in runs_of(stretch):
            for runs in self._pieces_of(whole):
                scored = self._add(runs)
                for row in self._candidates(runs, scored, stretch.water):
                    happenings += self._look(runs, row, stretch)
        return happenings

    def drain_surges(self) -> dict[str, OpenSurge | None]:
        """Surges changed since the last call, by name; None: forgotten."""
        surges = {name: self.surges.get(name) for name in sorted(self._touched)}
        self._touched.clear()
        return surges

    def restore_surge(self, surge: OpenSurge) -> None:
        """Take up a stored surge; its key must have been restored."""
        slot = self.keys.slot_of(surge.key)
        assert slot is not None, "a stored surge has a stored key"
        self.surges[surge.name] = surge
        self._surge_slots[surge.key] = slot
        if surge.trigger == "model":
            self._quiet_until[slot] = surge.quiet_until
        if not surge.closed:
            (self._rule_mark if surge.trigger == "rule" else self._model_mark)[slot] = surge.mark

    def _pieces_of(self, runs: Runs) -> Iterator[Runs]:
        """Take a run of earlier records record by record where a mark may be reached in it.

        Each earlier record changes what the detector expects, so a surge told at the first of
        them must not know the others.
        """
        slots, buckets, added, round_no, _ = runs
        early = (self.counts.newest[slots] > buckets) & (added > 1)
        if early.any():
            marks = np.minimum(self._rule_mark[slots], self._model_mark[slots])
            early &= self.counts.total[slots] + added >= marks
        if not early.any():
            yield runs
            return
        rest = ~early
        yield Runs(slots[rest], buckets[rest], added[rest], round_no)
        one = np.ones(1, dtype=np.int64)
        for row in np.flatnonzero(early).tolist():
            for nth in range(int(added[row])):
                yield Runs(slots[row : row + 1], buckets[row : row + 1], one, round_no, nth)

    def _add(self, runs: Runs) -> NDArray[np.float64]:
        """Count the runs; the score of each slot's newest bucket, 0 where the run was earlier."""
        slots, buckets, added = runs.slots, runs.buckets, runs.counts
        self.mark_changed(slots)
        newest = self.counts.newest[slots]
        same, newer = newest == buckets, newest < buckets
        if newer.any():
            self._begin(slots[newer], newest[newer], buckets[newer], added[newer])
        if same.any():
            self.counts.add_to_newest(slots[same], added[same])
        on_time = same | newer
        if on_time.all():
            counts = self.counts.newest_counts(slots)
            every: NDArray[np.float64] = self.detector.score(slots, counts, opened=buckets).score
            return every
        for row in np.flatnonzero(~on_time).tolist():
            self.counts.add_earlier(int(slots[row]), int(buckets[row]), int(added[row]))
        late = ~on_time
        self.detector.amend(slots[late], buckets[late], newest[late].astype(np.int64), added[late])
        scores = np.zeros(len(slots))
        counts = self.counts.newest_counts(slots[on_time])
        scores[on_time] = self.detector.score(slots[on_time], counts, opened=buckets[on_time]).score
        return scores

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

    def _candidates(self, runs: Runs, scores: NDArray[np.float64], water: int) -> list[int]:
        """Rows of runs in which something may be told; exact-safe, none is missed."""
        slots = runs.slots
        totals = self.counts.total[slots]
        marked = (totals >= self._rule_mark[slots]) | (totals >= self._model_mark[slots])
        alarmed = scores >= 1
        if alarmed.any():
            quiet = (self._quiet_until[slots] > water) | (self._model_mark[slots] < NEVER)
            marked |= alarmed & ~quiet
        return np.flatnonzero(marked).tolist()

    def _look(self, runs: Runs, row: int, stretch: Stretch) -> list[Happening]:
        """Find the records of one run at which surges open or grow, and tell them."""
        slot, bucket = int(runs.slots[row]), int(runs.buckets[row])
        added = int(runs.counts[row])
        rows = rows_of_run(stretch, slot, runs.round_no)[runs.first :][:added]
        assert len(rows) == added, "a run is found again"
        total = self.counts.total_since(slot, oldest_bucket_of(stretch.water))
        look = _Look(self, stretch, slot, bucket, rows, total - added)
        told = [*look.by_rule(), *look.by_model()]
        return [Happening(int(stretch.indexes[at]), surge) for at, surge in told]

    def _is_over(self, surge: OpenSurge, slot: int, water: int) -> bool:
        if surge.trigger == "rule":
            return self.policy.rule.is_over(self.counts.total_since(slot, oldest_bucket_of(water)))
        opened = int(self.counts.newest[slot])
        count = int(self.counts.newest_counts(np.array([slot]))[0])
        return self.detector.is_over(slot, water, opened=opened, count=count)

    def _close(self, surge: OpenSurge, slot: int, water: int) -> Surge:
        record = self._record(surge, slot, "closed", start_ms_of(water), start_ms_of(water), water)
        if surge.trigger == "rule":
            self._rule_mark[slot] = self.policy.rule.first_mark
            self._forget(surge.name)
        else:
            self._model_mark[slot] = NEVER
            surge.closed = True
            self._touched.add(surge.name)
            if surge.quiet_until <= water:
                self._forget(surge.name)
        return record

    def _forget(self, name: str) -> None:
        del self.surges[name]
        self._touched.add(name)

    def _record(  # noqa: PLR0913 the record's own facts, each from another place
        self,
        surge: OpenSurge,
        slot: int,
        state: State,
        at_ms: int,
        seen_ms: int,
        water: int,
        count: int | None = None,
        total: int | None = None,
    ) -> Surge:
        """Write the record of a surge; ``count`` is the open bucket's, ``total`` the window's."""
        by_rule = surge.trigger == "rule"
        window = WINDOW_BUCKETS if by_rule else MODEL_WINDOW_BUCKETS
        if total is None:
            total = self.counts.total_since(slot, water - window + 1)
        at = np.array([slot])
        opened = self.counts.newest[at].astype(np.int64)
        counts = self.counts.newest_counts(at) if count is None else np.array([count])
        columns = self.detector.score(at, counts, opened=opened)
        usual = float(columns.expected[0])
        # what a key is expected to bring in a window is not known before it has lived one: its
        # whole history would be the surge itself
        known = columns.history_buckets[0] >= window and not math.isnan(usual)
        expected = usual * window if known else None
        surge.revision += state != "opened"
        return Surge(
            surge_id=surge.surge_id,
            revision=surge.revision,
            kind=self.policy.kind,
            trigger=surge.trigger,
            state=state,
            severity=surge.severity,
            creator_id=surge.creator_id,
            post_id=surge.post_id,
            opened_ms=surge.opened_ms,
            at_ms=at_ms,
            seen_ms=seen_ms,
            window_ms=window * BUCKET_MS,
            observed=total,
            threshold=self.policy.rule.threshold if by_rule else None,
            expected_own=None if expected is None else _rounded(expected),
            expected_in_wave=None,
            ratio=_rounded(total / expected) if expected else None,
            score=_rounded(float(columns.score[0])),
            detector=self.policy.detector,
            false_alarm_rate=self.policy.false_alarm_rate,
            prior_weight=_rounded(float(columns.prior_weight[0])),
        )


class _Look:
    """One run looked at record by record: ``before`` is the rolling total without the run."""

    def __init__(
        self, watch: Watch, stretch: Stretch, slot: int, bucket: int, rows: Ints, before: int
    ) -> None:
        self._watch, self._stretch = watch, stretch
        self._slot, self._bucket, self._rows, self._before = slot, bucket, rows, before
        newest = int(watch.counts.newest[slot])
        ends = int(watch.counts.newest_counts(np.array([slot]))[0])
        self._on_time = bucket == newest
        self._count_before = ends - len(rows) if self._on_time else ends

    def by_rule(self) -> Iterator[tuple[int, Surge]]:
        """Tell openings and doublings by the rule, each at the very record."""
        marks = self._watch._rule_mark
        while (mark := int(marks[self._slot])) <= self._before + len(self._rows):
            nth = max(mark - self._before, 1)
            yield self._tell("rule", nth, self._watch.policy.rule.first_mark)
            marks[self._slot] = grown_mark_of(mark)

    def by_model(self) -> Iterator[tuple[int, Surge]]:
        """Tell the opening by the detector, and doublings of the rolling total since."""
        watch, slot = self._watch, self._slot
        if int(watch._model_mark[slot]) == NEVER:
            nth = self._alarm()
            if nth is None:
                return
            mark = self._before + nth
            watch._quiet_until[slot] = self._stretch.water + WINDOW_BUCKETS
            yield self._tell("model", nth, mark)
            watch._model_mark[slot] = grown_mark_of(mark)
        while (mark := int(watch._model_mark[slot])) <= self._before + len(self._rows):
            yield self._tell("model", max(mark - self._before, 1), mark)
            watch._model_mark[slot] = grown_mark_of(mark)

    def _alarm(self) -> int | None:
        """Which of the run's records (from 1) the detector alarms at."""
        watch, slot = self._watch, self._slot
        if not self._on_time or int(watch._quiet_until[slot]) > self._stretch.water:
            return None
        count = self._count_before + len(self._rows)
        at = np.array([slot])
        opened = np.array([self._bucket])
        if watch.detector.score(at, np.array([count]), opened=opened).score[0] < 1:
            return None
        low = self._count_before
        return watch.detector.alarm_count(slot, low, count, opened=self._bucket) - low

    def _tell(self, trigger: Trigger, nth: int, first_mark: int) -> tuple[int, Surge]:
        """Open or grow the slot's surge of this trigger at the run's nth record."""
        watch, slot = self._watch, self._slot
        row = int(self._rows[nth - 1])
        total = self._before + nth
        key = watch.keys.name_of(slot)
        surge = watch.surges.get(f"{trigger}|{key}")
        state: State = "grown"
        if surge is None or surge.closed:
            state, surge = "opened", self._open(trigger, key, row)
        watch._touched.add(surge.name)
        surge.mark = grown_mark_of(first_mark if state == "opened" else surge.mark)
        surge.quiet_until = int(watch._quiet_until[slot]) if trigger == "model" else 0
        count = self._count_before + (nth if self._on_time else 0)
        at_ms, seen_ms = int(self._stretch.at_ms[row]), int(self._stretch.seen_ms[row])
        water = self._stretch.water
        if trigger == "model":
            last_hour = watch.counts.total_since(slot, water - MODEL_WINDOW_BUCKETS + 1)
            unseen = len(self._rows) - nth if self._bucket > water - MODEL_WINDOW_BUCKETS else 0
            total = last_hour - unseen
        return row, watch._record(surge, slot, state, at_ms, seen_ms, water, count, total)

    def _open(self, trigger: Trigger, key: str, row: int) -> OpenSurge:
        watch = self._watch
        creator_id = self._stretch.creator_ids[int(self._stretch.indexes[row])]
        opened_ms = int(self._stretch.at_ms[row])
        surge = OpenSurge(
            surge_id=surge_id_of(watch.policy.kind, trigger, key, opened_ms),
            trigger=trigger,
            key=key,
            creator_id=creator_id,
            post_id=key if watch.policy.name == "posts" else None,
            opened_ms=opened_ms,
            severity="page" if trigger == "rule" else "notice",
            mark=0,
        )
        watch.surges[surge.name] = surge
        watch._surge_slots[key] = self._slot
        return surge


def _rounded(value: float) -> float:
    """Six significant digits: what is told does not hang on the last bits of an exponential."""
    return float(f"{value:.6g}")
