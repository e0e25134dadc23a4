"""Records repeated upstream: an event id that came before, a short time ago, counts once.

A record's id comes at the record's own event time, or at the time that many records agree on
(``core/time/agreed_clock.py``) less the allowed lateness, whichever is later. It is remembered from
the middle time on, if that is later still. A record is a repeat when its id came before, and comes
less than the horizon after the time from which it is remembered. So a clock that is fast, by
however much, makes no other record's id forgotten, and none is let go before the agreed time is a
horizon past it, nor, whatever comes, within the next thousand records. What is known hangs on the
last records only, and a worker that takes a partition over learns it by reading these again,
without counting them: nothing of it is stored.
"""

from collections import deque
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from streams.core.records.keys import Keys, are_distinct
from streams.core.records.texts import Ints, Texts
from streams.core.time.agreed_clock import SAMPLING, Agreed

Flags = NDArray[np.bool_]

_NEVER: Final = -(1 << 62)
_LONG_AFTER: Final = 1 << 61
_STRETCHES: Final = 32


@dataclass(frozen=True, slots=True)
class RepeatPolicy:
    """How long an id is remembered (event time), and how many ids at the most, by partition."""

    horizon_ms: int
    ids_max: int


class Reread(NamedTuple):
    """Where reading begins again: an offset, the watermark and the agreed time before the record.

    Before ``held_offset`` no record is held back (None: there is none at all). The records at
    ``dead_offsets`` were in the future when they came; all others that can be used were taken.
    """

    offset: int
    watermark_ms: int
    held_offset: int | None = None
    dead_offsets: tuple[int, ...] = ()
    agreed: Agreed = Agreed()


class Moment(NamedTuple):
    """Where a partition stands: the watermark of what was read, and the time agreed on."""

    read_ms: int
    agreed: Agreed


@dataclass(slots=True)
class _Stretch:
    """Records from where reading may begin again; ``newest_ms``: the latest of their times."""

    begin: Reread
    newest_ms: int


class Lookback:
    """Where reading must begin again to meet all records that are to be learnt.

    Those whose ids are remembered (``policy``; None: no ids are), at most as many as ids are,
    and those that wait for late ones: for ``held_ms`` of the watermark.
    """

    def __init__(self, policy: RepeatPolicy | None, held_ms: int = 0) -> None:
        self._policy = policy
        self._held_ms = held_ms
        back_ms = held_ms + (0 if policy is None else policy.horizon_ms)
        self._stretch_ms = back_ms // _STRETCHES
        self._stretches: deque[_Stretch] = deque()

    def took(self, offset: int, newest_ms: int, before: Moment, after: Moment) -> None:
        """Records from ``offset`` on were taken, of times up to ``newest_ms``.

        >>> lookback = Lookback(RepeatPolicy(1000, 1000))
        >>> moments = [Moment(at, Agreed(at)) for at in (-1, 500, 900, 1600)]
        >>> for nth in range(3):
        ...     lookback.took(10 * nth, moments[nth + 1].read_ms, moments[nth], moments[nth + 1])
        >>> lookback.begin.offset, lookback.begin.watermark_ms
        (10, 500)
        """
        newest_ms = max(newest_ms, after.agreed.ms)
        last = self._stretches[-1] if self._stretches else None
        if last is not None and self._goes_on(last.begin, offset, after):
            last.newest_ms = max(last.newest_ms, newest_ms)
        else:
            begin = Reread(offset, before.read_ms, agreed=before.agreed)
            self._stretches.append(_Stretch(begin, newest_ms))
        while len(self._stretches) > 1 and self._is_done(offset, after):
            self._stretches.popleft()

    def _goes_on(self, begin: Reread, offset: int, after: Moment) -> bool:
        """Whether the last stretch may take these records too."""
        moved_ms = after.agreed.ms - begin.agreed.ms
        short = moved_ms > 0 or offset - begin.offset < SAMPLING.records
        read_ms = after.read_ms - begin.watermark_ms
        return short and max(moved_ms, read_ms if self._held_ms else 0) <= self._stretch_ms

    def _is_done(self, offset: int, after: Moment) -> bool:
        """Whether nothing of the oldest stretch need be learnt any more."""
        newest_ms = self._stretches[0].newest_ms
        if self._held_ms and newest_ms > after.read_ms - self._held_ms:
            return False
        if self._policy is None:
            return True
        forgotten = after.agreed.ms - self._held_ms >= newest_ms + self._policy.horizon_ms
        return forgotten or offset - self._stretches[1].begin.offset >= self._policy.ids_max

    @property
    def begin(self) -> Reread | None:
        """Where to begin; None: nothing was taken."""
        return self._stretches[0].begin if self._stretches else None

    def first_beyond(self, frontier_ms: int) -> int | None:
        """An offset before which no record is beyond the frontier; None: none is at all."""
        beyond = (one.begin.offset for one in self._stretches if one.newest_ms > frontier_ms)
        return next(beyond, None)


class _Generation:
    """Ids that came while this was the present generation, and when each last came.

    ``begin_ms``: the earliest time at which one came since the generation began.
    """

    def __init__(self, like: Keys | None = None) -> None:
        self.begin_ms = _LONG_AFTER
        self.ids = Keys(like)
        self.came_ms = np.zeros(0, dtype=np.int64)

    def grow(self) -> None:
        """Make room for the times of all ids."""
        have, need = len(self.came_ms), len(self.ids)
        if need > have:
            more = np.full(max(need, 2 * have, 1024) - have, _NEVER, dtype=np.int64)
            self.came_ms = np.concatenate((self.came_ms, more))

    def put(self, ids: Texts, came_ms: Ints) -> None:
        """Take up ids that are not here yet, each once."""
        slots = self.ids.slots_of(ids)
        self.grow()
        self.came_ms[slots] = came_ms

    def last_of(self, ids: Texts) -> Ints:
        """When each id last came, long ago if never."""
        if not len(self.ids):
            return np.full(len(ids), _NEVER, dtype=np.int64)
        slots = self.ids.find(ids)
        return np.where(slots < 0, _NEVER, self.came_ms[slots])


