"""A peer's wrong answer is told, kept out of all figures, and ends nothing; ours ends the run."""

import io
import json
from collections.abc import Iterator, Set
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from tests.bench import __main__ as bench
from tests.bench import floor, report
from tests.bench.engines import ENGINES, Engine
from tests.bench.job import Job, Truth
from tests.bench.picture import draw_bench
from tests.bench.rounds import Rounds, run_rounds, turns_of
from tests.bench.stage import Stage
from tests.bench.turns import EngineSkipped, Run, WrongAnswer, check

NAMES = ("surgewatch", "aiokafka", "pathway", "kafka-streams")
CHOSEN = [engine for engine in ENGINES if engine.name in NAMES]
RECORDS = 2_000
GONE, NINE = "gone", "total is 9, not 10"


class QuietStage(Stage):
    """A stage without servers."""

    def fill(self, *_: Any, **__: Any) -> None:
        """Send nothing."""

    @property
    def redis_version(self) -> str:
        """Of no server."""
        return "none"


STAGE = QuietStage(Path(), None, None, "tcp")  # type: ignore[arg-type]  # no servers


def run_of(wall_seconds: float = 1.0) -> Run:
    """A right run."""
    return Run(RECORDS, RECORDS, 5, 0, wall_seconds, 0.5, 0.1, 0.1, 90.0, 0.0, {"kafka": 0.1})


def rounds_with(
    wrong: Set[tuple[str, int]], console: Console, skipped: Set[tuple[str, int]] = frozenset()
) -> Rounds:
    """Three rounds in which engines answer wrongly, or cannot run, in the rounds told (from 0)."""

    def run(_: Stage, engine: Engine, __: Job, truth: Truth, round_no: int) -> Run:
        if (engine.name, round_no) in skipped:
            raise EngineSkipped(GONE)
        total = RECORDS - 1 if (engine.name, round_no) in wrong else RECORDS
        told = {"total": total, "largest": truth.largest, "crossed": None}
        check(told, truth)
        return run_of(1.0 + round_no)

    return run_rounds(STAGE, turns_of(CHOSEN, RECORDS, 0), 3, run, console)


@pytest.fixture
def console() -> Console:
    """A console whose output is read."""
    return Console(file=io.StringIO(), width=200, soft_wrap=True)


def told_by(console: Console) -> str:
    """What was printed."""
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def engines_of(found: Rounds) -> list[dict[str, Any]]:
    """Summaries as the benchmark makes them."""
    return [report.summary_of(n, runs, found.wrong.get(n, ())) for n, runs in found.runs.items()]


def test_a_wrong_answer_of_a_peer_is_told_and_the_rounds_go_on(console: Console) -> None:
    found = rounds_with({("pathway", 1)}, console)
    assert {name: len(runs) for name, runs in found.runs.items()} == {
        **dict.fromkeys(NAMES, 3),
        "pathway": 2,
    }
    assert found.wrong == {"pathway": ["round 2: total is 1,999, not 2,000"]}
    assert found.skipped == {}
    assert "round 2: pathway WRONG: total is 1,999, not 2,000" in told_by(console)
    assert "round 3: pathway: 667 events/s" in told_by(console)


def test_a_wrong_run_is_in_no_median(console: Console) -> None:
    found = rounds_with({("pathway", 2)}, console)
    pathway = next(one for one in engines_of(found) if one["name"] == "pathway")
    assert pathway["events_per_second"] == round((RECORDS / 1.0 + RECORDS / 2.0) / 2)
    assert pathway["wrong"] == found.wrong["pathway"]
    assert len(pathway["runs"]) == 2


@pytest.mark.parametrize("name", ["surgewatch", "surgewatch-count"])
def test_a_wrong_answer_of_ours_ends_the_benchmark(name: str, console: Console) -> None:
    engine = next(one for one in ENGINES if one.name == name)

    def run(*_: Any) -> Run:
        raise WrongAnswer(NINE)

    with pytest.raises(WrongAnswer, match=f"^round 1: {name}: {NINE}$"):
        run_rounds(STAGE, turns_of([engine], RECORDS, 0), 1, run, console)


