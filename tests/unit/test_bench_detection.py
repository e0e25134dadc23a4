"""The benchmark of the detector says what was measured, and nothing about what was not."""

import json
from pathlib import Path

import pytest

from streams.core.time.buckets import BUCKET_MS
from streams.core.worlds.counts import CountWorld, count_world_of
from streams.core.worlds.plans import WORLDS
from tests.bench.detection import (
    __main__,
    part,
    part_arrival,
    part_fleet,
    part_peers,
    part_seismic,
    part_story,
    part_young,
    rows,
)
from tests.bench.detection.nab import gated
from tests.bench.detection.parts import PARTS
from tests.bench.detection.statistics import (
    NEVER,
    middle_interval,
    middle_of,
    middle_words,
    poisson_interval,
    share_interval,
)
from tests.bench.detection.world_job import ran


def test_gate_is_one_alarm_and_a_day_of_quiet() -> None:
    times = [n * 3_600_000 for n in range(50)]
    assert gated(times, [1.0] * 50, 1.0) == [0, 24, 48]


def test_row_that_was_not_measured_neither_holds_nor_fails() -> None:
    told = {row["what"]: row for row in rows.as_dicts({rows.ROWS[0].key: 77.0})}
    first, second = told[rows.ROWS[0].what], told[rows.ROWS[1].what]
    assert (first["reached"], first["holds"]) == (77.0, False)
    assert (second["reached"], second["holds"]) == (None, None)


def test_keys_of_the_rows_are_distinct() -> None:
    assert len({row.key for row in rows.ROWS}) == len(rows.ROWS)


@pytest.mark.parametrize(
    ("low", "high", "reached", "holds"),
    [(0.3, 1.5, 0.3, True), (0.3, 1.5, 1.6, False), (None, 8, 8, True), (78, None, 77.9, False)],
)
def test_bounds_belong_to_what_holds(
    low: float | None, high: float | None, reached: float, holds: bool
) -> None:
    assert rows.Row("k", "w", low, high, "").holds(reached) is holds


def test_without_real_data_a_part_is_not_measured_and_the_run_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SURGEWATCH_DATA", str(tmp_path))
    out = tmp_path / "build" / "detection.json"
    options = ["--parts", "seismic", "--json", str(out), "--pictures", str(tmp_path / "build")]
    assert __main__.main(options) == 0
    assert "seismic: not measured: no real data" in capsys.readouterr().out
    floor = json.loads(out.read_text())["floor"]
    assert {row["holds"] for row in floor} == {None}
    assert all({"what", "floor", "reached", "holds"} <= set(row) for row in floor)


def test_part_that_does_not_exist_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        __main__.main(["--parts", "nab,moon"])
    assert "no such part: moon" in capsys.readouterr().err


def test_parts_are_skipped_by_a_name_of_their_own() -> None:
    with pytest.raises(part.PartSkipped):
        part.data("no-such-file")


def test_delay_that_never_ends_is_said_and_does_not_hold() -> None:
    key = "story_new_minutes"
    (told,) = (row for row in rows.as_dicts({key: NEVER}) if row["reached"] is not None)
    assert (told["reached"], told["holds"]) == ("never", False)
    assert "Infinity" not in json.dumps(told)


def test_post_that_the_model_never_tells_is_never_told_with_all_its_comments() -> None:
    assert part_seismic.told_by("model", [], [0, 60, 120], 0) == (NEVER, 3.0)


@pytest.mark.parametrize(
    ("count", "low", "high"),  # Garwood's table
    [(0, 0.0, 3.689), (1, 0.0253, 5.572), (10, 4.795, 18.390), (100, 81.364, 121.627)],
)
def test_interval_of_a_count_is_the_exact_one(count: int, low: float, high: float) -> None:
    assert poisson_interval(count) == pytest.approx((low, high), abs=1e-3)


def test_interval_of_a_share_has_the_share_in_it_and_narrows() -> None:
    few, many = share_interval(9, 10), share_interval(900, 1000)
    assert few == pytest.approx((0.5958, 0.9821), abs=1e-3)
    assert few[0] < many[0] < 0.9 < many[1] < few[1]


def test_median_takes_what_was_never_told_for_the_longest() -> None:
    assert middle_of([3.0, NEVER, 1.0]) == 3.0
    assert middle_of([3.0, NEVER, NEVER]) == NEVER
    assert middle_of([]) == NEVER


