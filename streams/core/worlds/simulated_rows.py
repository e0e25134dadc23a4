"""Simulated events as columns, and those of them that are still under way."""

from dataclasses import dataclass, fields, replace
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from streams.core.records.chunks import Reason

Ints = NDArray[np.int64]

FAULTS: Final = (
    Reason.EMPTY,
    Reason.NOT_JSON,
    Reason.NOT_AN_OBJECT,
    Reason.CREATOR_MISSING,
    Reason.AT_MS_NEGATIVE,
    Reason.AT_MS_IN_SECONDS,
)
"""How a record is spoilt: column ``fault`` holds the index here plus 1, or 0."""
NO_POST: Final = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class EventRows:
    """Events as columns of equal length; a comment has no use for the last two.

    ``event_no`` counts the events of one topic from 0 in order of arrival; ``region`` is an
    index in REGIONS and tells the language too; ``post`` is 0..9 or NO_POST.
    """

    event_no: Ints
    creator: Ints
    user: Ints
    at_ms: Ints
    arrival_ms: Ints
    region: Ints
    post: Ints
    fault: Ints
    account_created_ms: Ints
    unfollow: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.at_ms)

    def at(self, index: Ints | NDArray[np.bool_]) -> Self:
        """Rows at the places, or where the mask holds."""
        return replace(self, **{f.name: getattr(self, f.name)[index] for f in fields(self)})


class Pending:
    """Events that have been drawn and have not arrived yet."""

    def __init__(self) -> None:
        self._rows: list[EventRows] = []
        self._next_no = 0

    def add(self, rows: EventRows) -> None:
        """Keep events until they arrive."""
        if len(rows):
            self._rows.append(rows)

    def take(self, until_ms: int) -> EventRows:
        """Remove and number what arrives before ``until_ms``, in order of arrival."""
        rows = joined_of(self._rows)
        due = rows.arrival_ms < until_ms
        self._rows = [rows.at(~due)]
        taken = rows.at(due)
        taken = taken.at(np.argsort(taken.arrival_ms, kind="stable"))
        numbers = np.arange(self._next_no, self._next_no + len(taken))
        self._next_no += len(taken)
        return replace(taken, event_no=numbers)


def joined_of(parts: list[EventRows]) -> EventRows:
    """Rows of all parts, one after the other."""
    if not parts:
        return rows_of(np.empty(0, np.int64), 0, 0, 0)
    return EventRows(
        **{f.name: np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(EventRows)}
    )


def rows_of(
    at_ms: Ints, creator: Ints | int, user: Ints | int, region: Ints | int, **more: Ints | int
) -> EventRows:
    """Rows at the times, arriving at once; a number stands for a column of it."""

    def column(value: Ints | int) -> Ints:
        return np.broadcast_to(np.asarray(value, dtype=np.int64), at_ms.shape)

    return EventRows(
        event_no=column(0),
        creator=column(creator),
        user=column(user),
        at_ms=at_ms,
        arrival_ms=at_ms,
        region=column(region),
        post=column(more.get("post", NO_POST)),
        fault=column(0),
        account_created_ms=column(more.get("account_created_ms", 0)),
        unfollow=column(0).astype(np.bool_),
    )
