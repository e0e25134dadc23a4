"""No NaN, infinity or overflow in what is known of waves and languages, nor in what is told."""

import math
from collections.abc import Iterator
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.core.mixes.shift import (
    Lift,
    Moved,
    dispersion_of,
    evidence_at_most,
    post_share,
    usual_share,
)
from streams.core.records.comers import GROUPS
from streams.core.records.texts import Ints
from streams.core.waves.begin import FACTORS, TELLING, Rules
from streams.core.waves.incident import Parts, WaveIncident
from streams.core.waves.lasting import Waves
from streams.core.waves.sums import FIRST, RAW, TOLD, USUAL, YOUNG_GROUPS, nothing
from streams.core.waves.young import Young

NAMES = [("und", "und"), ("zh", "CN"), ("en", "US")]
BUCKET = 5_790_000
COUNTS = st.one_of(st.integers(0, 300), st.integers(0, 10**6), st.integers(0, 10**14))
LASTS = st.one_of(st.integers(1, 40), st.integers(1, 3))
"""How many buckets are alike; a level is known after 36."""
STEPS = st.lists(
    st.tuples(LASTS, st.lists(COUNTS, min_size=3, max_size=3), st.floats(0.0, 30.0)),
    min_size=1,
    max_size=12,
)


def sums_of(counts: list[int], busy: float) -> Ints:
    """Sums of keys of which none is held, with keys first met in the bucket."""
    sums = nothing(3)
    sums[:RAW] = np.array(counts) * 16
    sums[RAW] = counts
    sums[FIRST] = np.minimum(counts, 10**9)
    sums[USUAL] = 1_024
    sums[USUAL + 1] = round(1_024 * busy)
    sums[TOLD] = sums[FIRST]
    sums[YOUNG_GROUPS] = sums[FIRST] * np.arange(GROUPS)[:, None] // 100
    return sums


def numbers_in(told: Any) -> Iterator[float]:
    """All numbers in plain values."""
    if isinstance(told, float):
        yield told
    elif isinstance(told, dict | list | tuple):
        for one in told.values() if isinstance(told, dict) else told:
            yield from numbers_in(one)


@pytest.mark.parametrize("rules", [TELLING, FACTORS], ids=["fleet", "partition"])
@settings(deadline=None, max_examples=60)
@given(steps=STEPS)
def test_levels_and_factors_stay_finite_whatever_the_totals(
    rules: Rules, steps: list[tuple[int, list[int], float]]
) -> None:
    young = Young.of_none() if rules is TELLING else None
    waves, again = Waves(rules=rules, young=young), Waves(rules=rules, young=young)
    incident, bucket = None, BUCKET
    with np.errstate(all="raise", under="ignore"):
        for lasts, counts, busy in steps:
            for _ in range(lasts):
                seen = waves.close(bucket, sums_of(counts, busy), NAMES)
                for told in (seen.above.excess, seen.above.sigmas, seen.above.expected):
                    assert np.isfinite(told).all()
                assert seen.factors is None or np.isfinite(seen.factors).all()
                if incident is None and seen.factors is not None:
                    incident = WaveIncident.of("follows", seen, waves.nodes)
                if incident is not None:
                    records = incident.tell(seen, waves.nodes, Parts(1, []))
                    plain = [msgspec.to_builtins(record) for record in records]
                    assert all(map(math.isfinite, numbers_in(plain)))
                    incident = incident if seen.factors is not None else None
                bucket += 1
        state = msgspec.json.decode(msgspec.json.encode(waves.state()))
    assert all(map(math.isfinite, numbers_in(state)))
    again.restore(state, NAMES)
    assert msgspec.json.decode(msgspec.json.encode(again.state())) == state


PARTS = st.tuples(COUNTS, COUNTS).map(lambda two: (min(two), max(two)))
"""Comments in a language, and in all."""


@settings(deadline=None)
@given(
    now=PARTS,
    creators=PARTS,
    buckets=st.lists(PARTS, max_size=24),
    more=st.floats(0.0, 1e6),
    votes=st.floats(1.0, 1e12) | st.just(math.inf),
)
def test_evidence_of_a_shift_stays_finite_whatever_was_counted(
    now: tuple[int, int],
    creators: tuple[int, int],
    buckets: list[tuple[int, int]],
    more: float,
    votes: float,
) -> None:
    post_found, post_total = (min(two) for two in zip(now, creators, strict=True))
    of_creator, of_post = (
        usual_share(*creators),
        float(post_share(post_found, post_total, creators)),
    )
    scatter = dispersion_of(buckets, of_creator)
    assert math.isfinite(scatter)
    for usual in (of_creator, of_post):
        moved = Moved(3, *now, usual, creators[1], scatter, Lift(more, votes))
        assert 0.0 <= moved.evidence < math.inf
        found, totals, shares, known = (np.array([one]) for one in (*now, usual, creators[1]))
        most = evidence_at_most(found, totals, shares, known.astype(np.float64))
        assert np.isfinite(most).all()
