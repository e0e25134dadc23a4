"""A panel's unit is that of what it asks for, worked out from the query and the catalogue."""

import pytest

from tests.dashboard_lint import BOARDS, exprs_of, panels_of
from tests.promql_units import UnitsDiffer, unit_of


@pytest.mark.parametrize("name", BOARDS)
def test_the_unit_of_a_panel_is_that_of_each_of_its_queries(name: str) -> None:
    for panel in panels_of(BOARDS[name]):
        unit = panel["fieldConfig"]["defaults"]["unit"]
        if panel["type"] == "heatmap":  # the axis has the values' unit, the cells that of counts
            (bucket,) = exprs_of(panel)
            assert unit_of(bucket) == panel["options"]["cellValues"]["unit"]
            assert unit_of(f"histogram_quantile(0.5, {bucket})") == unit
            assert panel["options"]["yAxis"]["unit"] == unit
            continue
        for expr in exprs_of(panel):
            assert unit_of(expr) == unit, panel["title"]


@pytest.mark.parametrize(
    ("expr", "unit"),
    [
        ("max(surgewatch_lag_seconds)", "s"),
        ("rate(surgewatch_stage_seconds_total[5m])", "percentunit"),
        ("increase(surgewatch_records_total[5m])", "short"),
        ("rate(surgewatch_records_total[5m])", "recps"),
        ("time() - surgewatch_watermark_timestamp_seconds", "s"),
        ("max(process_open_fds / (process_max_fds > 0))", "percentunit"),
        (
            "1 - sum(rate(surgewatch_records_total[5m])) / rate(surgewatch_records_total[5m])",
            "percentunit",
        ),
        ("job:surgewatch_events_late:ratio_rate1h", "percentunit"),
        ("count(surgewatch_build_info)", "short"),
    ],
)
def test_the_unit_of_a_query(expr: str, unit: str) -> None:
    assert unit_of(expr) == unit


@pytest.mark.parametrize(
    "expr",
    [
        "surgewatch_lag_seconds + surgewatch_lag_records",
        "surgewatch_lag_seconds / surgewatch_lag_records",
        "process_resident_memory_bytes / rate(surgewatch_store_bytes_total[5m])",
    ],
)
def test_two_units_in_one_are_seen(expr: str) -> None:
    with pytest.raises(UnitsDiffer):
        unit_of(expr)
