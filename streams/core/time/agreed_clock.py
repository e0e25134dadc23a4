"""Event time that most records of a partition agree on, which no few clocks can move.

The watermark is the latest time of all: one clock that is fast moves it for everybody. This time
is what three quarters of the last 4,000 records are beyond: the lower quartile of a sample of
them, one in 127, which never falls. Fast clocks, and whole batches of theirs, move it only where
hardly anything else comes for as many records; late records do not hold it. It is of the order of
the records alone: the cut into chunks leaves no trace, and what it knows are a few numbers.

It moves in steps, and these are long where few records come, or where much that was late ends. So
beside it is the middle time of the same sample: the time agreed on does not get beyond it within
the next thousand records, whatever these bring, for ten of the sample must be new.
"""

from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from streams.core.records.texts import Ints


@dataclass(frozen=True, slots=True)
class Sampling:
    """One record in ``stride`` is looked at; the time is the ``rank``-th earliest of ``size``.

    The stride is a prime: producers that take turns are all met.
    """

    stride: int = 127
    size: int = 33
    rank: int = 8

    @property
    def records(self) -> int:
        """Records until a time is agreed on."""
        return self.stride * self.size


SAMPLING: Final = Sampling()


class Agreed(NamedTuple):
    """What the clock knows. ``ms``: the time agreed on, -1: none yet.

    ``skips``: records until the next one is looked at; ``sample_ms``: the times of those looked
    at last, in the order in which they came.
    """

    ms: int = -1
    skips: int = 0
    sample_ms: tuple[int, ...] = ()


class AgreedClock:
    """The time that records agree on, moved by each of them. ``state`` may be set.

    ``newest_ms``: the latest time among the records of the last call, and of the middle times
    before them; -1 for none.
    """

    def __init__(self, sampling: Sampling = SAMPLING) -> None:
        self.state = Agreed()
        self.newest_ms = -1
        self._sampling = sampling

    def take(self, at_ms: Ints) -> Ints:
        """Move over the records; the time agreed on before each, and the middle time: two rows.

        >>> AgreedClock(Sampling(1, 3, 1)).take(np.array([5, 900, 7, 8, 9])).tolist()
        [[-1, -1, -1, 7, 8], [-1, 5, 900, 900, 8]]
        """
        now_ms, skips, sample_ms = self.state
        stride, size, rank = self._sampling.stride, self._sampling.size, self._sampling.rank
        looked_ms = at_ms[skips::stride]
        sample: Ints = np.concatenate((np.array(sample_ms, dtype=np.int64), looked_ms))
        steps_ms = np.full((2, len(looked_ms) + 1), now_ms)
        if len(sample) >= size:
            ranked = np.partition(sliding_window_view(sample, size), rank, axis=1)[:, rank]
            agreed_ms = np.maximum.accumulate(np.maximum(ranked, now_ms))
            steps_ms[0, -len(agreed_ms) :] = agreed_ms
        steps_ms[1] = np.maximum(steps_ms[0], _middles(sample, len(sample_ms), size - 1))
        self.newest_ms = int(at_ms.max(initial=steps_ms[1].max()))
        kept = tuple(sample[max(0, len(sample) - size + 1) :].tolist())
        skips_next = skips + stride * len(looked_ms) - len(at_ms)
        self.state = Agreed(int(steps_ms[0, -1]), skips_next, kept)
        ends = np.append(skips + 1 + stride * np.arange(len(looked_ms)), len(at_ms))
        return np.repeat(steps_ms, np.diff(ends, prepend=0), axis=1)


def _middles(sample: Ints, begin: int, width: int) -> Ints:
    """Middle of the last ``width`` before each place from ``begin`` on; -1: not half of them."""
    middles = np.full(len(sample) + 1 - begin, -1)
    if width == 0:
        return middles
    for place in range(max(begin, (width + 1) // 2), min(width, len(sample) + 1)):
        middles[place - begin] = np.sort(sample[:place])[place // 2]
    if len(sample) >= width:
        middle = width // 2
        ranked = np.partition(sliding_window_view(sample, width), middle, axis=1)[:, middle]
        middles[max(width - begin, 0) :] = ranked[max(begin - width, 0) :]
    return middles
