"""Dashboards keep the linter's rules, have the alerts' limits, and show what the workers tell."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

import pytest
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard
from promql_parser import BinaryExpr, Expr, ParenExpr, parse

from deploy.grafana.alert_limits import SMALLEST_COUNT, limit_of
from deploy.grafana.build import FOLDER
from streams.edges.metrics.catalogue import CATALOGUE
from tests.dashboard_lint import (
    BOARDS,
    DASHBOARD_RULES,
    PANEL_RULES,
    Json,
    exprs_of,
    faults_of,
    panels_of,
    selectors_of,
)
from tests.promql_units import unit_of
from tests.unit.test_alerts import ALERTS, FILES, RECORDS, check_names_in, rules_of
from tests.unit.test_runbooks import BOOKS

GRAFANA: Final = "{{ $externalLabels.grafana_url }}"
UNUSED: Final = {
    "surgewatch_log_lines_suppressed_total": "for who reads a log; what fails so often is drawn",
    "surgewatch_trace_spans_total": "off by default; who traces looks at the collector",
    "surgewatch_gc_pause_seconds": "of what a long delay is made; `make soak` tells it",
    "process_virtual_memory_bytes": "says nothing about memory that is used",
}
"""Metrics that no panel and no rule asks for, and why."""
NOT_DRAWN: Final = {
    "SurgewatchAnnouncingFails": "the panel of failed calls has the limit of those to Redis",
    "SurgewatchKafkaUnreachable": "the same",
    "SurgewatchCommitFailing": "the same",
    "SurgewatchFreshnessBurnsSlowly": "its panel has the higher limit of the fast one",
    "SurgewatchSurgesLate": "its panel has the times, the alert a share of surges",
    "SurgewatchWaveLifts": "calls nobody; the wave factors are drawn",
    "SurgewatchCertificateExpires": "has no series without TLS, and a panel is never empty",
    "SurgewatchCertificateExpired": "the same",
    "SurgewatchTlsFilesUnfit": "the same",
    "SurgewatchLogLinesLost": "who reads a dashboard does not look for lines of the log",
    "SurgewatchSettingsRefused": "calls who sent the signal; nothing of it goes on",
    "SurgewatchAlertsUndelivered": "a metric of Prometheus, not of a worker",
    "SurgewatchNotificationsFail": "a metric of Alertmanager, not of a worker",
    "SurgewatchCreatorSurgeOpened": "tells each once; the panel of what is open has its limit",
    "SurgewatchWaveOpened": "the same",
    "SurgewatchRestartLoop": "its graphs have gaps where it started again",
    "SurgewatchDeadMansSwitch": "has no limit",
}
"""Alerts whose limit no panel has, and why."""


OTHER_SERIES: Final = {
    "SurgewatchCreatorSurgeNotice": "the alert's series tell the same surges by cohort",
}
"""Alerts whose limit stands on a panel that asks for other series, and why."""


def steps_of(panel: Json) -> list[Json]:
    thresholds: Json = panel["fieldConfig"]["defaults"].get("thresholds", {"steps": []})
    steps: list[Json] = thresholds["steps"]
    return steps


def names_in(expr: str) -> set[str]:
    """Metrics and recorded series that are asked for; parts of histograms by the histogram."""
    names = {name for name, *_ in selectors_of(expr)}
    return {re.sub(r"_(bucket|count|sum)$", "", name) for name in names}


def test_the_files_of_dashboards_are_those_that_are_built() -> None:
    assert {path.stem for path in FOLDER.glob("*")} == BOARDS.keys()


@pytest.mark.parametrize("name", BOARDS)
def test_a_dashboard_keeps_the_rules(name: str) -> None:
    assert faults_of(BOARDS[name]) == []


@pytest.mark.parametrize("name", BOARDS)
def test_the_sdk_reads_a_dashboard_back_as_it_was_written(name: str) -> None:
    again = json.loads(JSONEncoder().encode(Dashboard.from_json(copy.deepcopy(BOARDS[name]))))
    for mark, written in zip(
        again["annotations"]["list"], BOARDS[name]["annotations"]["list"], strict=True
    ):
        mark |= {key: written[key] for key in ("target", "titleFormat", "tagKeys")}  # not the SDK's
    assert again == BOARDS[name]


def _panel(dashboard: Json, kind: str) -> Json:
    return next(one for one in panels_of(dashboard) if one["type"] == kind)


def _ask(kind: str, expr: str) -> Callable[[Json], None]:
    return lambda board: _panel(board, kind)["targets"][0].update(expr=expr)


def _variable(of: str, /, **new: Any) -> Callable[[Json], None]:
    def change(board: Json) -> None:
        (found,) = (one for one in board["templating"]["list"] if one["name"] == of)
        found.update(new)

    return change


LAG: Final = 'surgewatch_lag_seconds{job=~"$job"}'
READ: Final = 'surgewatch_records_total{job=~"$job"}'
BREACHES: Final[list[tuple[str, Callable[[Json], None]]]] = [
    ("template-datasource", _variable("datasource", query="loki")),
    (
        "template-datasource",
        lambda board: board["templating"]["list"].append({"name": "logs", "type": "datasource"}),
    ),
    ("template-job", _variable("job", name="task")),
    ("template-job", _variable("topic", multi=False)),
    ("template-on-time-change-reload", _variable("topic", refresh=1)),
    ("uneditable-dashboard", lambda board: board.update(editable=True)),
    ("template-used", _variable("topic", name="theme")),
    ("template-used", _ask("timeseries", 'max(surgewatch_lag_seconds{job=~"$job",topic="$a"})')),
    ("unique-ids", lambda board: _panel(board, "stat").update(id=9)),
    ("unique-ids", lambda board: _panel(board, "stat").update(title="Lag")),
    ("no-overlap", lambda board: _panel(board, "stat")["gridPos"].update(x=1)),
    ("no-overlap", lambda board: panels_of(board)[-1]["gridPos"].update(w=25)),
    ("few-panels", lambda board: board["panels"].append({**_panel(board, "stat"), "id": 99})),
    ("overview-first", lambda board: board["panels"].pop(0)),
    ("panel-datasource", lambda board: _panel(board, "stat").update(datasource={"uid": "x"})),
    ("panel-datasource", lambda board: _panel(board, "stat")["targets"][0].pop("datasource")),
    ("panel-title-description", lambda board: _panel(board, "stat").pop("description")),
    ("panel-units", lambda board: _panel(board, "stat")["fieldConfig"]["defaults"].pop("unit")),
    ("panel-no-targets", lambda board: _panel(board, "stat").update(targets=[])),
    (
        "panel-legend",
        lambda board: _panel(board, "timeseries")["options"]["legend"].update(showLegend=False),
    ),
    ("target-promql", _ask("timeseries", "sum(rate(")),
    ("target-job", _ask("timeseries", "max(surgewatch_lag_seconds)")),
    ("target-rate-interval", _ask("timeseries", f"sum(rate({READ}[5m]))")),
    ("target-rate-interval", _ask("timeseries", f"sum(increase({READ}[7m]))")),
    ("target-counter-agg", _ask("timeseries", f"sum({READ})")),
    ("target-counter-agg", _ask("timeseries", f"sum({READ} unless {READ} offset 1h)")),
    ("target-counter-agg", _ask("timeseries", f"sum(rate({LAG}[$__rate_interval]))")),
]


def test_every_rule_has_a_breach() -> None:
    rules = {*DASHBOARD_RULES, *PANEL_RULES, "target-promql"}
    assert {rule for rule, _ in BREACHES} == rules


@pytest.mark.parametrize(("rule", "breach"), BREACHES)
def test_a_breach_is_seen(rule: str, breach: Callable[[Json], None]) -> None:
    board = copy.deepcopy(BOARDS["workers"])
    breach(board)
    assert {found.split(":")[0] for found in faults_of(board)} >= {rule}


def test_a_limit_is_the_number_that_its_alert_compares_with() -> None:
    assert limit_of("SurgewatchDataDelayed").value == 60
    assert limit_of("SurgewatchConsumerStalled").value == 60
    assert limit_of("SurgewatchFreshnessBurnsFast").value == 0.0144
    assert limit_of("SurgewatchStoreFailing").severity == "page"
    with pytest.raises(ValueError, match="compares with no number"):
        limit_of("SurgewatchFalseAlarmsOverBudget")
    with pytest.raises(KeyError):
        limit_of("SurgewatchNothing")


def test_thresholds_are_the_limits_of_alerts_and_lead_to_their_runbooks() -> None:
    drawn = set()
    for board in BOARDS.values():
        for panel in panels_of(board):
            above = [step["value"] for step in steps_of(panel) if step["value"] is not None]
            links = panel.get("links", [])
            assert len(above) == len(links) <= 1, panel["title"]
            for link in links:
                alert = link["title"].removeprefix("Runbook: ")
                drawn.add(alert)
                expr = ALERTS[alert]["expr"]
                if alert == "SurgewatchFalseAlarmsOverBudget":
                    value = 1.0  # the panel shows the share of the alert's right side
                elif alert == "SurgewatchWorkerAbsent":
                    value = 0.0
                else:
                    value = limit_of(alert).value
                    compared = re.findall(r"[<>=] ([0-9.* ]+)", expr)
                    assert value in {round(eval(number), 9) for number in compared}, panel["title"]
                # Grafana colours from the threshold on; at the limit itself nothing is told
                assert value < above[0] <= max(value * (1 + 2e-6), SMALLEST_COUNT), panel["title"]
                assert link["url"] == f"${{docs_url}}/runbooks/{alert}.md"
                assert (BOOKS / f"{alert}.md").exists()
                assert f"({link['url']})" in panel["description"]
    assert drawn == ALERTS.keys() - NOT_DRAWN.keys()


@pytest.mark.parametrize("alert", sorted(ALERTS.keys() - NOT_DRAWN.keys()))
def test_an_alert_leads_to_a_dashboard_that_draws_its_limit(alert: str) -> None:
    drawn = {
        f"/d/{board['uid']}"
        for board in BOARDS.values()
        for panel in panels_of(board)
        for link in panel.get("links", [])
        if link["title"] == f"Runbook: {alert}"
    }
    assert (
        urlsplit(ALERTS[alert]["annotations"]["dashboard_url"].removeprefix(GRAFANA)).path in drawn
    )


def compared_in(expr: Expr) -> Expr | None:
    """What an alert compares with its limit; None where it compares nothing."""
    if isinstance(expr, ParenExpr):
        return compared_in(expr.expr)
    if isinstance(expr, BinaryExpr):
        return expr.lhs if str(expr.op) in {"==", ">", "<"} else compared_in(expr.lhs)
    return None


def test_a_panel_with_a_limit_shows_what_its_alert_compares() -> None:
    for board in BOARDS.values():
        for panel in panels_of(board):
            for link in panel.get("links", []):
                alert = link["title"].removeprefix("Runbook: ")
                compared = compared_in(parse(ALERTS[alert]["expr"]))
                if alert == "SurgewatchFalseAlarmsOverBudget" or compared is None:
                    continue  # a share of the right side, held above; absence
                told = compared.prettify()
                for expr in exprs_of(panel):
                    assert unit_of(expr) == unit_of(told), panel["title"]
                    if limit_of(alert).value:
                        assert windows_in(expr) == windows_in(told), panel["title"]
                asked = {name for expr in exprs_of(panel) for name in names_in(expr)}
                assert asked & names_in(told) or alert in OTHER_SERIES, panel["title"]


def windows_in(expr: str) -> set[str]:
    """Windows of increases."""
    return set(re.findall(r"increase\([^[]+\[(\w+)]", expr))


def test_the_share_of_the_false_alarms_alert_is_its_left_side_over_its_right() -> None:
    (panel,) = (
        one for one in panels_of(BOARDS["surges-now"]) if one["title"].startswith("Share of what")
    )
    scope = re.compile(r'job=~"\$job",kind=~"\$kind",?')
    shown = re.sub(r"[\s(){}]", "", scope.sub("", exprs_of(panel)[0]))
    alert = ALERTS["SurgewatchFalseAlarmsOverBudget"]["expr"]
    plain = re.sub(r"[\s(){}]", "", alert.replace("by (job, kind)", "by (kind)"))

    def sorted_matchers(text: str) -> list[str]:
        return sorted(re.split(r",|total|\[", text))

    assert sorted_matchers(shown) == sorted_matchers(plain.replace(">10*", "/10*"))


def test_what_panels_ask_is_told_by_workers_or_recorded() -> None:
    for board in BOARDS.values():
        for panel in panels_of(board):
            for expr in exprs_of(panel):
                check_names_in(expr)
        for one in board["templating"]["list"]:
            if one["type"] == "query":
                check_names_in(one["query"]["query"])


def test_every_metric_is_in_a_panel_or_a_rule_or_left_out_for_a_reason() -> None:
    asked = {
        name
        for board in BOARDS.values()
        for panel in panels_of(board)
        for expr in exprs_of(panel)
        for name in names_in(expr)
    }
    ruled = {name for path in FILES for rule in rules_of(path) for name in names_in(rule["expr"])}
    told = {spec.name for spec in CATALOGUE}
    assert asked <= told | RECORDS | {"up", "ALERTS"}
    assert told - asked - ruled == UNUSED.keys()


def test_a_description_names_each_metric_or_is_written_for_the_panel() -> None:
    meanings = {spec.meaning for spec in CATALOGUE}
    for board in BOARDS.values():
        for panel in panels_of(board):
            first = panel["description"].split("\n\n")[0]
            assert first in meanings or len(first.split()) > 5, panel["title"]


@pytest.mark.parametrize("alert", ALERTS)
def test_an_alert_leads_to_a_dashboard_that_has_its_variables(alert: str) -> None:
    told = ALERTS[alert]["annotations"]["dashboard_url"].removeprefix(GRAFANA)
    url = urlsplit(re.sub(r"{{.*?}}", "1", told))
    (board,) = (one for one in BOARDS.values() if f"/d/{one['uid']}" == url.path)
    names = {one["name"] for one in board["templating"]["list"]}
    given = {name for name, _ in parse_qsl(url.query, keep_blank_values=True)}
    assert {name.removeprefix("var-") for name in given} <= names


def test_dashboards_link_to_each_other_and_mark_alerts() -> None:
    for board in BOARDS.values():
        (others,) = (link for link in board["links"] if link["type"] == "dashboards")
        assert set(others["tags"]) <= set(board["tags"])
        assert others["keepTime"]
        for one in board["annotations"]["list"]:
            assert one["target"]["expr"] == one["expr"]
            assert one["titleFormat"] == "{{alertname}}"
        marks = [one["expr"] for one in board["annotations"]["list"]]
        for severity in ("page", "notice"):
            assert any(f'severity="{severity}"' in expr for expr in marks)


def test_delays_of_surges_come_with_exemplars() -> None:
    targets = [
        target
        for board in BOARDS.values()
        for panel in panels_of(board)
        for target in panel["targets"]
        if target.get("exemplar")
    ]
    assert targets
    assert all("surgewatch_event_to_surge_seconds_bucket" in one["expr"] for one in targets)


def test_links_lead_to_the_docs_that_the_compose_file_serves() -> None:
    compose = yaml.safe_load((FOLDER.parents[1] / "compose/prometheus.yml").read_text())
    docs_url = compose["global"]["external_labels"]["docs_url"]
    for board in BOARDS.values():
        (docs,) = (one for one in board["templating"]["list"] if one["name"] == "docs_url")
        assert docs["query"] == docs_url


def test_provisioning_reads_the_folder_of_dashboards_and_one_prometheus() -> None:
    folder = FOLDER.parent / "provisioning"
    (sources,) = (folder / "datasources").glob("*.yml")
    (source,) = yaml.safe_load(sources.read_text())["datasources"]
    assert source["type"] == "prometheus"
    assert source["url"].startswith("${")
    (providers,) = (folder / "dashboards").glob("*.yml")
    (provider,) = yaml.safe_load(providers.read_text())["providers"]
    assert provider["type"] == "file"
    assert not provider["allowUiUpdates"]
