"""Posts live for days: those that a partition meets first are judged as new, without a storm."""

import numpy as np

from streams.app.jobs import comment_partition_of
from streams.core.surges.surge import Surge
from streams.edges.settings.reading import Settings
from tests.jobs import Comment, comments

BEGIN_MS = 1_736_899_200_000
BUCKET_MS = 300_000


def told(records: list[Comment]) -> list[Surge]:
    """Posts' surges that the model opens."""
    partition = comment_partition_of(Settings())
    surges: list[Surge] = []
    for begin in range(0, len(records), 5_000):
        surges += partition.take(comments(records[begin : begin + 5_000])).surges
    return [s for s in surges if s.trigger == "model" and s.state == "opened" and s.post_id]


def test_the_first_post_of_all_that_takes_off_is_told_by_the_model() -> None:
    # 2 comments in five minutes, after half an hour 60
    quiet = [BEGIN_MS + n * BUCKET_MS // 2 for n in range(12)]
    rush = [BEGIN_MS + 6 * BUCKET_MS + n * BUCKET_MS // 60 for n in range(240)]
    (surge,) = told([("author", "post", "en", at_ms) for at_ms in quiet + rush])
    assert surge.opened_ms < BEGIN_MS + 8 * BUCKET_MS


def test_old_posts_that_a_partition_meets_as_it_begins_raise_no_storm() -> None:
    # large and small ones, each as steady as ever
    draw = np.random.default_rng(5)
    rates = np.clip(np.exp(draw.normal(0.0, 2.0, 1_000)), 1e-3, 100.0)
    records: list[Comment] = []
    for bucket in range(18):
        counts = draw.poisson(rates * draw.gamma(20.0, 1 / 20.0, len(rates)))
        posts = draw.permutation(np.repeat(np.arange(len(rates)), counts))
        begin_ms = BEGIN_MS + bucket * BUCKET_MS
        at_ms = begin_ms + np.sort(draw.integers(0, BUCKET_MS, len(posts)))
        records += [
            (f"a{post // 3}", f"p{post}", "en", when)
            for post, when in zip(posts.tolist(), at_ms.tolist(), strict=True)
        ]
    assert len(told(records)) <= 1