def test_a_wrong_answer_on_more_records_ends_the_benchmark_too(console: Console) -> None:
    engine = next(one for one in ENGINES if one.name == "surgewatch")

    def run(_: Stage, __: Engine, job: Job, ___: Truth, ____: int) -> Run:
        if job.records > RECORDS:
            raise WrongAnswer(NINE)
        return run_of()

    with pytest.raises(WrongAnswer, match=f"^round 1: surgewatch-many: {NINE}$"):
        run_rounds(STAGE, turns_of([engine], RECORDS, 2 * RECORDS), 1, run, console)


def test_an_engine_that_answered_wrongly_is_compared_with_nothing(console: Console) -> None:
    engines = engines_of(rounds_with({("kafka-streams", 0)}, console))
    assert report.ratios_of(engines).keys() == {"aiokafka", "pathway"}
    rows = {row.what: row for row in floor.speed_rows({"engines": engines})}
    assert any("next stream engine (pathway)" in what for what in rows)
    engines = engines_of(rounds_with({("aiokafka", 0)}, console))
    rows = {row.what: row for row in floor.speed_rows({"engines": engines})}
    bare = [row for what, row in rows.items() if "bare aiokafka loop" in what]
    assert [row.holds for row in bare] == [None, None]


def test_the_table_tells_who_answered_wrongly_and_how_often(
    console: Console, tmp_path: Path
) -> None:
    always = {("pathway", round_no) for round_no in range(3)}
    found = rounds_with({("aiokafka", 1), *always}, console)
    engines = engines_of(found)
    assert [one["name"] for one in engines] == ["surgewatch", "aiokafka", "kafka-streams"]
    report.print_engines(console, engines, found.wrong)
    told = told_by(console).splitlines()
    last_cells = {
        line.split("|")[1].strip(): line.split("|")[-2].strip() for line in told if "|" in line
    }
    assert last_cells | {"surgewatch": "right", "kafka-streams": "right"} == last_cells
    assert (last_cells["aiokafka"], last_cells["pathway"]) == ("1 of 3 WRONG", "3 of 3 WRONG")
    assert any(line.startswith("pathway answered WRONGLY and is not compared") for line in told)
    machine = {"cores": 2}
    drawn = {"engines": engines, "machine": machine, "date": "2026-11-29", "rounds": 3}
    draw_bench(drawn, tmp_path / "bench.png")
    assert (tmp_path / "bench.png").exists()


def test_an_engine_that_can_no_longer_run_has_no_figures(console: Console) -> None:
    found = rounds_with(set(), console, skipped={("pathway", 1)})
    assert found.skipped == {"pathway": GONE}
    assert "pathway" not in found.runs


@pytest.mark.parametrize(("wrong", "code"), [("pathway", 0), ("surgewatch", 1)])
def test_only_a_wrong_answer_of_ours_fails_the_command(
    wrong: str, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(_: Stage, engine: Engine, *__: Any) -> Run:
        if engine.name == wrong:
            raise WrongAnswer(NINE)
        return run_of()

    @contextmanager
    def quiet_stage(_: str) -> Iterator[Stage]:
        yield STAGE

    monkeypatch.setattr(bench, "run_engine", run)
    monkeypatch.setattr(bench, "stage_of", quiet_stage)
    written = tmp_path / "bench.json"
    options = ["--engines", ",".join(NAMES), "--records", str(RECORDS), "--rounds", "1"]
    options += ["--memory-creators", "0", "--json", str(written)]
    assert bench.main(options) == code
    assert written.exists() == (code == 0)
    if written.exists():
        assert json.loads(written.read_text())["wrong"] == {"pathway": [f"round 1: {NINE}"]}
