"""The surges that the records imply: the same job, with no server, no restart and one worker."""

from collections.abc import Sequence
from typing import Any

from streams.app.worker.faust_app import trades_of
from streams.core.partition_state import Outcome
from streams.core.records.chunks import RawChunk
from streams.core.surges.surge import Surge
from streams.core.waves.fleet import FleetWaves
from streams.core.waves.report import ReportChunk
from streams.edges.codec.out import decode_surge, encode_surge
from streams.edges.metrics.progress import Silence
from streams.edges.process.clock import Clocks, SteadyClock
from tests.workers import Site

SurgeName = tuple[str, int]


class ExpectedSurges:
    """Every surge of both topics by id and revision; records are given in the topics' order."""

    def __init__(self, site: Site) -> None:
        self.surges: dict[SurgeName, Surge] = {}
        self._trades = trades_of(site.settings, Silence(), SteadyClock(Clocks(), lambda *_: None))
        self._jobs: dict[tuple[str, int], Any] = {
            (topic, number): trade.build()
            for topic, trade in self._trades.items()
            if topic != site.settings.topic_waves
            for number in range(site.settings.topic_partitions)
        }
        self._fleet = FleetWaves(site.settings.topic_partitions)

    def take(self, topic: str, partition: int, first_offset: int, values: Sequence[bytes]) -> None:
        """Count records that follow each other."""
        end = first_offset + len(values)
        chunk = RawChunk(topic, partition, list(values), range(first_offset, end), end, 0, end)
        decoded = self._trades[topic].decode(chunk)
        self._take(partition, self._jobs[topic, partition].take(decoded.chunk))

    def let_held(self) -> None:
        """Count what is held: no record came for the allowed lateness."""
        for (_, partition), job in self._jobs.items():
            self._take(partition, job.take_held())

    def _take(self, partition: int, outcome: Outcome) -> None:
        reports = [report.of_partition(partition) for report in outcome.reports]
        for surge in [*outcome.surges, *self._fleet.take(ReportChunk(reports)).surges]:
            self._expect(surge)

    def _expect(self, surge: Surge) -> None:
        self.surges[surge.surge_id, surge.revision] = decode_surge(encode_surge(surge))
