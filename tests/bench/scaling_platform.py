"""How many workers, Redis nodes and partitions a large platform needs, by what was measured."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

EVENTS_A_DAY: Final = 2_000_000_000
PEAK: Final = 10
COMMENTS_SHARE: Final = 0.3
"""Of all events; one of the shares that the part ``comments`` measures."""
CREATORS_FOLLOWED: Final = 60_000_000
"""Of the platform's 300 million users, those with a follow in the 35 days for which she is kept."""
CREATORS_COMMENTED: Final = 20_000_000
"""Those with a comment, each on a few posts in a few languages."""
RESERVE: Final = 0.5
"""Share of a worker's and a Redis' speed that is planned with."""
HORIZON_SECONDS: Final = 600
WORKER_BYTES: Final = 8e9
PARTITIONS: Final = 16

_NEEDED: Final = ("creators", "partitions", "redis", "comments", "repeats")


Measured = Mapping[str, Any]


def platform_rows(parts: Mapping[str, Sequence[Measured]]) -> list[dict[str, str]]:
    """Rows of the table, each with its arithmetic; none when a part was not measured in full."""
    if not all(parts.get(name) for name in _NEEDED):
        return []
    met = {row["creators"]: row for row in parts["creators"]}
    shares = {(row["comments_share"], row["hours"]): row for row in parts["comments"]}
    one = next((row for row in parts["partitions"] if row["partitions"] == 1), None)
    ten, million, mix = met.get(10_000_000), met.get(1_000_000), shares.get((COMMENTS_SHARE, 1))
    least = met.get(10_000)
    stored, comments, ids = parts["redis"][-1], shares.get((1.0, 24)), parts["repeats"][-1]
    if not (one and least and ten and million and mix and comments and ids["bytes_an_id"]):
        return []
    return [
        *_events(),
        *_each(one, ten, million, mix),
        *_memory(least, ten, comments, ids),
        *_redis(stored, comments, ten, million, mix),
    ]


def _row(what: str, figure: str, arithmetic: str) -> dict[str, str]:
    return {"what": what, "figure": figure, "arithmetic": arithmetic}


def _peak() -> float:
    return EVENTS_A_DAY * PEAK / 86_400


def _events() -> list[dict[str, str]]:
    peak = _peak()
    return [
        _row(
            "events a second at the peak",
            f"{peak:,.0f}",
            f"{EVENTS_A_DAY:,} / 86,400 = {peak / PEAK:,.0f} on average, times {PEAK}; "
            f"{1 - COMMENTS_SHARE:.0%} follows, {COMMENTS_SHARE:.0%} comments",
        ),
    ]


def _each(one: Measured, ten: Measured, million: Measured, mix: Measured) -> list[dict[str, str]]:
    peak, larger = _peak(), ten["records_per_second"] / million["records_per_second"]
    worker = mix["records_per_second"] * min(1.0, larger)
    planned = worker * RESERVE
    return [
        _row(
            "one partition, follows (it is one worker's)",
            f"{one['records_per_second']:,} a second",
            "part `partitions`, one",
        ),
        _row(
            "one worker with ten million creators, this mix",
            f"{worker:,.0f} a second",
            f"{mix['records_per_second']:,} (part `comments`, {COMMENTS_SHARE:.0%} in 1 h) × "
            f"{min(1.0, larger):.2f} (part `creators`, ten million against one million)",
        ),
        _row(
            "workers, by speed",
            f"{math.ceil(peak / planned)}",
            f"{peak:,.0f} / {planned:,.0f}: {RESERVE:.0%} of what one does, with Kafka and Redis "
            "on the same two cores",
        ),
    ]


