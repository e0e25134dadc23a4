"""The block agrees with the scalar detector, and no cut into batches leaves a trace."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.core.detection.block import DetectorBlock
from streams.core.detection.block_state import STATE_DTYPE, DetectorStateError
from streams.core.detection.key_detector import NoAlarmError
from streams.core.detection.policy import SINGLE_SERIES, DetectorPolicy
from streams.core.detector import SurgeDetector

History = list[tuple[int, int]]
"""A key's closed buckets: (buckets until the next event, events)."""

_BIRTH = 5_790_000
_UNSETTLED = replace(SINGLE_SERIES, settle_buckets=0)
"""Keys of a block are scored from their first bucket on."""
_POLICIES = st.sampled_from([DetectorPolicy(), _UNSETTLED, DetectorPolicy(alarms_per_day=1e-6)])
_GAPS = st.one_of(st.integers(1, 3), st.integers(1, 700))
_COUNTS = st.one_of(st.integers(1, 9), st.integers(1, 1000), st.integers(1, 10**9))
_HISTORIES = st.lists(st.tuples(_GAPS, _COUNTS), min_size=0, max_size=12)
_LONG_HISTORIES = st.lists(
    st.tuples(st.one_of(_GAPS, st.integers(1, 10**6)), _COUNTS), min_size=0, max_size=12
)


