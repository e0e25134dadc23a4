"""The scaling parts: each takes a stage and a size, gives rows, and checks every answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

import numpy as np

from tests.bench.job import DAY_MS, START_MS
from tests.bench.memory import redis_bytes
from tests.bench.scaling_comments import by_comments
from tests.bench.scaling_repeats import by_repeats
from tests.bench.scaling_run import (
    Follows,
    Size,
    check,
    follows_of_job,
    row_of,
    run_worker,
    times_of_day,
    zipf_shares,
)
from tests.bench.scaling_scrapes import by_scrapes
from tests.bench.scaling_workers import by_workers
from tests.bench.stage import Stage
from tests.bench.stored import stored_of
from tests.bench.worker_process import WorkerProcess

Rows = list[dict[str, Any]]

RECORDS: Final = 1_000_000
CREATORS_MET: Final = (10_000, 100_000, 1_000_000, 10_000_000)
CREATORS_STORED: Final = (10_000, 100_000, 1_000_000)
PARTITION_COUNTS: Final = (1, 4, 16, 64)
CHUNKS: Final = (250, 1_000, 4_000, 8_000, 16_000, 32_000, 64_000)
HOTTEST_SHARES: Final = (0.0001, 0.001, 0.01, 0.1, 0.5, 0.9)
SURGING: Final = 100_000
SURGE_FOLLOWS: Final = 10
HISTORY_FOLLOWS: Final = 2


def by_creators(stage: Stage, size: Size) -> Rows:
    """Speed and memory with so many creators met, and the restart of such a worker.

    First every creator is met once, in no order, in the first half of the day. Then new records
    come, heavy-tailed over all of them, and a worker that starts with their state reads those.
    """
    rows = []
    for creators in map(size.of, size.first(CREATORS_MET)):
        name = f"creators-{creators}"
        draw = np.random.default_rng(3)
        met = Follows(name, draw.permutation(creators), times_of_day(draw, creators, 0.0, 0.5))
        tailed = draw.choice(creators, size.of(RECORDS), p=zipf_shares(creators))
        later = times_of_day(draw, len(tailed), 0.5, 1.0)
        more = Follows(name, tailed, later, first_event=creators)
        rows.append({"creators": creators, **_met_and_more(stage, met, more)})
    return rows


def _met_and_more(stage: Stage, met: Follows, more: Follows) -> dict[str, Any]:
    stage.empty_redis()
    empty = redis_bytes(stage)
    met.fill(stage)
    stage.make_topics(met.topic, met.topic)
    folder = stage.folder / met.topic
    folder.mkdir()
    # A static member is let in again at once; a dynamic one may wait for the session to end.
    variables = met.variables(stage, met.topic) | {"SURGEWATCH_KAFKA_INSTANCE_ID": met.topic}
    with WorkerProcess(folder, variables) as worker:
        meeting = row_of(stage, worker, len(met.ids))
        worker.end()
    more.fill(stage)
    with WorkerProcess(folder, variables) as worker:
        row = row_of(stage, worker, len(more.ids), stored_before=len(met.ids))
        row["restart_seconds"] = round(worker.first.at_seconds - worker.began_at, 2)
        worker.end()
    check(met.topic, variables, np.concatenate((met.ids, more.ids)))
    row["redis_bytes_a_creator"] = round((redis_bytes(stage) - empty) / len(met.ids), 1)
    told = ("records_per_second", "cpu_us_a_record", "rss_mb", "peak_rss_mb")
    return row | {f"meeting_{what}": meeting[what] for what in told}


def by_partitions(stage: Stage, size: Size) -> Rows:
    """The benchmark's job in so many partitions."""
    rows = []
    for count in size.first(PARTITION_COUNTS):
        follows = follows_of_job(
            f"partitions-{count}", size.of(RECORDS), partitions=count, threshold=5_000
        )
        follows.fill(stage)
        rows.append({"partitions": count, **run_worker(stage, follows.topic, follows)})
    return rows