def _memory(
    least: Measured, ten: Measured, comments: Measured, ids: Measured
) -> list[dict[str, str]]:
    peak = _peak()
    one_partition = math.ceil(peak / PARTITIONS)
    of_follows = max(ten["peak_rss_mb"], ten["meeting_peak_rss_mb"]) * 1e6 / ten["creators"]
    of_comments = (comments["rss_mb"] - least["rss_mb"]) * 1e6 / comments["creators_met"]
    creators = CREATORS_FOLLOWED * of_follows + CREATORS_COMMENTED * of_comments
    of_ids = 2 * peak * HORIZON_SECONDS * ids["bytes_an_id"]
    workers = _workers_for(creators + of_ids)
    return [
        _row(
            "creators' state, all workers",
            f"{creators / 1e9:,.1f} GB",
            f"{CREATORS_FOLLOWED:,} × {of_follows:,.0f} bytes (part `creators`, ten million, at "
            f"most) + {CREATORS_COMMENTED:,} × {of_comments:,.0f} (part `comments`: her counts, "
            "posts and languages)",
        ),
        _row(
            "event ids, all workers",
            f"{of_ids / 1e9:,.1f} GB",
            f"at most 2 × {peak:,.0f} × {HORIZON_SECONDS} s × {ids['bytes_an_id']:,} bytes "
            "(part `repeats`; a longer id takes more)",
        ),
        _row(
            f"workers, by memory, {WORKER_BYTES / 1e9:.0f} GB each",
            workers,
            f"{creators / 1e9:,.1f} + {of_ids / 1e9:,.1f} GB in {PARTITIONS} partitions, each of "
            "which is one worker's",
        ),
        _row(
            f"one of {PARTITIONS} partitions at the peak",
            f"{one_partition:,} a second",
            f"{peak:,.0f} / {PARTITIONS}; a partition is one worker's, so there must be at least "
            "as many as workers",
        ),
        _row(
            "`repeats_ids_max` for a whole horizon at the peak",
            f"{2 * one_partition * HORIZON_SECONDS:,}",
            f"2 × {one_partition:,} × {HORIZON_SECONDS} s; the default 1,000,000 is sure for "
            f"{500_000 / one_partition:,.0f} s of it",
        ),
    ]


def _workers_for(total_bytes: float) -> str:
    """Fewest workers of which none needs more memory than it has, with whole partitions each."""
    for workers in range(1, PARTITIONS + 1):
        if math.ceil(PARTITIONS / workers) * total_bytes / PARTITIONS <= WORKER_BYTES:
            return f"{workers}"
    return f"more than {PARTITIONS}: more partitions, or more memory each"


def _redis(
    stored: Measured, comments: Measured, ten: Measured, million: Measured, mix: Measured
) -> list[dict[str, str]]:
    peak = _peak()
    followed = CREATORS_FOLLOWED * stored["bytes_a_creator_mean"]
    commented = CREATORS_COMMENTED * comments["redis_bytes_a_creator"]
    dearer = max(1.0, ten["redis_cpu_us_a_record"] / million["redis_cpu_us_a_record"])
    cost = mix["redis_cpu_us_a_record"] * dearer
    return [
        _row(
            "Redis, bytes",
            f"{(followed + commented) / 1e9:,.1f} GB, twice that while it writes its file anew",
            f"{CREATORS_FOLLOWED:,} × {stored['bytes_a_creator_mean']} (part `redis`) + "
            f"{CREATORS_COMMENTED:,} × {comments['redis_bytes_a_creator']} (part `comments`: her "
            "counts, posts and languages)",
        ),
        _row(
            "one Redis (one core), this mix",
            f"{1e6 / cost:,.0f} a second",
            f"{mix['redis_cpu_us_a_record']:.2f} µs (part `comments`) × {dearer:.2f} "
            "(part `creators`, ten million against one million)",
        ),
        _row(
            "Redis nodes, by speed",
            f"{math.ceil(peak * cost / 1e6 / RESERVE)}",
            f"{peak:,.0f} × {cost:.2f} µs = {peak * cost / 1e6:.2f} cores, {RESERVE:.0%} of each",
        ),
    ]
