"""A real post going viral: when its comments are told at the notice budget."""

from __future__ import annotations

import csv
import gzip
from typing import Final

from streams.app.jobs import comment_partition_of
from streams.core.surges import Surge, Trigger
from streams.edges.settings import Settings
from tests.bench.detection.part import Part, data
from tests.bench.detection.statistics import NEVER, minutes_words
from tests.jobs import Comment, comments

_POSTED_MS: Final = 1_317_945_600_000


def run() -> Part:
    """Count its reshares as comments on a new post of a new creator, one chunk a record."""
    with gzip.open(data("one_post_reshares.csv.gz"), "rt") as text:
        seconds = [int(row["relative_time_second"]) for row in csv.DictReader(text)]
    partition = comment_partition_of(Settings())
    surges: list[Surge] = []
    for begin in range(0, len(seconds), 50):
        records: list[Comment] = [
            ("author", "post", "en", _POSTED_MS + second * 1000)
            for second in seconds[begin : begin + 50]
        ]
        surges += partition.take(comments(records)).surges
    told = {name: told_by(name, surges, seconds) for name in ("model", "rule")}
    rows = [
        {"by": name, "minutes": minutes_words(minutes), "comments in": f"{count:,.0f}"}
        for name, (minutes, count) in told.items()
    ]
    minutes, count = told["model"]
    return Part({"post_minutes": round(minutes, 2), "post_comments": count}, rows)


def told_by(trigger: Trigger, surges: list[Surge], seconds: list[int]) -> tuple[float, float]:
    """Minutes until the post was told by a trigger, and its comments until then: never, all."""
    opened = [one.opened_ms for one in surges if one.trigger == trigger and one.post_id]
    if not opened:
        return NEVER, float(len(seconds))
    after_ms = min(opened) - _POSTED_MS
    return after_ms / 60_000, float(sum(second * 1000 <= after_ms for second in seconds))