@pytest.mark.parametrize(
    ("cases", "low", "high"),  # ranks of the sign test's table
    [(6, 1, 6), (10, 2, 9), (20, 6, 15), (60, 22, 39)],
)
def test_interval_of_a_median_lies_between_the_ranks_of_the_sign_test(
    cases: int, low: int, high: int
) -> None:
    delays = [float(n) for n in range(cases, 0, -1)]
    assert middle_interval(delays) == (low, high)


def test_few_delays_tell_no_interval_and_what_is_never_told_stays_in_it() -> None:
    assert middle_interval([1.0, 2.0, 3.0, 4.0, 5.0]) == (0.0, NEVER)
    assert middle_words([5.0] * 4 + [NEVER] * 4) == "never (5.0 to never)"


def small_story(hours: int = 40) -> CountWorld:
    return count_world_of(WORLDS["story"], seed=3, creators=200, hours=hours)


def test_the_job_gets_each_count_as_so_many_records_of_its_bucket() -> None:
    world = small_story()
    creator = int(world.columns.surges.creator[0])
    found = ran(world, [0.001], tracked=[creator])
    steps = list(world.buckets())
    for step in steps[-30:]:
        begin_ms = step.bucket * BUCKET_MS
        count = int(step.counts[step.creators == creator].sum())
        assert found.records_in(creator, begin_ms, begin_ms + BUCKET_MS) == count
    met = {int(n): step.bucket for step in reversed(steps) for n in step.creators.tolist()}
    assert {n: int(found.met[n]) for n in met} == met


def test_days_of_a_creator_are_her_first_and_all_after_it() -> None:
    world = small_story()
    found = ran(world, [0.001])
    lived = (world.after - found.met).clip(0) / 288
    first, later = found.days(first=True), found.days(first=False)
    assert (first + later).tolist() == pytest.approx(lived.tolist())
    assert first.max() == 1.0
    alarms = [len(found.alarms(0.001, first=first)) for first in (True, False)]
    assert sum(alarms) == len(found.opened(0.001)) > 0


def test_order_within_a_bucket_changes_no_rate() -> None:
    world = small_story()
    opened = [
        {(one.creator_id, one.opened_ms // BUCKET_MS) for one in ran_so.opened(0.001)}
        for ran_so in (ran(world, [0.001]), ran(world, [0.001], in_turn=False))
    ]
    assert opened[0] == opened[1] != set()


def test_story_of_a_creator_with_a_history_is_told_by_the_model_with_its_delay() -> None:
    cases = [case for case in part_story.cases_of(small_story(hours=5 * 24)) if not case.newborn]
    assert cases
    assert all(0 < case.minutes < 60 and 0 < case.share < 0.05 for case in cases)


def test_simulated_part_measures_its_rows_at_a_small_size() -> None:
    found = PARTS["story"](0.01)
    keys = {row.key for row in rows.ROWS}
    assert found.details
    assert found.reached
    assert set(found.reached) <= keys


def test_threshold_of_a_peer_is_the_lowest_that_alarms_no_more_than_asked() -> None:
    day = [0.0] * 287
    scores = [[5.0, *day, 3.0, *day, 4.0], [1.0, *day, 2.0]]
    scored = [(range(0, 300_000 * len(mine), 300_000), mine) for mine in scores]
    assert [part_peers.threshold_of(scored, asked) for asked in (1, 2, 3, 4)] == [5, 4, 3, 2]
    assert part_peers.threshold_of(scored, 0) == NEVER


def test_the_storys_wave_is_told_by_how_new_its_accounts_are() -> None:
    found = part_arrival._found(part_arrival.Task(3, 0.0))
    assert (found.early, found.waves) == (0, 1)
    assert found.minutes <= 30
    assert found.of == "US, newcomers"
    assert found.events[1] < found.events[0] / 50, "while all follows are as many as ever"


def test_usual_young_accounts_are_drawn_as_they_are_asked_for() -> None:
    counts = part_young._counts_of(part_young.Task(3, 0.05, 3.0, 3_000))
    young, comers = counts[:, 1:].sum(), counts[:, 0].sum()
    assert 0.03 < young / comers < 0.2, "its hours and its drift"
    assert abs(comers / len(counts) - 2_700) < 300
    assert part_young._found(part_young.Task(3, 0.002, 3.0, 300)) <= 1


def test_a_wave_of_a_fleet_is_told_with_those_who_receive_most() -> None:
    found = part_fleet._found(part_fleet.Task("even-wave", 1_000, 2, 1.5, 5))
    assert (found.early, found.waves) == (0, 1)
    assert found.minutes <= 30
    assert found.receivers == 10
    assert found.plain == 1_000