class Repeats:
    """Event ids of one partition that came within the horizon.

    Two generations are kept, each of a horizon of time or of half the ids that are allowed; the
    older one is then let go, all but those ids of it that came with a time not yet a horizon ago.
    ``forgotten``: ids let go too early, for want of room.
    """

    def __init__(self, policy: RepeatPolicy) -> None:
        self.policy = policy
        self._present = _Generation()
        self._past = _Generation()
        self._latest_ms = _NEVER  # no id of those remembered came later
        self.forgotten = 0

    def __len__(self) -> int:
        """How many ids are remembered."""
        return len(self._present.ids) + len(self._past.ids)

    def take(self, ids: Texts, came_ms: Ints, floor_ms: int, next_floor_ms: int = _NEVER) -> Flags:
        """Which records are repeats. Remembers their ids.

        ``came_ms``: two rows, when each id came, and the time from which it is remembered, which
        is the same or later.

        No id comes before ``floor_ms`` any more, and after these none before ``next_floor_ms``.
        An empty id is none: such a record is never a repeat.
        """
        self._turn(floor_ms)
        self._present.begin_ms = min(self._present.begin_ms, int(came_ms[0].min()))
        told = ids.lengths > 0
        if told.all():
            return self._take_some(ids, came_ms, next_floor_ms)
        repeats = np.zeros(len(ids), dtype=np.bool_)
        if told.any():
            repeats[told] = self._take_some(ids.take(told), came_ms[:, told], next_floor_ms)
        return repeats

    def _take_some(self, ids: Texts, came_ms: Ints, next_floor_ms: int) -> Flags:
        """Take those that may meet an id that is remembered, or may be met by one to come.

        Of many horizons at once these are few, and no other is a repeat if no two are alike.
        """
        horizon_ms, latest_ms = self.policy.horizon_ms, self._latest_ms
        self._latest_ms = max(latest_ms, int(came_ms[1].max()))
        some = came_ms[0] < latest_ms + horizon_ms
        some |= came_ms[1] > next_floor_ms - horizon_ms
        rows = some.nonzero()[0]
        if 4 * len(rows) > 3 * len(ids) or not are_distinct(ids.hashes()):
            return self._take(ids, came_ms)
        repeats = np.zeros(len(ids), dtype=np.bool_)
        if len(rows):
            repeats[rows] = self._take(ids.take(rows), came_ms[:, rows])
        return repeats

    def _turn(self, floor_ms: int) -> None:
        """Begin a new generation when the present one is old or full."""
        present, past, policy = self._present, self._past, self.policy
        full = len(present.ids) >= max(policy.ids_max // 2, 1)
        if floor_ms - present.begin_ms < policy.horizon_ms and not full:
            return
        count = len(past.ids)
        young = (past.came_ms[:count] > floor_ms - policy.horizon_ms).nonzero()[0]
        self._past, self._present = present, _Generation(present.ids)
        if full:
            self.forgotten += len(young)
        elif len(young):  # from clocks that were ahead
            names = past.ids.names_of(young)
            self._present.put(names, np.maximum(past.came_ms[young], present.last_of(names)))

    def _take(self, ids: Texts, came_ms: Ints) -> Flags:
        present, horizon_ms = self._present, self.policy.horizon_ms
        known = len(present.ids)
        slots = present.ids.slots_of(ids)
        present.grow()
        fresh = len(present.ids) - known
        if fresh:
            first = np.arange(known, len(present.ids))
            names = ids if fresh == len(ids) else present.ids.names_of(first)
            present.came_ms[known : len(present.ids)] = self._past.last_of(names)
        if fresh == len(ids):  # each id once, in the order of the slots
            last_ms = present.came_ms[slots]
            repeats: Flags = came_ms[0] - last_ms < horizon_ms
            present.came_ms[slots] = np.maximum(came_ms[1], last_ms)
            return repeats
        order = np.argsort(slots, kind="stable")
        ordered, (came_ms, kept_ms) = slots[order], came_ms[:, order]
        firsts = np.empty(len(ordered), dtype=np.bool_)
        firsts[0] = True
        np.not_equal(ordered[1:], ordered[:-1], out=firsts[1:])
        latest_ms = _latest_in(kept_ms, firsts, present.came_ms[ordered])
        before_ms = np.empty_like(came_ms)
        before_ms[1:] = latest_ms[:-1]
        before_ms[firsts] = present.came_ms[ordered[firsts]]
        repeats = np.empty(len(ids), dtype=np.bool_)
        repeats[order] = came_ms - before_ms < horizon_ms
        present.came_ms[ordered] = latest_ms  # of several the last one stays
        return repeats


def _latest_in(came_ms: Ints, firsts: Flags, before_ms: Ints) -> Ints:
    """The latest time so far within each group of rows; each group's begins with ``before_ms``."""
    came_ms = np.where(firsts, np.maximum(came_ms, before_ms), came_ms)
    lowest = int(came_ms.min())
    group = np.cumsum(firsts) * (int(came_ms.max()) - lowest + 1)  # no group reaches the next
    latest: Ints = np.maximum.accumulate(came_ms - lowest + group) - group + lowest
    return latest
