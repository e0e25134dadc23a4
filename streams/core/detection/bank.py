"""Any River detector for the most active keys, with the same calls as `DetectorBlock`.

A River model takes microseconds and kilobytes a key, so only some keys have one: a key gets one
when there is room, or takes the place of the least active key when it is twice as active. Who
has one is settled when the first key enters a later bucket, for all keys of the bucket before
at once, so cuts into chunks leave no trace.
"""

import math
import struct
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from streams.core.detection.block_ahead import Course
from streams.core.detection.block_maths import ScoreColumns
from streams.core.detection.block_tables import Floats, Ints
from streams.core.detection.key_detector import NoAlarmError
from streams.core.detection.river_models import RiverModel, RiverRecipe, RiverStateError
from streams.core.time.buckets import WINDOW_BUCKETS
from streams.core.waves.factors import WaveFactors

BANK_LAYOUT_VERSION: Final = 1
_HEADER: Final = struct.Struct("<Bxxxidqd")
_UNSEEN: Final = -1
_DISPLACES: Final = 2.0
_SCAN: Final = 64
_HOUR_BUCKETS: Final = 12
SCORE_MAX: Final = 1e300
"""Scores stop here, so that no division gives an infinity."""


class BankPolicyError(ValueError):
    """A number of the bank's policy is out of range: ``field``, ``value``."""

    def __init__(self, field: str, value: object, allowed: str) -> None:
        super().__init__(f"River bank: {field} is {value!r}; allowed: {allowed}")
        self.field = field
        self.value = value


@dataclass(frozen=True, slots=True, kw_only=True)
class BankPolicy:
    """Which River detector, from which score on it alarms, and for how many keys."""

    recipe: RiverRecipe
    threshold: float
    """River's score from which on there is an alarm; above 0."""
    keys_max: int = 1000
    warm_up_buckets: int = 288
    """Buckets that a model must have learnt before it is asked: some score their first value
    in the billions, others say 0 for "don't know"."""

    def __post_init__(self) -> None:
        for name in ("keys_max", "warm_up_buckets"):
            if getattr(self, name) < 1:
                raise BankPolicyError(name, getattr(self, name), "1 or more")
        if not 0 < self.threshold < math.inf:
            name = "threshold"
            raise BankPolicyError(name, self.threshold, "above 0, finite")


@dataclass(slots=True)
class _Member:
    model: RiverModel
    learnt_buckets: int = 0
    learnt_events: float = 0.0

    def learn(self, count: float) -> None:
        self.model.learn(count)
        self.learnt_buckets += 1
        self.learnt_events += count

    @property
    def mean(self) -> float | None:
        """Mean count of the buckets learnt; None: none yet."""
        return self.learnt_events / self.learnt_buckets if self.learnt_buckets else None


