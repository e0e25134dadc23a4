"""Is the worker alive, and is it ready? Told by the worker, asked by the exporter and the watchdog.

Times are seconds of a clock that only goes forward (``time.monotonic``), given as arguments.
"""

import threading
from dataclasses import dataclass, replace
from typing import Any


@dataclass(frozen=True, slots=True)
class Signs:
    """What the worker told last. ``lag_records`` None: how far behind it is, is not known yet."""

    beat_seconds: float
    progress_seconds: float
    joined: bool = False
    partitions_owned: int = 0
    lag_records: int | None = 0
    redis_reachable: bool = False
    state_loaded: bool = False
    is_stopping: bool = False


def stall_of(signs: Signs, now_seconds: float, limit_seconds: float) -> str | None:
    """Why the worker counts as stalled, or None; exactly at the limit it is not yet.

    Idle is not stalled. A worker that was dealt partitions and does not learn how far behind it
    is, reads nothing: it is stalled.

    >>> stall_of(Signs(120.0, 0.0, lag_records=7), 121.0, 120.0)
    'no progress for 121 s with 7 records waiting'
    """
    silent_seconds = now_seconds - signs.beat_seconds
    if silent_seconds > limit_seconds:
        return f"the worker's loop has not run for {silent_seconds:.0f} s"
    idle_seconds = now_seconds - signs.progress_seconds
    if idle_seconds <= limit_seconds or signs.lag_records == 0:
        return None
    if signs.lag_records is None:
        return f"partitions were dealt {idle_seconds:.0f} s ago and none is read"
    return f"no progress for {idle_seconds:.0f} s with {signs.lag_records} records waiting"


def unready_of(signs: Signs) -> str | None:
    """Why the worker is not ready, or None. One that was dealt no partition is ready to take one.

    >>> unready_of(Signs(0.0, 0.0, joined=True, redis_reachable=True))
    'the state of its partitions is not loaded yet'
    """
    if signs.is_stopping:
        return "it is stopping"
    if not signs.joined:
        return "it has not joined the consumer group yet"
    if not signs.redis_reachable:
        return "Redis cannot be reached"
    if not signs.state_loaded:
        return "the state of its partitions is not loaded yet"
    return None


class Health:
    """Signs of one worker, behind a lock: told in its loop, asked from other threads."""

    def __init__(self, now_seconds: float, limit_seconds: float) -> None:
        self.limit_seconds = limit_seconds
        self._lock = threading.Lock()
        self._signs = Signs(beat_seconds=now_seconds, progress_seconds=now_seconds)

    @property
    def signs(self) -> Signs:
        """What was told last."""
        with self._lock:
            return self._signs

    def beat(self, now_seconds: float) -> None:
        """Tell that the loop runs; to be told every second or so, idle or not."""
        self._tell(beat_seconds=now_seconds)

    def progressed(self, now_seconds: float, lag_records: int) -> None:
        """Tell that a chunk is stored, and how many records of all partitions wait."""
        self._tell(beat_seconds=now_seconds, progress_seconds=now_seconds, lag_records=lag_records)

    def found_lag(self, now_seconds: float, lag_records: int) -> None:
        """Tell how many records wait; the time without progress begins when there are some."""
        with self._lock:
            was_idle = self._signs.lag_records == 0
            changes: dict[str, Any] = {"lag_records": lag_records}
            if was_idle and lag_records:
                changes["progress_seconds"] = now_seconds
            self._signs = replace(self._signs, **changes)

    def assigned(self, now_seconds: float, partitions_owned: int) -> None:
        """Tell that partitions were dealt; their state is not loaded and their lag not known."""
        self._tell(
            progress_seconds=now_seconds,
            joined=True,
            partitions_owned=partitions_owned,
            lag_records=None if partitions_owned else 0,
            state_loaded=not partitions_owned,
        )

    def loaded(self) -> None:
        """Tell that the state of every partition is loaded."""
        self._tell(state_loaded=True)

    def reached_redis(self, *, reachable: bool) -> None:
        """Tell whether the last call to Redis was answered."""
        self._tell(redis_reachable=reachable)

    def stopping(self) -> None:
        """Tell that the worker was asked to end."""
        self._tell(is_stopping=True)

    def forgive(self, now_seconds: float) -> None:
        """Begin all times anew: the whole process was paused, which is not the worker's fault."""
        self._tell(beat_seconds=now_seconds, progress_seconds=now_seconds)

    def stalled(self, now_seconds: float) -> str | None:
        """Why the worker counts as stalled, or None."""
        return stall_of(self.signs, now_seconds, self.limit_seconds)

    def unready(self, now_seconds: float) -> str | None:
        """Why the worker is not ready, or None; a stalled one is not."""
        signs = self.signs
        return unready_of(signs) or stall_of(signs, now_seconds, self.limit_seconds)

    def _tell(self, **changes: Any) -> None:
        with self._lock:
            self._signs = replace(self._signs, **changes)
