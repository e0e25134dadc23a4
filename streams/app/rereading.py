"""What is read once more, without counting it, when a partition is taken over.

Which event ids came lately is not stored (``core/repeats.py``): it is learnt again from the
records of the last horizon, all of which lie before the stored offset.
"""

from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from streams.core.events import RawChunk
from streams.core.partition import Partition


@dataclass(slots=True)
class Rereading:
    """Records before ``end_offset``; ``watermark_ms`` is the watermark before the next of them.

    ``messages`` are those of the chunks taken so far: acked with the first that is counted, so
    that Kafka's committed offset does not go back.
    """

    end_offset: int
    watermark_ms: int
    messages: list[Any] = field(default_factory=list)

    def take(
        self, chunk: RawChunk, job: Partition, decode: Callable[[RawChunk], Any]
    ) -> RawChunk | None:
        """Learn from what was counted before; what is left of the chunk, None: none, and go on."""
        cut = bisect_left(chunk.offsets, self.end_offset)
        if cut:
            counted = replace(chunk, values=chunk.values[:cut], offsets=chunk.offsets[:cut])
            self.watermark_ms = job.relearn(decode(counted).chunk, self.watermark_ms)
        if chunk.next_offset < self.end_offset:
            return None
        return replace(chunk, values=chunk.values[cut:], offsets=chunk.offsets[cut:])