class RiverBank:
    """River models of at most ``keys_max`` keys; the other keys score 0."""

    def __init__(self, policy: BankPolicy) -> None:
        policy.recipe.check()
        self.policy = policy
        self._members: dict[int, _Member] = {}
        self._activity: Floats = np.zeros(0)
        self._seen: Ints = np.zeros(0, np.int64)
        self._now = _UNSEEN

    def __len__(self) -> int:
        """How many keys have a model."""
        return len(self._members)

    def epochs_of(self, water: Ints) -> Ints:
        """See KeyDetector: nothing is shared."""
        return np.zeros(len(water), np.int64)

    def enter(self, bucket: int) -> None:
        """See KeyDetector."""

    def shared_state(self) -> dict[str, bytes]:
        """See KeyDetector."""
        return {}

    def restore_shared(self, parts: dict[str, bytes]) -> None:
        """See KeyDetector."""

    @property
    def seen_over_asked(self) -> None:
        """See KeyDetector: no rate is asked of scores that are none."""

    def take_alarms(self, count: int) -> None:
        """See KeyDetector."""

    def grow(self, size: int) -> None:
        """Make room for slots < ``size``, by doubling."""
        held = self._seen.size
        if size > held:
            more = max(size, 2 * held, 1024) - held
            self._activity = np.append(self._activity, np.zeros(more))
            self._seen = np.append(self._seen, np.full(more, _UNSEEN, np.int64))

    def keep(self, slots: Ints) -> bool:
        """See KeyDetector. No: models stand in a series of their own, which is not read back."""
        return False

    def begin(self, slots: Ints, bucket: int) -> None:
        """Keys first met in ``bucket``; a model that the slot had is dropped."""
        for slot in np.asarray(slots).tolist():
            self._members.pop(slot, None)
        self._activity[slots] = 0.0
        self._seen[slots] = bucket
        self._settle(int(bucket))

    def advance(self, slots: Ints, opened: Ints, counts: Ints, bucket: Ints | int) -> None:
        """Close each key's open bucket and learn it, and at most a day of empty ones after it."""
        after = np.broadcast_to(np.asarray(bucket, np.int64), np.shape(slots))
        if not after.size:
            return
        self._settle(int(after.max()))
        columns = (np.asarray(column).tolist() for column in (slots, opened, counts, after))
        for slot, start, count, end in zip(*columns, strict=True):
            self._activity[slot] = self._activity_at(slot, start) + max(count, 0)
            self._activity[slot] *= math.exp((start - end) / WINDOW_BUCKETS)
            self._seen[slot] = end
            member = self._members.get(slot)
            if member is not None:
                member.learn(float(max(count, 0)))
                for _ in range(min(end - start - 1, WINDOW_BUCKETS)):
                    member.learn(0.0)

    def amend(self, slots: Ints, late_bucket: Ints, opened: Ints, counts: Ints) -> None:
        """Late records change nothing: River models cannot take back what they learnt."""

    def lift_by(self, factors: WaveFactors) -> bool:
        """See KeyDetector. No: River models know no exposure."""
        return False

    def score(
        self, slots: Ints, counts: Ints, *, opened: Ints | int, lift: float = 1.0
    ) -> ScoreColumns:
        """River's score over the threshold (>= 1 alarms); 0 for a key without a warm model.

        One-sided: a count at or below the key's mean scores 0, since an open bucket always
        begins low. ``expected`` is that mean, NaN where unknown.
        """
        slots = np.asarray(slots)
        asked = zip(slots.tolist(), np.asarray(counts).tolist(), strict=True)
        score = np.array([self._score(slot, count) for slot, count in asked])
        members = [self._members.get(slot) for slot in slots.tolist()]
        means = [member.mean if member is not None else None for member in members]
        expected = np.array([math.nan if mean is None else mean for mean in means])
        learnt = [0 if member is None else member.learnt_buckets for member in members]
        history = np.array(learnt, dtype=np.int64)
        statistic = np.maximum(score, 0.0)
        return ScoreColumns(score, expected, np.zeros(slots.size), statistic, history)

    def run_ahead(self, course: Course) -> None:
        """See KeyDetector. Who has a model hangs on all keys of a bucket: one bucket at a time."""

    def alarm_count(self, slot: int, low: int, high: int, opened: int, lift: float = 1.0) -> int:
        """Smallest count in (low, high] that alarms; of a wide range, one where alarms begin.

        River's scores may fall as the count grows, so ranges above 64 are halved as long as the
        upper end alarms. Raises `NoAlarmError`.
        """
        first, last = low, high
        while last - first > _SCAN and self._score(slot, last) >= 1.0:
            middle = (first + last) // 2
            first, last = (first, middle) if self._score(slot, middle) >= 1.0 else (middle, last)
        for count in range(first + 1, min(last, first + _SCAN) + 1):
            if self._score(slot, count) >= 1.0:
                return count
        raise NoAlarmError(slot, low, high)

    def alarm_counts(
        self, slots: Ints, lows: Ints, highs: Ints, opened: Ints, lift: float = 1.0
    ) -> Ints:
        """See KeyDetector."""
        columns = zip(*(each.tolist() for each in (slots, lows, highs, opened)), strict=True)
        return np.array([self.alarm_count(*each) for each in columns], dtype=np.int64)

    def are_over(
        self, slots: Ints, bucket: Ints | int, *, opened: Ints, counts: Ints
    ) -> NDArray[np.bool_]:
        """Whether each key's last bucket has ended and does not alarm, or ended an hour ago."""
        waited = np.asarray(bucket, dtype=np.int64) - opened
        over: NDArray[np.bool_] = waited > _HOUR_BUCKETS
        for row in np.flatnonzero(~over & (waited > 0)).tolist():
            over[row] = self._score(int(slots[row]), int(counts[row])) < 1.0
        return over

    def state_of(self, slots: Ints) -> list[bytes]:
        """Each key's state: a header of 32 bytes and, for a key with a model, its pickle."""
        return [self._packed(slot) for slot in np.asarray(slots).tolist()]

    def restore(self, slots: Ints, states: list[bytes]) -> None:
        """Put states back. Raises `RiverStateError`; too many models: the most active stay."""
        for slot, raw in zip(np.asarray(slots).tolist(), states, strict=True):
            if len(raw) < _HEADER.size or raw[0] != BANK_LAYOUT_VERSION:
                why = f"not of layout {BANK_LAYOUT_VERSION}"
                raise RiverStateError(why)
            _, learnt, events, seen, activity = _HEADER.unpack_from(raw)
            self._activity[slot], self._seen[slot] = activity, seen
            self._members.pop(slot, None)
            if len(raw) > _HEADER.size:
                model = RiverModel.load(raw[_HEADER.size :])
                self._members[slot] = _Member(model, learnt, events)
            self._now = max(self._now, seen)
        ranked = sorted(self._members, key=lambda slot: self._rank(slot, self._now))
        for slot in ranked[: max(len(ranked) - self.policy.keys_max, 0)]:
            del self._members[slot]

    def _packed(self, slot: int) -> bytes:
        member = self._members.get(slot)
        learnt = (member.learnt_buckets, member.learnt_events) if member else (0, 0.0)
        seen, activity = int(self._seen[slot]), float(self._activity[slot])
        header = _HEADER.pack(BANK_LAYOUT_VERSION, *learnt, seen, activity)
        return header + (member.model.dump() if member else b"")

    def _score(self, slot: int, count: int) -> float:
        member = self._members.get(slot)
        if member is None or member.learnt_buckets < self.policy.warm_up_buckets:
            return 0.0
        mean = member.mean
        if mean is None or count <= mean:
            return 0.0
        raw = member.model.score(float(count))
        return min(max(raw / self.policy.threshold, 0.0), SCORE_MAX)

    def _activity_at(self, slot: int, bucket: int) -> float:
        age = max(bucket - int(self._seen[slot]), 0)
        return float(self._activity[slot]) * math.exp(-age / WINDOW_BUCKETS)

    def _rank(self, slot: int, bucket: int) -> tuple[float, int]:
        """Least active first; of equals, the key met last."""
        return self._activity_at(slot, bucket), -slot

    def _settle(self, bucket: int) -> None:
        """On entering a later bucket: give models to the active keys of the one before."""
        if bucket <= self._now:
            return
        before, self._now = self._now, bucket
        if before == _UNSEEN:
            return
        fresh = np.flatnonzero((self._seen >= before) & (self._activity > 0.0)).tolist()
        waiting = [slot for slot in fresh if slot not in self._members]
        waiting.sort(key=lambda slot: self._rank(slot, before), reverse=True)
        members = iter(sorted(self._members, key=lambda slot: self._rank(slot, before)))
        for slot in waiting:
            if len(self._members) >= self.policy.keys_max:
                least = next(members, None)
                if least is None or self._activity_at(slot, before) <= _DISPLACES * (
                    self._activity_at(least, before)
                ):
                    return
                del self._members[least]
            self._members[slot] = _Member(self.policy.recipe.model())
