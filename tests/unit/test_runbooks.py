"""Every alert has a runbook with four headings, and what it says to type exists."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path
from typing import Final

import pytest
import yaml
from click.testing import CliRunner

from streams.app.cli import COMMANDS, main
from streams.edges.metrics.catalogue import CATALOGUE
from streams.edges.settings.specs import SPECS
from tests.conftest import program_or_say
from tests.unit.test_alerts import ALERTS, check_names_in

BOOKS: Final = Path(__file__).parents[2] / "docs/runbooks"
NAMES: Final = sorted(path.stem for path in BOOKS.glob("*.md"))
PROGRAMS: Final = {
    *("surgewatch", "curl", "redis-cli", "docker", "kubectl"),
    *("systemctl", "journalctl", "timedatectl"),
}


def text_of(name: str) -> str:
    return (BOOKS / f"{name}.md").read_text(encoding="utf-8")


def lines_of(name: str, language: str) -> list[str]:
    blocks = re.findall(rf"```{language}\n(.*?)```", text_of(name), re.DOTALL)
    return [line for block in blocks for line in block.splitlines()]


def test_every_alert_has_a_runbook_and_every_runbook_an_alert() -> None:
    assert sorted(ALERTS) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_runbook_says_what_it_means_what_it_does_how_to_find_out_and_what_to_do(
    name: str,
) -> None:
    parts = re.split(r"^#+ (.*)$", text_of(name), flags=re.MULTILINE)
    assert parts[1::2] == [name, "Meaning", "Impact", "Diagnosis", "Mitigation"]
    assert all(len(part.strip()) > 10 for part in parts[4::2])
    links = [link for link in re.findall(r"\]\((.*?)\)", text_of(name)) if "//" not in link]
    assert [link for link in links if not (BOOKS / link.split("#")[0]).exists()] == []


@pytest.mark.parametrize("name", NAMES)
def test_the_commands_of_a_runbook_exist_with_their_options(name: str) -> None:
    told = lines_of(name, "sh") + re.findall(r"`(surgewatch [^`]+)`", text_of(name))
    for line in told:
        program, *arguments = shlex.split(line)
        assert program in PROGRAMS, line
        if program != "surgewatch":
            continue
        assert arguments[0] in COMMANDS, line
        help_of = [one for one in arguments if re.fullmatch(r"[a-z]+(-[a-z]+)*", one)]
        shown = CliRunner().invoke(main, [*help_of, "--help"])
        assert shown.exit_code == 0, line
        options = [one for one in arguments if one.startswith("--")]
        assert [one for one in options if one not in shown.output] == [], line


@pytest.mark.parametrize("name", NAMES)
def test_a_runbook_says_where_commands_are_typed_and_asks_the_workers_redis(name: str) -> None:
    typed = [line.split()[0] for line in lines_of(name, "sh")]
    link = "(../alerting.md#where-commands-are-typed)"
    assert (link in text_of(name)) == bool({"surgewatch", "redis-cli"} & {*typed})
    assert "\n## Where commands are typed\n" in (BOOKS.parent / "alerting.md").read_text()
    for line in lines_of(name, "sh"):
        if line.startswith("redis-cli"):
            assert line.startswith('redis-cli -u "$SURGEWATCH_REDIS_URL" ')


@pytest.mark.parametrize(
    "name",
    [
        "SurgewatchFreshnessBurnsFast",
        "SurgewatchFreshnessBurnsSlowly",
        "SurgewatchSurgesLate",
        "SurgewatchFalseAlarmsOverBudget",
        "SurgewatchMemoryNearLimit",
    ],
)
def test_what_burns_slowly_can_be_asked_at_a_terminal_too(name: str) -> None:
    assert any(line.startswith("surgewatch ") for line in lines_of(name, "sh"))


@pytest.mark.parametrize("name", ["SurgewatchWorkerAbsent", "SurgewatchWorkerDown"])
def test_a_worker_that_is_gone_is_looked_for_wherever_workers_run(name: str) -> None:
    typed = {line.split()[0] for line in lines_of(name, "sh")}
    assert typed >= {"docker", "kubectl", "systemctl", "journalctl"}


LAZY: Final = {spec.name for spec in CATALOGUE if spec.type == "counter" and spec.most is not None}
"""Counters whose series begin with their first event: no plain increase sees it."""


@pytest.mark.parametrize("name", NAMES)
def test_what_a_runbook_asks_counts_the_first_of_a_series(name: str) -> None:
    assert LAZY
    for query in [*lines_of(name, "promql"), ALERTS[name]["expr"]]:
        for counter in LAZY | {"surgewatch_rebalances_total"}:
            if f"increase({counter}" in query:
                assert f"{counter} unless last_over_time({counter}" in " ".join(query.split())


@pytest.mark.parametrize("name", NAMES)
def test_what_a_runbook_asks_of_prometheus_can_be_asked(name: str, tmp_path: Path) -> None:
    queries = lines_of(name, "promql")
    rules = [{"record": f"a:b:c{n}", "expr": query} for n, query in enumerate(queries)]
    if not rules:
        return
    path = tmp_path / "rules.yml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "g", "rules": rules}]}))
    command = [program_or_say("promtool"), "check", "rules", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    for query in queries:
        check_names_in(query)


def test_settings_that_runbooks_name_exist() -> None:
    begins = ("rule_", "budget_", "keys_", "repeats_", "held_", "redis_", "kafka_", "dead_letters_")
    for name in NAMES:
        for word in re.findall(r"`([a-z0-9_]+)`", text_of(name)):
            if word.startswith(begins):
                assert word in SPECS, f"{name}: {word}"
