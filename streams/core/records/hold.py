"""Records of one partition held back for as long as one of an earlier time may still come.

The frontier is the watermark of what was read, less the allowed lateness. A record that comes
after the frontier is held until the frontier reaches it; then it is let through, in the order of
its time and content. One that comes at or behind the frontier is late beyond what is allowed and
is let through at once. So of all that was read, exactly what lies at or behind the frontier was
let through: a worker that takes a partition over reads the last records once more, and holds
those beyond the stored frontier.
"""

from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np

from streams.core.records.chunk_rows import content_order, cut, joined, repacked, taken
from streams.core.records.texts import Ints

_MERGED: Final = 8
_WHOLE_ROWS: Final = 4_096
"""A part of so many rows is not merged with others any more."""


@dataclass(frozen=True, slots=True)
class LatenessPolicy:
    """How long a record is waited for (event time), and how many are held at the most."""

    allowed_ms: int
    held_max: int


class Standing(NamedTuple):
    """The watermark of what was read, and the frontier: what lies at or behind it was counted."""

    read_ms: int
    frontier_ms: int


class Ready(NamedTuple):
    """Rows to be counted now, in this order, and where the partition then stands.

    ``ids_ms``: when each row's event id came, two rows as `Repeats.take` has them, None where no
    ids are looked at; ``floor_ms``: none comes before it any more.
    """

    chunk: Any
    ids_ms: Ints | None = None
    standing: Standing | None = None
    floor_ms: int = -1


class _Part(NamedTuple):
    """Held rows in the order of their time; ``level``: how often they were merged."""

    chunk: Any
    level: int


