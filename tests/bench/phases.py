"""Where each microsecond of a record goes: ``python -m tests.bench.phases``. Not a test.

First the worker's own steps over the benchmark's records, with no server: batches as Kafka sends
them are read, decoded, counted and scored, and packed for the store. Then a whole worker on real
servers, sampled (``sampled_worker.py``): what Faust, the event loop, Redis' client and the
consumer's thread take beside these.
"""

from __future__ import annotations

import argparse
import gc
import json
import statistics
import struct
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from aiokafka import TopicPartition
from aiokafka.consumer.fetcher import READ_COMMITTED, PartitionRecords
from aiokafka.record.default_records import DefaultRecordBatchBuilder

from streams.app.jobs import follow_partition_of, limits_of
from streams.core.records.chunks import RawChunk
from streams.core.records.values import joined_values
from streams.edges.codec.events import decode_follows
from streams.edges.codec.faults import AT_MS_END
from streams.edges.kafka.producer import partition_of
from streams.edges.process.allocator import keep_freed_memory
from streams.edges.redis.args import Expiries, write_call
from streams.edges.settings.list import Settings
from streams.edges.settings.reading import read_settings
from streams.edges.store import Fence, Write
from streams.edges.transport.batch import faust_settings
from streams.edges.transport.fetch_batches import KeptRecords, parts_of
from tests.bench.job import Job
from tests.bench.scaling_run import check, follows_of_job
from tests.bench.stage import PARTITIONS, stage_of
from tests.bench.worker_process import WorkerProcess

RECORDS: Final = 1_000_000
BATCH_RECORDS: Final = 4_000
SAMPLED_RECORDS: Final = 2_000_000
_LIMIT_SECONDS: Final = 300.0


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


def chunk_batches(settings: Settings, batch_bytes: int) -> int:
    """How many batches a chunk has: those of a partition's share of a fetch, if not too many."""
    share = faust_settings(settings.kafka_bootstrap_servers, "")["consumer_max_fetch_size"]
    return max(1, min(settings.chunk_records_max // BATCH_RECORDS, int(share) // batch_bytes))


def chunks_of(made: list[list[bytes]], count: int) -> Iterator[tuple[int, bytes]]:
    """Bytes of so many batches, of one partition after the other."""
    for first in range(0, max(map(len, made)), count):
        for partition, batches in enumerate(made):
            if data := b"".join(batches[first : first + count]):
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
    for partition, data in chunks_of(made, chunk_batches(settings, len(made[0][0]))):
        raw = _raw_chunk_of(partition, data)
        phases.lap("read batches")
        decoded = decode_follows(raw, AT_MS_END, limits)
        phases.lap("decode")
        jobs[partition].take(decoded.chunk)
        phases.lap("count, score, rules, repeats")
        records += len(raw.values)
        unstored[partition] += len(raw.values)
        if unstored[partition] >= settings.flush_creators_max:
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


def run_sampled(records: int, rounds: int) -> dict[str, float]:
    """CPU µs a record of a whole worker by step, medians; the servers run on the same cores."""
    follows = follows_of_job("sampled", records, threshold=5_000)
    found: dict[str, list[float]] = defaultdict(list)
    with stage_of() as stage:
        follows.fill(stage)
        for round_no in range(rounds):
            name = f"sampled-{round_no}"
            stage.empty_redis()
            stage.make_topics(name, follows.topic)
            variables = follows.variables(stage, name)
            folder = stage.folder / name
            folder.mkdir()
            with WorkerProcess(folder, variables, sampled=True) as worker:
                worker.wait_stored(records, _LIMIT_SECONDS)
                seconds = worker.sampled_seconds(_LIMIT_SECONDS)
                worker.end()
            check(name, variables, follows.ids)
            for step, spent in seconds.items():
                found[step].append(spent / records * 1e6)
    return {
        step: round(statistics.median([*of, *[0.0] * (rounds - len(of))]), 3)
        for step, of in sorted(found.items())
    }


def print_steps(title: str, found: Mapping[str, float]) -> None:
    """Print steps as the table of ``docs/performance.md``."""
    lines = [f"| {title} | CPU µs a record |", "|---|--:|"]
    rows = [*found.items(), ("together", sum(found.values()))]
    lines += [f"| {name} | {microseconds:.2f} |" for name, microseconds in rows]
    print("\n".join(lines), end="\n\n")  # noqa: T201 its output


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.phases", description=__doc__)
    parser.add_argument("--records", type=int, default=RECORDS)
    parser.add_argument("--sampled-records", type=int, default=SAMPLED_RECORDS, help="0: not")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, default=Path("build/phases.json"))
    options = parser.parse_args(argv)
    keep_freed_memory()
    made = batches_of(Job(options.records))
    rounds = [run(made) for _ in range(options.rounds)]
    records = rounds[0][1]
    assert records == sum(map(len, made)) * BATCH_RECORDS, "every record went its way"
    found = {
        name: round(statistics.median(seconds[name] for seconds, _ in rounds) / records * 1e6, 3)
        for name in rounds[0][0]
    }
    print_steps("step, alone", found)
    written: dict[str, Any] = {"records": records, "microseconds": found}
    if options.sampled_records:
        written["sampled_records"] = options.sampled_records
        sampled = run_sampled(options.sampled_records, options.rounds)
        written["sampled_microseconds"] = sampled
        print_steps("step of a whole worker", sampled)
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(written, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
