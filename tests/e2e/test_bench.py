"""The benchmarks work: small, once, and without a look at the clock."""

import json
import shutil
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest

from tests.bench import phases, scaling
from tests.bench.__main__ import main
from tests.bench.job import Job
from tests.bench.sampled_worker import CONSUMER, OTHER
from tests.bench.scaling_parts import PARTS
from tests.bench.scaling_run import Follows, check, check_surges, run_worker, times_of_day
from tests.bench.scaling_tables import table_of
from tests.bench.stage import Stage, stage_of
from tests.bench.turns import WrongAnswer

RECORDS = 20_000
MANY = 30_000
ENGINES = ("surgewatch", "surgewatch-count", "aiokafka")
DOCUMENT = Path(__file__).parents[2] / "docs" / "scaling.md"
PNG = b"\x89PNG"


@pytest.fixture(scope="module")
def stage(kafka: object, redis_server: object) -> Iterator[Stage]:
    """One for all scaling parts, which name their topics and groups each after itself."""
    with stage_of() as stage:
        yield stage


@pytest.mark.slow
@pytest.mark.usefixtures("kafka", "redis_server")  # skips, or fails in CI, without them
def test_the_benchmark_checks_its_answers_and_writes_what_it_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    written, drawn = tmp_path / "bench.json", tmp_path / "bench.png"
    options = ["--records", str(RECORDS), "--rounds", "1", "--engines", ",".join(ENGINES)]
    options += ["--records-many", str(MANY), "--latency-seconds", "2", "--memory-creators", "0"]
    assert main([*options, "--json", str(written), "--picture", str(drawn)]) == 0
    found = json.loads(written.read_text())
    truth = Job(RECORDS).truth()
    assert [engine["name"] for engine in found["engines"]] == list(ENGINES)
    for engine in found["engines"]:
        assert (engine["total"], engine["largest"]) == (RECORDS, truth.largest)
        assert engine["crossed"] == len(truth.crossed)
        assert engine["events_per_second"] > 0
        assert engine["cpu_seconds_per_million"] > 0
        assert engine["peak_rss_mb"] > 0
        assert len(engine["load_1m"]) == 1
        assert engine["wrong"] == []
    assert found["ratios"].keys() == {"surgewatch-count", "aiokafka"}
    assert (found["skipped"], found["wrong"]) == ({}, {})
    assert found["many"]["total"] == MANY
    assert found["latency"]["surges"] > 0
    assert 0 < found["latency"]["p50_ms"] <= found["latency"]["max_ms"]
    assert all({"what", "floor", "reached", "holds"} <= row.keys() for row in found["floor"])
    assert found.keys() >= {"date", "machine", "versions", "rounds", "redis_by"}
    assert drawn.read_bytes().startswith(PNG)
    assert "CPU µs a record" in capsys.readouterr().out


def test_an_unknown_engine_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--engines", "aiokafka,abacus"])
    assert "no such engine: abacus" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("part", list(PARTS))
def test_each_scaling_part_checks_its_answers_and_writes_what_it_measured(
    part: str,
    stage: Stage,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(scaling, "stage_of", lambda redis_by: nullcontext(stage))
    written, document = tmp_path / "scaling.json", tmp_path / "scaling.md"
    shutil.copy(DOCUMENT, document)
    options = ["--document", str(document), "--parts", part]
    options += ["--scale", "0.002", "--points", "2", "--json", str(written)]
    assert scaling.main([*options, "--pictures", str(tmp_path)]) == 0
    found = json.loads(written.read_text())
    rows = found["parts"].pop(part)
    assert found["parts"] == {}
    assert len(rows) == 2
    for what in ("records_per_second", "cpu_us_a_record", "redis_cpu_us_a_record", "rss_mb"):
        assert all(row[what] > 0 for row in rows), what
    assert table_of(part, rows) in capsys.readouterr().out
    assert table_of(part, rows) in document.read_text()
    assert {row["holds"] for row in found["floor"]} == {None}, "floors need the full size"
    pictures = [path.read_bytes() for path in tmp_path.glob("*.png")]
    assert [picture[:4] for picture in pictures] == [PNG]


@pytest.mark.slow
@pytest.mark.usefixtures("kafka", "redis_server")  # skips, or fails in CI, without them
def test_where_cpu_goes_is_told_of_the_steps_alone_and_of_a_whole_worker(tmp_path: Path) -> None:
    written = tmp_path / "phases.json"
    options = [
        "--records",
        "40000",
        "--sampled-records",
        "40000",
        "--rounds",
        "1",
        "--json",
        str(written),
    ]
    assert phases.main(options) == 0
    found = json.loads(written.read_text())
    assert {"read batches", "decode"} <= found["microseconds"].keys()
    sampled = found["sampled_microseconds"]
    assert {"decode", "count, score, rules, repeats"} <= sampled.keys()
    assert sampled[CONSUMER] > 0, "it has read the records"
    assert sampled.get(OTHER, 0.0) < sum(sampled.values()) / 10, "nearly all has a name"


def test_an_unknown_part_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        scaling.main(["--parts", "creators,moon"])
    assert "no such part: moon" in capsys.readouterr().err


@pytest.mark.slow
def test_a_scaling_run_sees_a_record_or_a_surge_that_is_missing(stage: Stage) -> None:
    draw = np.random.default_rng(1)
    ids = draw.integers(0, 50, 2_000)
    follows = Follows("checked", ids, times_of_day(draw, len(ids), 0.0, 1.0), threshold=30)
    follows.fill(stage)
    assert run_worker(stage, "checked", follows)["records"] == len(ids)
    variables = follows.variables(stage, "checked")
    with pytest.raises(WrongAnswer, match="2,001 were sent"):
        check("checked", variables, np.append(ids, 7))
    stricter = Follows("checked", follows.ids, follows.at_ms, threshold=29)
    with pytest.raises(WrongAnswer, match="surges by rule"):
        check_surges("checked", variables, stricter)
