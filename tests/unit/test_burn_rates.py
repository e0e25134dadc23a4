"""Each window of both burn rates counts: with one half alone, and with one of its windows alone."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest

from tests.unit.alert_case import ONE, Series
from tests.unit.alert_cases import CASES
from tests.unit.test_alerts import check_rules, expected, told_at

FAST: Final = "SurgewatchFreshnessBurnsFast"
SLOW: Final = "SurgewatchFreshnessBurnsSlowly"
STEP_MINUTES: Final = {FAST: 1, SLOW: 15}
"""From sample to sample, and from evaluation to evaluation."""
HOUR: Final = 60
"""Steps of the fast one."""
SLOW_HOUR: Final = 4
DAY: Final = 24 * SLOW_HOUR


def late(*spans: tuple[int, int]) -> Series:
    """A million records a step; ``spans``: steps, and the late ones of a million."""
    total, in_time = 0, 0
    totals, in_times = [], []
    for steps, late_ones in spans:
        totals.append(f"{total}+1000000x{steps - 1}")
        in_times.append(f"{in_time}+{1_000_000 - late_ones}x{steps - 1}")
        total += 1_000_000 * steps
        in_time += (1_000_000 - late_ones) * steps
    return {
        f"surgewatch_event_to_stored_seconds_count{{{ONE}}}": " ".join(totals),
        f'surgewatch_event_to_stored_seconds_bucket{{{ONE},le="10.0"}}': " ".join(in_times),
    }


@pytest.mark.parametrize(
    ("name", "spans", "told"),
    [
        # 14.4 times too many for an hour and five minutes: six hours have few
        (FAST, [(6 * HOUR, 0), (50, 20_000)], "1.633%"),
        (FAST, [(6 * HOUR, 0), (30, 20_000)], None),  # an hour has too few
        (FAST, [(HOUR, 20_000), (10, 0)], "1.739%"),  # over, but half an hour still has many
        # six times too many for six hours and half an hour: never 14.4 times
        (FAST, [(8 * HOUR, 8_000)], "0.8%"),
        (FAST, [(8 * HOUR, 5_000)], None),
        (FAST, [(8 * HOUR, 8_000), (35, 0)], None),  # over
        (FAST, [(8 * HOUR, 0), (HOUR, 8_000)], None),  # six hours have too few
        # three times too many for a day and two hours: three days have few
        (SLOW, [(3 * DAY, 0), (20 * SLOW_HOUR, 4_000)], "0.3292%"),
        (SLOW, [(3 * DAY, 0), (10 * SLOW_HOUR, 4_000)], None),  # a day has too few
        # just too many for three days and six hours: never three times
        (SLOW, [(4 * DAY, 2_000)], "0.2%"),
        (SLOW, [(4 * DAY, 900)], None),
        (SLOW, [(2 * DAY, 2_000), (7 * SLOW_HOUR, 0)], None),  # over
        (SLOW, [(3 * DAY, 0), (8 * SLOW_HOUR, 2_000)], None),  # three days have too few
    ],
)
def test_each_window_of_a_burn_rate_counts(
    name: str, spans: list[tuple[int, int]], told: str | None, tmp_path: Path
) -> None:
    step = STEP_MINUTES[name]
    at = (sum(steps for steps, _ in spans) - 1) * step
    share = {"$value | humanizePercentage": told or ""}
    alerts = [expected(name, CASES[name], share)] if told else []
    tests = [(late(*spans), [told_at(name, at, alerts)])]
    assert check_rules(tmp_path, tests, f"{step}m", f"{step}m") == ""
