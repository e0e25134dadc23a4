"""surgewatch simulate, then backtest --compare, as a user runs them: what another budget does."""

import json
import subprocess
import sys
from pathlib import Path

COMMAND = [sys.executable, "-m", "streams.app.cli"]


def surgewatch(*options: str) -> str:
    done = subprocess.run(
        [*COMMAND, *options], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_rarer_budget_loses_alarms_and_gains_none_and_the_records_say_which(
    tmp_path: Path,
) -> None:
    follows, here, there, changes = (
        str(tmp_path / name)
        for name in ("follows.ndjson.gz", "here.toml", "there.toml", "changes.ndjson")
    )
    world = ("--world", "bursty", "--creators", "200", "--hours", "72", "--seed", "1003")
    surgewatch("simulate", *world, "--follows-out", follows)
    Path(here).write_text("budget_notices_per_creator_day = 0.3\n")
    Path(there).write_text("[budget]\nnotices_per_creator_day = 0.000001\n")
    asked = ("--config", here, "backtest", "--follows", follows)
    summary = json.loads(surgewatch(*asked, "--compare", there, "--changes", changes, "--json"))
    assert summary == summary | {"late": 0, "dead": {}}
    alarms, compared = summary["alarms"], summary["compared"]
    assert list(compared["settings"]) == ["budget_notices_per_creator_day"]
    assert 2.9 < alarms["days"] <= 3.1
    assert 150 < alarms["creators"]["follows"] <= 200
    lost, gained = (sum(row[name] for row in compared["rows"]) for name in ("lost", "gained"))
    assert lost >= 10
    assert gained < 3
    lines = [json.loads(line) for line in Path(changes).read_text().splitlines()]
    assert len(lines) == lost + gained
    told = sum(row["count"] for row in alarms["rows"])
    assert sum(row["count"] for row in compared["alarms"]["rows"]) == told - lost + gained
    words = surgewatch(*asked, "--compare", there)
    assert "set otherwise: budget_notices_per_creator_day 0.3 -> 1e-06" in words.replace(
        "1e-6", "1e-06"
    )
