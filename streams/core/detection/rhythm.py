"""The rhythm of the hour of the week: how busy an hour is for keys that wake at the same time.

Regions sleep at different hours, and a key's own events say when its audience is awake: the
logarithms of its counts, summed on the circle of the day, point to the middle of its day. A key is
in the octant of that circle that it points to; one that points nowhere yet takes the rhythm of all.
It is told anew as a day of the key ends, since a part of a day always points somewhere. Rhythms
are learnt from what buckets taught, so surges add little, and come into force as the watermark
enters a new UTC day: what was said of a bucket stays.
"""

import math
import struct
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from streams.core.detection.block_tables import FadingPowers, Floats, Ints
from streams.core.detection.policy import DetectorPolicy

RHYTHM_LAYOUT_VERSION: Final = 1
DAILY: Final = "rhythm"
RUNNING: Final = "hours"
"""Names of the two parts of the stored state; the first changes once a day."""
DIRECTIONS: Final = 9
"""Eight octants of the day, and none (0)."""
_HOURS: Final = 24
_WEEK_HOURS: Final = 168
_EPOCH_WEEKDAY: Final = 3
"""1970-01-01 was a Thursday; Monday is 0."""
_KEPT_DAYS: Final = 15
"""Of so many days it is known what was in force; before, every bucket counts 1."""
_UNIT: Final = 1 << 16
_MEMORY_DAYS: Final = 28.0
_POINTS: Final = 8.0
"""A key points somewhere if its direction's square is so many times that of chance."""
_WEEKDAY_DAYS: Final = 0.7
"""What the hour of the day weighs against the same hour of one weekday."""
_FALLEN: Final = 0.7
"""An hour of one weekday in which so little happened, of what others bring there, was an outage."""
_OTHER_DAYS_MIN: Final = 2.0
"""Days of other weekdays that it takes to say so."""
_FLAT_EVENTS: Final = 300.0
"""What "always the same" weighs against the events of an hour."""
_LEAST: Final = 0.05
_MOST: Final = 5.0
_YOUNG_DAYS: Final = 3
"""Older keys are taken to be there for ever: whole days are 1 in the mean."""
_NOWHERE: Final = -1
_HEAD: Final = struct.Struct("<Bxxxxxxxqq")


