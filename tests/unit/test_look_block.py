"""Many runs looked at together: the same surges as a look at each run by itself."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streams.core.detection.bank import BankPolicy, RiverBank
from streams.core.detection.block import DetectorBlock
from streams.core.detection.key_detector import KeyDetector
from streams.core.detection.policy import DetectorPolicy
from streams.core.detection.river_models import RiverRecipe
from streams.core.detection.rounding import all_rounded, rounded
from streams.core.partition import FollowPartition
from streams.core.reports.surging import take_paged
from streams.core.surges import watch as core_watch
from streams.core.surges.paging import PagePolicy
from streams.core.surges.rules import Rule
from streams.core.surges.surge import Surge
from streams.core.surges.watch import Watch
from streams.core.surges.watch_policy import WatchPolicy
from streams.core.time.buckets import BUCKET_MS, WINDOW_BUCKETS
from tests.jobs import FollowKind, contents_of, follows

BEGIN_MS = 1_736_899_200_000
HOUR_MS = 12 * BUCKET_MS
DAY_MS = WINDOW_BUCKETS * BUCKET_MS
CREATORS = ["ann", "bob", "cat", "dan", "eve", "fay"]

bursts = st.lists(
    st.tuples(
        st.sampled_from([0, 0, 0, 7, BUCKET_MS, HOUR_MS, 13 * HOUR_MS]),
        st.lists(
            st.tuples(
                st.sampled_from(CREATORS),
                st.sampled_from([0, 0, 0, 0, 10, BUCKET_MS, 7 * HOUR_MS, DAY_MS - 1]),
                st.integers(1, 12),
            ),
            min_size=1,
            max_size=6,
        ),
        st.booleans(),
    ),
    max_size=10,
)
cuts = st.lists(st.integers(0, 400), max_size=5)
SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large]
Drawn = list[tuple[int, list[tuple[str, int, int]], bool]]


def _block() -> KeyDetector[Any]:
    """A detector so easily alarmed that short histories have surges by the model too."""
    return DetectorBlock(DetectorPolicy(alarms_per_day=0.9))


def _bank() -> KeyDetector[Any]:
    recipe = RiverRecipe("river.anomaly.StandardAbsoluteDeviation")
    return RiverBank(BankPolicy(recipe=recipe, threshold=1.5, warm_up_buckets=1))


def built(detector: KeyDetector[Any]) -> FollowPartition:
    page = None if isinstance(detector, RiverBank) else PagePolicy(2.0, 3, 1.5)
    policy = WatchPolicy("follows", "followers", Rule(5), "surgewatch", 0.9, page)
    return FollowPartition(Watch(policy, detector))


def records_of(drawn: Drawn, times: int) -> list[FollowKind]:
    """Records of the bursts in the order of arrival; mixed: the creators' take turns."""
    clock, made = BEGIN_MS, list[FollowKind]()
    for step, creators, mixed in drawn:
        clock += step
        turns = [[(name, clock - late, False)] * (count * times) for name, late, count in creators]
        if mixed:
            longest = max(map(len, turns))
            made += [turn[nth] for nth in range(longest) for turn in turns if nth < len(turn)]
        else:
            made += [record for turn in turns for record in turn]
    return [*made, ("last", clock + BUCKET_MS, False)]


@contextmanager
def looks_from(runs: int) -> Iterator[None]:
    """Look together at so many runs or more."""
    with patch.object(core_watch, "_TOGETHER_MIN", runs):
        yield


def told(partition: FollowPartition, records: list[FollowKind], bounds: list[int]) -> list[Surge]:
    edges = sorted({0, len(records), *(bound for bound in bounds if bound < len(records))})
    chunks = [follows(records[begin:end]) for begin, end in pairwise(edges)]
    return [surge for chunk in chunks for surge in partition.take(chunk).surges]


@settings(suppress_health_check=SLOW, max_examples=200)
@given(bursts, st.sampled_from([1, 1, 9]), cuts)
@pytest.mark.parametrize("detector", [_block, _bank], ids=["block", "river"])
def test_runs_looked_at_together_tell_what_each_by_itself_tells(
    detector: Callable[[], KeyDetector[Any]], drawn: Drawn, times: int, bounds: list[int]
) -> None:
    records = records_of(drawn, times)
    together, apart = built(detector()), built(detector())
    with looks_from(1):
        found = told(together, records, bounds)
    with looks_from(10**9):
        assert told(apart, records, bounds) == found
    pages = {one.surge_id for one in found if one.severity == "page"}
    for partition in (together, apart):
        paged = [one for some in take_paged(partition).values() for one in some]
        assert len(paged) == len(pages)
        assert set(paged) == pages
    first, second = together.drain(), apart.drain()
    assert first.surges == second.surges
    assert contents_of(first) == contents_of(second)


@settings(suppress_health_check=SLOW)
@given(bursts, cuts)
def test_runs_looked_at_together_tell_what_records_one_by_one_tell(
    drawn: Drawn, bounds: list[int]
) -> None:
    records = records_of(drawn, 1)
    together, apart = built(_block()), built(_block())
    with looks_from(1):
        found = told(together, records, bounds)
    with looks_from(10**9):
        assert told(apart, records, list(range(len(records)))) == found
    assert together.drain().surges == apart.drain().surges


@given(st.lists(st.floats(), min_size=16, max_size=40), st.integers(-9, 9))
def test_values_rounded_together_are_those_rounded_one_by_one(
    values: list[float], power: int
) -> None:
    near = [(1.5 + 0.5 * n + 123_456) * 10.0**power for n in range(8)]
    every = np.array([*values, *near, 0.0, 999_999.5, 99_999.95, 0.1, 1e5, 1e-12])
    found = np.array(all_rounded(every))
    np.testing.assert_array_equal(found, np.array([rounded(one) for one in every.tolist()]))
