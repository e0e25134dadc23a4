"""The time it is now, by the clocks that agree; ``core/time/clock.py`` decides."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from streams.core.time.clock import ClockPolicy, Readings
from streams.edges.errors import DataError
from streams.edges.logs.lines import logger_of
from streams.edges.settings.list import Settings

_CLOCKS_AGREE_MS: Final = 60_000

log = logger_of(__name__)


def wall_ms() -> int:
    """Unix time in ms, as this machine has it."""
    return time.time_ns() // 1_000_000


def monotonic_ms() -> int:
    """Milliseconds of a clock that never jumps; goes on while the machine sleeps, if it can."""
    if hasattr(time, "CLOCK_BOOTTIME"):
        return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000
    return time.monotonic_ns() // 1_000_000


def allowed_off_ms(settings: Settings) -> int:
    """By how much our clock and a server's may differ when a worker starts."""
    return max(settings.future_skew_ms, _CLOCKS_AGREE_MS)


class ClockWrong(DataError):
    """Our clock and a server's differ by more than the times of records may: what, and the fix."""

    def __init__(self, off_ms: int, allowed_ms: int, whose: str = "Redis'") -> None:
        way = "ahead of" if off_ms > 0 else "behind"
        self.problem = (
            f"this machine's clock is {abs(off_ms) / 1000:.0f} s {way} {whose} clock: by it good "
            "records would be taken for ones from the future, or those let in"
        )
        self.fix = (
            "Have time synchronised on both machines, or set SURGEWATCH_FUTURE_SKEW_MS higher "
            f"than the difference (now {allowed_ms} is allowed)"
        )
        super().__init__(f"{self.problem}. {self.fix}")


@dataclass(frozen=True, slots=True)
class Clocks:
    """Where the time is read; a test gives its own."""

    wall_ms: Callable[[], int] = wall_ms
    monotonic_ms: Callable[[], int] = monotonic_ms


class SteadyClock:
    """Now, whatever the wall clock does. ``told`` hears of jumps, and by how much it is off."""

    def __init__(
        self,
        clocks: Clocks,
        told: Callable[[int, int], None],
        policy: ClockPolicy | None = None,
    ) -> None:
        self._clocks = clocks
        self._told = told
        self._policy = policy or ClockPolicy()
        self._lock = threading.Lock()  # metrics ask from their own thread
        self._state = self._policy.begin(self._readings(None))

    def now_ms(self, appended_ms: int | None = None) -> int:
        """Time to judge by; ``appended_ms`` is the broker's own time of the newest record."""
        with self._lock:
            verdict = self._policy.decide(self._state, self._readings(appended_ms))
            self._state = verdict.state
        if verdict.jump_ms:
            self._tell(verdict.jump_ms, verdict.state.off_ms)
        return verdict.now_ms

    @property
    def off_ms(self) -> int:
        """Wall clock minus the time to judge by, as last read; 0 while they agree."""
        return self._state.off_ms

    def _readings(self, appended_ms: int | None) -> Readings:
        return Readings(self._clocks.wall_ms(), self._clocks.monotonic_ms(), appended_ms)

    def _tell(self, jump_ms: int, off_ms: int) -> None:
        way = "forward" if jump_ms > 0 else "back"
        seconds = abs(jump_ms) / 1000
        if off_ms:
            log.warning(
                "clock_jumped",
                "this machine's clock jumped {way} by {seconds:.0f} s; records are judged by its "
                "monotonic clock until they agree or Kafka's time goes with it: is time "
                "synchronised here?",
                way=way,
                seconds=seconds,
            )
        else:
            log.warning(
                "clock_believed",
                "this machine's clock jumped {way} by {seconds:.0f} s and is believed: it agrees "
                "with the monotonic clock or with Kafka's time",
                way=way,
                seconds=seconds,
            )
        self._told(jump_ms, off_ms)
