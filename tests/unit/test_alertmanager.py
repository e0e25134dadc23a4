"""Alertmanager's configuration: amtool takes it, and each alert goes where it should."""

from __future__ import annotations

import re
import subprocess
from typing import Any, Final

import pytest
import yaml

from tests.alertmanager import CONFIGURATION, WEBHOOK
from tests.conftest import program_or_say
from tests.unit.alert_cases import CASES
from tests.unit.test_alerts import ALERTS, FILES, groups_of

CONTENT: Final[dict[str, Any]] = yaml.safe_load(CONFIGURATION.read_text())
RECEIVERS: Final = {one["name"] for one in CONTENT["receivers"]}
RULES: Final[list[dict[str, Any]]] = CONTENT["inhibit_rules"]


def labels_of(name: str) -> dict[str, str]:
    return {"alertname": name, **CASES[name].labels, **ALERTS[name]["labels"]}


def amtool(*arguments: str) -> str:
    command = [program_or_say("amtool"), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def receiver_of(labels: dict[str, str]) -> str:
    said = [f"{name}={value}" for name, value in labels.items()]
    return amtool("config", "routes", "test", f"--config.file={CONFIGURATION}", *said).strip()


def wanted(labels: dict[str, str]) -> str:
    if labels["alertname"] == "SurgewatchDeadMansSwitch":
        return "watchman"
    if labels["alertname"].endswith("Opened"):
        return "pager-surges"
    if labels.get("team") == "moderation":
        return "moderation-zh" if labels["lang"] == "zh" else "moderation"
    return {"page": "pager", "notice": "operations", "none": "nobody"}[labels["severity"]]


def test_amtool_takes_the_configuration() -> None:
    assert "SUCCESS" in amtool("check-config", str(CONFIGURATION))


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_goes_to_its_receiver(name: str) -> None:
    assert receiver_of(labels_of(name)) == wanted(labels_of(name))


def test_a_language_without_a_team_of_its_own_goes_to_the_common_one() -> None:
    labels = labels_of("SurgewatchModerationLoad") | {"lang": "sw"}
    assert receiver_of(labels) == wanted(labels) == "moderation"


def test_every_receiver_but_nobody_has_an_address_to_replace() -> None:
    for one in CONTENT["receivers"]:
        hooks = [hook["url"] for hook in one.get("webhook_configs", [])]
        whose = one["name"].removesuffix("-surges")  # the pager's, both
        assert hooks == ([] if one["name"] == "nobody" else [f"{WEBHOOK}/{whose}"])


def test_each_surge_that_begins_to_matter_is_told_within_seconds_and_never_as_over() -> None:
    (route,) = (one for one in CONTENT["route"]["routes"] if one["receiver"] == "pager-surges")
    assert {"kind", "alertname", "job"} == set(route["group_by"])
    rules = [ALERTS["SurgewatchCreatorSurgeOpened"], ALERTS["SurgewatchWaveOpened"]]
    (interval,) = (
        group["interval"]
        for group in groups_of(FILES[1])
        if all(rule in group["rules"] for rule in rules)
    )
    waits = [route["group_wait"], route["group_interval"], interval]
    first, next_one, evaluated = (int(one.removesuffix("s")) for one in waits)
    assert max(first, next_one) + evaluated <= 20
    (receiver,) = (one for one in CONTENT["receivers"] if one["name"] == "pager-surges")
    assert [hook["send_resolved"] for hook in receiver["webhook_configs"]] == [False]


def names_of(matchers: list[str]) -> set[str]:
    """Alerts that the matchers of a rule mean."""
    (pattern,) = (found for one in matchers for found in re.findall(r'^alertname=~?"(.*)"$', one))
    return {name for name in ALERTS if re.fullmatch(pattern, name)}


@pytest.mark.parametrize("number", range(len(RULES)))
def test_what_holds_back_and_what_is_held_back_exist_and_have_the_labels_compared(
    number: int,
) -> None:
    rule = RULES[number]
    sources, targets = names_of(rule["source_matchers"]), names_of(rule["target_matchers"])
    assert sources
    assert targets
    assert not sources & targets, "none holds itself back"
    for name in sources | targets:  # a label that both lack would be equal: all would be held back
        assert set(rule["equal"]) <= labels_of(name).keys(), name


def test_no_page_of_a_surge_is_ever_held_back() -> None:
    held_back = {name for rule in RULES for name in names_of(rule["target_matchers"])}
    assert not held_back & {
        "SurgewatchCreatorSurgeOpened",
        "SurgewatchCreatorSurge",
        "SurgewatchWaveOpened",
        "SurgewatchWaveOpen",
        "SurgewatchWorkerAbsent",
    }
