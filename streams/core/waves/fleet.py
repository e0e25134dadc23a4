"""Waves of the whole fleet: what all partitions report is added up, and a wave is told once.

A bucket of a series closes when every partition has reported it, so neither the order of the
reports nor how far one partition is ahead of another leaves a trace. A partition that is idle, or
a week behind another one, is not waited for. A report that comes again changes nothing: of each
partition only buckets after its last are taken.
"""

from collections.abc import Iterator, Mapping, Sequence
from operator import add
from typing import Any, Final

import msgspec

from streams.core.counting.packing import StoredSeries
from streams.core.counting.table import Table
from streams.core.detection.cohorts import Cohorts
from streams.core.partition_state import Outcome, StateChange, StoredState
from streams.core.records.hold import Hold, Ready, Standing
from streams.core.records.repeats import Moment, Repeats
from streams.core.records.texts import Ints
from streams.core.surges.surge import Surge, WavePart, WaveReceiver
from streams.core.time.agreed_clock import Agreed
from streams.core.time.buckets import WINDOW_BUCKETS
from streams.core.waves.incident import LIFTED_MAX, Parts, WaveIncident, parts_of
from streams.core.waves.lasting import Waves, spans_of
from streams.core.waves.receivers import RECEIVERS_MAX, rank_of
from streams.core.waves.report import REPORTED, BucketReport, ReportChunk, WaveReport
from streams.core.waves.sums import TOLD, nothing, widened
from streams.core.waves.watch import SILENT_BUCKETS, WaveWatch
from streams.core.waves.young import Young

BEHIND_MAX: Final = 7 * WINDOW_BUCKETS
"""A partition that is so many buckets behind another one is not waited for: Kafka keeps records of
a week, so one that only has to catch up is."""

_BETWEEN: Final = "\0"
"""Stands between a cohort's language and region in its name."""


class _Source(msgspec.Struct, gc=False):
    """A partition: its buckets to ``through`` are here; whether it is idle."""

    through: int = -1
    idle: bool = False


class _Sources(msgspec.Struct):
    """What is stored of the partitions. ``first``: the first bucket that any of them had."""

    first: int
    sources: list[_Source]


class _Open(msgspec.Struct):
    """Sums of a bucket, a column by cohort, and of how many partitions they are."""

    partitions: int = 0
    columns: dict[str, list[int]] = {}
    receivers: list[WaveReceiver] = []
    ages: dict[str, list[int]] = {}

    def add(self, report: BucketReport) -> None:
        """Add another partition's. All are whole numbers: their order leaves no trace."""
        self.partitions += 1
        _add_columns(self.columns, report.cohorts, report.sums)
        if report.ages:
            _add_columns(self.ages, report.cohorts, report.ages)
        every = [*self.receivers, *report.receivers]  # a key is in one partition only
        self.receivers = sorted(every, key=rank_of)[:RECEIVERS_MAX]


def _add_columns(
    columns: dict[str, list[int]], cohorts: Sequence[tuple[str, str]], rows: list[list[int]]
) -> None:
    for name, column in zip(cohorts, zip(*rows, strict=True), strict=True):
        key = _BETWEEN.join(name)
        mine = columns.get(key)
        columns[key] = [*column] if mine is None else [*map(add, mine, column)]


class _Closed(msgspec.Struct):
    """What is stored of the buckets before ``water``."""

    water: int
    quiet: int
    names: list[tuple[str, str]]
    levels: Any
    incident: WaveIncident | None


