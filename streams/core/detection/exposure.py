"""Exposure: how busy a bucket is for everybody, 1 on average (rhythm x wave x completeness).

The detector asks for exposure here and nowhere else. Until rhythm and wave are known every
bucket counts 1; what knows them will answer the same two questions. What it answers of a bucket
must not change any more once that bucket was asked for, or sums of the past would not be exact.
"""

from typing import Protocol

from streams.core.detection.block_tables import FadingPowers, Floats, Ints
from streams.core.detection.policy import PLAIN_EXPOSURE


class Exposure(Protocol):
    """Answers for many keys at once; arrays of equal length, one entry a key.

    ``slots`` are the detector's, for whatever is known of a key (its cohort).
    """

    def open_of(self, slots: Ints, opened: Ints) -> Floats | float:
        """Exposure of each key's whole open bucket."""
        ...

    def sums_of(self, slots: Ints, birth: Ints, opened: Ints) -> Floats:
        """Four rows: fading sums of the exposure of buckets [birth, opened), by memory.

        The newest bucket counts whole; rows are the three windows and the rate's memory.
        """
        ...


class FlatExposure:
    """Every bucket counts 1."""

    def __init__(self, powers: FadingPowers) -> None:
        self._powers = powers

    def open_of(self, slots: Ints, opened: Ints) -> float:  # the answer holds for every bucket
        """Exposure of the open bucket: 1."""
        return PLAIN_EXPOSURE

    def sums_of(self, slots: Ints, birth: Ints, opened: Ints) -> Floats:
        """Fading sums of a constant 1: (1 - f**age) / (1 - f)."""
        return self._powers.sums_of_age(opened - birth)
