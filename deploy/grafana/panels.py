"""Panels: a title, queries, and from those the unit, the description, the thresholds and links."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, TypeVar

from grafana_foundation_sdk.builders import (
    bargauge,
    common,
    dashboard,
    heatmap,
    loki,
    prometheus,
    stat,
    table,
    timeseries,
)
from grafana_foundation_sdk.models import common as common_models
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models import heatmap as heatmap_models
from grafana_foundation_sdk.models import prometheus as prometheus_models
from grafana_foundation_sdk.models import units

from deploy.grafana.alert_limits import Limit
from deploy.grafana.queries import Query

Panel = stat.Panel | timeseries.Panel | bargauge.Panel | table.Panel | heatmap.Panel
Made = TypeVar("Made", stat.Panel, timeseries.Panel, bargauge.Panel, table.Panel, heatmap.Panel)

SOURCE: Final = models.DataSourceRef(type_val="prometheus", uid="${datasource}")
LOGS: Final = models.DataSourceRef(type_val="loki", uid="${logs}")
RUNBOOKS: Final = "${docs_url}/runbooks"
LINES_SHOWN: Final = 50
_KEPT: Final = ("datasource", "logs", "job", "docs_url")
"""Variables that a link to one surge leaves as they are."""
STAT_SPAN: Final = 4
"""Six in a line; with ``WIDE_STAT_SPAN`` four."""
WIDE_STAT_SPAN: Final = 6
GRAPH_SPAN: Final = 12
_COLOR_OF: Final = {"page": "red", "notice": "orange"}
_FINE: Final = "green"
_STAT_HEIGHT, _GRAPH_HEIGHT = 4, 8


def number(
    title: str,
    query: Query,
    *,
    limit: Limit | None = None,
    description: str = "",
    none: str = "",
    span: int = STAT_SPAN,
) -> stat.Panel:
    """Make one large number, of now and not of the past; ``none``: what stands for no series."""
    made = stat.Panel().graph_mode(common_models.BigValueGraphMode.NONE).span(span)
    made = made.height(_STAT_HEIGHT).color_mode(common_models.BigValueColorMode.BACKGROUND)
    made = made.with_target(_target(query).instant())
    made = made.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
    return _told(made, title, [query], limit, description).no_value(none or "no series")


def graph(
    title: str,
    queries: Sequence[Query],
    *,
    limit: Limit | None = None,
    description: str = "",
    stacked: bool = False,
    most: float | None = None,
) -> timeseries.Panel:
    """Make lines over time; with a limit, where it lies.

    ``most``: where the axis ends.
    """
    made = timeseries.Panel().span(GRAPH_SPAN).height(_GRAPH_HEIGHT).line_width(1).min(0)
    made = made.fill_opacity(40 if stacked else 8).show_points(common_models.VisibilityMode.AUTO)
    made = made.span_nulls(False).legend(_legend())
    made = made.tooltip(
        common.VizTooltipOptions()
        .mode(common_models.TooltipDisplayMode.MULTI)
        .sort(common_models.SortOrder.DESCENDING)
    )
    if stacked:
        made = made.stacking(common.StackingConfig().mode(common_models.StackingMode.NORMAL))
    if most is not None:
        made = made.max(most)
    if limit is not None:
        made = made.thresholds_style(
            common.GraphThresholdsStyleConfig().mode(common_models.GraphTresholdsStyleMode.DASHED)
        )
    for query, name in zip(queries, "ABCDEFGH", strict=False):
        made = made.with_target(_target(query, name).range().exemplar(query.exemplars))
    return _told(made, title, queries, limit, description)


def bars(
    title: str, query: Query, *, limit: Limit | None = None, description: str = "", none: str = ""
) -> bargauge.Panel:
    """Make one bar for each series, as it is now."""
    made = bargauge.Panel().span(GRAPH_SPAN).height(_GRAPH_HEIGHT).min(0)
    made = made.orientation(common_models.VizOrientation.HORIZONTAL)
    made = made.display_mode(common_models.BarGaugeDisplayMode.GRADIENT)
    made = made.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
    made = made.with_target(_target(query).instant())
    return _told(made, title, [query], limit, description).no_value(none or "no series")


def cells(title: str, query: Query, *, description: str = "") -> heatmap.Panel:
    """Make a histogram's buckets over time, the busier the brighter; the axis has their unit."""
    made = heatmap.Panel().span(GRAPH_SPAN).height(_GRAPH_HEIGHT).calculate(False).show_tooltip()
    made = made.y_axis(heatmap.YAxisConfig().unit(query.unit))
    made = made.color(
        heatmap.HeatmapColorOptions().mode(heatmap_models.HeatmapColorMode.SCHEME).scheme("Blues")
    ).cell_values(heatmap.CellValues().unit(units.EventsPerSecond))
    target = _target(query).range().format(prometheus_models.PromQueryFormat.HEATMAP)
    return _told(made.with_target(target), title, [query], None, description)