def _slots(*slots: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return np.array(slots, dtype=np.int64)


def _block(size: int, policy: DetectorPolicy | None = None) -> DetectorBlock:
    block = DetectorBlock(policy or DetectorPolicy())
    block.grow(size)
    block.begin(np.arange(size), _BIRTH)
    return block


def _played(block: DetectorBlock, slot: int, history: History) -> int:
    """Play a history one bucket at a time; gives the open bucket."""
    opened = _BIRTH
    for gap, count in history:
        block.advance(_slots(slot), _slots(opened), _slots(count), opened + gap)
        opened += gap
    return opened


def _scalar(history: History, policy: DetectorPolicy) -> SurgeDetector:
    detector = SurgeDetector(policy)
    for gap, count in history:
        detector.learn_one({"count": count})
        for _ in range(gap - 1):
            detector.learn_one({"count": 0})
    return detector


@settings(deadline=None, max_examples=60)
@given(policy=_POLICIES, history=_HISTORIES, count=_COUNTS)
def test_block_and_scalar_agree(policy: DetectorPolicy, history: History, count: int) -> None:
    block, detector = _block(1, policy), _scalar(history, policy)
    opened = _played(block, 0, history)
    seen = block.score(_slots(0), _slots(count), opened=opened)
    assert seen.score[0] == pytest.approx(detector.score_one({"count": count}), rel=1e-4)
    assert seen.expected[0] == pytest.approx(detector.expected, rel=1e-6)
    found = detector.alarm_count(10**12)
    assert found is not None
    # At counts of thousands the float32 sums may move the crossing to a neighbouring count.
    slack = found * 1e-5 if found > 1000 else 0
    assert block.alarm_count(0, 0, 10**12, opened) == pytest.approx(found, abs=slack, rel=0)


@settings(deadline=None, max_examples=40)
@given(histories=st.lists(_HISTORIES, min_size=2, max_size=20), seed=st.integers(0, 2**32 - 1))
def test_batches_of_any_shape_leave_the_same_bytes(histories: list[History], seed: int) -> None:
    size = len(histories)
    alone, together, shuffled = _block(size), _block(size), _block(size)
    opened = np.full(size, _BIRTH)
    draw = np.random.default_rng(seed)
    for slot, history in enumerate(histories):
        _played(alone, slot, history)
    for turn in range(max(map(len, histories))):
        slots = np.array([s for s, history in enumerate(histories) if len(history) > turn])
        steps = np.array([histories[slot][turn] for slot in slots])
        after = opened[slots] + steps[:, 0]
        together.advance(slots, opened[slots], steps[:, 1], after)
        mixed = draw.permutation(slots.size)
        for part in np.array_split(mixed, min(3, slots.size)):
            wide = np.repeat(slots[part], 2)[::2]  # not contiguous
            shuffled.advance(wide, opened[wide], steps[part, 1], after[part])
        opened[slots] = after
    every = np.arange(size)
    assert together.state_of(every).tobytes() == alone.state_of(every).tobytes()
    assert shuffled.state_of(every).tobytes() == alone.state_of(every).tobytes()
    counts = draw.integers(1, 1000, size)
    whole = together.score(every, counts, opened=opened).score
    for slot in range(size):
        one = alone.score(_slots(slot), counts[slot : slot + 1], opened=int(opened[slot])).score
        assert one[0] == whole[slot]


@settings(deadline=None, max_examples=60)
@given(history=_LONG_HISTORIES, count=st.integers(0, 10**18), wait=st.integers(0, 10**7))
def test_nothing_overflows_or_becomes_unknown(history: History, count: int, wait: int) -> None:
    with np.errstate(all="raise", under="ignore"):
        block = _block(1)
        opened = _played(block, 0, history)
        seen = block.score(_slots(0), _slots(count), opened=opened)
        _is_over(block, opened + wait, opened, count)
        block.amend(_slots(0), _slots(opened - 100), _slots(opened), _slots(9))
    state = block.state_of(_slots(0))[0]
    for name in STATE_DTYPE.names or ():
        assert np.isfinite(state[name]).all()
        assert (state[name] >= 0).all()
    assert np.isfinite(seen.score[0])
    assert 0.0 < seen.expected[0] < np.inf
    assert 0.0 < seen.prior_weight[0] <= 1.0


@settings(deadline=None, max_examples=40)
@given(history=_HISTORIES, counts=st.lists(st.integers(0, 10**9), min_size=2, max_size=50))
def test_score_never_falls_when_the_count_grows(history: History, counts: list[int]) -> None:
    block = _block(1)
    opened = _played(block, 0, history)
    rising = np.sort(np.array(counts))
    scores = block.score(np.zeros(rising.size, np.int64), rising, opened=opened).score
    assert (np.diff(scores) >= -1e-12 * scores[1:]).all()


@settings(deadline=None, max_examples=40)
@given(history=_HISTORIES, top=st.integers(1, 10**9))
def test_alarm_count_is_the_first_that_alarms(history: History, top: int) -> None:
    block = _block(1)
    opened = _played(block, 0, history)
    if block.score(_slots(0), _slots(top), opened=opened).score[0] < 1.0:
        with pytest.raises(NoAlarmError):
            block.alarm_count(0, 0, top, opened)
        return
    found = block.alarm_count(0, 0, top, opened)
    around = block.score(_slots(0, 0), _slots(found - 1, found), opened=opened).score
    assert around[0] < 1.0 <= around[1]
    assert block.alarm_count(0, found - 1, top, opened) == found
    with pytest.raises(NoAlarmError):
        block.alarm_count(0, 0, found - 1, opened)


def test_alarm_count_of_an_empty_range_is_an_error() -> None:
    with pytest.raises(NoAlarmError, match="no count above 9 and up to 9"):
        _block(1).alarm_count(0, 9, 9, _BIRTH)


def test_count_of_zero_scores_zero() -> None:
    seen = _block(2).score(_slots(0, 1), _slots(0, 1), opened=_BIRTH)
    assert seen.score[0] == 0.0 < seen.score[1]
    assert seen.statistic[0] == 0.0


def test_newborn_is_all_prior_and_history_takes_over() -> None:
    block = _block(1)
    new = block.score(_slots(0), _slots(1), opened=_BIRTH)
    assert new.prior_weight[0] == 1.0
    assert new.expected[0] == 1.0
    opened = _played(block, 0, [(1, 40)] * 600)
    old = block.score(_slots(0), _slots(1), opened=opened)
    assert old.prior_weight[0] < 0.001
    assert old.expected[0] == pytest.approx(40.0, rel=0.01)


@settings(deadline=None, max_examples=40)
@given(
    late=st.lists(st.tuples(st.integers(1, 290), st.integers(1, 60)), min_size=1, max_size=8),
    cut=st.integers(0, 8),
)
def test_cuts_between_late_records_leave_no_trace(late: History, cut: int) -> None:
    whole, cuts = _block(2), _block(2)
    opened = _played(whole, 0, [(1, 7)] * 300)
    _played(cuts, 0, [(1, 7)] * 300)
    gaps, counts = (np.array(column) for column in zip(*late, strict=True))
    slots, now = np.zeros(gaps.size, np.int64), np.full(gaps.size, opened)
    whole.amend(slots, now - gaps, now, counts)
    for part in (slice(0, cut), slice(cut, None)):
        for gap, count in zip(gaps[part], counts[part], strict=True):
            ones = np.ones(count, np.int64)
            cuts.amend(0 * ones, (opened - gap) * ones, opened * ones, ones)
    assert whole.state_of(_slots(0, 1)).tobytes() == cuts.state_of(_slots(0, 1)).tobytes()


def test_late_records_count_as_if_they_had_come_on_time() -> None:
    timely, late = _block(1), _block(1)
    opened = _played(timely, 0, [(1, 8)] * 50 + [(20, 12), (3, 8)])
    _played(late, 0, [(1, 8)] * 50 + [(20, 8), (3, 8)])
    late.amend(_slots(0), _slots(opened - 23), _slots(opened), _slots(4))
    one, other = timely.state_of(_slots(0))[0], late.state_of(_slots(0))[0]
    assert one["rate_count"] == pytest.approx(other["rate_count"], rel=1e-6)
    assert one["window_counts"] == pytest.approx(other["window_counts"], rel=1e-6)


def test_state_of_a_key_is_52_bytes_and_comes_back_bit_by_bit() -> None:
    block = _block(5)
    for slot in range(5):
        _played(block, slot, [(slot + 1, 3 + slot)] * 400)
    states = block.state_of(np.arange(5))
    assert states.nbytes == 5 * 52
    other = _block(9)
    other.restore(_slots(8, 7, 6, 5, 4), np.frombuffer(states.tobytes(), STATE_DTYPE))
    assert other.state_of(_slots(8, 7, 6, 5, 4)).tobytes() == states.tobytes()


@pytest.mark.parametrize(
    ("field", "value"),
    [("top", np.nan), ("tail_share", -1), ("rate_count", 0), ("rate_count", np.inf)],
)
def test_damaged_state_is_refused_and_named(field: str, value: float) -> None:
    block = _block(3)
    states = block.state_of(np.arange(3))
    states[field][2] = value
    with pytest.raises(DetectorStateError, match="number 2"):
        block.restore(np.arange(3), states)


def test_growing_keeps_states_and_doubles_room() -> None:
    block = _block(2)
    _played(block, 1, [(1, 5)] * 30)
    before = block.state_of(_slots(0, 1)).tobytes()
    block.grow(5_000)
    block.grow(10)
    assert block.state_of(_slots(0, 1)).tobytes() == before
    assert block.nbytes == 5_000 * 52


def _is_over(block: DetectorBlock, bucket: int, opened: int, count: int) -> bool:
    over = block.are_over(_slots(0), bucket, opened=_slots(opened), counts=_slots(count))
    return bool(over[0])


_SURGE: History = [(1, 5)] * 600 + [(1, 400)] * 30


def test_surge_is_not_over_while_it_lasts_nor_for_its_last_hour() -> None:
    block = _block(1)
    opened = _played(block, 0, _SURGE)
    assert not _is_over(block, opened, opened, 400)
    assert not _is_over(block, opened + 12, opened, 400)


def test_surge_is_over_within_some_hours_of_its_end() -> None:
    block = _block(1)
    opened = _played(block, 0, [*_SURGE, *[(1, 5)] * 96])
    assert _is_over(block, opened, opened, 5)


def test_slow_surge_of_a_small_key_is_not_over_between_two_of_its_events() -> None:
    block = _block(1)
    opened = _played(block, 0, [(300, 1)] * 10 + [(10, 1)] * 12)
    assert not _is_over(block, opened + 20, opened, 1)


@settings(deadline=None, max_examples=60)
@given(history=_HISTORIES, count=st.integers(1, 10**6))
def test_surge_once_over_stays_over_without_events(history: History, count: int) -> None:
    block = _block(1)
    opened = _played(block, 0, history)
    buckets = np.arange(opened, opened + 3000)
    every = np.zeros(len(buckets), dtype=np.int64)
    over = block.are_over(every, buckets, opened=every + opened, counts=every + count)
    assert over[-1]
    assert over[np.argmax(over) :].all()


def test_surges_of_many_keys_are_judged_as_each_alone() -> None:
    block = _block(3)
    histories: list[History] = [_SURGE, [*_SURGE, *[(1, 5)] * 96], [(1, 5)] * 700]
    opened = np.array([_played(block, slot, one) for slot, one in enumerate(histories)])
    buckets, counts = opened + 2, np.array([400, 5, 6])
    together = block.are_over(np.arange(3), buckets, opened=opened, counts=counts)
    assert together.tolist() == [False, True, True]
    for slot in range(3):
        one = slice(slot, slot + 1)
        alone = block.are_over(_slots(slot), buckets[one], opened=opened[one], counts=counts[one])
        assert alone[0] == together[slot]


def _is_brief(surge: History, count: int = 1_000, days: int = 3) -> bool:
    """Whether so large a count in the bucket after a surge is of a burst; an event a bucket before.

    It alarms.
    """
    block = _block(1)
    opened = _played(block, 0, [(1, 1)] * (288 * days) + surge)
    columns = block.score(_slots(0), _slots(count), opened=opened)
    assert columns.score[0] >= 1.0
    assert columns.is_brief is not None
    assert columns.only(np.array([True])).is_brief == columns.is_brief
    return bool(columns.is_brief[0])


def test_what_has_lasted_for_an_hour_is_no_burst_and_what_began_is_one() -> None:
    began: History = []
    assert _is_brief(began)
    assert _is_brief([(1, 12)] * 6)
    assert not _is_brief([(1, 12)] * 15)
    assert not _is_brief([(1, 12)] * 60)


def test_more_events_do_not_make_a_burst_of_a_surge_nor_a_surge_of_a_burst() -> None:
    for surge, brief in (([(1, 12)] * 4, True), ([(1, 12)] * 36, False)):
        assert {_is_brief(surge, count) for count in (500, 1_000, 100_000)} == {brief}


def test_nothing_is_a_burst_on_a_first_day_nor_what_does_not_alarm() -> None:
    assert not _is_brief([], 100_000, days=0)
    block = _block(1)
    opened = _played(block, 0, [(1, 1)] * 900)
    calm = block.score(_slots(0), _slots(2), opened=opened)
    assert calm.score[0] < 1.0
    assert calm.is_brief is not None
    assert not calm.is_brief[0]