class _Series:
    """One series of the fleet."""

    def __init__(self, name: str, partitions: int) -> None:
        self._name = name
        self._sources = [_Source() for _ in range(partitions)]
        self._first = -1
        self._open: dict[int, _Open] = {}
        self._water: int | None = None  # all buckets before it have closed
        self._quiet = 0  # of these the last ones without events
        self._cohorts = Cohorts()
        self._waves = Waves(young=Young.of_none())
        self._incident: WaveIncident | None = None
        self.lifted: list[WavePart] = []  # by an open wave, in the last bucket closed here
        self._stored: set[int] = set()
        self._touched: set[int] = set()
        self._has_taken = self._has_closed = False

    def take(self, report: WaveReport) -> tuple[list[Surge], bool]:
        """Take a report and close what may close; what is told, and whether all was too late."""
        source = self._sources[report.partition]
        self._has_taken = True
        fresh = [one for one in report.buckets if one.bucket > source.through]
        kept = [one for one in fresh if self._water is None or one.bucket >= self._water]
        for one in kept:
            self._open.setdefault(one.bucket, _Open()).add(one)
            self._touched.add(one.bucket)
            self._first = one.bucket if self._first < 0 else min(self._first, one.bucket)
        if report.through > source.through or (report.idle and report.through == source.through):
            source.through, source.idle = report.through, report.idle
        return self._advance(), bool(fresh) and not kept

    @property
    def has_wave(self) -> bool:
        """Whether a wave is open."""
        return self._incident is not None

    @property
    def wave(self) -> tuple[str, int] | None:
        """The open wave: its surge_id, and when it opened."""
        one = self._incident
        return None if one is None else (one.surge_id, one.opened_ms)

    def end(self) -> list[Surge]:
        """Wait for nobody any more."""
        self._has_taken = True
        for source in self._sources:
            source.idle = True
        return self._advance()

    def _advance(self) -> list[Surge]:
        """Close the buckets that all have reported who are waited for."""
        newest = max(source.through for source in self._sources)
        waited = [
            source.through
            for source in self._sources
            if not source.idle and newest - max(source.through, self._first) <= BEHIND_MAX
        ]
        water = min(waited, default=newest) + 1
        if self._water is None:
            if water <= min(self._open, default=water):
                return []  # one that comes first may still bring earlier ones
            self._water = min(self._open)
        told = self._close_all([*self._closing(self._water, water)])
        if water > self._water:
            self._water, self._has_closed = water, True
        return told

    def _closing(self, bucket: int, water: int) -> Iterator[tuple[int, _Open]]:
        """Buckets from one on that close before another.

        After many without events others teach nothing: a gap of years costs no more.
        """
        while bucket < water:
            found = self._open.pop(bucket, None)
            if found is None and self._quiet >= SILENT_BUCKETS:
                bucket = min((at for at in self._open if at > bucket), default=water)
                continue
            self._quiet = 0 if found is not None else self._quiet + 1
            yield bucket, found or _Open()
            bucket += 1

    def _close_all(self, closing: list[tuple[int, _Open]]) -> list[Surge]:
        """Close these buckets: together as far as no wave begins, for that costs least."""
        told: list[Surge] = []
        sums = [self._sums_of(found) for _, found in closing]
        names, place = self._cohorts.names, 0
        for span in spans_of([bucket for bucket, _ in closing]):
            end = place + len(span)
            while place < end:
                if self._waves.lasting is None and end - place > 1:
                    after = self._waves.calm_after(closing[place][0], sums[place:end], names)
                    self._waves = after[-1] if after else self._waves
                    place += len(after)
                if place < end:
                    told += self._close(*closing[place], sums[place])
                    place += 1
        return told

    def _close(self, bucket: int, found: _Open, sums: Ints) -> list[Surge]:
        seen = self._waves.close(bucket, sums, self._cohorts.names)
        nodes = self._waves.nodes
        if self._incident is None:
            if seen.factors is None:
                return []
            self._incident = WaveIncident.of(self._name, seen, nodes)
        told = self._incident.tell(seen, nodes, Parts(found.partitions, found.receivers))
        self.lifted = [] if seen.factors is None else parts_of(seen, nodes, "cohort", LIFTED_MAX)
        if seen.factors is None:
            self._incident = None
        return told

    def _sums_of(self, found: _Open) -> Ints:
        """Sums by cohort; those that are new are numbered in the order of their names."""
        sums = nothing(0)
        for key, column in sorted(found.columns.items()):
            lang, _, region = key.partition(_BETWEEN)
            number = self._cohorts.number_of((lang, region))
            sums = widened(sums, number + 1)
            sums[:TOLD, number] += column
            if key in found.ages:
                sums[TOLD:, number] += found.ages[key]
        return sums

    # The store's side.

    def drain(self) -> dict[str, bytes | None]:
        """What changed since the last call, by name; None: forgotten."""
        changed: dict[str, bytes | None] = {}
        encode, begin = msgspec.json.encode, f"fleet.{self._name}|"
        if self._has_taken:
            changed[f"{begin}sources"] = encode(_Sources(self._first, self._sources))
            for bucket in sorted(self._stored - self._open.keys()):
                changed[f"{begin}{bucket}"] = None
            for bucket in sorted(self._touched & self._open.keys()):
                changed[f"{begin}{bucket}"] = encode(self._open[bucket])
            self._stored, self._touched = set(self._open), set()
        if self._has_closed:
            assert self._water is not None, "closed"
            levels, names = self._waves.state(), self._cohorts.names
            closed = _Closed(self._water, self._quiet, names, levels, self._incident)
            changed[f"{begin}closed"] = encode(closed)
        self._has_taken = self._has_closed = False
        return changed

    def restore(self, stored: Mapping[str, bytes]) -> None:
        """Take up what is ours of what was stored."""
        begin, decode = f"fleet.{self._name}|", msgspec.json.decode
        mine = {name[len(begin) :]: raw for name, raw in stored.items() if name.startswith(begin)}
        if "sources" in mine:
            held = decode(mine.pop("sources"), type=_Sources)
            self._first, self._sources[: len(held.sources)] = held.first, held.sources
        if "closed" in mine:
            closed = decode(mine.pop("closed"), type=_Closed)
            self._water, self._quiet, self._incident = closed.water, closed.quiet, closed.incident
            for name in closed.names:
                self._cohorts.number_of(name)
            self._waves.restore(closed.levels, self._cohorts.names)
        self._open = {int(bucket): decode(raw, type=_Open) for bucket, raw in mine.items()}
        self._stored = set(self._open)


