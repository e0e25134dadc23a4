"""Parts of a fetch response: values and offsets of the records of one batch or of many."""

from bisect import bisect_left
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np

from streams.core.records.texts import Ints

_LOG_APPEND_TIME: Final = 1


class Mark(NamedTuple):
    """Where a batch ends: after ``rows`` of the part's records; where reading then goes on.

    ``newest_ms`` is the batch's newest timestamp, -1 if it has no records; ``by_broker``: that is
    when the broker took it, of all its records (Kafka's ``LogAppendTime``), by the batch itself.
    """

    rows: int
    next_offset: int
    newest_ms: int
    by_broker: bool = False


class Part(NamedTuple):
    """Records of batches, one after another, and a mark for each batch (there is at least one)."""

    values: Sequence[bytes | None]
    offsets: Sequence[int]
    marks: Sequence[Mark]

    def cut(self, records_max: int) -> "tuple[Part, Part | None]":
        """At most ``records_max`` (>= 1) records, with no batch begun after them; and the rest."""
        last = bisect_left(self.marks, records_max, key=lambda mark: mark.rows)
        if last >= len(self.marks) - 1 and len(self.values) <= records_max:
            return self, None
        mark, left = self.marks[last], last + 1
        if mark.rows > records_max:  # in the middle of a batch
            mark, left = mark._replace(rows=records_max), last
            mark = mark._replace(next_offset=self.offsets[records_max - 1] + 1)
        head, tail = slice(records_max), slice(records_max, None)
        rest = [one._replace(rows=one.rows - records_max) for one in self.marks[left:]]
        return (
            Part(self.values[head], self.offsets[head], [*self.marks[:last], mark]),
            Part(self.values[tail], self.offsets[tail], rest),
        )


def walked(batch: Any, position: int) -> Part:
    """Records of one batch from ``position`` on, taken one by one."""
    # Each record is let go at once: thousands of them alive make the collector walk the heap
    # again and again (measured: 1.3 us a record, a third of the whole worker).
    values: list[bytes | None] = []
    places: list[int] = []
    newest_ms, by_broker = -1, False
    add_value, add_offset = values.append, places.append
    if hasattr(batch, "last_offset_delta"):
        newest_ms, by_broker = batch.max_timestamp, is_by_broker(batch)
        for record in batch:
            add_value(record.value)
            add_offset(record.offset)
    else:  # formats before v2 keep no newest timestamp for the batch
        for record in batch:
            add_value(record.value)
            add_offset(record.offset)
            newest_ms = max(newest_ms, record.timestamp or -1)
            by_broker = is_by_broker(record)
    offsets = joined_offsets([places])
    if offsets and offsets[0] < position:
        read = bisect_left(offsets, position)
        values, offsets = values[read:], offsets[read:]
    next_offset = max(position, batch.next_offset)
    mark = Mark(len(values), next_offset, newest_ms if values else -1, by_broker)
    return Part(values, offsets, [mark])


def is_by_broker(stamped: Any) -> bool:
    """Whether a batch's or a record's timestamp is the broker's own, not the producer's."""
    return bool(stamped.timestamp_type == _LOG_APPEND_TIME)


def append_ms_of(parts: Sequence[Part]) -> Ints | None:
    """When the broker took each record; see ``RawChunk.append_ms``."""
    if not any(mark.by_broker for part in parts for mark in part.marks):
        return None
    times, counts = list[int](), list[int]()
    for part in parts:
        row = 0
        for mark in part.marks:
            times.append(mark.newest_ms if mark.by_broker else -1)
            counts.append(mark.rows - row)
            row = mark.rows
    return np.repeat(np.array(times, np.int64), counts)


def joined_offsets(spans: Sequence[Sequence[int]]) -> Sequence[int]:
    """One range where the offsets have no hole, else a list."""
    spans = [span for span in spans if span]
    if not spans:
        return range(0)
    first, last = spans[0][0], spans[-1][-1]
    if last - first + 1 == sum(map(len, spans)):
        return range(first, last + 1)
    return [offset for span in spans for offset in span]
