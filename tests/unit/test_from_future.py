"""A record is from the future by when its broker took it: whenever, and however cut, it is read."""

import json
from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.app.jobs import follow_partition_of
from streams.app.worker.faust_app import trades_of
from streams.app.worker.lane import Trade
from streams.core.records.chunks import RawChunk, Reason
from streams.edges.metrics.progress import Silence
from streams.edges.process.clock import Clocks, SteadyClock
from streams.edges.settings.reading import Settings
from tests.unit.fetch_desk import Desk, batch_of, on_desk, reading_together

T_MS = 1_736_899_200_000
MINUTE_MS, HOUR_MS = 60_000, 3_600_000
SETTINGS = Settings(topic_follows="t", future_skew_ms=MINUTE_MS)
USED, DEAD = "used", "dead"


class Batch(NamedTuple):
    """Records' times (None: it is no record), and when the broker took them (None: not told)."""

    at_ms: tuple[int | None, ...]
    append_ms: int | None


@pytest.fixture(autouse=True, scope="module", params=["walked", "together"])
def _way(request: pytest.FixtureRequest) -> Iterator[None]:
    """Every claim of this file holds for both ways in which batches are read."""
    with reading_together() if request.param == "together" else nullcontext():
        yield


def value_of(at_ms: int | None) -> bytes:
    if at_ms is None:
        return b'{"no": "follow"}'
    return json.dumps({"creator_id": "c", "follower_id": "f", "at_ms": at_ms}).encode()


def trade_at(now_ms: int) -> Trade:
    """What a worker does whose clock has always been at that time."""
    clock = SteadyClock(Clocks(lambda: now_ms, lambda: 0), lambda *_: None)
    return trades_of(SETTINGS, Silence(), clock)["t"]


def chunks_of(batches: list[Batch], records_max: int) -> list[RawChunk]:
    """The batches as a worker fetches them, in chunks of so many records at most."""
    data, base = b"", 0
    for at_ms, append_ms in batches:
        values = [value_of(one) for one in at_ms]
        data += batch_of(base, range(len(values)), values=values, append_ms=append_ms)
        base += len(values)
    found: list[RawChunk] = []

    async def take(desk: Desk) -> None:
        desk.put(data)
        found.extend(fetched.chunk for fetched in await desk.take_all(records_max))

    on_desk(take)
    return found


def fates_of(chunks: list[RawChunk], now_ms: int) -> tuple[dict[int, Reason], list[int]]:
    """Reasons of the dead by offset, and the times of the others."""
    dead: dict[int, Reason] = {}
    times: list[int] = []
    for chunk in chunks:
        decoded: Any = trade_at(now_ms).decode(chunk)
        dead |= {one.offset: one.reason for one in decoded.dead}
        times += decoded.chunk.at_ms.tolist()
    return dead, times


def judged(batches: list[Batch], now_ms: int) -> tuple[dict[int, Reason], list[int]]:
    """The same by the rule alone, record by record."""
    dead: dict[int, Reason] = {}
    times: list[int] = []
    rows = [(one, batch.append_ms) for batch in batches for one in batch.at_ms]
    for offset, (at_ms, append_ms) in enumerate(rows):
        if at_ms is None:
            dead[offset] = Reason.CREATOR_MISSING
        elif at_ms >= (now_ms if append_ms is None else append_ms) + MINUTE_MS:
            dead[offset] = Reason.AT_MS_IN_FUTURE
        else:
            times.append(at_ms)
    return dead, times


times = st.one_of(
    st.none(),
    st.sampled_from([T_MS + MINUTE_MS - 1, T_MS + MINUTE_MS]),
    st.integers(T_MS - HOUR_MS, T_MS + 50 * HOUR_MS),
)
batches_of_any_times = st.lists(
    st.builds(
        Batch,
        st.lists(times, min_size=1, max_size=6).map(tuple),
        st.one_of(st.none(), st.integers(T_MS, T_MS + 48 * HOUR_MS)),
    ),
    min_size=1,
    max_size=6,
)


@given(batches_of_any_times, st.integers(1, 40), st.integers(T_MS, T_MS + 60 * HOUR_MS))
def test_each_record_is_judged_by_its_own_batchs_append_time_in_any_chunks(
    batches: list[Batch], records_max: int, now_ms: int
) -> None:
    assert fates_of(chunks_of(batches, records_max), now_ms) == judged(batches, now_ms)


@given(batches_of_any_times, st.tuples(st.integers(1, 9), st.integers(1, 40)))
def test_a_record_that_a_broker_stamped_has_one_fate_whenever_it_is_read(
    batches: list[Batch], sizes: tuple[int, int]
) -> None:
    stamped = [batch._replace(append_ms=batch.append_ms or T_MS) for batch in batches]
    fates = [
        fates_of(chunks_of(stamped, size), now_ms)
        for size, now_ms in zip(sizes, (T_MS, T_MS + 10_000 * HOUR_MS), strict=True)
    ]
    assert fates[0] == fates[1]


def test_one_bad_clock_in_a_backlog_of_two_days_makes_no_other_record_late() -> None:
    batches = [
        Batch((T_MS,) * 10, T_MS + 500),
        Batch((T_MS + 48 * HOUR_MS,), T_MS + 600),
        Batch((T_MS + MINUTE_MS,) * 100, T_MS + MINUTE_MS),
        Batch((T_MS + 30 * HOUR_MS,) * 5, T_MS + 30 * HOUR_MS),  # what came the next day
    ]
    job = follow_partition_of(SETTINGS)
    trade = trade_at(T_MS + 49 * HOUR_MS)
    counted = late = 0
    for chunk in chunks_of(batches, 1_000):
        decoded: Any = trade.decode(chunk)
        assert [(one.offset, one.reason) for one in decoded.dead] == [(10, Reason.AT_MS_IN_FUTURE)]
        outcome = job.take(decoded.chunk)
        counted, late = counted + outcome.counted, late + outcome.late
    assert (counted, late) == (115, 0)
    assert job.watermark_ms == T_MS + 30 * HOUR_MS


def test_what_was_judged_before_is_not_judged_when_it_is_read_once_more() -> None:
    # it may have been judged under another skew: what was counted then must be learnt again
    (chunk,) = chunks_of([Batch((T_MS, T_MS + HOUR_MS), T_MS)], 9)
    again: Any = trade_at(T_MS).decode_read(chunk)
    assert (again.dead, again.chunk.at_ms.tolist()) == ([], [T_MS, T_MS + HOUR_MS])


def test_a_part_of_a_chunk_keeps_the_times_of_its_records() -> None:
    (chunk,) = chunks_of([Batch((T_MS,) * 3, T_MS), Batch((T_MS,) * 3, T_MS + HOUR_MS)], 9)
    part = chunk.part(slice(2, None))
    assert part.append_ms is not None
    assert part.append_ms.tolist() == [T_MS, *[T_MS + HOUR_MS] * 3]
    assert (list(part.offsets), part.next_offset) == ([2, 3, 4, 5], 6)


def test_the_brokers_clock_still_tells_which_of_ours_is_right() -> None:
    wall_ms = [T_MS]
    clock = SteadyClock(Clocks(lambda: wall_ms[0], lambda: 0), lambda *_: None)
    trade = trades_of(SETTINGS, Silence(), clock)["t"]
    wall_ms[0] += 2 * HOUR_MS  # the machine slept, and its monotonic clock with it
    assert clock.now_ms() == T_MS
    (chunk,) = chunks_of([Batch((T_MS,), T_MS + 2 * HOUR_MS)], 9)
    trade.decode(chunk)
    assert clock.now_ms() == T_MS + 2 * HOUR_MS