class FleetWaves:
    """The job for the topic of wave reports. ``partitions``: of each topic that is counted.

    What a lane asks of any job is here; no records are held back or looked at for repeats.
    """

    watermark_ms: Final = -1
    read_ms: Final = -1
    moment: Final = Moment(-1, Agreed())
    creators_known: Final = 0
    keys_known: Final = 0
    watched: Final[tuple[str, ...]] = ()
    waves: Final[tuple[WaveWatch, ...]] = ()
    tables: Final[tuple[Table, ...]] = ()

    def __init__(self, partitions: int) -> None:
        self.hold: Hold | None = None
        self.standing: Standing | None = None
        self.repeats: Repeats | None = None
        self._series = {name: _Series(name, partitions) for name in REPORTED}

    @property
    def open_count(self) -> int:
        """How many waves are open."""
        return sum(one.has_wave for one in self._series.values())

    @property
    def open_waves(self) -> list[tuple[str, int]]:
        """Open waves: their surge_ids, and when they opened (event time, ms)."""
        return [wave for one in self._series.values() if (wave := one.wave) is not None]

    @property
    def lifted(self) -> dict[str, list[WavePart]]:
        """Cohorts that an open wave lifts, by series; of one restored from its next bucket on."""
        return {name: one.lifted for name, one in self._series.items() if one.lifted}

    def take(self, chunk: ReportChunk) -> Outcome:
        """Take reports; what is told. A report is late if its buckets had closed without it."""
        told: list[Surge] = []
        late = 0
        for report in chunk.reports:
            surges, was_late = self._series[report.series].take(report)
            told += surges
            late += was_late
        return Outcome(len(chunk) - late, late, told)

    def take_held(self) -> Outcome:
        """Close all that was reported: no more reports come."""
        return Outcome(0, 0, [surge for one in self._series.values() for surge in one.end()])

    def ready(self, chunk: ReportChunk) -> Ready:
        """See Partition."""
        return Ready(chunk)

    def ready_held(self) -> None:
        """See Partition."""
        return

    def count(self, ready: Ready) -> Outcome:
        """See Partition."""
        return self.take(ready.chunk)

    def drain(self) -> StateChange:
        """See Partition."""
        surges: dict[str, bytes | None] = {}
        for one in self._series.values():
            surges |= one.drain()
        return StateChange(self.watermark_ms, [], surges)

    def restore(self, stored: StoredState) -> None:
        """See Partition."""
        for one in self._series.values():
            one.restore(stored.surges)

    def take_forgotten(self) -> int:
        """No surge is forgotten."""
        return 0

    def left_out_of(self, chunk: ReportChunk) -> dict[str, list[tuple[int, bytes]]]:
        """All is in memory."""
        del chunk
        return {}

    def admit(self, series: Mapping[str, StoredSeries]) -> None:
        """Nothing was left out."""

    def let_go(self, keys_max: int) -> int:
        """Nothing can go."""
        del keys_max
        return 0
