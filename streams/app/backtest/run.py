"""Runs the worker's own jobs over files, with no servers: the work of ``surgewatch backtest``.

A large file is counted by several processes, each some of the partitions (`processes.py`), a small
one by this process alone (`counting.py`); what they say is brought together in the order of the
file (`result.py`). What partitions report of their closed buckets goes to the job that tells waves.
"""

from collections.abc import Callable, Generator
from contextlib import closing
from typing import Final

from streams.app.backtest.counting import ChunkTold, FileEnd, FileTask, Share, counted
from streams.app.backtest.processes import counted_apart, processors
from streams.app.backtest.result import BacktestResult, Merger
from streams.core.records.chunks import DeadRecord
from streams.edges.files.records import RecordFile
from streams.edges.settings.list import Settings

_RECORDS_EACH: Final = 2_500
"""Records that a partition gets of one chunk on average: fewer cost more time a record."""
_CHUNK_RECORDS_MIN: Final = 10_000
_CHUNK_RECORDS_MAX: Final = 100_000
_LARGE_BYTES: Final = 20 * 2**20
"""A smaller file is counted before other processes have started."""

Bury = Callable[[list[DeadRecord]], None]
Counting = Generator[list[ChunkTold | FileEnd], None, None]
"""What all shares say, chunk by chunk."""


class Backtest:
    """One back-test. ``bury`` gets the records that cannot be used, placed by their line.

    Neither ``chunk_records`` nor ``processes`` make a difference to the surges; without the second
    a large file has one for each processor. With ``other`` settings the same records are counted
    under these too.
    """

    def __init__(
        self,
        settings: Settings,
        bury: Bury,
        chunk_records: int | None = None,
        other: Settings | None = None,
        processes: int | None = None,
    ) -> None:
        self._bury = bury
        self._settings = (settings,) if other is None else (settings, other)
        wanted = min(
            max(_RECORDS_EACH * settings.topic_partitions, _CHUNK_RECORDS_MIN), _CHUNK_RECORDS_MAX
        )
        self._chunk_records = chunk_records or wanted
        self._processes = processes
        self._mergers = [Merger(each) for each in self._settings]
        self.result = self._mergers[0].result
        self.other: BacktestResult | None = None if other is None else self._mergers[1].result
        self.read_bytes = 0
        """Of all files so far."""

    def take(self, file: RecordFile, told: Callable[[], None] = lambda: None) -> None:
        """Take a whole file; ``told`` is called after each chunk.

        Raises FileBroken and ProcessEnded.
        """
        for merger in self._mergers:
            merger.begin(file.topic)
        before = self.read_bytes
        with closing(self._counted(file)) as counting:
            self._merge(counting, before, told)
        self.read_bytes = before + file.size_bytes

    def _merge(self, counting: Counting, before: int, told: Callable[[], None]) -> None:
        for shares in counting:
            chunks = [share for share in shares if isinstance(share, ChunkTold)]
            ends = [share for share in shares if not isinstance(share, ChunkTold)]
            for place, merger in enumerate(self._mergers):
                if chunks:
                    merger.add(chunks[0].records, [share.sides[place] for share in chunks])
                else:
                    merger.end([share[place] for share in ends])
            if chunks:
                if chunks[0].dead:
                    self._bury(chunks[0].dead)
                self.read_bytes = before + chunks[0].read_bytes
            told()

    def _counted(self, file: RecordFile) -> Counting:
        is_follows = file.topic == self._settings[0].topic_follows
        task = FileTask(file.topic, is_follows, self._settings, self._chunk_records)
        processes = self._processes
        if processes is None:
            processes = processors() if file.size_bytes >= _LARGE_BYTES else 1
        processes = min(processes, *(each.topic_partitions for each in self._settings), 64)
        if processes > 1 and file.is_regular:
            yield from counted_apart(file.path, task, processes)
            return
        for told in counted(file, task, Share()):
            yield [told]
