"""What all dashboards have around their panels: variables, links to each other, alerts as marks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from typing import Final

from grafana_foundation_sdk.builders import dashboard
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models import dashboard as models

from deploy.grafana.panels import SOURCE, Panel
from deploy.grafana.queries import Scope
from streams.edges.metrics.catalogue import RECORDS
from streams.edges.metrics.catalogue_running import BUILD
from streams.edges.metrics.catalogue_surges import MODERATION_SURGES, SURGES
from streams.edges.metrics.specs import MetricSpec

TAG: Final = "surgewatch"
DOCS_URL: Final = "http://localhost:8000"
"""Where the docs are read until something else is set: where docker-compose.yml serves them."""
_VALUES_FROM: Final[dict[str, MetricSpec]] = {
    "job": BUILD,
    "instance": BUILD,
    "topic": RECORDS,
    "kind": SURGES,
    "lang": MODERATION_SURGES,
}
"""Which metric's labels a variable offers."""
_MARKS: Final = (("page", "red"), ("notice", "orange"))


@dataclass(frozen=True, slots=True)
class Section:
    """A row's title and the panels under it."""

    title: str
    panels: Sequence[Panel]


@dataclass(frozen=True, slots=True)
class Board:
    """One dashboard. Alerts link to its ``uid``; ``has_logs``: it asks a Loki too."""

    uid: str
    title: str
    description: str
    scope: Scope
    sections: Sequence[Section]
    has_logs: bool = False

    def build(self) -> models.Dashboard:
        """Build it, with panels numbered from 1."""
        made = dashboard.Dashboard(self.title).uid(self.uid).description(self.description)
        made = made.tags([TAG]).readonly().refresh("30s").time("now-3h", "now")
        made = made.tooltip(models.DashboardCursorSync.CROSSHAIR).timezone("browser")
        for link in _links():
            made = made.link(link)
        for severity, color in _MARKS:
            made = made.annotation(_Marks(severity, color))
        made = made.with_variable(dashboard.DatasourceVariable("datasource").type("prometheus"))
        if self.has_logs:
            made = made.with_variable(dashboard.DatasourceVariable("logs").type("loki"))
        for name in self.scope.variables:
            made = made.with_variable(_variable(name))
        for name in self.scope.boxes:
            made = made.with_variable(dashboard.TextBoxVariable(name).default_value(""))
        made = made.with_variable(
            dashboard.TextBoxVariable("docs_url").label("docs").default_value(DOCS_URL)
        )
        for section in self.sections:
            made = made.with_row(dashboard.Row(section.title))
            for panel in section.panels:
                made = made.with_panel(panel)
        built = made.build()
        for number, placed in zip(count(1), built.panels or [], strict=False):
            placed.id_val = number
        return built


def _variable(name: str) -> dashboard.QueryVariable:
    scope = '{job=~"$job"}' if name != "job" else ""
    query = f"label_values({_VALUES_FROM[name].name}{scope}, {name})"
    made = dashboard.QueryVariable(name).datasource(SOURCE)
    made = made.query({"qryType": 1, "query": query, "refId": f"{name}-values"})
    made = made.refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
    made = made.sort(models.VariableSort.ALPHABETICAL_ASC).multi(True).include_all(True)
    every = models.VariableOption(selected=True, text=["All"], value=["$__all"])
    # All jobs are those that the variable offers: what else Prometheus scrapes is up, too.
    return (made if name == "job" else made.all_value(".*")).current(every)


def _links() -> list[dashboard.DashboardLink]:
    others = dashboard.DashboardLink("Surgewatch").type(models.DashboardLinkType.DASHBOARDS)
    docs = dashboard.DashboardLink("What is shown").type(models.DashboardLinkType.LINK)
    return [
        others.tags([TAG]).include_vars(True).keep_time(True),
        docs.url("${docs_url}/dashboards.md").icon("doc").target_blank(True),
    ]


class AlertMarks(models.AnnotationQuery):
    """Marks for alerts of a severity while they fire, each with its name and what it is of.

    The SDK knows neither titles nor ``target``, where newer Grafanas look for the query; earlier
    ones look for ``expr``.
    """

    def __init__(self, severity: str, color: str) -> None:
        matchers = f'alertname=~"Surgewatch.*",alertstate="firing",severity="{severity}"'
        super().__init__(f"alerts: {severity}", SOURCE, icon_color=color)
        self.expr = f"ALERTS{{{matchers}}}"

    def to_json(self) -> dict[str, object]:
        """Write it with what Grafana reads besides."""
        return {
            **super().to_json(),
            "target": {"expr": self.expr, "refId": "Anno"},
            "titleFormat": "{{alertname}}",
            "tagKeys": "kind,lang,topic,instance,surge_id",
        }


class _Marks(Builder[models.AnnotationQuery]):
    def __init__(self, severity: str, color: str) -> None:
        self._marks = AlertMarks(severity, color)

    def build(self) -> models.AnnotationQuery:
        return self._marks