class RhythmStateError(ValueError):
    """A stored rhythm is not one: its part ``name`` has a size that it cannot have."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"a stored rhythm's part {name} is not of layout {RHYTHM_LAYOUT_VERSION}; empty the "
            "store and let the worker read the topics again"
        )
        self.name = name


class Heard(NamedTuple):
    """Buckets that closed: what each taught, and of its key birth, direction and rate."""

    birth: Ints
    direction: Ints
    opened: Ints
    taught: Floats
    rate: Floats

    def only(self, chosen: NDArray[np.bool_] | Ints) -> "Heard":
        """Only the chosen buckets."""
        birth, direction, opened = (
            one[chosen] for one in (self.birth, self.direction, self.opened)
        )
        return Heard(birth, direction, opened, self.taught[chosen], self.rate[chosen])


class Rhythm:
    """Rhythm of a partition's keys of one watch. Days have ``buckets_per_day`` = 288 buckets."""

    def __init__(self, policy: DetectorPolicy) -> None:
        assert policy.buckets_per_day % _HOURS == 0, "whole buckets an hour"
        self._day = policy.buckets_per_day
        self._hour = self._day // _HOURS
        self._powers = FadingPowers(policy)
        self._factors = self._powers.factors
        angle = 2.0 * math.pi / self._day
        circle = [(math.cos(angle * n), math.sin(angle * n)) for n in range(self._day)]
        self._circle: Floats = np.array(circle).T.copy()
        self._since = self._today = _NOWHERE
        self._lived = np.zeros(7, np.int64)
        self._settled = np.zeros((DIRECTIONS, _WEEK_HOURS), np.int64)
        self._running = np.zeros_like(self._settled)
        self._force = np.ones((DIRECTIONS, _KEPT_DAYS * _HOURS), np.float32)
        within = np.arange(self._hour)
        self._kept: Floats = self._factors**within
        """Four rows: what a sum is worth after so many buckets of an hour."""
        self._ones: Floats = np.cumsum(self._kept, axis=1) - self._kept
        """Four rows: the sum over so many buckets of exposure 1."""
        self._put_in_force()

    def pointed(self, counts: Floats, opened: Ints) -> Floats:
        """Three rows: log(1 + count) across and along the circle of the day, and its square."""
        weight = np.log1p(counts)
        at = np.empty((3, len(counts)))
        self._circle.take(opened % self._day, axis=1, out=at[:2])
        at[2] = weight
        at *= weight
        return at

    def direction_of(self, phase: Floats) -> Ints:
        """Direction of keys from the fading sums of what `pointed` gave."""
        across, along, square = phase
        octant = 1 + 4 * (across < 0) + 2 * (along < 0) + (np.abs(along) > np.abs(across))
        points = across * across + along * along > _POINTS * square
        directions: Ints = octant * points
        return directions

    def open_of(self, direction: Ints, opened: Ints | int) -> Floats:
        """How busy each key's open bucket is."""
        if self.is_flat:
            return np.ones(len(direction))
        hour = np.asarray(opened) // self._hour - self._first_hour
        known = (hour >= 0) & (hour < self._hours)
        found: Floats = self._rhythm[direction, np.where(known, hour, self._hours)]
        return found

    def means_of(self, direction: Ints, birth: Ints, opened: Ints) -> Floats:
        """Four rows: how busy the buckets [birth, opened) were, faded by the memories."""
        if self.is_flat:
            return np.ones((4, len(direction)))
        means = self._means_at(direction, opened)
        young = (opened - birth < _YOUNG_DAYS * self._day).nonzero()[0]
        if len(young):
            age = np.broadcast_to(opened, birth.shape)[young] - birth[young]
            left = self._powers.of_gap(age)
            old = self._means_at(direction[young], birth[young])
            some = means[:, young] - left * old
            means[:, young] = np.where(age > 0, some / np.maximum(1.0 - left, 1e-12), 1.0)
        return means

    def hears(self, birth: Ints, opened: Ints) -> NDArray[np.bool_]:
        """Which closed buckets teach something, by their keys' births.

        A key is heard on whole UTC days alone, after the day that first told its direction.
        """
        known: NDArray[np.bool_] = opened // self._day > birth // self._day + 1
        return known

    def learn(self, heard: "Heard") -> None:
        """Learn closed buckets; a large key weighs little more than one of an event a bucket."""
        known = self.hears(heard.birth, heard.opened)
        if not known.any():
            return
        hour = (heard.opened // self._hour + _EPOCH_WEEKDAY * _HOURS) % _WEEK_HOURS
        weight = np.rint(heard.taught / (1.0 + heard.rate) * (known * float(_UNIT)))
        place = heard.direction * _WEEK_HOURS + hour
        # whole numbers below 2**53: sums of floats are exact
        added = np.bincount(place, weights=weight, minlength=self._running.size)
        self._running += added.astype(np.int64).reshape(self._running.shape)

    def enter(self, bucket: int) -> None:
        """Have the watermark in ``bucket``."""
        day = bucket // self._day
        if self._since < 0:
            self._since = bucket
            self._today = day
        if day <= self._today:
            return
        faded = math.exp(-(day - self._today) / _MEMORY_DAYS)
        self._settled = np.rint(self._settled * faded).astype(np.int64) + self._running
        self._lived = np.rint(self._lived * faded).astype(np.int64)
        self._running[...] = 0
        heard = (self._since + self._day) // self._day + 1
        for passed in range(max(self._today, heard, day - _KEPT_DAYS), day):
            self._lived[(passed + _EPOCH_WEEKDAY) % 7] += _UNIT
        days = range(max(self._today + 1, day + 1 - _KEPT_DAYS), day + 1)
        new = np.concatenate([self._week_day(one) for one in days], axis=1)
        self._force = np.concatenate((self._force, new.astype(np.float32)), axis=1)
        self._force = self._force[:, -_KEPT_DAYS * _HOURS :].copy()
        self._today = day
        self._put_in_force()

    def packed(self) -> dict[str, bytes]:
        """State for the store, little-endian: by part."""
        if self._since < 0:
            return {}
        head = _HEAD.pack(RHYTHM_LAYOUT_VERSION, self._since, self._today)
        parts = (self._lived.astype("<i8"), self._settled.astype("<i8"), self._force.astype("<f4"))
        places = np.flatnonzero(self._running)
        pairs = np.array([places, self._running.ravel()[places]]).astype("<i8")
        return {
            DAILY: head + b"".join(one.tobytes() for one in parts),
            RUNNING: pairs.T.tobytes(),
        }

    def restore(self, stored: dict[str, bytes]) -> None:
        """Put it back, if it is there. Raises `RhythmStateError`."""
        held = stored.get(DAILY)
        if held is None:
            return
        sizes = (self._lived.size, self._settled.size)
        wanted = _HEAD.size + 8 * sum(sizes) + 4 * self._force.size
        if len(held) != wanted or held[0] != RHYTHM_LAYOUT_VERSION:
            raise RhythmStateError(DAILY)
        _, self._since, self._today = _HEAD.unpack_from(held)
        sums = np.frombuffer(held, "<i8", sum(sizes), _HEAD.size)
        self._lived = sums[: sizes[0]].astype(np.int64)
        self._settled = sums[sizes[0] :].astype(np.int64).reshape(self._settled.shape)
        force = np.frombuffer(held, "<f4", -1, _HEAD.size + 8 * sum(sizes)).astype(np.float32)
        self._force = force.reshape(self._force.shape)
        if not (np.isfinite(force).all() and (force > 0).all() and (sums >= 0).all()):
            raise RhythmStateError(DAILY)
        hours = stored.get(RUNNING, b"")
        if len(hours) % 16:
            raise RhythmStateError(RUNNING)
        pairs = np.frombuffer(hours, "<i8").reshape(-1, 2)
        if ((pairs < 0) | (pairs[:, :1] >= self._running.size)).any():
            raise RhythmStateError(RUNNING)
        self._running = np.zeros_like(self._settled)
        self._running.ravel()[pairs[:, 0]] = pairs[:, 1]
        self._put_in_force()

    def _week_day(self, day: int) -> Floats:
        """Rhythm of a day's hours, by what is settled."""
        sums = self._settled / _UNIT
        sums[0] = sums.sum(axis=0)
        lived = self._lived / _UNIT
        if not lived.any():
            return np.ones((DIRECTIONS, _HOURS))
        by_day = _without_falls(sums.reshape(DIRECTIONS, 7, _HOURS), lived)
        total = by_day.sum(axis=1)
        usual = total / lived.sum()
        week = by_day + _WEEKDAY_DAYS * usual[:, None, :]
        week /= (lived + _WEEKDAY_DAYS)[:, None]
        flat = _FLAT_EVENTS / lived.sum()
        mean = week.mean(axis=(1, 2))[:, None]
        rhythm: Floats = (week[:, (day + _EPOCH_WEEKDAY) % 7] + flat) / (mean + flat)
        return np.clip(rhythm, _LEAST, _MOST)

    def _put_in_force(self) -> None:
        """Tables by direction and hour; the last hour stands for all that is not known."""
        self.is_flat = bool((self._force == 1.0).all())
        """Nothing is in force yet, as in a partition's first days: every answer is 1."""
        self._hours = self._force.shape[1]
        self._first_hour = (self._today + 1) * _HOURS - self._hours
        ones = np.ones((DIRECTIONS, 1))
        self._rhythm: Floats = np.concatenate((self._force.astype(np.float64), ones), axis=1)
        scale = 1.0 / (1.0 - self._factors)
        sums = np.repeat(scale, DIRECTIONS, axis=1)
        hour_kept, hour_ones = self._factors**self._hour, (1.0 - self._factors**self._hour) * scale
        table = np.empty((4, DIRECTIONS, self._hours + 1))
        for hour in range(self._hours):
            table[:, :, hour] = sums
            sums = sums * hour_kept + hour_ones * self._rhythm[:, hour]
        table[:, :, -1] = scale
        self._means: Floats = (table / scale[:, :, None]).reshape(4, -1)
        self._within: Floats = self._ones / scale

    def _means_at(self, direction: Ints, opened: Ints | int) -> Floats:
        """Four rows: faded mean of all buckets before each one."""
        hour, place = np.divmod(np.asarray(opened), self._hour)
        hour = hour - self._first_hour
        hour = np.where((hour >= 0) & (hour < self._hours), hour, self._hours)
        at = direction * (self._hours + 1) + hour
        means: Floats = self._means.take(at, axis=1)
        place = np.atleast_1d(place)
        means *= self._kept.take(place, axis=1)
        within = self._within.take(place, axis=1)
        within = within * self._rhythm.ravel().take(at)
        means += within
        return means


def _without_falls(by_day: Floats, lived: Floats) -> Floats:
    """Sums by direction, weekday and hour, with the usual where an outage left too little.

    Else what is usual again a week later would be far above its hour for every key at once. An
    hour is held against the same hour of the other weekdays, and its day's own level: the middle
    of how its hours compare. What is lower on one weekday alone is taken for usual, too.
    """
    others = lived.sum() - lived
    judged = (lived > 0) & (others >= _OTHER_DAYS_MIN)
    if not judged.any():
        return by_day
    usual = (by_day.sum(axis=1, keepdims=True) - by_day) / np.maximum(others, 1.0)[:, None]
    usual *= lived[:, None]
    ratio = np.where(usual > 0.0, by_day / np.where(usual > 0.0, usual, 1.0), 1.0)
    level = np.median(ratio, axis=2, keepdims=True)
    fallen = judged[:, None] & (ratio < _FALLEN * level)
    whole: Floats = np.where(fallen, usual * level, by_day)
    return whole
