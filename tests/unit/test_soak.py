"""The soak's own sums: slopes, quantiles, and a floor that says no."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.soak.load import SPEED, Load, Sent
from tests.soak.run import Soak, rows_of, told_between
from tests.soak.samples import Sample, quantile_of, sample_of, slope_an_hour

TEXT = """
process_resident_memory_bytes 1000000
surgewatch_memory_allocated_bytes 700000
process_open_fds 20
surgewatch_records_total{topic="follows",result="counted"} 50
surgewatch_records_total{topic="waves",result="counted"} 7
surgewatch_lag_records{topic="follows",partition="0"} 3
surgewatch_lag_records{topic="follows",partition="1"} 4
surgewatch_watermark_timestamp_seconds{topic="follows",partition="0"} 7.5
surgewatch_watermark_timestamp_seconds{topic="follows",partition="1"} 8
surgewatch_surges_total{kind="followers",state="opened",trigger="rule"} 2
surgewatch_gc_pause_seconds_bucket{le="0.1"} 10
surgewatch_gc_pause_seconds_bucket{le="+Inf"} 10
surgewatch_gc_pause_seconds_sum 0.5
"""


def looks(count: int, **grows: float) -> list[Sample]:
    """Samples a minute apart, of which some values grow so much each minute."""
    one = sample_of(TEXT, 0.0)
    return [
        replace(
            one,
            at_seconds=60.0 * n,
            **{name: getattr(one, name) + n * more for name, more in grows.items()},
        )
        for n in range(count)
    ]


def soak_of(samples: list[Sample], *, sent: int = 5, wrong: int = 0, code: int = 0) -> Soak:
    return Soak(1.0, 100.0, 80.0, samples, samples[::9], sent, 5, wrong, code)


def test_a_look_reads_what_the_worker_tells() -> None:
    one = sample_of(TEXT, 9.0)
    assert (one.counted, one.lag_records, one.behind_seconds) == (50, 7, 1.5)
    assert one.surges == {"followers rule opened": 2.0}
    assert (one.resident_bytes, one.open_files, one.sums["gc_pause"]) == (1e6, 20, 0.5)
    assert one.allocated_bytes == 7e5


def test_the_senders_event_time_is_fast_never_of_the_future_and_leads_back() -> None:
    load = Load("", "", {}, 1_800_000_000.0, 0.5)
    begin, end = load.begin_seconds, load.begin_seconds + 0.5 * 3600
    assert load.event_ms(end) - load.event_ms(begin) == 0.5 * 3_600_000 * SPEED
    assert load.event_ms(end) < end * 1000
    assert load.sent_seconds(load.event_ms(begin + 7.0)) == pytest.approx(begin + 7.0)


def test_what_was_sent_is_kept_for_a_window_by_creator(tmp_path: Path) -> None:
    sent = Sent()
    sent.add(1, np.array([3]))
    sent.add(5, np.array([3, 3, 4]))
    sent.add(5, np.array([4]))
    sent.add(301, np.array([0]))
    sent.save(tmp_path / "sent.npz")
    saved = np.load(tmp_path / "sent.npz")
    assert saved["buckets"].tolist() == [5, 301]
    assert saved["counts"][0, :5].tolist() == [0, 0, 0, 2, 2]
    assert saved["counts"].sum(axis=1).tolist() == [4, 1]


def test_announcements_between_two_looks_are_told_by_what_they_say() -> None:
    before = sample_of(TEXT, 0.0)
    more = {"followers rule opened": 2.0, "wave model opened": 1.0}
    assert told_between(before, replace(before, surges=more)) == {"wave model opened": 1}


def test_a_slope_does_not_follow_one_wild_look() -> None:
    samples = looks(60, resident_bytes=1000.0)
    samples[30] = replace(samples[30], resident_bytes=9e9)
    assert slope_an_hour(samples, "resident_bytes") == pytest.approx(60_000.0)


def test_a_quantile_lies_within_its_bucket_and_is_of_the_time_between() -> None:
    before = sample_of(TEXT, 0.0)
    after = replace(before, buckets={"gc_pause": {0.1: 14.0, 0.2: 18.0, float("inf"): 18.0}})
    before = replace(before, buckets={"gc_pause": {0.1: 10.0, 0.2: 10.0, float("inf"): 10.0}})
    assert quantile_of(before, after, "gc_pause", 0.5) == pytest.approx(0.1)
    assert quantile_of(before, after, "gc_pause", 0.75) == pytest.approx(0.15)
    assert quantile_of(before, before, "gc_pause", 0.5) is None


def test_a_flat_run_holds_and_a_leak_a_loss_and_a_wrong_count_do_not() -> None:
    flat = looks(60, counted=4800.0)
    assert [row.what for row in rows_of(soak_of(flat)) if row.holds is False] == []

    def broken(found: Soak) -> list[str]:
        return [row.what for row in rows_of(found) if row.holds is False]

    leaking = looks(60, counted=4800.0, resident_bytes=40_000.0)
    assert broken(soak_of(leaking)) == ["RSS while nothing is under way, slope an hour"]
    holding = looks(60, counted=4800.0, allocated_bytes=40_000.0)
    assert broken(soak_of(holding)) == ["memory in use while nothing is under way, slope an hour"]
    assert broken(soak_of(looks(60, counted=4800.0, lag_records=10.0))) == [
        "lag, slope an hour, of the records of a second"
    ]
    assert broken(soak_of(looks(60, counted=1800.0))) == ["records a second, of the limit"]
    for found in (soak_of(flat, sent=6), soak_of(flat, wrong=1), soak_of(flat, code=-15)):
        assert len(broken(found)) == 1
