"""No NaN, infinity or overflow in what a partition's keys share, nor in what is told of them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.app.jobs import policy_of
from streams.core.detection.block import DetectorBlock
from streams.core.detection.block_state import STATE_DTYPE
from streams.core.detection.pool import Pool
from streams.core.detection.rhythm import Rhythm

KEYS = 6
BEGIN = 1_736_899_200_000 // 300_000
GAPS = st.one_of(st.integers(1, 6), st.integers(200, 700), st.integers(1, 10**5))
COUNTS = st.one_of(st.integers(0, 30), st.integers(0, 10**6), st.integers(0, 10**18))
STEPS = st.lists(
    st.tuples(GAPS, st.lists(COUNTS, min_size=KEYS, max_size=KEYS)), min_size=1, max_size=40
)


@pytest.mark.parametrize("short_lived", [False, True], ids=["creators", "posts"])
@settings(deadline=None, max_examples=60)
@given(steps=STEPS)
def test_what_keys_share_stays_finite_whatever_the_counts_and_gaps(
    short_lived: bool, steps: list[tuple[int, list[int]]]
) -> None:
    policy, every = policy_of(0.001, short_lived=short_lived), np.arange(KEYS)
    block = DetectorBlock(policy, Pool(policy), rhythm=Rhythm(policy))
    again = DetectorBlock(policy, Pool(policy), rhythm=Rhythm(policy))
    block.grow(KEYS + len(steps))
    with np.errstate(all="raise", under="ignore"):
        block.enter(BEGIN)
        block.begin(every, BEGIN)
        opened = np.full(KEYS, BEGIN)
        for nth, (gap, counts) in enumerate(steps):
            seen = block.score(every, np.array(counts), opened=opened)
            for told in (seen.score, seen.statistic, seen.expected, seen.prior_weight):
                assert np.isfinite(told).all()
                assert (told >= 0).all()
            block.take_alarms(int((seen.score >= 1.0).sum()))
            after = opened + gap
            block.advance(every, opened, np.array(counts), after)
            block.enter(int(after[0]))
            newcomer = np.array([KEYS + nth])
            block.begin(newcomer, int(after[0]))
            opened = after
        state = block.state_of(every)
        for name in STATE_DTYPE.names or ():
            assert np.isfinite(state[name]).all()
        ratio = block.seen_over_asked
        assert ratio is None or np.isfinite(ratio)
        again.restore_shared(block.shared_state())
    assert again.shared_state() == block.shared_state()
