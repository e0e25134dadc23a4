"""Records repeated upstream: an event id that came before, a short time ago, counts once.

Time is the partition's watermark; where records are held back (``core/hold.py``), the frontier at
which the record came or its own time, whichever is later: that hangs neither on the order within
what is allowed nor on when the record was let through. A record is a repeat when its id came
before and time has moved on by less than the horizon since it last came (as a repeat or not). So
what is known of an id hangs on the records of the last horizon only, and a worker that takes a
partition over learns it by reading these again, without counting them: nothing of it is stored.
"""

from collections import deque
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from streams.core.keys import Keys
from streams.core.texts import Ints, Texts

Flags = NDArray[np.bool_]

_NEVER: Final = -(1 << 62)
_MARKS: Final = 32


@dataclass(frozen=True, slots=True)
class RepeatPolicy:
    """How long an id is remembered (event time), and how many ids at the most, by partition.

    ``allowed_lateness_ms``: by how much the times of the ids may fall back.
    """

    horizon_ms: int
    ids_max: int
    allowed_lateness_ms: int = 0


class Reread(NamedTuple):
    """Where reading begins again: an offset, and the watermark before the record there.

    Before ``held_offset`` no record is held back (None: there is none at all). The records at
    ``dead_offsets`` were in the future when they came; all others that can be used were taken.
    """

    offset: int
    watermark_ms: int
    held_offset: int | None = None
    dead_offsets: tuple[int, ...] = ()


class Lookback:
    """Where reading must begin again to meet all records of the last horizon."""

    def __init__(self, horizon_ms: int) -> None:
        self._horizon_ms = horizon_ms
        self._marks: deque[tuple[Reread, int]] = deque()

    def took(self, offset: int, before_ms: int, after_ms: int) -> None:
        """Records from ``offset`` on were taken, which moved the watermark so far.

        >>> lookback = Lookback(1000)
        >>> lookback.took(0, -1, 500)
        >>> lookback.took(10, 500, 900)
        >>> lookback.took(20, 900, 1500)
        >>> lookback.begin
        Reread(offset=10, watermark_ms=500, held_offset=None, dead_offsets=())
        """
        marks = self._marks
        if marks and after_ms - marks[-1][0].watermark_ms <= self._horizon_ms // _MARKS:
            marks[-1] = (marks[-1][0], after_ms)
        else:
            marks.append((Reread(offset, before_ms), after_ms))
        while marks[0][1] <= after_ms - self._horizon_ms:
            marks.popleft()

    @property
    def begin(self) -> Reread | None:
        """Where to begin; None: nothing was taken."""
        return self._marks[0][0] if self._marks else None

    def first_beyond(self, frontier_ms: int) -> int | None:
        """An offset before which no record is beyond the frontier; None: none is at all."""
        return next((mark.offset for mark, ms in self._marks if ms > frontier_ms), None)


class _Generation:
    """Ids that came while this was the present generation, and when each last came."""

    def __init__(self, begin_ms: int, like: Keys | None = None) -> None:
        self.begin_ms = begin_ms
        self.ids = Keys(like)
        self.came_ms = np.zeros(0, dtype=np.int64)

    def grow(self) -> None:
        """Make room for the times of all ids."""
        have, need = len(self.came_ms), len(self.ids)
        if need > have:
            more = np.full(max(need, 2 * have, 1024) - have, _NEVER, dtype=np.int64)
            self.came_ms = np.concatenate((self.came_ms, more))

    def last_of(self, ids: Texts) -> Ints:
        """When each id last came, long ago if never."""
        if not len(self.ids):
            return np.full(len(ids), _NEVER, dtype=np.int64)
        slots = self.ids.find(ids)
        return np.where(slots < 0, _NEVER, self.came_ms[slots])


class Repeats:
    """Event ids of one partition that came within the horizon.

    Two generations are kept, each of a horizon of time or of half the ids that are allowed; the
    older one is let go as a whole. ``forgotten``: ids let go too early, for want of room.
    """

    def __init__(self, policy: RepeatPolicy) -> None:
        self._policy = policy
        self._present = _Generation(_NEVER)
        self._past = _Generation(_NEVER)
        self.forgotten = 0

    def __len__(self) -> int:
        """How many ids are remembered."""
        return len(self._present.ids) + len(self._past.ids)

    def take(self, ids: Texts, seen_ms: Ints) -> Flags:
        """Which records are repeats; ``seen_ms`` is the watermark at each. Remembers them all.

        An empty id is none: such a record is never a repeat.
        """
        self._turn(int(seen_ms[0]))
        told = ids.lengths > 0
        if told.all():
            return self._take(ids, seen_ms)
        repeats = np.zeros(len(ids), dtype=np.bool_)
        if told.any():
            repeats[told] = self._take(ids.take(told), seen_ms[told])
        return repeats

    def _turn(self, now_ms: int) -> None:
        """Begin a new generation when the present one is old or full."""
        present, policy = self._present, self._policy
        full = len(present.ids) >= max(policy.ids_max // 2, 1)
        # an id's time may lie before this one by what is allowed, and so may a later record's
        turn_ms = policy.horizon_ms + 2 * policy.allowed_lateness_ms
        if now_ms - present.begin_ms < turn_ms and not full:
            return
        past = self._past
        if full and len(past.ids):
            young = now_ms - past.came_ms[: len(past.ids)] < policy.horizon_ms
            self.forgotten += int(np.count_nonzero(young))
        self._past = present
        self._present = _Generation(now_ms, present.ids)

    def _take(self, ids: Texts, seen_ms: Ints) -> Flags:
        present = self._present
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
            repeats: Flags = seen_ms - last_ms < self._policy.horizon_ms
            present.came_ms[slots] = np.maximum(seen_ms, last_ms)
            return repeats
        order = np.argsort(slots, kind="stable")
        ordered, came_ms = slots[order], seen_ms[order]
        firsts = np.empty(len(ordered), dtype=np.bool_)
        firsts[0] = True
        np.not_equal(ordered[1:], ordered[:-1], out=firsts[1:])
        latest_ms = came_ms
        if self._policy.allowed_lateness_ms:
            latest_ms = _latest_in(came_ms, firsts, present.came_ms[ordered])
        before_ms = np.empty_like(came_ms)
        before_ms[1:] = latest_ms[:-1]
        before_ms[firsts] = present.came_ms[ordered[firsts]]
        repeats = np.empty(len(ids), dtype=np.bool_)
        repeats[order] = came_ms - before_ms < self._policy.horizon_ms
        present.came_ms[ordered] = latest_ms  # of several the last one stays
        return repeats


def _latest_in(came_ms: Ints, firsts: Flags, before_ms: Ints) -> Ints:
    """The latest time so far within each group of rows; each group's begins with ``before_ms``."""
    came_ms = np.where(firsts, np.maximum(came_ms, before_ms), came_ms)
    lowest = int(came_ms.min())
    group = np.cumsum(firsts) * (int(came_ms.max()) - lowest + 1)  # no group reaches the next
    latest: Ints = np.maximum.accumulate(came_ms - lowest + group) - group + lowest
    return latest
