"""Records of several files in one order of event time, so that they can be told at a pace.

Only the ``at_ms`` of each record is looked for, as text: a record that cannot be read keeps
its place in its file and takes the time of the one before.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from streams.core.records.chunks import RawChunk

_AT_MS: Final = re.compile(rb'"at_ms"\s*:\s*(\d{12,13})(?![\d.eE])')
_CREATOR: Final = re.compile(rb'"creator_id"\s*:\s*"([^"\\\x00-\x1f]{1,256})"')
_EARLIEST_MS: Final = 946_684_800_000
_LATEST_MS: Final = 4_102_444_800_000
_DAY_MS: Final = 86_400_000
_SIDE: Final = 4
"""Neighbours on each side among which a time must be the middle one to be believed."""


@dataclass(frozen=True, slots=True)
class TimedChunk:
    """A chunk and when its records are due: event times that never fall."""

    chunk: RawChunk
    at_ms: NDArray[np.int64]


def key_of(value: bytes) -> bytes | None:
    """Creator of a record as Kafka's key, found as text; None if there is none to be found.

    >>> key_of(b'{"creator_id": "c-1", "at_ms": 5}')
    b'c-1'
    """
    found = _CREATOR.search(value)
    return found.group(1) if found else None


def due_times_of(values: Sequence[bytes | None], previous_ms: int) -> NDArray[np.int64]:
    """When each record is due: its event time, never before ``previous_ms`` or one before.

    A lone time far from its neighbours' (a wrong clock, a mistake) is passed over; so are a
    chunk's first and last few when a day lies between them and the rest.
    """
    told = np.array([_at_ms_of(value) for value in values], dtype=np.int64)
    places = np.flatnonzero(told)
    if not len(places):
        return np.full(len(values), previous_ms, np.int64)
    told[places] = _smoothed(told[places])
    known = np.zeros(len(values), np.int64)
    known[places] = places
    known = np.maximum(np.maximum.accumulate(known), places[0])
    return np.maximum.accumulate(np.maximum(told[known], previous_ms))


def _at_ms_of(value: bytes | None) -> int:
    found = _AT_MS.search(value) if value else None
    at_ms = int(found.group(1)) if found else 0
    return at_ms if _EARLIEST_MS <= at_ms < _LATEST_MS else 0


def _smoothed(at_ms: NDArray[np.int64]) -> NDArray[np.int64]:
    """Middle of each nine neighbours: sorted times stay as they are, lone ones vanish."""
    window = 2 * _SIDE + 1
    if len(at_ms) < window:
        return _near(at_ms, int(np.sort(at_ms)[len(at_ms) // 2]))
    windows = np.lib.stride_tricks.sliding_window_view(at_ms, window)
    middle = np.sort(windows, axis=1)[:, _SIDE]
    head = _near(at_ms[:_SIDE], int(middle[0]))
    tail = _near(at_ms[-_SIDE:], int(middle[-1]))
    return np.concatenate([head, middle, tail])


def _near(at_ms: NDArray[np.int64], middle_ms: int) -> NDArray[np.int64]:
    return np.where(np.abs(at_ms - middle_ms) <= _DAY_MS, at_ms, middle_ms)


def cut_of(chunk: RawChunk, start: int, end: int) -> RawChunk:
    """Records at the places [start, end) of a chunk, as a chunk."""
    if start == 0 and end == len(chunk.values):
        return chunk
    offsets = chunk.offsets[start:end]
    return replace(
        chunk, values=chunk.values[start:end], offsets=offsets, next_offset=offsets[-1] + 1
    )


class _Source:
    """One file's chunks, with the place of the next record that is due."""

    def __init__(self, chunks: Iterator[RawChunk]) -> None:
        self._chunks = chunks
        self._timed: TimedChunk | None = None
        self._place = 0
        self._previous_ms = 0

    def due_ms(self) -> int | None:
        """When the next record is due; None at the end."""
        while self._timed is None or self._place == len(self._timed.at_ms):
            chunk = next(self._chunks, None)
            if chunk is None:
                return None
            at_ms = due_times_of(chunk.values, self._previous_ms)
            self._timed, self._place = TimedChunk(chunk, at_ms), 0
            self._previous_ms = int(at_ms[-1]) if len(at_ms) else self._previous_ms
        return int(self._timed.at_ms[self._place])

    def take(self, end_ms: int) -> TimedChunk:
        """Take what is due before ``end_ms`` of the chunk at hand; call ``due_ms`` before."""
        assert self._timed is not None
        start, at_ms = self._place, self._timed.at_ms
        self._place = int(np.searchsorted(at_ms, end_ms, side="left"))
        return TimedChunk(cut_of(self._timed.chunk, start, self._place), at_ms[start : self._place])


def merged_by_time(
    sources: Sequence[Iterator[RawChunk]], slice_ms: int
) -> Iterator[tuple[int, int, TimedChunk]]:
    """Walk (slice's start, source, records): slices of event time in order, sources in each.

    Each source keeps its own order. Slices with no records are left out.
    """
    heads = [_Source(source) for source in sources]
    while dues := [due for head in heads if (due := head.due_ms()) is not None]:
        start_ms = min(dues) // slice_ms * slice_ms
        for number, head in enumerate(heads):
            while (due := head.due_ms()) is not None and due < start_ms + slice_ms:
                yield start_ms, number, head.take(start_ms + slice_ms)
