"""What is read once more, without counting it, when a partition is taken over.

Which event ids came lately is not stored (``core/records/repeats.py``), nor the records that are
held back (``core/records/hold.py``): both are learnt again from the last records before the stored
offset.
"""

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from streams.core.partition import Partition
from streams.core.records.chunk_rows import taken
from streams.core.records.chunks import DeadRecord, RawChunk, Reason

FromFuture = dict[int, int]
"""Offsets of records that were in the future when they came, and so are dead; their ``at_ms``."""


@dataclass(slots=True)
class Rereading:
    """Records before ``end_offset``; ``watermark_ms`` is the watermark before the next of them.

    ``messages`` are those of the chunks taken so far: acked with the first that is counted, so
    that Kafka's committed offset does not go back. ``from_future`` is the lane's.
    """

    end_offset: int
    watermark_ms: int
    from_future: FromFuture = field(default_factory=dict)
    messages: list[Any] = field(default_factory=list)

    def take(
        self, chunk: RawChunk, job: Partition, decode: Callable[[RawChunk], Any]
    ) -> RawChunk | None:
        """Learn from what was read before; what is left of the chunk, None: none, and go on."""
        cut = bisect_left(chunk.offsets, self.end_offset)
        if cut:
            read = chunk.part(slice(cut))
            learnt = self._without_future(read.offsets, decode(read), job.read_ms)
            self.watermark_ms = job.relearn(learnt, self.watermark_ms)
        if chunk.next_offset < self.end_offset:
            return None
        return chunk.part(slice(cut, None))

    def _without_future(self, offsets: Sequence[int], decoded: Any, read_ms: int) -> Any:
        """The rows that were not in the future when they came: the others are dead letters."""
        chunk = decoded.chunk
        later = chunk.at_ms > read_ms
        if not self.from_future and not later.any():
            return chunk
        dead = {one.offset for one in decoded.dead}
        used = [offset for offset in offsets if offset not in dead]
        for row in later.nonzero()[0].tolist():
            self.from_future[used[row]] = int(chunk.at_ms[row])
        return taken(chunk, np.array([one not in self.from_future for one in used], dtype=np.bool_))


def from_future_in(dead: Sequence[DeadRecord], decode: Callable[[RawChunk], Any]) -> FromFuture:
    """Those of the dead that are dead for their time alone; ``decode`` knows no clock.

    Read once more, later, they are in the future no longer.
    """
    found = [one for one in dead if one.reason is Reason.AT_MS_IN_FUTURE]
    if not found:
        return {}
    offsets = [one.offset for one in found]
    topic, partition, end = found[0].topic, found[0].partition, offsets[-1] + 1
    raw = RawChunk(topic, partition, [one.raw for one in found], offsets, end, -1, end)
    decoded = decode(raw)
    wrong = {one.offset for one in decoded.dead}
    times = decoded.chunk.at_ms.tolist()
    return dict(zip([one for one in offsets if one not in wrong], times, strict=True))
