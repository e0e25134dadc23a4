"""How the languages of a partition's creators scatter from bucket to bucket, in all.

Comments come in threads. What a creator's own buckets say of that is little where the language that
is rare with her hardly ever came, and just there a thread or two look like a shift. So what all
creators' closed buckets scattered is remembered, by how many comments a bucket has: of one comment
nothing can be said, of a few less than of many. A bucket counts once it is an hour old, as do those
that say what is usual of a creator, so no shift hides itself; and not in a wave of newcomers, in
which everybody's languages shift.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec
import numpy as np

from streams.core.mixes.bucket import BucketComments
from streams.core.mixes.shift import USUAL_MIN, WINDOWS, usual_share

CLASSES: Final = 6
"""Of buckets by their comments: 1, 2 to 3, 4 to 7, 8 to 15, 16 to 31, and more."""
_FINE: Final = float(1 << 16)
"""Sums are kept in whole parts: the order of adding leaves no trace."""
_CALM: Final = 30.0
"""Buckets that a class is drawn toward the next smaller one by, and the smallest toward chance."""
_MEMORY_BUCKETS: Final = 14 * 288

_Sums = list[list[int]]
"""Pearson's statistic and its degrees of freedom, by class."""


class _Stored(msgspec.Struct):
    sums: _Sums
    rows: dict[int, _Sums]


class MixScatter:
    """Sums of Pearson's statistic over closed buckets, and what they come to."""

    name: Final = "mix.scatter"
    """Of the sums among a partition's surges."""

    def __init__(self) -> None:
        self._sums = np.zeros((2, CLASSES), dtype=np.int64)
        self._rows: dict[int, _Sums] = {}
        self._means = _means_of(self._sums)
        self._has_changed = False

    def close(self, bucket: int, comments: BucketComments | None, *, in_wave: bool) -> None:
        """Learn the bucket that closed, an hour later unless a wave lasts then."""
        for old in [one for one in self._rows if one <= bucket - WINDOWS[-1]]:
            learnt = np.array(self._rows.pop(old), dtype=np.int64)
            self._has_changed = True
            if not in_wave:
                self._sums += learnt - self._sums // _MEMORY_BUCKETS
                self._means = _means_of(self._sums)
        if comments is not None:
            self._rows[bucket] = _sums_of(comments).tolist()
            self._has_changed = True

    def mean_of(self, total: int) -> float:
        """How much more than at random buckets of so many comments scatter; 1 or more."""
        return self._means[min(total.bit_length(), CLASSES) - 1]

    # The store's side.

    def drain(self) -> dict[str, bytes | None]:
        """What changed since the last call, by name."""
        if not self._has_changed:
            return {}
        self._has_changed = False
        return {self.name: msgspec.json.encode(_Stored(self._sums.tolist(), self._rows))}

    def restore(self, stored: Mapping[str, bytes]) -> dict[str, bytes]:
        """Take up what is ours of what was stored; the rest."""
        rest = dict(stored)
        content = rest.pop(self.name, None)
        if content is not None:
            held = msgspec.json.decode(content, type=_Stored)
            self._sums, self._rows = np.array(held.sums, dtype=np.int64), held.rows
            self._means = _means_of(self._sums)
        return rest


def _sums_of(comments: BucketComments) -> np.ndarray[tuple[int, int], np.dtype[np.int64]]:
    """Sums of a bucket's creators; see `mix.dispersion_of` for the weights."""
    # languages that a creator never had are named as a chunk is read: too early, and nothing yet
    kept = (comments.known >= USUAL_MIN) & (comments.before + comments.now > 0)
    came, now = comments.came[kept], comments.now[kept]
    share = usual_share(comments.before[kept], comments.known[kept])
    variance = came * share * (1.0 - share)
    excess = np.minimum((now - came * share) ** 2, 1e9)
    classes = np.minimum(np.frexp(came.astype(np.float64))[1], CLASSES) - 1
    sums = np.zeros((2, CLASSES), dtype=np.int64)
    for row, part in enumerate((excess, variance)):
        whole = np.rint(part / (variance + 0.5) * _FINE).astype(np.int64)
        np.add.at(sums[row], classes, whole)
    return sums


def _means_of(sums: np.ndarray[tuple[int, int], np.dtype[np.int64]]) -> Sequence[float]:
    """What each class scatters, drawn toward the smaller ones."""
    mean, means = 1.0, list[float]()
    for pearson, degrees in (sums.T / _FINE).tolist():
        mean = max((pearson + _CALM * mean) / (degrees + _CALM), 1.0)
        means.append(mean)
    return means
