"""Is the worker alive, and is it ready? Told by the worker, asked by the exporter and the watchdog.

Times are seconds of a clock that only goes forward (``time.monotonic``), given as arguments.
"""

import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Final

from streams.edges.errors import REDIS_UNREACHED

STOP_SECONDS_MAX: Final = 60.0
"""Twice what stopping may take, all its waits together."""
DEAL_SECONDS_MAX: Final = 60.0
"""What other workers may take to give up theirs, beyond the limit."""


@dataclass(frozen=True, slots=True)
class Signs:
    """What the worker told last. ``lag_records`` None: how far behind it is, is not known yet.

    Since when something is so that must end, None: it is not so: ``unheard_seconds``: Kafka answers
    and tells nothing of a partition; ``dealing_seconds``: partitions are dealt;
    ``stopping_seconds``: the worker stops.
    """

    beat_seconds: float
    progress_seconds: float
    unheard_seconds: float | None = None
    dealing_seconds: float | None = None
    stopping_seconds: float | None = None
    kafka_silent: bool = False
    joined: bool = False
    partitions_owned: int = 0
    lag_records: int | None = 0
    redis_problem: str | None = REDIS_UNREACHED
    state_loaded: bool = False


def stall_of(signs: Signs, now_seconds: float, limit_seconds: float) -> str | None:
    """Why the worker counts as stalled, or None; exactly at the limit it is not yet.

    Idle is not stalled. A worker that was dealt partitions and does not learn how far behind it
    is, reads nothing: it is stalled. So is one that believes it has read all while nothing was
    heard of its partitions, though Kafka answers: what reads them has ended.

    >>> stall_of(Signs(120.0, 0.0, lag_records=7), 121.0, 120.0)
    'no progress for 121 s with 7 records waiting'
    """
    return next(_stalls(signs, now_seconds, limit_seconds), None)


def _stalls(signs: Signs, now_seconds: float, limit_seconds: float) -> Iterator[str]:
    def since(began_seconds: float | None) -> float:
        return 0.0 if began_seconds is None else now_seconds - began_seconds

    silent = since(signs.beat_seconds)
    if silent > limit_seconds:
        yield f"the worker's loop has not run for {silent:.0f} s"
    stopping = since(signs.stopping_seconds)
    if stopping > STOP_SECONDS_MAX:
        yield f"it has been stopping for {stopping:.0f} s"
    if signs.stopping_seconds is not None:
        return
    dealing = since(signs.dealing_seconds)
    if dealing > limit_seconds + DEAL_SECONDS_MAX:
        yield f"partitions have been dealt for {dealing:.0f} s without an end"
    idle, unheard = since(signs.progress_seconds), since(signs.unheard_seconds)
    if signs.lag_records == 0 and unheard > limit_seconds:
        yield f"Kafka answers, but nothing was heard of a partition for {unheard:.0f} s"
    if signs.lag_records is None and idle > limit_seconds:
        yield f"partitions were dealt {idle:.0f} s ago and none is read"
    if signs.lag_records and idle > limit_seconds:
        yield f"no progress for {idle:.0f} s with {signs.lag_records} records waiting"


def unready_of(signs: Signs) -> str | None:
    """Why the worker is not ready, or None. One that was dealt no partition is ready to take one.

    >>> unready_of(Signs(0.0, 0.0, joined=True, redis_problem=None))
    'the state of its partitions is not loaded yet'
    """
    if signs.stopping_seconds is not None:
        return "it is stopping"
    if not signs.joined:
        return "it has not joined the consumer group yet"
    if signs.redis_problem is not None:
        return signs.redis_problem
    if not signs.state_loaded:
        return "the state of its partitions is not loaded yet"
    return None


def _since(before: float | None, now_seconds: float, is_over: bool) -> float | None:
    if is_over:
        return None
    return now_seconds if before is None else before


class Health:
    """Signs of one worker, behind a lock: told in its loop, asked from other threads."""

    def __init__(self, now_seconds: float, limit_seconds: float) -> None:
        self.limit_seconds = limit_seconds
        self._lock = threading.Lock()
        self._signs = Signs(now_seconds, now_seconds)

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

    def found_flow(self, now_seconds: float, *, heard: bool, dealing: bool) -> None:
        """Tell whether all that is read was just heard of, and whether partitions are dealt now.

        To be told with each beat. A silent Kafka is not the worker's fault: all times begin anew
        when it is back.
        """
        with self._lock:
            before, silent = self._signs, self._signs.kafka_silent
            self._signs = replace(
                before,
                unheard_seconds=_since(before.unheard_seconds, now_seconds, heard or silent),
                dealing_seconds=_since(before.dealing_seconds, now_seconds, not dealing or silent),
            )

    def heard_kafka(self, *, silent: bool) -> None:
        """Tell whether any broker answers."""
        self._tell(kafka_silent=silent)

    def stops(self, now_seconds: float) -> None:
        """Tell that the worker was asked to stop, or begins to; the first time counts."""
        with self._lock:
            before = self._signs
            began_seconds = _since(before.stopping_seconds, now_seconds, is_over=False)
            self._signs = replace(before, stopping_seconds=began_seconds)

    def assigned(self, now_seconds: float, partitions_owned: int) -> None:
        """Tell that partitions were dealt; their state is not loaded and their lag not known."""
        self._tell(
            progress_seconds=now_seconds,
            unheard_seconds=None,
            joined=True,
            partitions_owned=partitions_owned,
            lag_records=None if partitions_owned else 0,
            state_loaded=not partitions_owned,
        )

    def loaded(self) -> None:
        """Tell that the state of every partition is loaded."""
        self._tell(state_loaded=True)

    def reached_redis(self) -> None:
        """Tell that the last call to Redis was answered."""
        self._tell(redis_problem=None)

    def failed_redis(self, problem: str) -> None:
        """Tell what is wrong with Redis, in few words without a secret."""
        self._tell(redis_problem=problem)

    def forgive(self, now_seconds: float) -> None:
        """Begin all times anew: the whole process was paused, which is not the worker's fault."""
        with self._lock:
            before = self._signs
            stops = before.stopping_seconds is not None
            self._signs = replace(
                before,
                beat_seconds=now_seconds,
                progress_seconds=now_seconds,
                unheard_seconds=None,
                dealing_seconds=None,
                stopping_seconds=now_seconds if stops else None,
            )

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