class Hold:
    """Held records, all beyond the frontier. The cut of what comes leaves no trace.

    ``late``: records that came later than is allowed; ``early``: those let through before their
    time for want of room.
    """

    def __init__(self, policy: LatenessPolicy) -> None:
        self.standing = Standing(-1, -1)
        self.late = self.early = 0
        self._policy = policy
        self._parts: list[_Part] = []

    def __len__(self) -> int:
        """How many records are held."""
        return sum(len(part.chunk) for part in self._parts)

    @property
    def allowed_ms(self) -> int:
        """How long a record is waited for."""
        return self._policy.allowed_ms

    def put(self, chunk: Any) -> None:
        """Take up records that were held before: all beyond the frontier."""
        if len(chunk):
            self._add(chunk)

    def take(self, chunk: Any, floors_ms: Ints) -> Ready:
        """Take records; those to be counted now. No id of a late one comes before its floors."""
        pieces: list[Any] = []
        ids: list[Ints] = []
        begin = 0
        while True:
            rest = cut(chunk, begin, len(chunk))
            until = self._room_in(rest)
            done = self._advance(
                rest if until is None else cut(rest, 0, until), floors_ms[:, begin:]
            )
            pieces.append(done[0])
            ids.append(done[1])
            if until is None:
                break
            begin += until
            oldest = self._let_oldest()
            pieces.append(oldest)
            ids.append(_twice(oldest.at_ms))
        if len(pieces) == 1:
            return Ready(pieces[0], ids[0], self.standing)
        return Ready(joined(pieces), np.concatenate(ids, axis=1), self.standing)

    def take_all(self) -> Ready:
        """Let everything through: no record came for so long that none is waited for."""
        self.standing = self.standing._replace(frontier_ms=self.standing.read_ms)
        pieces = [part.chunk for part in self._parts]
        self._parts = []
        chunk = _ordered(joined(pieces))
        return Ready(chunk, _twice(chunk.at_ms), self.standing)

    def _frontiers(self, at_ms: Ints) -> tuple[Ints, Ints]:
        """Watermark and frontier at each record."""
        read_ms, frontier_ms = self.standing
        seen_ms = np.maximum(np.maximum.accumulate(at_ms), read_ms)
        return seen_ms, np.maximum(seen_ms - self.allowed_ms, frontier_ms)

    def _room_in(self, chunk: Any) -> int | None:
        """How many records come until too many are held; None: there is room for all."""
        held, most, at_ms = len(self), self._policy.held_max, chunk.at_ms
        if held + len(chunk) <= most or not len(chunk):
            return None
        _, frontiers_ms = self._frontiers(at_ms)
        on_time = at_ms > frontiers_ms
        ways = [part.chunk.at_ms for part in self._parts] + [at_ms[on_time]]
        leaves = np.searchsorted(frontiers_ms, np.concatenate(ways))
        left = np.bincount(leaves, minlength=len(at_ms) + 1)[: len(at_ms)]
        over = (held + np.cumsum(on_time) - np.cumsum(left) > most).nonzero()[0]
        return int(over[0]) + 1 if len(over) else None

    def _advance(self, chunk: Any, floors_ms: Ints) -> tuple[Any, Ints]:
        """Take records for which there is room; those let through, and the times of their ids."""
        at_ms = chunk.at_ms
        if not len(at_ms):
            read_ms, frontier_ms = self.standing
            self.standing = Standing(read_ms, max(frontier_ms, read_ms - self.allowed_ms))
            found = _ordered(joined([*self._let(self.standing.frontier_ms), chunk]))
            return found, _twice(found.at_ms)
        floors_ms = floors_ms[:, : len(at_ms)]
        seen_ms, frontiers_ms = self._frontiers(at_ms)
        self.standing = Standing(int(seen_ms[-1]), int(frontiers_ms[-1]))
        pieces = self._let(self.standing.frontier_ms)
        stays = at_ms > self.standing.frontier_ms
        late = at_ms <= frontiers_ms
        if stays.any():
            self._add(taken(chunk, stays))
        leaves = ~stays
        found = joined([*pieces, taken(chunk, leaves)])
        late_count = int(np.count_nonzero(late))
        if not late_count:
            found = _ordered(found)
            return found, _twice(found.at_ms)
        self.late += late_count
        before = len(found) - int(np.count_nonzero(leaves))
        moments, ids_ms = np.searchsorted(frontiers_ms, found.at_ms), _twice(found.at_ms)
        rows = late[leaves].nonzero()[0] + before
        moments[rows] = late.nonzero()[0]
        ids_ms[:, rows] = np.maximum(ids_ms[:, rows], floors_ms[:, late])
        order = content_order(found, moments)
        return (found, ids_ms) if order is None else (taken(found, order), ids_ms[:, order])

    def _let(self, frontier_ms: int) -> list[Any]:
        """Let go of the rows at or behind the frontier."""
        pieces, parts = [], []
        for part in self._parts:
            at_ms = part.chunk.at_ms
            end = int(np.searchsorted(at_ms, frontier_ms, side="right"))
            if end:
                pieces.append(cut(part.chunk, 0, end))
            if end < len(at_ms):
                rest = cut(part.chunk, end, len(at_ms)) if end else part.chunk
                parts.append(_Part(rest, part.level))
        self._parts = parts
        return pieces

    def _let_oldest(self) -> Any:
        """Let go of the older half, by moving the frontier there."""
        at_ms = np.concatenate([part.chunk.at_ms for part in self._parts])
        middle = (len(at_ms) - 1) // 2
        frontier_ms = int(np.partition(at_ms, middle)[middle])
        self.standing = self.standing._replace(frontier_ms=frontier_ms)
        oldest = _ordered(joined(self._let(frontier_ms)))
        self.early += len(oldest)
        return oldest

    def _add(self, chunk: Any) -> None:
        """Hold these rows. Small parts are merged, so that there are few of them."""
        parts = self._parts
        parts.append(_Part(_by_time(chunk), 0))
        while len(parts) >= _MERGED:
            last = parts[-_MERGED:]
            if any(p.level != last[0].level or len(p.chunk) >= _WHOLE_ROWS for p in last):
                return
            merged = joined([part.chunk for part in last])
            parts[-_MERGED:] = [_Part(_by_time(merged), last[0].level + 1)]


def _twice(at_ms: Ints) -> Ints:
    """Both times of the ids of records that are on time: their own."""
    return np.stack((at_ms, at_ms))


def _by_time(chunk: Any) -> Any:
    """Rows by their time alone, in buffers of their own."""
    at_ms = chunk.at_ms
    if (at_ms[1:] < at_ms[:-1]).any():
        chunk = taken(chunk, np.argsort(at_ms, kind="stable"))
    return repacked(chunk)


def _ordered(chunk: Any) -> Any:
    order = content_order(chunk)
    return chunk if order is None else taken(chunk, order)
