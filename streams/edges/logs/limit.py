"""How often one kind of line is let through: what is held back is counted, and told."""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from streams.edges.logs.lines import EVENT

HELD_BACK: Final = "surgewatch_held_back"
"""Attribute of a record: how many like it were held back before it."""
WINDOW_SECONDS: Final = 30.0
OURS_MAX: Final = 10
"""Lines of one event in a window; errors of ours are never held back: each has to be acted on."""
THEIRS_MAX: Final = 1
"""A client's library tells of a lost broker 50 times a second."""
KINDS_MAX: Final = 1_000
"""Kinds that are remembered: a library may make a new one with each line."""


@dataclass(slots=True)
class _Kind:
    since: float
    told: int = 0
    held_back: int = 0
    last: logging.LogRecord | None = None


class Limit(logging.Filter):
    """Lets so many lines of a kind through in half a minute; ``libraries``: names of theirs.

    A kind is an event of ours, or the words of a line before its values are put in.
    """

    def __init__(self, clock: Callable[[], float], libraries: tuple[str, ...]) -> None:
        super().__init__()
        self._clock = clock
        self._libraries = libraries
        self._lock = threading.Lock()
        self._kinds: dict[tuple[str, str], _Kind] = {}
        self._suppressed = 0

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether this line is told; the first of a window knows how many were not before it."""
        event = getattr(record, EVENT, None)
        most = THEIRS_MAX if record.name.startswith(self._libraries) else OURS_MAX
        if hasattr(record, HELD_BACK) or (most == OURS_MAX and record.levelno >= logging.ERROR):
            return True
        with self._lock:
            now, key = self._clock(), (record.name, event or str(record.msg))
            kind = self._kinds.get(key)
            if kind is None or now - kind.since >= WINDOW_SECONDS:
                if kind is not None and kind.held_back:
                    setattr(record, HELD_BACK, kind.held_back)
                self._forget(now)
                self._kinds[key] = kind = _Kind(now)
            if kind.told < most:
                kind.told += 1
                return True
            kind.held_back += 1
            kind.last = record
            self._suppressed += 1
            return False

    def take_suppressed(self) -> int:
        """How many lines were held back since the last call."""
        with self._lock:
            count, self._suppressed = self._suppressed, 0
            return count

    def take_due(self, *, all_kinds: bool = False) -> list[tuple[logging.LogRecord, int]]:
        """The last line of each kind that was held back, and how many: once its window is over."""
        with self._lock:
            now, due = self._clock(), []
            for key, kind in list(self._kinds.items()):
                over = all_kinds or now - kind.since >= WINDOW_SECONDS
                if over and kind.last is not None:
                    due.append((kind.last, kind.held_back))
                    del self._kinds[key]
            return due

    def _forget(self, now: float) -> None:
        if len(self._kinds) < KINDS_MAX:
            return
        kept = {
            key: kind
            for key, kind in self._kinds.items()
            if kind.held_back or now - kind.since < WINDOW_SECONDS
        }
        self._kinds = kept if len(kept) < KINDS_MAX else {}
