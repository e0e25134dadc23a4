"""What came of a back-test: counts, surges in order, and whose audience they are of."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from streams.app.backtest.counting import SideEnd, SideTold
from streams.core.partition_state import Outcome
from streams.core.records.chunks import Reason
from streams.core.reports.surging import Audience
from streams.core.surges.surge import Surge
from streams.core.waves.fleet import FleetWaves
from streams.core.waves.report import ReportChunk
from streams.edges.settings.list import Settings


@dataclass(slots=True)
class BacktestResult:
    """What came of the files read so far; ``dead`` counts by reason.

    ``first_ms`` and ``last_ms``: event times of the first and the last record, -1: none.
    ``audiences``: by ``surge_id``, whose audience surges are of, as of the end of their file.
    """

    records: dict[str, int] = field(default_factory=dict)
    creators: dict[str, int] = field(default_factory=dict)
    counted: int = 0
    late: int = 0
    repeated: int = 0
    first_ms: int = -1
    last_ms: int = -1
    dead: Counter[Reason] = field(default_factory=Counter)
    audiences: dict[str, Audience] = field(default_factory=dict)
    _told: list[tuple[int, int, int, Surge]] = field(default_factory=list)

    def surges(self) -> list[Surge]:
        """Surges by ``seen_ms``, those of one partition in the order in which they were told."""
        ordered = sorted(self._told, key=lambda told: told[:3])
        return [surge for _, _, _, surge in ordered]

    def add(self, place: tuple[int, int], outcome: Outcome) -> None:
        """Add what came of records of one partition (number of the file, partition)."""
        self.counted += outcome.counted
        self.late += outcome.late
        self.repeated += outcome.repeated
        self._told += [(surge.seen_ms, *place, surge) for surge in outcome.surges]

    def live(self, first_ms: int, last_ms: int) -> None:
        """Take note of the event times of some records; -1: there were none."""
        if first_ms >= 0:
            self.first_ms = first_ms if self.first_ms < 0 else min(self.first_ms, first_ms)
            self.last_ms = max(self.last_ms, last_ms)


class Merger:
    """Brings together what the shares of the partitions say, under one lot of settings.

    Chunk after chunk, the partitions of a chunk in their order: so it makes no difference how
    many processes there are.
    """

    def __init__(self, settings: Settings) -> None:
        self.result = BacktestResult()
        self._partitions = settings.topic_partitions
        self._fleet = FleetWaves(self._partitions)
        self._number = -1
        self._topic = ""

    def begin(self, topic: str) -> None:
        """Begin a file."""
        self._fleet = FleetWaves(self._partitions)
        self._topic, self._number = topic, len(self.result.records)
        self.result.records[topic] = self.result.creators[topic] = 0

    def add(self, records: int, shares: Sequence[SideTold]) -> None:
        """Add what the shares say of a chunk of so many records."""
        self.result.records[self._topic] += records
        for share in shares:
            self.result.dead.update(share.dead)
            self.result.live(share.first_ms, share.last_ms)
        self._add_outcomes(shares)

    def end(self, shares: Sequence[SideEnd]) -> None:
        """Add what the shares say at the end of the file."""
        self._add_outcomes(shares)
        self._tell(self._fleet.take_held())
        for share in shares:
            self.result.audiences |= share.audiences
            self.result.creators[self._topic] += share.creators

    def _add_outcomes(self, shares: Sequence[SideTold | SideEnd]) -> None:
        every = [one for share in shares for one in share.outcomes]
        for partition, outcome in sorted(every, key=lambda one: one[0]):
            self.result.add((self._number, partition), outcome)
            reports = [report.of_partition(partition) for report in outcome.reports]
            self._tell(self._fleet.take(ReportChunk(reports)))

    def _tell(self, outcome: Outcome) -> None:
        """Add what was told of waves: they are of no partition."""
        self.result.add((self._number, self._partitions), Outcome(0, 0, outcome.surges))
