"""What a detector of many keys answers: the seam between a watch and whatever scores it."""

from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from streams.core.detection.block_ahead import Course
from streams.core.detection.block_maths import ScoreColumns
from streams.core.detection.block_tables import Floats, Ints
from streams.core.waves.factors import WaveFactors

States = TypeVar("States")


class NoAlarmError(ValueError):
    """No count in (``low``, ``high``] alarms: the caller's scores are not of this state."""

    def __init__(self, slot: int, low: int, high: int) -> None:
        super().__init__(f"slot {slot}: no count above {low} and up to {high} alarms")
        self.slot = slot
        self.low = low
        self.high = high


class Ahead(Protocol):
    """What a course would come to; nothing has changed yet."""

    @property
    def score(self) -> Floats:
        """Score of each of the course's buckets with its count, as `KeyDetector.score` says it."""
        ...

    @property
    def expected(self) -> Floats:
        """Events that each of them would usually bring."""
        ...

    @property
    def exposure(self) -> Floats:
        """How busy each of them usually is."""
        ...

    def keep(self, keys: NDArray[np.bool_] | None) -> None:
        """Have these of the course's keys in their last bucket, others as they were; None: all."""
        ...


class KeyDetector(Protocol[States]):
    """Detector of keys in slots 0..n-1; `DetectorBlock` and `RiverBank` are its two bodies.

    A key has one open bucket. The caller counts it and says in each call which it is
    (``opened``). ``States`` is what the store keeps: an array, or bytes a key.
    """

    def lift_by(self, factors: WaveFactors) -> bool:
        """Have a wave's factors in what is expected from now on; False: it cannot."""
        ...

    def epochs_of(self, water: Ints) -> Ints:
        """Number of the time for which what keys share stays, for the watermark's buckets."""
        ...

    def enter(self, bucket: int) -> None:
        """Have the watermark in ``bucket``; nothing else changes what keys share."""
        ...

    def shared_state(self) -> dict[str, bytes]:
        """What keys share, for the store, in parts by name."""
        ...

    def restore_shared(self, parts: dict[str, bytes]) -> None:
        """Put it back, as far as it is there."""
        ...

    @property
    def seen_over_asked(self) -> float | None:
        """Alarms told over those that the budget allows, of some weeks; None: not known.

        It changes in `enter` alone.
        """
        ...

    def take_alarms(self, count: int) -> None:
        """So many of its alarms were told."""
        ...

    def grow(self, size: int) -> None:
        """Make room for slots < ``size``."""
        ...

    def keep(self, slots: Ints) -> bool:
        """Forget all slots but these, renumbered in their order; False: it cannot, all stay."""
        ...

    def begin(self, slots: Ints, bucket: int) -> None:
        """Keys first met in ``bucket``, their open bucket."""
        ...

    def advance(self, slots: Ints, opened: Ints, counts: Ints, bucket: Ints | int) -> None:
        """Close open buckets with their counts and learn them; ``bucket`` is the open one now."""
        ...

    def amend(self, slots: Ints, late_bucket: Ints, opened: Ints, counts: Ints) -> None:
        """Late records of already learnt buckets, in the order of the records."""
        ...

    def score(
        self, slots: Ints, counts: Ints, *, opened: Ints | int, lift: float = 1.0
    ) -> ScoreColumns:
        """Score open buckets with their counts so far; >= 1 alarms; changes nothing.

        ``lift``: as if the wave lifted so many times more.
        """
        ...

    def run_ahead(self, course: Course) -> Ahead | None:
        """What keys' next buckets come to, as `begin` and `advance` make it; None: cannot tell.

        Nothing changes until `Ahead.keep`, before which no other call may change these keys.
        """
        ...

    def alarm_count(self, slot: int, low: int, high: int, opened: int, lift: float = 1.0) -> int:
        """Smallest count in (low, high] that alarms; raises `NoAlarmError`."""
        ...

    def alarm_counts(
        self, slots: Ints, lows: Ints, highs: Ints, opened: Ints, lift: float = 1.0
    ) -> Ints:
        """`alarm_count` of each slot, where ``highs`` alarms."""
        ...

    def are_over(
        self, slots: Ints, bucket: Ints | int, *, opened: Ints, counts: Ints
    ) -> NDArray[np.bool_]:
        """Whether a surge of each key is over when the watermark stands in ``bucket``.

        ``counts`` are those of the keys' open buckets ``opened``, none after ``bucket``.
        """
        ...

    def state_of(self, slots: Ints) -> States:
        """State for the store."""
        ...

    def restore(self, slots: Ints, states: States) -> None:
        """Put stored state back."""
        ...
