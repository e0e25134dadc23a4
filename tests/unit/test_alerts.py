"""Alerts and recording rules, evaluated by promtool: each fires, stays silent, lacks its series."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from streams.edges.metrics.catalogue import CATALOGUE
from streams.edges.settings.reading import Settings
from tests.conftest import program_or_say
from tests.unit.alert_case import ONE, TWO, Case, Series
from tests.unit.alert_cases import CASES

RULES: Final = Path(__file__).parents[2] / "deploy/prometheus"
FILES: Final = (RULES / "recording.yml", RULES / "alerts.yml")
URLS: Final = {"docs_url": "https://docs.test", "grafana_url": "https://grafana.test"}
_PARTS: Final = ("", "_bucket", "_sum", "_count")


def groups_of(path: Path) -> list[dict[str, Any]]:
    groups: list[dict[str, Any]] = yaml.safe_load(path.read_text())["groups"]
    return groups


def rules_of(path: Path) -> list[dict[str, Any]]:
    return [rule for group in groups_of(path) for rule in group["rules"]]


ALERTS: Final = {rule["alert"]: rule for rule in rules_of(FILES[1])}
RECORDS: Final = {rule["record"] for rule in rules_of(FILES[0])}
RATIO: Final = "job_kind:surgewatch_alarms_seen_over_asked:ratio1d"


def rendered(text: str, case: Case) -> str:
    """A template as it must come out; fails where the case does not say what it becomes."""
    told = {f"$labels.{name}": value for name, value in case.labels.items()}
    told |= {f"$externalLabels.{name}": url for name, url in URLS.items()} | dict(case.told)
    with_region = "{{ if $labels.region }} {{ $labels.region }}{{ end }}"
    region = case.labels.get("region")
    text = text.replace(with_region, f" {region}" if region else "")
    return re.sub(r"{{ (.*?) }}", lambda found: told[found[1]], text)


def expected(name: str, case: Case, told: Mapping[str, str] | None = None) -> dict[str, Any]:
    rule = ALERTS[name]
    if told is not None:
        case = replace(case, told=told)
    return {
        "exp_labels": {**case.labels, **rule["labels"]},
        "exp_annotations": {
            what: rendered(text, case) for what, text in rule["annotations"].items()
        },
    }


def told_at(name: str, minute: int, alerts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {"eval_time": f"{minute}m", "alertname": name, "exp_alerts": [*alerts]}


def check_rules(
    folder: Path,
    tests: Sequence[tuple[Series, list[dict[str, Any]]]],
    every: str = "1m",
    evaluated: str = "1m",
) -> str:
    """What promtool finds wrong; nothing: all came out as told."""
    content = {
        "rule_files": [*map(str, FILES)],
        "evaluation_interval": evaluated,
        # else in any order, and an alert may see what was recorded a minute ago
        "group_eval_order": [group["name"] for path in FILES for group in groups_of(path)],
        "tests": [
            {
                "interval": every,
                "external_labels": URLS,
                "input_series": [{"series": one, "values": put} for one, put in series.items()],
                "alert_rule_test": told,
            }
            for series, told in tests
        ],
    }
    path = folder / "rules.yml"
    path.write_text(yaml.safe_dump(content))
    command = [program_or_say("promtool"), "test", "rules", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    return "" if done.returncode == 0 else done.stdout + done.stderr


def test_every_alert_has_a_case_and_every_case_an_alert() -> None:
    assert CASES.keys() == ALERTS.keys()


@pytest.mark.parametrize("name", CASES)
def test_an_alert_fires_at_its_minute_and_not_the_one_before(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    told = [told_at(name, case.minute, [expected(name, case)])]
    if case.minute:
        told.insert(0, told_at(name, case.minute - 1, []))
    assert check_rules(tmp_path, [(case.fires, told)], case.every) == ""


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.also])
def test_an_alert_fires_on_its_other_series_too(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    tests = [
        (
            series,
            [
                told_at(name, minute - 1, []),
                told_at(name, minute, [expected(name, case, told)]),
            ],
        )
        for series, minute, told in case.also
    ]
    assert check_rules(tmp_path, tests, case.every) == ""


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.silent])
def test_an_alert_stays_silent_when_nothing_is_wrong(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    ends = range(case.minute + 5) if case.every != "1m" else (case.minute, case.minute + 4)
    tests = [(series, [told_at(name, minute, []) for minute in ends]) for series in case.silent]
    assert check_rules(tmp_path, tests, case.every) == ""


@pytest.mark.parametrize("name", CASES)
def test_an_alert_without_its_series_is_silent_unless_that_is_what_it_tells(
    name: str, tmp_path: Path
) -> None:
    case = CASES[name]
    alerts = [expected(name, case)] if case.fires_without_series else []
    other: Series = {'surgewatch_build_info{job="surgewatch",instance="w9"}': "1x20"}
    assert check_rules(tmp_path, [(other, [told_at(name, case.minute + 4, alerts)])]) == ""


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_says_what_happened_and_where_to_read_and_look(name: str) -> None:
    told = ALERTS[name]["annotations"]
    assert set(told) == {"summary", "description", "runbook_url", "dashboard_url"}
    assert told["runbook_url"] == "{{ $externalLabels.docs_url }}/runbooks/" + f"{name}.md"
    assert told["dashboard_url"].startswith("{{ $externalLabels.grafana_url }}/d/surgewatch-")
    assert ALERTS[name]["labels"]["severity"] in {"page", "notice", "none"}


@pytest.mark.parametrize(
    ("name", "kind"),
    [("SurgewatchCreatorSurgeOpened", "followers"), ("SurgewatchWaveOpened", "wave")],
)
def test_each_surge_that_begins_to_matter_is_an_alert_of_its_own(
    name: str, kind: str, tmp_path: Path
) -> None:
    """Alertmanager tells an alert that it has not met; one that goes on is nothing new to it."""

    def newest(surge_id: str, of: str = ONE) -> str:
        labels = f'{of},kind="{kind}",surge_id="{surge_id}"'
        return f"surgewatch_newest_surge_timestamp_seconds{{{labels}}}"

    series: Series = {
        newest("a"): "_ 60 60 stale 60 60 _x30",  # a scrape that fails; then the worker ends
        newest("b"): "_x4 240 240 240 _x30",
        newest("b", TWO): "_x13 230x30",  # who takes its partitions over, by the time of its record
        newest("c", TWO): "_x14 840x30",
        newest("old", TWO): "_x14 -61x30",
    }

    def at(minute: int, *surge_ids: str) -> dict[str, Any]:
        of = {"job": "surgewatch", "kind": kind}
        cases = [replace(CASES[name], labels=of | {"surge_id": one}) for one in surge_ids]
        return told_at(name, minute, [expected(name, case) for case in cases])

    told = [
        at(0),
        *(at(minute, "a") for minute in (1, 2, 3)),
        *(at(minute, "a", "b") for minute in (4, 7, 10, 13)),
        *(at(minute, "a", "b", "c") for minute in (14, 15)),
        *(at(minute, "b", "c") for minute in (16, 18)),
        *(at(minute, "c") for minute in (19, 28)),
        at(29),
    ]
    assert check_rules(tmp_path, [(series, told)]) == ""


@pytest.mark.parametrize(
    "name", ["SurgewatchWaveOpen", "SurgewatchCreatorSurge", "SurgewatchCreatorSurgeNotice"]
)
def test_what_is_open_is_not_said_to_have_ended_while_a_worker_starts_again(
    name: str, tmp_path: Path
) -> None:
    case = CASES[name]
    (series,) = case.fires
    count = next(iter(case.told.values()))
    pieces: Series = {series: f"{count}x3 stale _x7 0 0 {count} 0x30"}  # its state is loaded last
    told = [told_at(name, minute, [expected(name, case)]) for minute in (3, 7, 12, 14, 22)]
    assert check_rules(tmp_path, [(pieces, [*told, told_at(name, 30, [])])]) == ""


@pytest.mark.parametrize(
    "name", ["SurgewatchStoreFailing", "SurgewatchKafkaUnreachable", "SurgewatchAnnouncingFails"]
)
def test_what_fails_is_told_until_five_minutes_after_its_last_error(
    name: str, tmp_path: Path
) -> None:
    """One error each half minute, from 1m15s to 7m15s: it fires all the time, and then ends."""
    case = CASES[name]
    told = [told_at(name, minute, [expected(name, case, {})]) for minute in range(5, 13)]
    over = [told_at(name, minute, []) for minute in (14, 20)]
    assert check_rules(tmp_path, [(case.also[0][0], [*told, *over])], case.every) == ""


def test_far_too_many_shifts_of_languages_are_told_of_as_such(tmp_path: Path) -> None:
    name = "SurgewatchFalseAlarmsOverBudget"
    case = CASES[name]
    of_mix = {one.replace('"followers"', '"mix"'): put for one, put in case.fires.items()}
    alert = expected(name, case)
    told = alert | {
        "exp_labels": alert["exp_labels"] | {"kind": "mix"},
        "exp_annotations": {
            key: text.replace("followers", "mix") for key, text in alert["exp_annotations"].items()
        },
    }
    assert check_rules(tmp_path, [(of_mix, [told_at(name, case.minute, [told])])]) == ""


def test_a_worker_that_stands_still_is_told_before_its_watchdog_ends_it() -> None:
    rule = ALERTS["SurgewatchConsumerStalled"]
    seconds = re.findall(r"> (\d+)", rule["expr"])[0]
    evaluated = next(group["interval"] for group in groups_of(FILES[1]) if rule in group["rules"])
    scraped = 15
    waits = int(seconds) + sum(int(one.removesuffix("s")) for one in (rule["for"], evaluated))
    assert waits + scraped < Settings().watchdog_seconds
    assert int(rule["keep_firing_for"].removesuffix("m")) * 60 > Settings().watchdog_seconds


@pytest.mark.parametrize(
    ("asked", "ratio"), [("0+0.01x3000", "0.5"), ("0+0.003x3000", None)], ids=["enough", "few"]
)
def test_what_was_seen_is_recorded_over_what_was_asked_for_once_that_says_something(
    asked: str, ratio: str | None, tmp_path: Path
) -> None:
    """Two workers; 14.4 a day are asked for, or 4.3, and as many shifts of languages."""
    labels = 'trigger="model",state="opened"'
    surges: Series = {
        f'surgewatch_surges_total{{{ONE},kind="followers",{labels}}}': "0+0.0025x3000",
        f'surgewatch_surges_total{{{TWO},kind="followers",{labels}}}': "0+0.0025x3000",
        f'surgewatch_surges_total{{{ONE},kind="mix",{labels}}}': "0+0.005x3000",
    }
    kinds = ("followers", "mix")
    surges = {
        **surges,
        **{f'surgewatch_false_alarms_asked_total{{{ONE},kind="{one}"}}': asked for one in kinds},
    }
    found = [{"labels": f'{{job="surgewatch",kind="{kind}"}}'} for kind in kinds if ratio]
    content = {
        "rule_files": [str(FILES[0])],
        "evaluation_interval": "1m",
        "tests": [
            {
                "interval": "1m",
                "input_series": [{"series": one, "values": put} for one, put in surges.items()],
                "promql_expr_test": [
                    {
                        "expr": f"round(sum by (job, kind) ({RATIO}), 0.01)",
                        "eval_time": "2400m",
                        "exp_samples": [one | {"value": float(ratio or 0)} for one in found],
                    }
                ],
            }
        ],
    }
    path = tmp_path / "rules.yml"
    path.write_text(yaml.safe_dump(content))
    command = [program_or_say("promtool"), "test", "rules", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr


def check_names_in(query: str) -> None:
    """Fails where a query names what is neither in the catalogue nor recorded."""
    recorded = re.findall(r"\w+:\w+:\w+", query)
    assert set(recorded) <= RECORDS, query
    rest = re.sub(r"\w+:\w+:\w+", "", query)
    names = set(re.findall(r"\b(?:surgewatch|process)_\w+", rest))
    parts = {spec.name: _PARTS[1:] if spec.buckets else ("",) for spec in CATALOGUE}
    assert names <= {name + part for name, some in parts.items() for part in some}, query
    labels = {spec.name: {*spec.label_names, "job", "instance"} for spec in CATALOGUE}
    for name, selector in re.findall(r"(surgewatch_\w+){(.*?)}", rest):
        used = set(re.findall(r"(\w+)\s*(?:=~|!=|!~|=)", selector)) - {"le"}
        assert used <= labels.get(name, used), query


def test_rules_speak_of_metrics_that_there_are() -> None:
    for path in FILES:
        for rule in rules_of(path):
            check_names_in(rule["expr"])


@pytest.mark.parametrize(
    "query",
    [
        "surgewatch_surge_total",
        "surgewatch_event_to_surge_seconds",
        "rate(surgewatch_records_total_count[5m])",
        'surgewatch_records_total{creator="a"}',
        "job:surgewatch_events_late:ratio_rate7d",
        "process_memory_bytes",
    ],
)
def test_a_query_of_what_there_is_not_is_seen(query: str) -> None:
    with pytest.raises(AssertionError):
        check_names_in(query)
