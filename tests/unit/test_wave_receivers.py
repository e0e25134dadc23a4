"""Who receives most in a bucket: the same whatever the chunks, and whenever names are asked for."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.core.records.keys import Keys
from streams.core.records.texts import Texts
from streams.core.surges.surge import WaveReceiver
from streams.core.waves.receivers import RECEIVERS_MAX, Receivers, rank_of

KEYS = 40
BUCKET = 700


def keys_of(count: int) -> Keys:
    keys = Keys()
    keys.slots_of(Texts.of([f"c-{n}" for n in range(count)]))
    return keys


def brute(counts: dict[int, int], usual: list[float]) -> list[WaveReceiver]:
    every = [
        WaveReceiver(f"c-{slot}", now, usual[slot])
        for slot, now in counts.items()
        if now > usual[slot] and (now - usual[slot]) ** 2 >= 4 * (usual[slot] + 1)
    ]
    return sorted(every, key=rank_of)[:RECEIVERS_MAX]


@given(
    st.lists(st.floats(0.0, 50.0), min_size=KEYS, max_size=KEYS),
    st.lists(
        st.tuples(st.integers(0, 2), st.dictionaries(st.integers(0, KEYS - 1), st.integers(1, 60))),
        max_size=12,
    ),
    st.sampled_from(["note", "ahead", "asked", "restarted"]),
)
def test_they_are_those_with_most_above_their_usual(
    usual: list[float], chunks: list[tuple[int, dict[int, int]]], how: str
) -> None:
    found, expected = Receivers(keys_of(KEYS)), np.array(usual)
    counts: dict[int, dict[int, int]] = {0: {}, 1: {}, 2: {}}
    for bucket, added in chunks:
        for slot, more in added.items():
            counts[bucket][slot] = counts[bucket].get(slot, 0) + more
        slots = np.array([*added], dtype=np.int64)
        now = np.array([counts[bucket][slot] for slot in added], dtype=np.int64)
        if how == "ahead":
            found.note_all(np.full(len(slots), BUCKET + bucket), slots, now, expected[slots])
        else:
            found.note(BUCKET + bucket, slots, now, expected[slots])
        if how == "asked":
            found.name_all()
        if how == "restarted":
            stored = {one: found.of(one) for one in range(BUCKET, BUCKET + 3)}
            found = Receivers(keys_of(KEYS))
            for one, receivers in stored.items():
                found.restore(one, receivers)
    for bucket, of_bucket in counts.items():
        assert found.take(BUCKET + bucket) == brute(of_bucket, usual)
        assert found.take(BUCKET + bucket) == []


@pytest.mark.parametrize("asks", [True, False])
def test_a_usual_that_late_records_raise_takes_nobody_out(asks: bool) -> None:
    count = RECEIVERS_MAX + 1
    found, slots = Receivers(keys_of(count)), np.arange(count)
    found.note(BUCKET, slots, 20 - slots, np.ones(count))
    if asks:
        found.name_all()
    found.note(BUCKET, slots[:1], np.array([20]), np.array([9.0]))
    receivers = found.take(BUCKET)
    assert [one.key for one in receivers] == [f"c-{slot}" for slot in range(RECEIVERS_MAX)]
    assert receivers[0] == WaveReceiver("c-0", 20, 1.0)


def test_what_is_forgotten_comes_no_more_and_many_buckets_are_told_apart() -> None:
    found, one = Receivers(keys_of(3)), np.ones(4)
    buckets = np.array([BUCKET + 1, BUCKET, BUCKET + 1, BUCKET + 2])
    found.note_all(buckets, np.array([0, 0, 1, 2]), np.array([9, 8, 7, 6]), one)
    found.forget_from(BUCKET + 2)
    found.drop(BUCKET)
    assert found.take(BUCKET + 2) == found.take(BUCKET) == []
    assert [(r.key, r.observed) for r in found.take(BUCKET + 1)] == [("c-0", 9), ("c-1", 7)]


def test_many_of_one_bucket_are_cut_down_and_none_of_the_first_is_lost() -> None:
    count = 20_000
    found, slots = Receivers(keys_of(count)), np.arange(count)
    for begin in range(0, count, 100):
        some = slots[begin : begin + 100]
        found.note(BUCKET, some, 10 + some, np.ones(100))
    assert [one.observed for one in found.take(BUCKET)] == [*range(20_009, 19_999, -1)]
