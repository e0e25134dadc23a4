"""When a wave begins: totals far above what is usual, or those who come far younger than usual."""

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from streams.core.detection.block_tables import Floats, Ints
from streams.core.waves.span import Above
from streams.core.waves.young import Evidence


class Step(NamedTuple):
    """A way in which a total is far above: by the means of so many ``buckets``.

    ``events_min``: of a total of which so many events of a bucket are usual. ``excess`` (a
    logarithm) and ``sigmas`` (standard deviations): the least mean of each; ``by_week``: the same
    two where the course of the week is known.
    """

    buckets: int
    events_min: float
    excess: float
    sigmas: float
    by_week: tuple[float, float]


Rules = tuple[Step, ...]
"""When a wave begins: a total is far above in one of these ways."""
TELLING: Final[Rules] = (
    Step(1, 60.0, 0.38, 4.5, (0.30, 5.0)),  # thirty large keys at least
    Step(2, 60.0, 0.36, 4.2, (0.24, 4.5)),
    Step(3, 60.0, 0.34, 4.0, (0.20, 4.5)),
    Step(4, 60.0, 0.30, 3.3, (0.25, 4.0)),  # of a slow rise the level learns each hour
    Step(3, 30.0, 0.50, 3.0, (0.50, 3.0)),  # what no wrong course of a day comes to
)
"""For a wave that is told: it wakes people."""
FACTORS: Final[Rules] = (
    Step(1, 25.0, 0.34, 4.0, (0.30, 4.0)),
    Step(2, 25.0, 0.30, 3.5, (0.24, 3.5)),
    Step(3, 25.0, 0.28, 3.2, (0.20, 3.2)),
)
"""For the factors of one partition, which has a part of the events: a few too many only say what
was counted, one too few has those whom the wave lifts told as if they surged."""
BEFORE: Final = max(step.buckets for step in (*TELLING, *FACTORS)) - 1
EXCESS_MIN: Final = 0.20
LIFTED: Final = float(np.log(1.2))
"""Excess from which on a total counts as lifted, while a wave lasts."""
LIFTED_SIGMAS: Final = 2.0
_NONE: Final = np.zeros(0, dtype=np.int64)


class Recent(NamedTuple):
    """How far totals were above usual in one of the last buckets, and the most of any judged."""

    excess: Floats
    sigmas: Floats
    most: float

    def wide(self, size: int) -> "Recent":
        """With 0 of totals met since."""
        room = np.zeros(max(size - len(self.excess), 0))
        excess, sigmas = (np.concatenate((one, room)) for one in (self.excess, self.sigmas))
        return Recent(excess, sigmas, self.most)


def begun_in(
    rules: Rules,
    recent: Sequence[Recent],
    now: tuple[Above, NDArray[np.bool_], list[float]],
    came: Sequence[Evidence],
) -> tuple[int, Ints]:
    """The first bucket in which a wave begins, and its columns; or the last one, and none.

    They are far above what is usual, by the mean of some of the last buckets, or who came is young.
    """
    above, judged, mosts = now
    count, size = judged.shape
    before = recent[-BEFORE:]
    is_young = any(one.begins.any() for one in came)
    if max(*mosts, *(one.most for one in before), 0.0) < EXCESS_MIN and not is_young:
        return count - 1, _NONE
    unknown = Recent(np.full(size, -np.inf), np.full(size, -np.inf), 0.0)
    before = [unknown] * (BEFORE - len(before)) + [one.wide(size) for one in before]
    most = np.array([one.most for one in before] + mosts)
    excess = np.stack([*(one.excess for one in before), *above.excess])
    sigmas = np.stack([*(one.sigmas for one in before), *above.sigmas])
    far = np.zeros_like(judged)
    for step in rules:
        begins = range(BEFORE + 1 - step.buckets, BEFORE + 1)
        mean_excess = sum(excess[begin : begin + count] for begin in begins) / step.buckets
        mean_sigmas = sum(sigmas[begin : begin + count] for begin in begins) / step.buckets
        is_far = mean_excess >= np.where(above.by_week, step.by_week[0], step.excess)
        is_far &= mean_sigmas >= np.where(above.by_week, step.by_week[1], step.sigmas)
        far |= is_far & (above.expected >= step.events_min)
    is_high = np.any(sliding_window_view(most >= EXCESS_MIN, BEFORE + 1), axis=1)
    # it must still be so: what was high and is not any more is no wave that begins
    far &= judged & is_high[:, None] & (above.excess >= LIFTED) & (above.sigmas >= LIFTED_SIGMAS)
    if is_young:
        far[:, 1::2] |= np.stack([one.begins for one in came])
    for place in range(count):
        if far[place].any():
            return place, np.flatnonzero(far[place])
    return count - 1, _NONE


def with_young(
    above: Above, lifted: NDArray[np.bool_] | None, came: Evidence
) -> tuple[Above, NDArray[np.bool_] | None]:
    """How far totals are above, and which are lifted, by who came that is young, too."""
    if not came.holds.any():
        return above, lifted
    sigmas = above.sigmas.copy()
    sigmas[1::2] = np.maximum(sigmas[1::2], came.sigmas)
    lifted = np.zeros(len(sigmas), dtype=np.bool_) if lifted is None else lifted
    lifted[1::2] |= came.holds
    return above._replace(sigmas=sigmas), lifted
