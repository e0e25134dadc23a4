"""The benchmark works: small, once, and without a look at the clock."""

import json
from pathlib import Path

import pytest

from tests.bench.__main__ import main
from tests.bench.job import Job

RECORDS = 20_000
ENGINES = ("surgewatch", "aiokafka")


@pytest.mark.slow
@pytest.mark.usefixtures("kafka", "redis_server")  # skips, or fails in CI, without them
def test_the_benchmark_checks_its_answers_and_writes_what_it_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    written = tmp_path / "bench.json"
    options = ["--records", str(RECORDS), "--rounds", "1", "--engines", ",".join(ENGINES)]
    assert main([*options, "--memory-creators", "0", "--json", str(written)]) == 0
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
    assert found["ratios"].keys() == {"aiokafka"}
    assert found["skipped"] == {}
    assert found.keys() >= {"date", "machine", "versions", "rounds", "redis_by"}
    assert "CPU µs a record" in capsys.readouterr().out


def test_an_unknown_engine_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--engines", "aiokafka,abacus"])
    assert "no such engine: abacus" in capsys.readouterr().err
