"""The benchmark of the detector says what was measured, and nothing about what was not."""

import json
from pathlib import Path

import pytest

from tests.bench.detection import __main__, part, rows
from tests.bench.detection.nab import gated


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
