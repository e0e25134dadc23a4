"""Keys run ahead over a chunk's buckets end where bucket after bucket leads, bit for bit."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.core.detection.block import DetectorBlock
from streams.core.detection.block_ahead import Course
from streams.core.detection.policy import DetectorPolicy
from streams.core.surges.surge import Surge
from streams.core.time.buckets import BUCKET_MS
from tests.jobs import FollowKind, contents_of, follow_partition, follows

BIRTH = 5_000_000
HISTORIES = st.lists(
    st.lists(st.tuples(st.integers(1, 700), st.integers(1, 500)), min_size=1, max_size=12),
    min_size=1,
    max_size=8,
)


@settings(deadline=None)
@given(HISTORIES, st.lists(st.booleans(), min_size=8, max_size=8), st.booleans())
def test_a_course_gives_what_its_buckets_give_one_by_one(
    histories: list[list[tuple[int, int]]], kept: list[bool], short_lived: bool
) -> None:
    histories.sort(key=len, reverse=True)
    keys, turns = len(histories), len(histories[0])
    policy = DetectorPolicy(short_lived=short_lived)
    one_by_one, ahead = DetectorBlock(policy), DetectorBlock(policy)
    for block in (one_by_one, ahead):
        block.grow(keys)
    steps = [np.cumsum([0, *(step for step, _ in history[:-1])]) for history in histories]
    layers = [[i for i, history in enumerate(histories) if len(history) > n] for n in range(turns)]
    course = Course(
        slots=np.arange(keys),
        are_new=np.ones(keys, dtype=np.bool_),
        begins=np.cumsum([0, *map(len, layers)]).tolist(),
        buckets=np.array([BIRTH + steps[i][n] for n, who in enumerate(layers) for i in who]),
        counts=np.array([histories[i][n][1] for n, who in enumerate(layers) for i in who]),
    )
    before = ahead.state_of(np.arange(keys)).tobytes()
    found = ahead.run_ahead(course)
    assert ahead.state_of(np.arange(keys)).tobytes() == before
    one_by_one.begin(np.arange(keys), BIRTH)
    scores = []
    for begin, end, who in zip(course.begins, course.begins[1:], layers, strict=False):
        slots, buckets = np.array(who), course.buckets[begin:end]
        if begin:
            last = slice(course.begins[course.begins.index(begin) - 1], None)
            opened, counts = course.buckets[last][: len(who)], course.counts[last][: len(who)]
            one_by_one.advance(slots, opened, counts, buckets)
        scores += one_by_one.score(slots, course.counts[begin:end], opened=buckets).score.tolist()
    assert found.score.tolist() == scores
    chosen = np.array(kept[:keys])
    found.keep(chosen)
    states = ahead.state_of(np.arange(keys)), one_by_one.state_of(np.arange(keys))
    assert states[0][chosen].tobytes() == states[1][chosen].tobytes()
    assert not states[0][~chosen]["window_counts"].any()


def test_months_in_one_chunk_are_counted_as_records_that_come_alone() -> None:
    draw = np.random.default_rng(3)
    size, begin_ms = 3000, 5_000_000 * BUCKET_MS
    at_ms = begin_ms + np.sort(draw.integers(0, 60 * 288 * BUCKET_MS, size))
    at_ms -= np.where(draw.random(size) < 0.05, draw.integers(0, 7_200_000, size), 0)
    names = [f"c-{int(rank)}" for rank in draw.zipf(1.3, size) % 400]
    names[1500:1600] = ["burst"] * 100
    records: list[FollowKind] = list(zip(names, at_ms.tolist(), [False] * size, strict=True))
    together, alone = follow_partition(20), follow_partition(20)
    told: list[Surge] = []
    for record in records:
        told += alone.take(follows([record])).surges
    assert together.take(follows(records)).surges == told
    assert {surge.state for surge in told} >= {"opened", "closed"}
    first, second = together.drain(), alone.drain()
    assert contents_of(first) == contents_of(second)
    assert first.surges == second.surges
