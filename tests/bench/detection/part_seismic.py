"""A real post going viral: when its comments are told at the notice budget."""

from __future__ import annotations

import csv
import gzip
from typing import Final

from streams.app.jobs import comment_partition_of
from streams.edges.settings import Settings
from tests.bench.detection.part import Part, data
from tests.jobs import Comment, comments

_POSTED_MS: Final = 1_317_945_600_000


def run() -> Part:
    """Count its reshares as comments on a new post of a new creator, one chunk a record."""
    with gzip.open(data("one_post_reshares.csv.gz"), "rt") as text:
        seconds = [int(row["relative_time_second"]) for row in csv.DictReader(text)]
    partition = comment_partition_of(Settings())
    surges = []
    for begin in range(0, len(seconds), 50):
        records: list[Comment] = [
            ("author", "post", "en", _POSTED_MS + second * 1000)
            for second in seconds[begin : begin + 50]
        ]
        surges += partition.take(comments(records)).surges
    opened = {
        name: min(s.opened_ms for s in surges if s.trigger == name and s.post_id) - _POSTED_MS
        for name in ("model", "rule")
    }
    rows = [
        {"by": name, "minutes": round(ms / 60_000, 1), "comments in": _count(seconds, ms)}
        for name, ms in opened.items()
    ]
    reached = {
        "post_minutes": round(opened["model"] / 60_000, 2),
        "post_comments": float(_count(seconds, opened["model"])),
    }
    return Part(reached, rows)


def _count(seconds: list[int], opened_ms: int) -> int:
    return sum(second * 1000 <= opened_ms for second in seconds)
