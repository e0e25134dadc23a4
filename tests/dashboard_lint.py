"""What a dashboard must keep: rules by their names in Grafana's dashboard-linter, and our own."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from itertools import combinations
from typing import Any, Final

from promql_parser import Call, MatrixSelector, VectorSelector, parse, walk

from deploy.grafana.build import dashboards
from streams.edges.metrics.catalogue import CATALOGUE

Json = dict[str, Any]
Selector = tuple[str, dict[str, str], tuple[str, ...]]
"""A series asked for: its metric, its matchers, and the functions around it, outermost first."""

BOARDS: Final[dict[str, Json]] = {
    path.stem: json.loads(text) for path, text in dashboards().items()
}
"""All dashboards, by their files' names."""
SOURCE: Final = {"type": "prometheus", "uid": "${datasource}"}
LOGS: Final = {"type": "loki", "uid": "${logs}"}
COLUMNS: Final = 24
PANELS_MAX: Final = 24
COUNTERS: Final = {spec.name for spec in CATALOGUE if spec.type == "counter"} | {
    f"{spec.name}{part}" for spec in CATALOGUE if spec.buckets for part in ("_bucket", "_count")
}
WHOLE_WINDOWS: Final = ("5m", "10m", "15m", "1h", "1d", "7d")
"""Of which a panel may tell the increase; what is told a second is told of Grafana's interval."""
_VARIABLE: Final = re.compile(r"\$__rate_interval")


def panels_of(dashboard: Json) -> list[Json]:
    """Panels, without the rows' titles."""
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def exprs_of(panel: Json) -> list[str]:
    """What a panel asks of Prometheus."""
    return [target["expr"] for target in panel["targets"] if target.get("datasource") != LOGS]


def parsed(expr: str) -> Any:
    """Its tree; raises ValueError where it is no PromQL. Grafana's interval is put in."""
    return parse(_VARIABLE.sub("4m", expr))


def selectors_of(expr: str) -> list[Selector]:
    """All series that it asks for."""
    found: list[Selector] = []
    around: list[str] = []

    def enter(node: Any) -> bool:
        if isinstance(node, Call):
            around.append(node.func.name)
        selector = node.vector_selector if isinstance(node, MatrixSelector) else node
        if isinstance(selector, VectorSelector):
            matchers = {one.name: one.value for one in selector.matchers.matchers}
            found.append((selector.name or "", matchers, tuple(around)))
        return True

    def leave(node: Any) -> bool:
        if isinstance(node, Call):
            around.pop()
        return True

    walk(parsed(expr), enter, leave)
    return found


def faults_of(dashboard: Json) -> list[str]:
    """Every breach, as ``rule: where``; none when all is well."""
    found: list[str] = []
    for name, rule in DASHBOARD_RULES.items():
        found += [f"{name}: {where}" for where in rule(dashboard)]
    for panel in panels_of(dashboard):
        wrong = [f"target-promql: {panel['title']}: {why}" for why in _target_promql(panel)]
        found += wrong
        if wrong:
            continue  # the others read queries
        for name, rule in PANEL_RULES.items():
            found += [f"{name}: {panel['title']}: {where}" for where in rule(panel)]
    return found


def _variables(dashboard: Json) -> dict[str, Json]:
    return {one["name"]: one for one in dashboard["templating"]["list"]}


def _template_datasource(dashboard: Json) -> Iterator[str]:
    source = _variables(dashboard).get("datasource", {})
    if (source.get("type"), source.get("query")) != ("datasource", "prometheus"):
        yield "no variable to choose the Prometheus"
    asks_logs = any(panel["datasource"] == LOGS for panel in panels_of(dashboard))
    if asks_logs != ("logs" in _variables(dashboard)):
        yield "no variable to choose the Loki, or for nothing"


def _template_labels(dashboard: Json) -> Iterator[str]:
    if "job" not in _variables(dashboard):
        yield "job"
    for name, one in _variables(dashboard).items():
        if one["type"] == "query" and not (one["multi"] and one["includeAll"] and _is_whole(one)):
            yield name


def _is_whole(variable: Json) -> bool:
    """Whether "All" is everything, and of jobs only ours: what it offers."""
    return bool(variable.get("allValue")) is not bool(variable["name"] == "job")


def _template_reload(dashboard: Json) -> Iterator[str]:
    for name, one in _variables(dashboard).items():
        if one["type"] == "query" and one["refresh"] != 2:  # 2: on a change of the time range
            yield name


def _uneditable(dashboard: Json) -> Iterator[str]:
    if dashboard["editable"]:
        yield "what is changed in Grafana would be lost"


def _used_variables(dashboard: Json) -> Iterator[str]:
    targets = [target for panel in panels_of(dashboard) for target in panel["targets"]]
    queries = " ".join(target["expr"] for target in targets)
    for name, one in _variables(dashboard).items():
        if one["type"] == "query" and f"${name}" not in queries:
            yield f"{name} narrows nothing"
    known = {*_variables(dashboard), "__rate_interval"}
    for name in sorted(set(re.findall(r"\$(\w+)", queries)) - known):
        yield f"{name} is no variable"


