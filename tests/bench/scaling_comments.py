"""What comments cost beside follows: the same number of records, a share of them comments."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tests.bench.job import BATCH_RECORDS, Batch, batches_of, creator_of, crossed_of
from tests.bench.memory import redis_bytes
from tests.bench.scaling_run import (
    Ints,
    Size,
    check_opened,
    check_totals,
    row_of,
    times_of_day,
    zipf_shares,
)
from tests.bench.stage import Stage
from tests.bench.stored import stored_of
from tests.bench.worker_process import WorkerProcess

RECORDS: Final = 1_000_000
CREATORS: Final = 1_000_000
POINTS: Final = ((0.0, 24), (0.3, 24), (1.0, 24), (0.3, 1))
"""Comments among all records, and hours of event time over which they are."""
POST_SHARES: Final = (0.5, 0.25, 0.15, 0.1)
"""A creator's comments by post: she has a few, of which one is the day's."""
LANGS: Final = (b"en", b"es", b"pt", b"id", b"hi", b"ar", b"fr", b"ja", b"de", b"tr")
OWN_LANG_SHARE: Final = 0.7
"""Comments in the language that is usual for the creator; the others are in any."""
RULE: Final = 5_000


@dataclass(frozen=True)
class Comments:
    """Comments in the order of time, one entry each: creator, post (a number), language."""

    ids: Ints
    posts: Ints
    langs: NDArray[np.int64]
    at_ms: Ints

    @classmethod
    def drawn(
        cls, draw: np.random.Generator, creators: int, count: int, hours: int = 24
    ) -> Comments:
        """So many, heavy-tailed over the creators, at even times over so many hours."""
        ids = draw.choice(creators, count, p=zipf_shares(creators))
        posts = ids * len(POST_SHARES) + draw.choice(len(POST_SHARES), count, p=POST_SHARES)
        others = draw.integers(0, len(LANGS), count)
        langs = np.where(draw.random(count) < OWN_LANG_SHARE, ids % len(LANGS), others)
        return cls(ids, posts, langs, times_of_day(draw, count, 0.0, hours / 24))

    def batches(self) -> Iterator[Batch]:
        """Keys and values, some thousand at a time."""
        for first in range(0, len(self.ids), BATCH_RECORDS):
            chosen = slice(first, first + BATCH_RECORDS)
            columns = (self.ids, self.posts, self.langs, self.at_ms)
            rows = zip(*(column[chosen].tolist() for column in columns), strict=True)
            keys, values = [], []
            for number, (creator, post, lang, at_ms) in enumerate(rows, first):
                key = creator_of(creator).encode()
                keys.append(key)
                values.append(
                    b'{"event_id":"k-%d","comment_id":"m-%d","post_id":"%b","creator_id":"%b",'
                    b'"commenter_id":"u-%d","at_ms":%d,"lang":"%b"}'
                    % (number, number, post_of(post).encode(), key, number, at_ms, LANGS[lang])
                )
            yield keys, values


def post_of(number: int) -> str:
    """Id of a post.

    >>> post_of(5)
    'p-0000005'
    """
    return f"p-{number:07d}"


def by_comments(stage: Stage, size: Size) -> list[dict[str, Any]]:
    """A million records, heavy-tailed over a million creators, some or all of them comments."""
    return [_run(stage, size, share, hours) for share, hours in size.first(POINTS)]


def _run(stage: Stage, size: Size, share: float, hours: int) -> dict[str, Any]:
    draw, name = np.random.default_rng(8), f"comments-{share:g}-{hours}"
    records, creators = size.of(RECORDS), size.of(CREATORS)
    comments = Comments.drawn(draw, creators, round(share * records), hours)
    follows = draw.choice(creators, records - len(comments.ids), p=zipf_shares(creators))
    at_ms = times_of_day(draw, len(follows), 0.0, hours / 24)
    stage.empty_redis()
    stage.fill(name, batches_of(follows, at_ms))
    stage.fill(name, comments.batches(), comments=True)
    stage.make_topics(name, name)
    rule = {"SURGEWATCH_RULE_COMMENTS_24H": str(RULE)}
    variables = stage.variables(name, name, RULE) | rule
    folder = stage.folder / name
    folder.mkdir()
    empty = redis_bytes(stage)
    with WorkerProcess(folder, variables) as worker:
        row = row_of(stage, worker, records)
        worker.end()
    held = redis_bytes(stage) - empty
    _check(name, variables, follows, at_ms, comments)
    met = len(np.unique(np.concatenate((follows, comments.ids))))
    sizes = {"creators_met": met, "posts_met": len(np.unique(comments.posts))}
    what = f"{share:.0%} in {hours} h"
    told = {"what": what, "comments_share": share, "hours": hours, **row, **sizes}
    return told | {"redis_bytes_a_creator": round(held / met, 1)}


def _check(
    name: str, variables: Mapping[str, str], follows: Ints, at_ms: Ints, comments: Comments
) -> None:
    """Hold stored totals of all series and surges by rule against the records: WrongAnswer."""
    sent = {"follows": follows, "comments": comments.ids, "posts": comments.posts}
    for series, ids in sent.items():
        check_totals(f"{name}, {series}", stored_of(variables, series).totals, ids)
    crossed = crossed_of(follows, at_ms, RULE)
    check_opened(
        name, variables, crossed | crossed_of(comments.posts, comments.at_ms, RULE, post_of)
    )
