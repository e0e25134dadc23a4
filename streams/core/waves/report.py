"""What a partition reports of its closed buckets, so that a wave is told once for all of them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import compress
from types import MappingProxyType
from typing import Annotated, Final, Literal, NamedTuple

import msgspec

from streams.core.detection.cohorts import COHORTS_MAX
from streams.core.records.texts import Ints
from streams.core.surges.surge import WaveReceiver
from streams.core.time.buckets import BUCKET_MS
from streams.core.waves.sums import AGES, FIRST, RAW, TOLD, stacked

Series = Literal["follows", "comments"]
REPORTED: Final[Mapping[str, Series]] = MappingProxyType(
    {"follows": "follows", "comments": "comments"}
)
"""Series that are reported: what lifts posts lifts the comments of their creators too."""
_SUMS_MAX: Final = 2_000
"""Cohorts of all buckets in one report: some 150 KB."""
_RECEIVER_SUMS: Final = 6
"""Cohorts that a receiver takes as much room as: a name has up to 256 characters."""
_Bucket = Annotated[int, msgspec.Meta(ge=0, le=2**53 // BUCKET_MS)]
_Sum = Annotated[int, msgspec.Meta(ge=0, le=2**53)]


class BucketReport(msgspec.Struct, frozen=True, gc=False):
    """Sums of one closed bucket: a row of ``sums`` as `sums.py` has them, a column a cohort.

    ``ages`` has those of ages, and none where nobody's is told or an earlier version sent it.
    ``receivers``: the keys with most above their usual, where there may be a wave.
    """

    bucket: _Bucket
    cohorts: Annotated[list[tuple[str, str]], msgspec.Meta(max_length=COHORTS_MAX + 1)]
    sums: list[list[_Sum]]
    receivers: list[WaveReceiver] = []
    ages: list[list[_Sum]] = []

    @property
    def fits(self) -> bool:
        """Whether the sums are of its cohorts."""
        sizes = {len(row) for row in (*self.sums, *self.ages)}
        return (
            len(self.sums) == TOLD and len(self.ages) in {0, AGES} and sizes <= {len(self.cohorts)}
        )


class ClosedBucket(NamedTuple):
    """A bucket that closed, its sums by cohort, and who has most above its usual."""

    bucket: int
    sums: Ints
    receivers: list[WaveReceiver]


class WaveReport(msgspec.Struct, frozen=True, gc=False):
    """What one partition has of one series in the buckets that closed since its last report.

    All buckets to ``through`` have closed; those that are not named had no events, or were
    reported before. ``idle``: nothing new, but the partition is not to be waited for.
    """

    series: Series
    partition: Annotated[int, msgspec.Meta(ge=0, lt=10_000)]
    through: Annotated[int, msgspec.Meta(ge=-1, le=2**53 // BUCKET_MS)]
    idle: bool = False
    buckets: list[BucketReport] = []

    def of_partition(self, partition: int) -> "WaveReport":
        """The same, of another partition: a job does not know which one it is."""
        return WaveReport(self.series, partition, self.through, self.idle, self.buckets)

    @property
    def fits(self) -> bool:
        """Whether the sums of every bucket are of its cohorts."""
        return all(one.fits for one in self.buckets)


@dataclass(frozen=True, slots=True)
class ReportChunk:
    """Decoded reports in the order in which they were sent."""

    reports: list[WaveReport]

    def __len__(self) -> int:
        return len(self.reports)


def bucket_reports_of(
    closed: Sequence[ClosedBucket], names: Sequence[tuple[str, str]]
) -> list[BucketReport]:
    """Their reports, without cohorts that had no events; ``names`` are those of all cohorts."""
    width = max((one.sums.shape[1] for one in closed), default=0)
    layers = stacked([one.sums for one in closed], width)
    reports = []
    for one, rows, some in zip(
        closed, layers.tolist(), (layers[:, RAW] + layers[:, FIRST] > 0).tolist(), strict=True
    ):
        cohorts = [name for name, has in zip(names, some, strict=False) if has]
        sums = [[*compress(row, some)] for row in rows]
        ages = sums[TOLD:] if any(map(any, sums[TOLD:])) else []
        reports.append(BucketReport(one.bucket, cohorts, sums[:TOLD], one.receivers, ages))
    return reports


def reports_of(
    series: Series, through: int, buckets: Sequence[BucketReport]
) -> Iterator[WaveReport]:
    """Reports of these buckets, none too large for a message."""
    some: list[BucketReport] = []
    size = 0
    for one in buckets:
        room = len(one.cohorts) + _RECEIVER_SUMS * len(one.receivers)
        if some and size + room > _SUMS_MAX:
            yield WaveReport(series, 0, some[-1].bucket, buckets=some)
            some, size = [], 0
        some.append(one)
        size += room
    yield WaveReport(series, 0, through, buckets=some)
