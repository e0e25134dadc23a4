"""A crowd of creators who get a follow or two and sleep again: nobody is surging."""

import numpy as np

from streams.app.jobs import follow_partition_of
from streams.core.records.chunks import FollowChunk
from streams.core.records.texts import Texts
from streams.edges.settings.reading import read_settings
from tests.unit.test_partition import BEGIN_MS

DAY_MS = 86_400_000
CREATORS = 250_000


def test_one_or_two_follows_on_a_first_day_are_no_surge() -> None:
    # most never close a bucket: what they reached is not known of others' first days
    draw = np.random.default_rng(2)
    again = draw.choice(CREATORS, CREATORS // 2, replace=False)
    ids = draw.permutation(np.concatenate((np.arange(CREATORS), again)))
    at_ms = np.sort(draw.integers(0, DAY_MS, len(ids))) + BEGIN_MS
    partition = follow_partition_of(read_settings({}))
    told = 0
    for begin in range(0, len(ids), 8_000):
        some = slice(begin, begin + 8_000)
        names = Texts.of(f"c-{number}" for number in ids[some].tolist())
        chunk = FollowChunk(names, at_ms[some], np.zeros(len(names), np.bool_))
        told += len(partition.take(chunk).surges)
    assert told <= CREATORS * 0.001