def by_chunk(stage: Stage, size: Size) -> Rows:
    """The benchmark's job with so many records a chunk at most."""
    follows = follows_of_job("chunks", size.of(RECORDS), threshold=5_000)
    follows.fill(stage)
    rows = []
    for records in size.first(CHUNKS):
        cut = replace(follows, settings={"SURGEWATCH_CHUNK_RECORDS_MAX": str(records)})
        rows.append({"chunk_records_max": records, **run_worker(stage, f"chunk-{records}", cut)})
    return rows


def by_hottest(stage: Stage, size: Size) -> Rows:
    """So large a share of all records for one creator, the rest even over 100,000 others."""
    rows = []
    for share in size.first(HOTTEST_SHARES):
        draw = np.random.default_rng(4)
        count = size.of(RECORDS)
        ids = draw.integers(1, 100_001, count)
        ids[draw.random(count) < share] = 0
        at_ms = times_of_day(draw, count, 0.0, 1.0)
        follows = Follows(f"hottest-{share:g}", ids, at_ms, threshold=5_000)
        follows.fill(stage)
        rows.append({"share": share, **run_worker(stage, follows.topic, follows)})
    return rows


def all_at_once(stage: Stage, size: Size) -> Rows:
    """100,000 creators that all begin to surge in one minute, against the same records evenly.

    Each has two follows in the day before and ten in its last minute, and crosses the rule with
    the last of them. Evenly: the same creators and records, at times over the whole day, no rule.
    """
    draw = np.random.default_rng(5)
    creators = size.of(SURGING)
    before = draw.permutation(np.repeat(np.arange(creators), HISTORY_FOLLOWS))
    burst = draw.permutation(np.repeat(np.arange(creators), SURGE_FOLLOWS))
    minute = np.sort(draw.integers(DAY_MS - 60_000, DAY_MS, len(burst))) + START_MS
    surging = Follows(
        "surging",
        np.concatenate((before, burst)),
        np.concatenate((times_of_day(draw, len(before), 0.0, 0.99), minute)),
        threshold=HISTORY_FOLLOWS + SURGE_FOLLOWS,
    )
    ids = draw.permutation(surging.ids)
    even = Follows("even", ids, times_of_day(draw, len(ids), 0.0, 1.0))
    rows = []
    for follows in (even, surging):
        follows.fill(stage)
        row = run_worker(stage, follows.topic, follows)
        rows.append({"what": follows.topic, "surges_by_rule": len(follows.crossed()), **row})
    return rows


def redis_memory(stage: Stage, size: Size) -> Rows:
    """Redis' bytes a creator, all told: so many heavy-tailed creators after 24 hours of traffic.

    Each has one follow, four times as many more are heavy-tailed. The median creator's bytes are
    her key and value, and what Redis adds to a creator on average.
    """
    return [_redis_row(stage, creators) for creators in map(size.of, size.first(CREATORS_STORED))]


def _redis_row(stage: Stage, creators: int) -> dict[str, Any]:
    draw = np.random.default_rng(6)
    tailed = draw.choice(creators, 4 * creators, p=zipf_shares(creators))
    ids = draw.permutation(np.concatenate((np.arange(creators), tailed)))
    follows = Follows(f"tailed-{creators}", ids, times_of_day(draw, len(ids), 0.0, 1.0))
    stage.empty_redis()
    before = redis_bytes(stage)
    follows.fill(stage)
    row = run_worker(stage, follows.topic, follows)
    held = redis_bytes(stage) - before
    sizes = stored_of(follows.variables(stage, follows.topic)).bytes_stored
    added = (held - int(sizes.sum())) / creators
    found = {
        "creators": creators,
        "bytes_a_creator_mean": round(held / creators, 1),
        "bytes_a_creator_median": round(float(np.median(sizes)) + added, 1),
        "bytes_added_by_redis": round(added, 1),
    }
    return found | row


PARTS: Final[Mapping[str, Callable[[Stage, Size], Rows]]] = {
    "creators": by_creators,
    "partitions": by_partitions,
    "chunks": by_chunk,
    "hottest": by_hottest,
    "surging": all_at_once,
    "workers": by_workers,
    "redis": redis_memory,
    "comments": by_comments,
    "repeats": by_repeats,
    "scrapes": by_scrapes,
}
