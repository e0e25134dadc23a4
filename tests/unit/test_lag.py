"""How far behind a partition is, from its offsets and times; and their sums."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.core.reports.lag import Standing, begin_of, lag_of, sum_of

OFFSETS = st.integers(0, 1_000)


@st.composite
def standings(draw: st.DrawFn) -> Standing:
    first = draw(OFFSETS)
    return Standing(
        topic=draw(st.sampled_from(["follows", "comments"])),
        partition=draw(st.integers(0, 3)),
        stored_offset=draw(st.none() | OFFSETS),
        committed_offset=draw(st.none() | OFFSETS),
        first_offset=first,
        end_offset=first + draw(OFFSETS),
        waiting_ms=draw(st.none() | OFFSETS),
        newest_ms=draw(st.none() | OFFSETS),
        member=draw(st.none() | st.just("w-1")),
    )


@given(standings())
def test_every_offset_that_kafka_keeps_is_counted_or_waits(one: Standing) -> None:
    lag = lag_of(one)
    counted = begin_of(one) - one.first_offset
    assert lag.lag_records >= 0
    assert counted + lag.lag_records == one.end_offset - one.first_offset
    assert (lag.lag_seconds == 0) or lag.lag_records > 0
    if lag.records_missed:
        assert lag.beyond_end == 0
        assert lag.lag_records == one.end_offset - one.first_offset
    if one.stored_offset is None:
        assert (lag.records_missed, lag.beyond_end) == (0, 0)
        assert lag.lag_records == one.end_offset - one.first_offset
    else:
        reached = one.stored_offset + lag.records_missed - lag.beyond_end
        assert reached + lag.lag_records == one.end_offset


@given(st.lists(standings(), max_size=8))
def test_sums_of_topics_are_the_sum_of_all(ones: list[Standing]) -> None:
    lags = [lag_of(one) for one in ones]
    total, parts = sum_of(lags), [sum_of(lags, topic) for topic in ("follows", "comments")]
    for name in ("partitions", "held", "lag_records", "records_missed"):
        assert getattr(total, name) == sum(getattr(part, name) for part in parts)
    known = [part.lag_seconds for part in parts if part.lag_seconds is not None]
    assert total.lag_seconds == max(known, default=None)


@pytest.mark.parametrize(
    ("waiting_ms", "newest_ms", "seconds"),
    [(1_000, 4_500, 3.5), (4_500, 1_000, 0.0), (None, 4_500, None), (1_000, None, None)],
)
def test_seconds_are_event_time_from_what_waits_to_the_newest(
    waiting_ms: int | None, newest_ms: int | None, seconds: float | None
) -> None:
    one = Standing(
        topic="t", partition=0, stored_offset=4, committed_offset=4, first_offset=0, end_offset=9,
        waiting_ms=waiting_ms, newest_ms=newest_ms,
    )  # fmt: skip
    assert lag_of(one).lag_seconds == seconds
