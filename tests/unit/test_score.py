"""The command score: files of every bad kind end in a plain line, good ones are scored."""

import csv
import gzip
import json
import random
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from streams.app.cli import main
from tests.real_data import real_data

_START = datetime(2026, 1, 5, tzinfo=UTC)


def _csv(rows: int = 2000, step_seconds: int = 300, form: str = "iso") -> str:
    draw = random.Random(1)
    lines = ["timestamp,value"]
    for n in range(rows):
        at = _START + timedelta(seconds=n * step_seconds)
        text = {
            "iso": at.isoformat(),
            "plain": at.strftime("%Y-%m-%d %H:%M:%S"),
            "s": str(int(at.timestamp())),
            "ms": str(int(at.timestamp() * 1000)),
        }[form]
        lines.append(f"{text},{draw.randint(20, 60) * (9 if 1500 <= n < 1530 else 1)}")
    return "\n".join(lines) + "\n"


def _run(folder: Path, content: str | bytes, *options: str) -> Result:
    path = folder / "series.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    command = ["score", str(path), "--out", str(folder / "out.csv"), *options]
    # The tests' own variable is no setting of Surgewatch.
    return CliRunner(env={"SURGEWATCH_DATA": None}).invoke(main, command)


def _out(folder: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((folder / "out.csv").read_text().splitlines()))


def test_rows_come_out_as_they_came_with_expected_score_and_alert(tmp_path: Path) -> None:
    text = _csv()
    result = _run(tmp_path, text, "--json")
    assert result.exit_code == 0, result.output
    out = _out(tmp_path)
    assert list(out[0]) == ["timestamp", "value", "expected", "score", "alert"]
    assert [f"{row['timestamp']},{row['value']}" for row in out] == text.splitlines()[1:]
    alerts = [n for n, row in enumerate(out) if row["alert"] == "1"]
    assert any(1500 <= n < 1503 for n in alerts)
    assert all(float(out[n]["score"]) >= 1 for n in alerts)
    summary: dict[str, Any] = json.loads(result.stdout)
    assert [told["line"] - 2 for told in summary["alerts"]] == alerts


@pytest.mark.parametrize("form", ["plain", "s", "ms"])
def test_times_of_every_form_score_alike(tmp_path: Path, form: str) -> None:
    assert _run(tmp_path, _csv()).exit_code == 0
    iso = [(row["score"], row["alert"]) for row in _out(tmp_path)]
    assert _run(tmp_path, _csv(form=form)).exit_code == 0
    assert [(row["score"], row["alert"]) for row in _out(tmp_path)] == iso


@pytest.mark.parametrize("kind", ["gzip", "crlf", "bom", "blank lines", "more columns", "Case"])
def test_files_of_every_make_score_alike(tmp_path: Path, kind: str) -> None:
    text = _csv()
    assert _run(tmp_path, text).exit_code == 0
    plain = (tmp_path / "out.csv").read_bytes()
    made = {
        "gzip": gzip.compress(text.encode()),
        "crlf": text.replace("\n", "\r\n").encode(),
        "bom": b"\xef\xbb\xbf" + text.encode(),
        "blank lines": ("\n" + text.replace("\n", "\n\n")).encode(),
        "more columns": "\n".join(f"x,{line},y" for line in text.splitlines()).encode(),
        "Case": text.replace("timestamp,value", "Timestamp, Value").encode(),
    }[kind]
    if kind == "more columns":
        made = made.replace(b"x,timestamp,value,y", b"name,timestamp,value,other")
    assert _run(tmp_path, made).exit_code == 0
    assert (tmp_path / "out.csv").read_bytes() == plain


_FOUR = "timestamp,value\n2026-01-05,1\n2026-01-06,2\n2026-01-07,{}\n2026-01-08,3\n"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "is empty"),
        ("\n\n", "is empty"),
        ("timestamp,value\n", "has a header and no rows"),
        ("time,value\n1,2\n", "line 1: the header must have one column 'timestamp'"),
        ("timestamp;value\n1;2\n", "line 1: the header must have one column 'timestamp'"),
        ("2026-01-05,1\n2026-01-06,2\n", "line 1: the header must have"),
        ("timestamp,value,value\n", "line 1: the header must have one column 'value'"),
        (_FOUR.replace("{}", "many"), "line 4: value 'many' is no number"),
        (_FOUR.format("inf"), "line 4: value 'inf' is beyond 1e+12"),
        (_FOUR.format("1e13"), "line 4: value '1e13' is beyond 1e+12"),
        (_FOUR.format("2,3"), "line 4: has 3 columns, the header has 2"),
        (_FOUR.format('"2'), "line 4: is not CSV"),
        (_FOUR.format(2).replace("2026-01-07", "nan"), "line 4: timestamp 'nan' is out of range"),
        (
            _FOUR.format(2).replace("2026-01-07", "1e300"),
            "line 4: timestamp '1e300' is out of range",
        ),
        (_FOUR.format(2).replace("2026-01-07", "today"), "line 4: timestamp 'today' is no time"),
        (_FOUR.format(2).replace("2026-01-07", "2026-01-04"), "line 4: time goes back by"),
        (_FOUR.format(2).replace("2026-01-07", "2026-01-06"), "line 4: the same time"),
        (
            _FOUR.format(2).replace("01-07", "01-06T02:00"),
            "line 4: only 7200 s after the row before",
        ),
        (b"\xff\xfe\x00\x01", "line 1: is not UTF-8 text"),
        ("timestamp,value\n2026-01-05,-1\n2026-01-06,-2\n", "no row has a count of 0 or more"),
        (gzip.compress(_csv(9).encode(), mtime=0)[:-9], "ends in the middle of its gzip data"),
        ("timestamp,value\n2026-01-05,1\n2026-02-05,2\n", "line 3: the step of the series is"),
    ],
)
def test_bad_file_ends_in_one_line_that_names_the_row(
    tmp_path: Path, content: str | bytes, words: str
) -> None:
    result = _run(tmp_path, content)
    assert result.exit_code == 4
    assert words in result.stderr
    assert result.stderr.count("\n") == 1
    assert not (tmp_path / "out.csv").exists()


