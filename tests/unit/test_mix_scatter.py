"""How languages scatter in all: learnt of threads an hour late, not in a wave, and read again."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.core.mixes.bucket import BucketComments
from streams.core.mixes.scatter import MixScatter
from streams.core.mixes.shift import WINDOWS, dispersion_of

HOUR = WINDOWS[-1]


def bucket_of(draw: np.random.Generator, together: int, creators: int = 60) -> BucketComments:
    """Two threads of so many comments with each creator, every fifth thread in another language."""
    other = draw.binomial(2, 0.2, creators) * together
    now = np.stack((2 * together - other, other), axis=1).ravel()
    came = np.full(2 * creators, 2 * together)
    before = np.tile([80, 20], creators)
    known = np.full(2 * creators, 100)
    lang, own = np.tile([0, 1], creators), np.zeros(2 * creators, dtype=np.int64)
    return BucketComments(now, now, before, came, came, known, lang, own)


def learnt(together: int, buckets: int = 40, *, in_wave: bool = False) -> MixScatter:
    scatter, draw = MixScatter(), np.random.default_rng(4)
    for bucket in range(buckets):
        scatter.close(bucket, bucket_of(draw, together), in_wave=in_wave)
    return scatter


def test_threads_scatter_by_their_length_and_single_comments_as_chance_has_it() -> None:
    assert learnt(1).mean_of(2) == pytest.approx(1.0, abs=0.15)
    threads = learnt(5)
    assert threads.mean_of(10) == pytest.approx(5.0, rel=0.15)
    assert threads.mean_of(1) == 1.0
    assert threads.mean_of(1_000) == threads.mean_of(32) == pytest.approx(threads.mean_of(10))
    assert learnt(5, in_wave=True).mean_of(10) == 1.0


def test_a_bucket_says_nothing_before_it_is_an_hour_old() -> None:
    assert learnt(5, HOUR).mean_of(10) == 1.0
    assert learnt(5, HOUR + 1).mean_of(10) > 1.0


def test_of_whom_little_is_known_and_of_languages_not_met_yet_nothing_is_learnt() -> None:
    threads = bucket_of(np.random.default_rng(4), 5)
    scatter, same = MixScatter(), MixScatter()
    few = threads._replace(known=threads.known // 2, before=threads.before // 2)
    unmet = threads._replace(now=threads.now * 0, before=threads.before * 0)
    for bucket in range(HOUR + 1):
        scatter.close(bucket, few, in_wave=False)
        same.close(bucket, unmet, in_wave=False)
    assert scatter.mean_of(10) == same.mean_of(10) == 1.0


@given(
    buckets=st.lists(st.tuples(st.integers(0, 5), st.booleans()), max_size=30),
    cut=st.integers(0, 30),
)
def test_what_is_read_again_goes_on_as_if_never_put_away(
    buckets: list[tuple[int, bool]], cut: int
) -> None:
    whole, parted = MixScatter(), MixScatter()
    stored: dict[str, bytes] = {"else": b""}
    draws = [np.random.default_rng(4) for _ in range(2)]
    for bucket, (together, in_wave) in enumerate(buckets):
        if bucket == cut:
            stored |= {name: raw for name, raw in parted.drain().items() if raw is not None}
            parted = MixScatter()
            assert parted.restore(stored) == {"else": b""}
        for scatter, draw in zip((whole, parted), draws, strict=True):
            came = bucket_of(draw, together) if together else None
            scatter.close(bucket, came, in_wave=in_wave)
    assert [*map(whole.mean_of, range(1, 99))] == [*map(parted.mean_of, range(1, 99))]


@given(
    rows=st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), max_size=60),
    usual=st.floats(1e-6, 1.0 - 1e-6), others=st.floats(1.0, 50.0),
)  # fmt: skip
def test_dispersion_is_no_less_than_chance_and_than_without_the_others(
    rows: list[tuple[int, int]], usual: float, others: float
) -> None:
    buckets = [(found, found + rest) for found, rest in rows if found + rest]
    alone = dispersion_of(buckets, usual)
    assert 1.0 <= alone <= dispersion_of(buckets, usual, lambda _: others) < np.inf
    assert dispersion_of([], usual, lambda _: others) == 1.0
