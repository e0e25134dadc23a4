"""Which clock to believe when they part: a machine's wall clock may jump, by hours, either way.

Records are judged to be from the future by the time it is now, where they do not bear the
broker's own time of their arrival. Judged by a clock that went back,
good records go to dead letters; by one that went forward, bad ones close everybody's window. Three
clocks are compared: the wall clock, a monotonic one, and the broker's, which puts a time on each
record that it takes. The wall clock is followed while it goes with the monotonic one; once they
part, only the broker can bring us to follow it.
"""

from dataclasses import dataclass, replace
from typing import NamedTuple


class Readings(NamedTuple):
    """Three clocks at one moment, in ms.

    ``monotonic_ms`` has any beginning. ``appended_ms`` is when the broker took the newest record
    in hand, so the broker's time is that or later; None: no record, or not the broker's own time.
    """

    wall_ms: int
    monotonic_ms: int
    appended_ms: int | None = None


@dataclass(frozen=True, slots=True)
class ClockState:
    """``offset_ms`` is the believed time minus the monotonic clock's.

    ``off_ms`` is how far the wall clock is ahead of the believed time (0: it is followed), and
    ``agreed_since_ms`` the monotonic time since when the broker has gone with the wall clock.
    """

    offset_ms: int
    off_ms: int = 0
    agreed_since_ms: int | None = None


class Verdict(NamedTuple):
    """The time to judge by, the state to go on with, and a jump of the wall clock (0: none)."""

    now_ms: int
    state: ClockState
    jump_ms: int


@dataclass(frozen=True, slots=True)
class ClockPolicy:
    """``jump_ms``: clocks that are nearer than this agree (a small step is followed).

    ``agreed_ms_min``: so long the broker must go with a wall clock that went back. Times of old
    records prove nothing for a moment, as reading a backlog passes through every time.
    """

    jump_ms: int = 5_000
    agreed_ms_min: int = 10_000

    def begin(self, readings: Readings) -> ClockState:
        """State at the start, when there is nothing yet to doubt the wall clock by."""
        return ClockState(readings.wall_ms - readings.monotonic_ms)

    def decide(self, state: ClockState, readings: Readings) -> Verdict:
        """Compare the clocks.

        >>> policy = ClockPolicy()
        >>> state = policy.begin(Readings(1_000_000, 0))
        >>> policy.decide(state, Readings(1_000_000 - 3_600_000, 1_000)).now_ms
        1001000
        """
        steady_ms = readings.monotonic_ms + state.offset_ms
        ahead_ms = readings.wall_ms - steady_ms
        jump_ms = ahead_ms - state.off_ms
        jump_ms = jump_ms if abs(jump_ms) >= self.jump_ms else 0
        if abs(ahead_ms) < self.jump_ms:
            return self._follow(readings, jump_ms)
        if ahead_ms > 0 and self._is_steady_behind(readings, steady_ms):
            return self._follow(readings, jump_ms)
        state = self._with_agreement(replace(state, off_ms=ahead_ms), readings)
        since_ms = state.agreed_since_ms
        if since_ms is not None and readings.monotonic_ms - since_ms >= self.agreed_ms_min:
            return self._follow(readings, jump_ms)
        return Verdict(steady_ms, state, jump_ms)

    def _is_steady_behind(self, readings: Readings, steady_ms: int) -> bool:
        """Whether a record was taken later than it is by the monotonic clock: that one stood."""
        appended_ms = readings.appended_ms
        return (
            appended_ms is not None
            and steady_ms + self.jump_ms <= appended_ms <= readings.wall_ms + self.jump_ms
        )

    def _with_agreement(self, state: ClockState, readings: Readings) -> ClockState:
        if readings.appended_ms is None:
            return state
        if state.off_ms > 0 or abs(readings.appended_ms - readings.wall_ms) >= self.jump_ms:
            return replace(state, agreed_since_ms=None)
        if state.agreed_since_ms is None:
            return replace(state, agreed_since_ms=readings.monotonic_ms)
        return state

    def _follow(self, readings: Readings, jump_ms: int) -> Verdict:
        return Verdict(readings.wall_ms, self.begin(readings), jump_ms)
