"""Who receives most in a bucket: known as it closes, whatever the chunks.

Whoever is distinctly above what is usual of him is noted as he is counted; the names are looked up
when they are asked for. Of a key the most that it ever was above its usual in the bucket counts
(late records may raise the usual): that only rises, so whoever ends among the first is never
pushed out for good.
"""

from itertools import pairwise
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from streams.core.detection.block_tables import Floats, Ints
from streams.core.records.keys import Keys
from streams.core.surges.surge import WaveReceiver

RECEIVERS_MAX: Final = 10
_SIGMAS: Final = 2.0
_NOTED_MAX: Final = 4_096
"""Of a bucket, before they are cut down to the first ones."""


class _Noted(NamedTuple):
    """Keys, their counts in the bucket, and what is usual of them."""

    slots: Ints
    now: Ints
    expected: Floats

    def of(self, some: Any) -> "_Noted":
        """Only these."""
        return _Noted(self.slots[some], self.now[some], self.expected[some])


class Receivers:
    """Receivers of the buckets that have not closed, by bucket."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys
        self._noted: dict[int, list[_Noted]] = {}
        self._sizes: dict[int, int] = {}
        self._named: dict[int, list[WaveReceiver]] = {}

    def note(self, bucket: int, slots: Ints, now: Ints, expected: Floats) -> None:
        """Note those of the keys (each once) that are distinctly above their usual."""
        some = _are_above(now, expected).nonzero()[0]
        if len(some):
            self._note(bucket, _Noted(slots, now, expected).of(some))

    def note_all(self, buckets: Ints, slots: Ints, now: Ints, expected: Floats) -> None:
        """As `note`, of many buckets; a key at most once in each."""
        some = _are_above(now, expected).nonzero()[0]
        if not len(some):
            return
        some = some[np.argsort(buckets[some], kind="stable")]
        of = buckets[some]
        begins = np.append((np.diff(of, prepend=-1) != 0).nonzero()[0], len(some)).tolist()
        noted = _Noted(slots, now, expected).of(some)
        for begin, end in pairwise(begins):
            self._note(int(of[begin]), noted.of(slice(begin, end)))

    def take(self, bucket: int) -> list[WaveReceiver]:
        """Those with most above their usual in a bucket that closes; they are forgotten."""
        found = self.of(bucket)
        self._named.pop(bucket, None)
        return found

    def drop(self, bucket: int) -> None:
        """Forget those of a bucket."""
        for each in (self._noted, self._sizes, self._named):
            each.pop(bucket, None)

    def forget_from(self, bucket: int) -> None:
        """Forget those of this bucket and later ones."""
        for one in [one for one in {*self._noted, *self._named} if one >= bucket]:
            self.drop(one)

    def of(self, bucket: int) -> list[WaveReceiver]:
        """Those of a bucket so far, the one with most above the usual first."""
        noted = self._noted.pop(bucket, None)
        if noted is None:
            return self._named.get(bucket, [])
        self._sizes.pop(bucket)
        found = _Noted(*(np.concatenate(column) for column in zip(*noted, strict=True)))
        found = found.of(_most_of_each(found))
        if len(found.slots) > RECEIVERS_MAX:
            excess = found.now - found.expected
            found = found.of(excess >= np.partition(excess, -RECEIVERS_MAX)[-RECEIVERS_MAX])
        names = list(self._keys.names_of(found.slots))
        columns = zip(names, found.now.tolist(), found.expected.tolist(), strict=True)
        every = {one.key: one for one in self._named.get(bucket, [])}
        for name, count, usual in columns:
            before = every.get(name)
            if before is None or count - usual > before.observed - before.expected:
                every[name] = WaveReceiver(name, count, usual)
        first = sorted(every.values(), key=rank_of)[:RECEIVERS_MAX]
        self._named[bucket] = first
        return first

    def name_all(self) -> None:
        """Look the names up, before the keys get other slots."""
        for bucket in [*self._noted]:
            self.of(bucket)

    def restore(self, bucket: int, receivers: list[WaveReceiver]) -> None:
        """Put those of a bucket back."""
        self._named[bucket] = receivers

    def _note(self, bucket: int, noted: _Noted) -> None:
        self._noted.setdefault(bucket, []).append(noted)
        size = self._sizes.get(bucket, 0) + len(noted[0])
        self._sizes[bucket] = size
        if size > _NOTED_MAX:
            self.of(bucket)


def rank_of(one: WaveReceiver) -> tuple[float, str]:
    """The one with most above its usual first."""
    return one.expected - one.observed, one.key


def _are_above(now: Ints, expected: Floats) -> NDArray[np.bool_]:
    """Whether counts are two standard deviations of chance above what is usual."""
    excess = now - expected
    squared = np.square(excess)
    squared *= excess > 0.0
    above: NDArray[np.bool_] = squared >= _SIGMAS**2 * (expected + 1.0)
    return above


def _most_of_each(noted: _Noted) -> Ints:
    """Where each slot stands first with the most above its usual."""
    order = np.lexsort((noted.expected - noted.now, noted.slots))  # of equal ones the first first
    begins = np.diff(noted.slots[order], prepend=-1) != 0
    first: Ints = order[begins]
    return first
