"""What a partition's job gives and takes: what came of a chunk, changed state, stored state."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from streams.core.counting.packing import PackedSeries, StoredSeries
from streams.core.records.hold import Standing
from streams.core.records.texts import Texts
from streams.core.surges.surge import Surge
from streams.core.waves.report import WaveReport


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a chunk: records counted, too late to count, repeated; surges in order.

    ``reports`` are what the partition says of the buckets that closed meanwhile.
    """

    counted: int
    late: int
    surges: list[Surge]
    repeated: int = 0
    reports: Sequence[WaveReport] = ()


@dataclass(frozen=True, slots=True)
class StateChange:
    """State that changed since the last drain. ``surges``: name to content, None to delete.

    ``standing`` is there where records are held back.
    """

    watermark_ms: int
    series: list[PackedSeries]
    surges: dict[str, bytes | None]
    standing: Standing | None = None

    @property
    def keys(self) -> int:
        """How many keys changed."""
        return sum(len(series.names) for series in self.series)


class LeftOut(NamedTuple):
    """Keys of one series that the store holds, without their values; the group of each."""

    names: Texts
    groups: list[int]


@dataclass(frozen=True, slots=True)
class StoredState:
    """A partition's state as it stands in the store.

    ``left_out``: keys that are read when they are met, by series; some may be in ``series`` too.
    """

    watermark_ms: int = -1
    series: dict[str, StoredSeries] = field(default_factory=dict)
    surges: dict[str, bytes] = field(default_factory=dict)
    left_out: dict[str, LeftOut] = field(default_factory=dict)
    standing: Standing | None = None