def rows(
    title: str,
    query: Query,
    columns: Mapping[str, str],
    *,
    description: str = "",
    none: str = "",
) -> table.Panel:
    """Make a row for each series; ``columns``: heading by label, in their order.

    ``Value`` is the column of the values. Names of alerts are links to their runbooks, ids of
    surges to what the dashboard has of that one.
    """
    made = table.Panel().span(GRAPH_SPAN).height(_GRAPH_HEIGHT)
    target = _target(query).instant().format(prometheus_models.PromQueryFormat.TABLE)
    made = _told(made.with_target(target), title, [query], None, description)
    made = made.no_value(none or "no series").transformations(_only(columns))
    if "alertname" in columns:
        link = {"title": "Runbook", "url": f"{RUNBOOKS}/${{__value.text}}.md", "targetBlank": True}
        made = made.override_by_name(columns["alertname"], [_linked(link)])
    if "surge_id" in columns:
        kept = [*(f"${{{name}:queryparam}}" for name in _KEPT), "${__url_time_range}"]
        url = "&".join(["/d/${__dashboard.uid}?var-surge_id=${__value.text}", *kept])
        link = {"title": "This surge alone", "url": url}
        made = made.override_by_name(columns["surge_id"], [_linked(link)])
    return made


def lines(
    title: str,
    expr: str,
    columns: Mapping[str, str],
    *,
    numbers: Sequence[str],
    description: str,
    none: str,
) -> table.Panel:
    """Make a row for each line of the workers' logs that Loki finds, the newest first.

    ``columns``: heading by field of the line, in their order; ``numbers``: those that are no words.
    """
    found = loki.Dataquery().expr(expr).query_type("range").max_lines(LINES_SHOWN).ref_id("A")
    made = table.Panel().span(2 * GRAPH_SPAN).height(_GRAPH_HEIGHT).datasource(LOGS)
    made = made.title(title).description(description).unit(units.Short).no_value(none)
    made = made.with_target(found.datasource(LOGS))
    kinds = {"at": "time", **dict.fromkeys(numbers, "number")}
    typed = [{"targetField": name, "destinationType": kind} for name, kind in kinds.items()]
    return made.transformations(
        [
            _step("extractFields", source="labels", replace=False),
            _step("convertFieldType", conversions=typed),
            *_only(columns),
        ]
    )


def _linked(link: Mapping[str, object]) -> models.DynamicConfigValue:
    return models.DynamicConfigValue(id_val="links", value=[link])


def _only(columns: Mapping[str, str]) -> list[models.DataTransformerConfig]:
    """Keep these columns, in their order, under other names."""
    places = {name: at for at, name in enumerate(columns)}
    return [
        _step("filterFieldsByName", include={"names": [*columns]}),
        _step("organize", indexByName=places, renameByName=dict(columns)),
    ]


def _step(name: str, **options: object) -> models.DataTransformerConfig:
    return models.DataTransformerConfig(id_val=name, options=options)


def _target(query: Query, name: str = "A") -> prometheus.Dataquery:
    made = prometheus.Dataquery().expr(query.expr).ref_id(name).datasource(SOURCE)
    made = made.editor_mode(prometheus_models.QueryEditorMode.CODE)
    return made.legend_format(query.legend or "__auto")


def _legend() -> common.VizLegendOptions:
    made = common.VizLegendOptions().show_legend(True).calcs(["lastNotNull", "max"])
    made = made.display_mode(common_models.LegendDisplayMode.TABLE)
    return made.placement(common_models.LegendPlacement.BOTTOM)


def _told(
    made: Made, title: str, queries: Sequence[Query], limit: Limit | None, description: str
) -> Made:
    """Give it what every panel has. Without a description the metrics' meanings are it."""
    (unit,) = {query.unit for query in queries}
    meanings = dict.fromkeys(spec.meaning for query in queries for spec in query.specs)
    text = description or "\n\n".join(meanings)
    assert text, f"{title} says what it shows"
    color = models.FieldColorModeId.PALETTE_CLASSIC
    if limit is not None:
        text = f"{text}\n\n{_words_of(limit)}"
        made = made.links([_runbook(limit.alert)])
        if not isinstance(made, timeseries.Panel):
            color = models.FieldColorModeId.THRESHOLDS
    elif isinstance(made, stat.Panel):
        color = models.FieldColorModeId.FIXED
    made = made.title(title).description(text).datasource(SOURCE).unit(unit)
    return made.color_scheme(_colors(color)).thresholds(
        dashboard.ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE).steps(_steps_of(limit))
    )


def _colors(mode: models.FieldColorModeId) -> dashboard.FieldColor:
    made = dashboard.FieldColor().mode(mode)
    return made.fixed_color("blue") if mode is models.FieldColorModeId.FIXED else made


def _steps_of(limit: Limit | None) -> list[models.Threshold]:
    if limit is None:
        return [models.Threshold(None, _FINE)]
    color = _COLOR_OF[limit.severity]
    below, above = (color, _FINE) if limit.is_least else (_FINE, color)
    return [models.Threshold(None, below), models.Threshold(limit.step, above)]


def _words_of(limit: Limit) -> str:
    side = "at or below" if limit.is_least else "above"
    name = f"[{limit.alert}]({RUNBOOKS}/{limit.alert}.md)"
    return f"{_COLOR_OF[limit.severity].capitalize()} {side} {limit.value:g}, the limit of {name}."


def _runbook(alert: str) -> dashboard.DashboardLink:
    made = dashboard.DashboardLink(f"Runbook: {alert}").type(models.DashboardLinkType.LINK)
    return made.url(f"{RUNBOOKS}/{alert}.md").target_blank(True)
