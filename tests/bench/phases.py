"""Where each microsecond of a record goes: ``python -m tests.bench.phases``. Not a test.

The worker's own steps over the benchmark's records, with no server: batches as Kafka sends them are
read, decoded, counted and scored, and packed for the store. What is left of a worker's CPU is the
network, Faust, the event loop and Redis' client.
"""

from __future__ import annotations

import gc
import json
import statistics
import struct
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from aiokafka import TopicPartition
from aiokafka.consumer.fetcher import READ_COMMITTED, PartitionRecords
from aiokafka.record.default_records import DefaultRecordBatchBuilder

from streams.app.jobs import follow_partition_of, limits_of
from streams.core.events import RawChunk
from streams.core.values import joined_values
from streams.edges.allocator import keep_freed_memory
from streams.edges.codec import decode_follows
from streams.edges.codec_faults import AT_MS_END
from streams.edges.fetch_batches import KeptRecords, parts_of
from streams.edges.producer import partition_of
from streams.edges.redis_args import Expiries, write_call
from streams.edges.settings import read_settings
from streams.edges.store import Fence, Write
from tests.bench.job import Job
from tests.bench.stage import PARTITIONS

RECORDS: Final = 1_000_000
BATCH_RECORDS: Final = 4_000
CHUNK_BATCHES: Final = 2
FLUSH_RECORDS: Final = 20_000
ROUNDS: Final = 3


def batches_of(job: Job) -> list[list[bytes]]:
    """Record batches of each partition, as a producer would have made them."""
    pending: list[list[tuple[bytes, bytes]]] = [[] for _ in range(PARTITIONS)]
    made: list[list[bytes]] = [[] for _ in range(PARTITIONS)]
    for keys, values in job.batches():
        for key, value in zip(keys, values, strict=True):
            partition = partition_of(key, PARTITIONS)
            pending[partition].append((key, value))
            if len(pending[partition]) == BATCH_RECORDS:
                base = len(made[partition]) * BATCH_RECORDS
                made[partition].append(_batch_of(pending[partition], base))
                pending[partition].clear()
    return made


def _batch_of(pairs: list[tuple[bytes, bytes]], base_offset: int) -> bytes:
    builder = DefaultRecordBatchBuilder(2, 0, 0, -1, -1, -1, 1 << 24)
    for offset, (key, value) in enumerate(pairs):
        builder.append(offset, 1_736_899_200_000, key, value, [])
    batch = builder.build()
    struct.pack_into(">q", batch, 0, base_offset)  # the broker sets it; no checksum covers it
    return bytes(batch)


class Phases:
    """CPU seconds of each phase; each `lap` ends one."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._last = time.process_time()

    def lap(self, name: str) -> None:
        """Book the time since the last lap."""
        now = time.process_time()
        self.seconds[name] += now - self._last
        self._last = now


def chunks_of(made: list[list[bytes]]) -> Iterator[tuple[int, bytes]]:
    """Bytes of some batches, of one partition after the other."""
    for first in range(0, max(map(len, made)), CHUNK_BATCHES):
        for partition, batches in enumerate(made):
            if data := b"".join(batches[first : first + CHUNK_BATCHES]):
                yield partition, data


def run(made: list[list[bytes]]) -> tuple[dict[str, float], int]:
    """CPU seconds by phase, and how many records there were."""
    settings = read_settings({})
    limits, ages = limits_of(settings), Expiries(time.monotonic, 1)
    jobs = [follow_partition_of(settings) for _ in range(PARTITIONS)]
    unstored, records = [0] * PARTITIONS, 0
    gc.collect()
    gc.freeze()
    phases = Phases()
    for partition, data in chunks_of(made):
        raw = _raw_chunk_of(partition, data)
        phases.lap("read batches")
        decoded = decode_follows(raw, AT_MS_END, limits)
        phases.lap("decode")
        jobs[partition].take(decoded.chunk)
        phases.lap("count, score, rules, repeats")
        records += len(raw.values)
        unstored[partition] += len(raw.values)
        if unstored[partition] >= FLUSH_RECORDS:
            unstored[partition] = 0
            change = jobs[partition].drain()
            write = Write(change, None, records)
            write_call(Fence(1, "phases:1"), write, lambda part: f"phases:{{0}}:{part}", ages)
            phases.lap("pack for the store")
    return dict(phases.seconds), records


def _raw_chunk_of(partition: int, data: bytes) -> RawChunk:
    tp = TopicPartition("follows", partition)
    kept: Any = KeptRecords(data)
    begin = struct.unpack_from(">q", data)[0]
    records = PartitionRecords(tp, kept, [], begin, None, None, True, READ_COMMITTED)
    values = joined_values([part.values for part in parts_of(records)])
    count = len(values)
    return RawChunk("follows", partition, values, range(count), count, -1, count)


def main(path: Path = Path("build/phases.json")) -> int:
    """Measure, print, write."""
    keep_freed_memory()
    made = batches_of(Job(RECORDS))
    rounds = [run(made) for _ in range(ROUNDS)]
    records = rounds[0][1]
    assert records == sum(map(len, made)) * BATCH_RECORDS, "every record went its way"
    found = {
        name: round(statistics.median(seconds[name] for seconds, _ in rounds) / records * 1e6, 3)
        for name in rounds[0][0]
    }
    for name, microseconds in [*found.items(), ("together", sum(found.values()))]:
        print(f"{name:30} {microseconds:6.3f} µs of CPU a record")  # noqa: T201 its output
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"records": records, "microseconds": found}, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
