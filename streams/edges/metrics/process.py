"""The metrics that prometheus-client tells of any process: what the catalogue says of them."""

from typing import Final

from streams.edges.metrics.specs import MetricSpec, MetricType, Unit


def _process(name: str, type_: MetricType, unit: Unit, meaning: str) -> MetricSpec:
    return MetricSpec(f"process_{name}", type_, unit, meaning, is_ours=False)


PROCESS_METRICS: Final = (
    _process("virtual_memory_bytes", "gauge", "bytes", "Virtual memory size in bytes."),
    _process("resident_memory_bytes", "gauge", "bytes", "Resident memory size in bytes."),
    _process(
        *("start_time_seconds", "gauge", "seconds"),
        "Start time of the process since unix epoch in seconds.",
    ),
    _process(
        *("cpu_seconds_total", "counter", "seconds"),
        "Total user and system CPU time spent in seconds.",
    ),
    _process("open_fds", "gauge", "none", "Number of open file descriptors."),
    _process("max_fds", "gauge", "none", "Maximum number of open file descriptors."),
)
