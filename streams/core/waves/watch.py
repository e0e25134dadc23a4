"""The waves of one series as a partition lives through them: sums, factors, and its reports.

All of it follows from the partition's own records and their order. The bucket in which the
watermark stands is open; it closes, and its factors are known, as the watermark leaves it. Its
sums are then reported: a wave is told of all partitions together (`fleet.py`).
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec
import numpy as np

from streams.core.detection.block_maths import ScoreColumns
from streams.core.detection.block_tables import Floats, Ints
from streams.core.detection.cohorts import Cohorts, Votes
from streams.core.records.comers import Comers
from streams.core.records.keys import Keys
from streams.core.records.runs import Runs
from streams.core.surges.surge import WaveReceiver
from streams.core.time.buckets import WINDOW_BUCKETS
from streams.core.waves.begin import FACTORS
from streams.core.waves.factors import WaveFactors
from streams.core.waves.lasting import Waves, spans_of
from streams.core.waves.receivers import Receivers
from streams.core.waves.report import (
    REPORTED,
    ClosedBucket,
    WaveReport,
    bucket_reports_of,
    reports_of,
)
from streams.core.waves.sums import RAW, Counted, WaveSums, are_equal, has_young

SILENT_BUCKETS: Final = 2 * WINDOW_BUCKETS
"""After so many buckets without events others teach nothing: a gap of years costs no more."""


class _Open(msgspec.Struct):
    """What is stored of the buckets that have not closed."""

    bucket: int | None
    quiet: int
    sums: dict[str, list[list[int]]]
    receivers: list[WaveReceiver]
    ages: dict[str, list[list[int]]] = {}


class _Closed(msgspec.Struct):
    """What is stored of those that have."""

    levels: Any
    last: int


class WaveWatch:
    """Waves of the keys of one watch. Those of a series that is not reported only have factors."""

    def __init__(self, series: str, keys: Keys, votes: Votes) -> None:
        self.factors = WaveFactors(votes)
        self._series, self._votes = series, votes
        self._is_reported = series in REPORTED
        self._cohorts = Cohorts()
        self._sums = WaveSums()
        self._waves = Waves(rules=FACTORS)
        self._closed: list[ClosedBucket] = []
        self._through: int | None = None  # reported so far
        self._receivers = Receivers(keys)
        self._bucket: int | None = None
        self._quiet = 0  # buckets without events before it
        self._foreseen: dict[int, tuple[Ints, Waves]] = {}
        self._stored: set[int] = set()
        self._has_counted = self._has_closed = False

    def name_by(self, cohorts: Cohorts) -> None:
        """Have the partition's cohorts."""
        self._cohorts = cohorts

    @property
    def bucket(self) -> int | None:
        """The bucket that is open; None: no record has come."""
        return self._bucket

    @property
    def lasts(self) -> bool:
        """Whether there is a wave, or was one within a day."""
        return not self.factors.are_plain

    @property
    def can_begin(self) -> bool:
        """Whether a wave may begin: enough happens here for one to be seen."""
        return self._waves.can_tell

    def count(self, bucket: int, runs: Runs, now: Ints, columns: ScoreColumns) -> None:
        """Count runs of the open bucket; its keys have ``now``, and were scored with that."""
        self._has_counted = True
        slots, expected = runs.slots, columns.expected
        cohorts, before = self._votes.cohorts[slots], now - runs.counts
        self._sums.add(bucket, Counted(cohorts, before, now, expected, columns.exposure))
        if self._is_reported:
            self._receivers.note(bucket, slots, now, expected)

    def count_first(self, bucket: int, comers: Comers) -> None:
        """Count who came first to keys in the open bucket."""
        self._sums.add_first(bucket, comers)

    def count_ahead(self, sums: dict[int, Ints]) -> None:
        """Count records of buckets to come, too."""
        self._has_counted = True
        self._sums.add_all(sums)

    def note_ahead(self, buckets: Ints, slots: Ints, now: Ints, expected: Floats) -> None:
        """Note who receives them: what a key has in a bucket, a key at most once in each."""
        if self._is_reported:
            self._receivers.note_all(buckets, slots, now, expected)

    def name_receivers(self) -> None:
        """Look up who they are, before the keys get other slots."""
        self._receivers.name_all()

    def forget_from(self, water: int) -> None:
        """Forget what was counted ahead of buckets from ``water`` on."""
        self._sums.forget_from(water)
        self._receivers.forget_from(water)

    def foresee(self, sums: dict[int, Ints], water: int) -> bool:
        """Whether no wave begins before bucket ``water``, when these come on top of the sums."""
        if self._bucket is None:
            self._bucket = min(sums, default=water)
        closing, waves, self._foreseen = dict(self._closing(sums, water)), self._waves, {}
        for span in spans_of([*closing]):
            more = [closing[bucket] for bucket in span]
            after = waves.calm_after(span[0], more, self._cohorts.names)
            self._foreseen.update(zip(span, zip(more, after, strict=False), strict=False))
            if len(after) < len(span):
                return False
            waves = after[-1]
        return True

    def advance(self, water: int) -> None:
        """Close the buckets before ``water``."""
        for bucket, sums in self._closing({}, water):
            is_quiet = not np.count_nonzero(sums[RAW])
            self._quiet = self._quiet + 1 if is_quiet else 0
            self._close(bucket, is_quiet)
        self._bucket, self._has_counted = water, True  # the store has to know which is open

    def take_reports(self) -> list[WaveReport]:
        """Reports of what has closed since the last call; to be taken before each `drain`."""
        series, through = REPORTED.get(self._series), self._newest_closed
        closed, self._closed = self._closed, []
        if series is None or through == self._through:
            return []
        self._through = through
        return [*reports_of(series, through, bucket_reports_of(closed, self._cohorts.names))]

    def idle_report(self) -> WaveReport | None:
        """Says that this partition is not to be waited for; None: it never is."""
        series = REPORTED.get(self._series)
        return None if series is None else WaveReport(series, 0, self._newest_closed, idle=True)

    @property
    def _newest_closed(self) -> int:
        """-1: none has."""
        return -1 if self._bucket is None else self._bucket - 1

    def _closing(self, more: dict[int, Ints], water: int) -> Iterator[tuple[int, Ints]]:
        """Buckets that close before ``water``, with their sums and ``more``, one by one."""
        bucket, quiet = water if self._bucket is None else self._bucket, self._quiet
        while bucket < water:
            sums = self._sums.with_more(more, bucket)
            quiet = 0 if np.count_nonzero(sums[RAW]) else quiet + 1
            if quiet > SILENT_BUCKETS:
                busy = {*self._sums.buckets, *more}
                bucket = min((one for one in busy if one > bucket), default=water)
                continue
            yield bucket, sums
            bucket += 1

    def _close(self, bucket: int, is_quiet: bool) -> None:
        self._has_closed = True
        sums = self._sums.take(bucket)
        foreseen = self._foreseen.pop(bucket, None)
        if foreseen is not None and are_equal(foreseen[0], sums):
            self._waves = foreseen[1]  # nothing begins: the same was learnt
            self.factors.close(bucket, None)
        else:
            self._foreseen = {}
            seen = self._waves.close(bucket, sums, self._cohorts.names)
            self.factors.close(bucket, seen.factors, seen.busy)
        if not is_quiet and self._is_reported:
            self._closed.append(ClosedBucket(bucket, sums, self._receivers_of(bucket, sums)))

    def _receivers_of(self, bucket: int, sums: Ints) -> list[WaveReceiver]:
        """Who received most in a bucket that closes; nobody where there cannot be a wave."""
        if self._waves.may_be_lifted or has_young(sums):
            return self._receivers.take(bucket)
        self._receivers.drop(bucket)
        return []

    # The store's side.

    def drain(self) -> dict[str, bytes | None]:
        """What changed since the last call, by name; None: forgotten."""
        changed: dict[str, bytes | None] = {}
        encode, begin = msgspec.json.encode, f"{self._name}|"
        if self._has_counted or self._has_closed:
            receivers = [] if self._bucket is None else self._receivers.of(self._bucket)
            sums, ages = self._sums.state()
            held = _Open(self._bucket, self._quiet, sums, receivers, ages)
            changed[f"{begin}open"] = encode(held)
        if self._has_closed:
            levels = self._waves.state()
            changed[f"{begin}closed"] = encode(_Closed(levels, self.factors.last))
            kept = set(self.factors.buckets)
            changed |= {f"{begin}{gone}": None for gone in sorted(self._stored - kept)}
            for bucket in sorted(kept - self._stored):
                changed[f"{begin}{bucket}"] = encode(self.factors.row_of(bucket))
            self._stored = kept
        self._has_counted = self._has_closed = False
        return changed

    def restore(self, stored: Mapping[str, bytes]) -> dict[str, bytes]:
        """Take up what is ours of what was stored, after the cohorts; the rest."""
        begin = f"{self._name}|"
        mine = {name[len(begin) :]: raw for name, raw in stored.items() if name.startswith(begin)}
        decode = msgspec.json.decode
        if "open" in mine:
            held = decode(mine.pop("open"), type=_Open)
            self._bucket, self._quiet = held.bucket, held.quiet
            self._sums.restore(held.sums, held.ages)
            if held.bucket is not None:
                self._receivers.restore(held.bucket, held.receivers)
                self._through = held.bucket - 1
        if "closed" in mine:
            closed = decode(mine.pop("closed"), type=_Closed)
            self._waves.restore(closed.levels, self._cohorts.names)
            rows = {int(bucket): _row_in(raw) for bucket, raw in mine.items()}
            self.factors.restore(rows, closed.last)
            self._stored = set(rows)
        return {name: raw for name, raw in stored.items() if not name.startswith(begin)}

    @property
    def _name(self) -> str:
        """Of the waves among a partition's surges."""
        return f"waves.{self._series}"


def _row_in(raw: bytes) -> list[list[float]]:
    """What `WaveFactors.row_of` gave; an earlier version stored factors alone."""
    stored = msgspec.json.decode(raw, type=list[list[float] | float])
    factors = [one for one in stored if isinstance(one, float)]
    rows = [one for one in stored if isinstance(one, list)]
    return rows or [factors, []]
