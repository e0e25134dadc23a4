"""Six significant digits: what is told does not hang on the last bits of an exponential."""

from typing import Final

import numpy as np

from streams.core.detection.block_tables import Floats

_TOGETHER_MIN: Final = 16
"""So few are rounded one by one for less."""
_POWERS: Final = np.array([10.0**n for n in range(23)])
"""Powers of ten that a float holds exactly."""
_DOUBT: Final = 1e-6
"""How near to the middle of two the sixth digit is left to `rounded`: far above the error."""


def rounded(value: float) -> float:
    """Six significant digits.

    >>> rounded(12.3456789)
    12.3457
    """
    return float(f"{value:.6g}")


def all_rounded(values: Floats) -> list[float]:
    """Each value as `rounded` gives it, to the last bit.

    A whole number of six digits divided by an exact power of ten is the float nearest to that
    decimal, as division rounds rightly. Values that are huge, tiny, negative, nothing or in doubt
    are rounded one by one.
    """
    if len(values) < _TOGETHER_MIN:
        return [rounded(value) for value in values.tolist()]
    plain = (values >= 1e-12) & (values < 1e5)
    held = np.where(plain, values, 1.0)
    power = _POWERS[5 - np.floor(np.log10(held)).astype(np.int64)]
    scaled = held * power
    whole = np.rint(scaled)
    plain &= (scaled >= 1e5) & (scaled < 999_999.0)
    plain &= np.abs(np.abs(scaled - whole) - 0.5) > _DOUBT
    found: list[float] = (whole / power).tolist()
    for row in np.flatnonzero(~plain).tolist():
        found[row] = rounded(float(values[row]))
    return found
