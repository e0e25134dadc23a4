"""Metrics of how a worker itself runs: its lines, its settings, its traces."""

from typing import Final

from streams.edges.metric_specs import MetricSpec

LINES_SUPPRESSED: Final = MetricSpec(
    "surgewatch_log_lines_suppressed_total",
    "counter",
    "events",
    "Lines of the log held back because many like them came in half a minute.",
)

RUNNING: Final = (LINES_SUPPRESSED,)