def _ids(dashboard: Json) -> Iterator[str]:
    ids = [panel["id"] for panel in dashboard["panels"]]
    if len(set(ids)) != len(ids):
        yield "two panels have one id"
    titles = [panel["title"] for panel in panels_of(dashboard)]
    yield from (title for title in sorted(set(titles)) if titles.count(title) > 1)


def _places(dashboard: Json) -> Iterator[str]:
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        if place["w"] < 1 or place["h"] < 1 or place["x"] + place["w"] > COLUMNS:
            yield f"{panel['title']} sticks out"
    for one, other in combinations(dashboard["panels"], 2):
        a, b = one["gridPos"], other["gridPos"]
        beside = a["x"] + a["w"] <= b["x"] or b["x"] + b["w"] <= a["x"]
        if not beside and a["y"] < b["y"] + b["h"] and b["y"] < a["y"] + a["h"]:
            yield f"{one['title']} lies on {other['title']}"


def _few(dashboard: Json) -> Iterator[str]:
    if len(panels_of(dashboard)) > PANELS_MAX:
        yield f"{len(panels_of(dashboard))} panels"


def _overview_first(dashboard: Json) -> Iterator[str]:
    first, *others = dashboard["panels"]
    if first["type"] != "row" or others[0]["type"] != "stat":
        yield "does not begin with a row of numbers"


def _panel_datasource(panel: Json) -> Iterator[str]:
    for one in (panel, *panel["targets"]):
        if one.get("datasource") not in (SOURCE, LOGS):
            yield "not a chosen one"
        if one.get("datasource") != panel.get("datasource"):
            yield "a query has another than its panel"


def _panel_title_description(panel: Json) -> Iterator[str]:
    if not panel.get("title") or len(panel.get("description", "")) < 20:
        yield "no title, or no description"


def _panel_units(panel: Json) -> Iterator[str]:
    if not panel["fieldConfig"]["defaults"].get("unit"):
        yield "none"


def _panel_targets(panel: Json) -> Iterator[str]:
    names = [target["refId"] for target in panel["targets"]]
    if not names or len(set(names)) != len(names):
        yield "no query, or two of one name"


def _panel_legend(panel: Json) -> Iterator[str]:
    if panel["type"] == "timeseries":
        if not panel["options"]["legend"]["showLegend"]:
            yield "none"
        legends = [target["legendFormat"] for target in panel["targets"]]
        if len(set(legends)) != len(legends):
            yield "two queries with one"


def _target_promql(panel: Json) -> Iterator[str]:
    for expr in exprs_of(panel):
        try:
            parsed(expr)
        except ValueError as error:
            yield f"{expr}: {error}"


def _target_job(panel: Json) -> Iterator[str]:
    for expr in exprs_of(panel):
        for name, matchers, _ in selectors_of(expr):
            if name != "ALERTS" and matchers.get("job") != "$job":
                yield name


def _grown(expr: str) -> str:
    """A query with plain increases; a series that was not there before grew by all that it is."""
    return re.sub(
        r"\((\S+) unless last_over_time\(\1\[5m] offset (\w+)\)\) or increase\(\1\[\2]\)",
        r"increase(\1[\2])",
        expr,
    )


def _target_rate_interval(panel: Json) -> Iterator[str]:
    for expr in exprs_of(panel):
        for function, window in re.findall(r"(\w+)\([^()]*\[([^]]+)\]", _grown(expr)):
            wholes = function == "increase" or panel["type"] == "stat"
            if not (wholes and window in WHOLE_WINDOWS) and window != "$__rate_interval":
                yield f"{function} of {window}"


def _target_counter_agg(panel: Json) -> Iterator[str]:
    for expr in exprs_of(panel):
        for name, _, functions in selectors_of(_grown(expr)):
            if (name in COUNTERS) != (functions[-1:] in {("rate",), ("increase",)}):
                yield name


DASHBOARD_RULES: Final[dict[str, Callable[[Json], Iterator[str]]]] = {
    "template-datasource": _template_datasource,
    "template-job": _template_labels,
    "template-on-time-change-reload": _template_reload,
    "uneditable-dashboard": _uneditable,
    "template-used": _used_variables,
    "unique-ids": _ids,
    "no-overlap": _places,
    "few-panels": _few,
    "overview-first": _overview_first,
}
PANEL_RULES: Final[dict[str, Callable[[Json], Iterator[str]]]] = {
    "panel-datasource": _panel_datasource,
    "panel-title-description": _panel_title_description,
    "panel-units": _panel_units,
    "panel-no-targets": _panel_targets,
    "panel-legend": _panel_legend,
    "target-job": _target_job,
    "target-rate-interval": _target_rate_interval,
    "target-counter-agg": _target_counter_agg,
}
