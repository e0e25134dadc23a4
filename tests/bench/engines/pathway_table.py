"""Pathway: JSON parsed by its engine, counts by creator and 5 minutes, totals by creator.

Best honest settings: no Python for a record, two threads for two cores (quicker than one), batches
of its default 1.5 s (less CPU than shorter ones), no persistence, no monitoring. It keeps rolling
totals only as long as the job's 24 hours last: nothing is taken off, which favours it.
It tells who crossed, not at which record: its outputs come a batch at a time. All that is asked of
it is one table, whose batch is whole when it ends: of two outputs either may be told first.
"""

import os
import sys
from typing import Any

import pathway as pw

from tests.bench.engines.first_bytes import stamp_first_bytes
from tests.bench.engines.protocol import Order, Stamp, answer, order_of, stamp
from tests.bench.engines.tally_dict import BUCKET_MS

EVERYTHING = ""
"""No creator's id: the row that holds all records counted."""
_THREADS = "2"


class FollowColumns(pw.Schema):  # type: ignore[misc]  # pathway is not ours to type
    """What is read of a record."""

    creator_id: str
    at_ms: int


def run(order: Order) -> None:
    """Read the topic until all is counted; ends the process, as the stream has no end."""
    os.environ["PATHWAY_THREADS"] = _THREADS
    follows = pw.io.kafka.read(
        {
            "bootstrap.servers": order.bootstrap,
            "group.id": order.name,
            "auto.offset.reset": "earliest",
            "fetch.queue.backoff.ms": "5",
            "fetch.wait.max.ms": "50",
        },
        topic=order.topic,
        schema=FollowColumns,
        format="json",
    )
    follows = follows.select(pw.this.creator_id, bucket=pw.this.at_ms // BUCKET_MS)
    buckets = follows.groupby(pw.this.creator_id, pw.this.bucket).reduce(
        pw.this.creator_id, pw.this.bucket, count=pw.reducers.count()
    )
    totals = buckets.groupby(pw.this.creator_id).reduce(
        pw.this.creator_id, count=pw.reducers.sum(pw.this.count)
    )
    # The largest creator of this heavy-tailed job has more than a fiftieth of all records.
    large = totals.filter(pw.this.count >= min(order.threshold, order.records // 50))
    everything = totals.reduce(creator_id=EVERYTHING, count=pw.reducers.sum(pw.this.count))
    watch(order, pw.Table.concat_reindex(large, everything))
    pw.run(monitoring_level=pw.MonitoringLevel.NONE)


def watch(order: Order, totals: Any) -> None:
    """Answer at the end of the batch with which all records are counted."""
    held: dict[str, int] = {EVERYTHING: 0}
    stamps: list[Stamp] = []
    stamp_first_bytes(stamps)

    def total_changed(key: Any, row: dict[str, Any], time: int, is_addition: bool) -> None:
        if is_addition:
            held[row["creator_id"]] = row["count"]

    def batch_ended(time: int) -> None:
        if held[EVERYTHING] < order.records:
            return
        first, last, total = stamps[0], stamp(), held.pop(EVERYTHING)
        crossed = {name: None for name, count in held.items() if count >= order.threshold}
        answer(total=total, largest=max(held.values()), crossed=crossed, first=first, last=last)
        os._exit(0)

    pw.io.subscribe(totals, total_changed, on_time_end=batch_ended)


if __name__ == "__main__":
    run(order_of(sys.argv))
