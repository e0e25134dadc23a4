"""Alarms of two settings are paired by creator, trigger, severity and time, each once."""

from msgspec.structs import replace

from streams.core.reports.alarm_changes import BANDS, DAY_MS, alarms_of, band_of, changes_of
from streams.core.surges.surge import Surge, Trigger

BEGIN_MS = 1_736_899_200_000


def alarm(
    creator: str, after_ms: int = 0, *, trigger: Trigger = "model", expected: float | None = 2.0
) -> Surge:
    return Surge(
        surge_id=f"{creator}|{trigger}|{after_ms}", revision=0, kind="followers", trigger=trigger,
        state="opened", severity="notice", creator_id=creator, post_id=None,
        opened_ms=BEGIN_MS + after_ms, seen_ms=BEGIN_MS + after_ms, at_ms=BEGIN_MS + after_ms,
        window_ms=3_600_000, observed=30, threshold=None, expected_own=expected,
        expected_in_wave=None, ratio=None, score=2.0, detector="surgewatch",
        false_alarm_rate=0.001, prior_weight=0.0,
    )  # fmt: skip


def test_alarm_that_both_tell_within_a_day_is_kept_whatever_its_id() -> None:
    here, there = alarm("ann"), alarm("ann", DAY_MS - 1)
    kept, gained, lost = changes_of([here], [there])
    assert kept == [(here, there)]
    assert gained == lost == []


def test_alarms_a_day_apart_or_of_another_sort_are_gained_and_lost() -> None:
    here = [alarm("ann"), alarm("bob"), alarm("cyd")]
    there = [
        alarm("ann", DAY_MS), alarm("bob", trigger="rule"), replace(here[2], severity="page")
    ]  # fmt: skip
    kept, gained, lost = changes_of(here, there)
    assert kept == []
    assert (
        {one.creator_id for one in lost}
        == {"ann", "bob", "cyd"}
        == {one.creator_id for one in gained}
    )


def test_each_alarm_is_paired_once_and_with_the_nearest() -> None:
    here = [alarm("ann"), alarm("ann", 3_600_000)]
    there = [alarm("ann", 3_000_000)]
    kept, gained, lost = changes_of(here, there)
    assert (len(kept), gained, len(lost)) == (1, [], 1)
    both = [alarm("ann", 100), alarm("ann", 3_600_100)]
    kept, gained, lost = changes_of(here, both)
    assert [one.there for one in kept] == both
    assert gained == lost == []


def test_a_surge_is_one_alarm_with_the_highest_severity_that_was_told() -> None:
    first = alarm("ann")
    grown = replace(first, state="grown", severity="page", revision=1)
    closed = replace(first, state="closed", revision=2)
    assert alarms_of([first, grown, closed]) == [replace(first, severity="page")]
    assert alarms_of([first, closed]) == [first]


def test_band_is_what_was_usual_in_an_hour() -> None:
    assert [band_of(alarm("ann", expected=usual)) for usual in (None, 0.5, 1, 99, 100)] == [
        BANDS[0], BANDS[1], BANDS[2], BANDS[3], BANDS[4]
    ]  # fmt: skip
    day = replace(alarm("ann", expected=24), window_ms=DAY_MS)
    assert band_of(day) == "1 to 10"
