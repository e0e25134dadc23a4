"""A real post going viral: when its comments are told at the notice budget.

It is a new post of a running platform: in each of some partitions it comes after days of ordinary
posts (`post_crowd`), which are to raise no more notices than asked. Beside it: a platform whose
posts are much wilder, and the post as the very first that a partition ever sees.
"""

from __future__ import annotations

import csv
import gzip
from typing import Any, Final, NamedTuple

import numpy as np

from streams.app.jobs import comment_partition_of
from streams.core.records.chunks import CommentChunk
from streams.core.records.texts import Texts
from streams.core.surges.surge import Surge, Trigger
from streams.edges.settings.reading import Settings
from tests.bench.detection.part import Part, data
from tests.bench.detection.post_crowd import (
    DAY_MS,
    HEAVY_POWER,
    MIDDLE_POWER,
    TAME_POWER,
    Crowd,
    crowd_of,
)
from tests.bench.detection.shards import SEED, count_of, done
from tests.bench.detection.statistics import (
    NEVER,
    middle_of,
    middle_words,
    minutes_words,
    ratio_words,
)
from tests.bench.detection.world_job import NOTICES
from tests.jobs import Comment, comments

_POSTED_MS: Final = 1_317_945_600_000
_PARTITIONS: Final = 12
_POSTS_A_DAY: Final = 6_000
_DAYS: Final = 4
_POSTED_AFTER_MS: Final = 2 * DAY_MS
_CHUNK: Final = 2_000
_CROWDS: Final = {
    "one in 10,000 with 100 comments": TAME_POWER,
    "one in 4,000": MIDDLE_POWER,
    "one in 250": HEAVY_POWER,
}
_VIRAL: Final = "post"


class Found(NamedTuple):
    """Of a partition: first days of its ordinary posts, notices on them, and the viral post."""

    days: int
    notices: int
    minutes: float
    comments: float


def run(size: float) -> Part:
    """Count its reshares as comments on a new post of a new creator."""
    with gzip.open(data("one_post_reshares.csv.gz"), "rt") as text:
        seconds = [int(row["relative_time_second"]) for row in csv.DictReader(text)]
    partitions, posts = count_of(_PARTITIONS, size, 2), count_of(_POSTS_A_DAY, size, 500)
    rows, reached = [], dict[str, float]()
    for name, power in _CROWDS.items():
        tasks = [(SEED + 400 + n, power, posts, seconds) for n in range(partitions)]
        found = done(_partition, tasks)
        minutes, many = ([one[place] for one in found] for place in (2, 3))
        days, notices = (sum(one[place] for one in found) for place in (0, 1))
        rows.append(
            {
                "posts before it": name,
                "told by": "model",
                "minutes, median": middle_words(minutes),
                "slowest": minutes_words(max(minutes)),
                "comments in, median": f"{middle_of(many):,.0f}",
                "notices of other posts, seen over asked": ratio_words(
                    int(notices), days * NOTICES
                ),
            }
        )
        if power == TAME_POWER:
            reached = {
                "post_minutes": round(middle_of(minutes), 2),
                "post_comments": middle_of(many),
                "post_rate": round(float(notices) / (days * NOTICES), 3),
            }
    return Part(reached, [*rows, *_first_of_all(seconds)])


def _first_of_all(seconds: list[int]) -> list[dict[str, Any]]:
    """Tell of the post as the first that a partition ever sees."""
    partition = comment_partition_of(Settings())
    surges: list[Surge] = []
    for begin in range(0, len(seconds), 50):
        records: list[Comment] = [
            ("author", _VIRAL, "en", _POSTED_MS + second * 1000)
            for second in seconds[begin : begin + 50]
        ]
        surges += partition.take(comments(records)).surges
    rows = []
    for trigger in ("model", "rule"):
        minutes, count = told_by(trigger, surges, seconds, _POSTED_MS)
        rows.append(
            {
                "posts before it": "none",
                "told by": trigger,
                "minutes, median": minutes_words(minutes),
                "comments in, median": f"{count:,.0f}",
            }
        )
    return rows


def told_by(
    trigger: Trigger, surges: list[Surge], seconds: list[int], posted_ms: int
) -> tuple[float, float]:
    """Minutes until the post was told by a trigger, and its comments until then: never, all.

    Told means announced: where that waited for its bucket's end, then.
    """
    told = [one.at_ms for one in surges if one.trigger == trigger and one.post_id == _VIRAL]
    if not told:
        return NEVER, float(len(seconds))
    after_ms = min(told) - posted_ms
    return after_ms / 60_000, float(sum(second * 1000 <= after_ms for second in seconds))


def _partition(task: tuple[int, float, int, list[int]]) -> Found:
    seed, power, posts, seconds = task
    crowd = crowd_of(seed, power=power, posts_a_day=posts, days=_DAYS)
    rng = np.random.default_rng([seed, 15])
    posted_ms = _POSTED_AFTER_MS + int(rng.integers(DAY_MS))
    viral = Crowd(np.full(len(seconds), -1), posted_ms + np.array(seconds, dtype=np.int64) * 1000)
    post, at_ms = (np.concatenate(column) for column in zip(crowd, viral, strict=True))
    order = np.argsort(at_ms, kind="stable")
    order = order[at_ms[order] < _DAYS * DAY_MS]
    post, at_ms = post[order], at_ms[order] + _POSTED_MS
    surges = _surges_of(post, at_ms)
    numbers, met = np.unique(post, return_index=True)
    first_ms = {_post_id_of(n): at for n, at in zip(numbers.tolist(), at_ms[met], strict=True)}
    notices = sum(
        one.trigger == "model"
        and one.state == "opened"
        and one.post_id not in {None, _VIRAL}
        and one.opened_ms < first_ms[str(one.post_id)] + DAY_MS
        for one in surges
    )
    return Found(
        len(numbers) - 1, notices, *told_by("model", surges, seconds, _POSTED_MS + posted_ms)
    )


def _surges_of(post: np.ndarray, at_ms: np.ndarray) -> list[Surge]:
    partition = comment_partition_of(Settings())
    surges: list[Surge] = []
    for begin in range(0, len(post), _CHUNK):
        part = post[begin : begin + _CHUNK].tolist()
        chunk = CommentChunk(
            Texts.of([f"a{number // 3}" for number in part]),
            Texts.of([_post_id_of(number) for number in part]),
            Texts.of(["en"] * len(part)),
            at_ms[begin : begin + _CHUNK],
        )
        surges += partition.take(chunk).surges
    return surges + partition.take_held().surges


def _post_id_of(number: int) -> str:
    return _VIRAL if number < 0 else f"p{number}"