def test_negative_missing_and_empty_counts_are_told_and_teach_nothing(tmp_path: Path) -> None:
    lines = _csv().splitlines()
    for row, value in ((700, "-5"), (701, "NaN"), (702, "")):
        lines[row] = f"{lines[row].split(',')[0]},{value}"
    del lines[800:900]
    result = _run(tmp_path, "\n".join(lines))
    assert result.exit_code == 0, result.output
    assert "3 rows have no count that can be known (first: line 701)" in result.stdout
    assert "100 rows are missing: taken as unknown" in result.stdout
    out = _out(tmp_path)
    assert [(row["score"], row["alert"]) for row in out[699:702]] == [("0", "0")] * 3
    assert [row["value"] for row in out[699:702]] == ["-5", "NaN", ""]


def test_one_row_is_told_as_one(tmp_path: Path) -> None:
    lines = _csv().splitlines()
    lines[700] = f"{lines[700].split(',')[0]},"
    del lines[800]
    result = _run(tmp_path, "\n".join(lines))
    assert "1 row has no count that can be known (first: line 701)" in result.stdout
    assert "1 row is missing: taken as unknown" in result.stdout
    assert _run(tmp_path, _csv(1)).stdout.startswith("1 row in ")


@pytest.mark.parametrize(
    "values", [[0] * 300, [7] * 300, [10**12] * 300, [0.5, 1.25] * 150, [3], [3, 4]]
)
def test_dull_series_are_scored_without_an_alert(tmp_path: Path, values: list[float]) -> None:
    rows = [f"{_START + timedelta(minutes=5 * n)},{value}" for n, value in enumerate(values)]
    result = _run(tmp_path, "\n".join(["timestamp,value", *rows]))
    assert result.exit_code == 0, result.output
    assert [row["alert"] for row in _out(tmp_path)] == ["0"] * len(values)
    assert "0 alerts" in result.stdout


def test_jump_is_named_in_the_report_and_is_no_alert(tmp_path: Path) -> None:
    lines = _csv().splitlines()
    lines[1000] = f"{lines[1000].split(',')[0]},9000000"
    result = _run(tmp_path, "\n".join(lines))
    assert "jump of the counter, no surge: line 1001" in result.stdout
    assert "told at line 1002" in result.stdout
    assert _out(tmp_path)[999]["alert"] == "0"


def test_running_total_is_scored_by_its_increase(tmp_path: Path) -> None:
    assert _run(tmp_path, _csv()).exit_code == 0
    plain = [row["alert"] for row in _out(tmp_path)]
    lines, total = _csv().splitlines(), 0
    for n, line in enumerate(lines[1:], start=1):
        at, value = line.split(",")
        total += int(value)
        lines[n] = f"{at},{total}"
    result = _run(tmp_path, "\n".join(lines), "--running-total")
    assert result.exit_code == 0
    found = [row["alert"] for row in _out(tmp_path)]
    assert found.index("1") - plain.index("1") in {-1, 0, 1}


def test_rarer_budget_alarms_less(tmp_path: Path) -> None:
    counts = {}
    for budget in ("1 in 2 days", "1 in 6 days", "1 in 1,000 days"):
        result = _run(tmp_path, _csv(), "--budget", budget, "--json")
        counts[budget] = len(json.loads(result.stdout)["alerts"])
    assert sorted(counts.values(), reverse=True) == list(counts.values())


def test_budget_that_is_none_is_a_usage_error_in_one_line(tmp_path: Path) -> None:
    result = _run(tmp_path, _csv(9), "--budget", "often")
    assert result.exit_code == 2
    assert "budget 'often'" in result.stderr
    assert result.stderr.count("\n") == 1


def test_picture_is_drawn(tmp_path: Path) -> None:
    picture = tmp_path / "out.png"
    assert _run(tmp_path, _csv(), "--plot", str(picture)).exit_code == 0
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_picture_of_an_unknown_kind_writes_nothing(tmp_path: Path) -> None:
    result = _run(tmp_path, _csv(50), "--plot", str(tmp_path / "out.docx"))
    assert result.exit_code == 4
    assert not (tmp_path / "out.csv").exists()


def test_picture_without_matplotlib_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    result = _run(tmp_path, _csv(50), "--plot", str(tmp_path / "out.png"))
    assert result.exit_code == 2
    assert "surgewatch[plot]" in result.stderr


@pytest.mark.slow
def test_mastodons_waves_are_told_on_their_first_day_and_its_artefacts_are_jumps(
    tmp_path: Path,
) -> None:
    content = real_data("mastodon_hourly.csv.gz").read_bytes()
    result = _run(tmp_path, content, "--column", "usercount", "--running-total", "--json")
    assert result.exit_code == 0, result.output
    summary = json.loads(result.stdout)

    def days(name: str) -> list[str]:
        moments = [int(told["timestamp"]) for told in summary[name]]
        return [datetime.fromtimestamp(at, UTC).date().isoformat() for at in moments]

    artefacts = {"2018-08-30", "2019-07-04", "2021-01-07"}
    assert artefacts <= set(days("jumps"))
    assert not artefacts & set(days("alerts"))
    assert {"2019-11-08", "2022-04-25", "2022-10-28"} <= set(days("alerts"))
    assert 0.3 <= 6 * summary["alerts_per_day"] <= 1.5
