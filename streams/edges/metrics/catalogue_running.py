"""Metrics of how a worker itself runs: its lines, its settings, its traces."""

from typing import Final, Literal, get_args

from streams.edges.metrics.specs import Label, MetricSpec

BUILD: Final = MetricSpec(
    "surgewatch_build_info",
    "info",
    "none",
    "What runs; always 1.",
    (
        Label("version", "Surgewatch's"),
        Label("python", "Python's version"),
        Label("detector", "its name in the settings"),
    ),
)
SETTINGS: Final = MetricSpec(
    "surgewatch_settings_info",
    "info",
    "none",
    "A digest of the settings that all workers of a fleet must share; always 1.",
    (Label("hash", "12 hexadecimal digits; no secret and no address of one worker is in it"),),
)

LINES_SUPPRESSED: Final = MetricSpec(
    "surgewatch_log_lines_suppressed_total",
    "counter",
    "events",
    "Lines of the log held back because many like them came in half a minute.",
)
LINES_LOST: Final = MetricSpec(
    "surgewatch_log_lines_lost_total",
    "counter",
    "events",
    "Lines of the log that could not be written: its disk is full, or nobody reads it any more.",
)
ReloadResult = Literal["applied", "unchanged", "refused"]

RELOADS: Final = MetricSpec(
    "surgewatch_settings_reloads_total",
    "counter",
    "events",
    "Times that SIGHUP had the settings read again, by what came of it.",
    (
        Label(
            "result",
            "refused: they were wrong, and the old ones stay in force",
            get_args(ReloadResult),
        ),
    ),
)
SpanResult = Literal["sent", "dropped"]

SPANS: Final = MetricSpec(
    "surgewatch_trace_spans_total",
    "counter",
    "events",
    "Spans of traces, by what became of them; none while traces are off.",
    (Label("result", "dropped: the collector did not take them in time", get_args(SpanResult)),),
)

CERTIFICATE_END: Final = MetricSpec(
    "surgewatch_certificate_expiry_timestamp_seconds",
    "gauge",
    "seconds",
    "When a certificate in use ends to be valid; of authorities when the last of them ends. Of a "
    "file that cannot be used any more what was read before, which is used on. None without TLS.",
    (
        Label("use", "kafka, redis or metrics"),
        Label("part", "own: what we show; authorities: whom we believe"),
    ),
    most=5,
)
TLS_FILES_UNFIT: Final = MetricSpec(
    "surgewatch_tls_files_unfit",
    "gauge",
    "none",
    "1 while the files of TLS, as they are now, cannot be used: what was read before is used on, a "
    "worker that starts anew is refused. 0: they can. None without TLS.",
    (Label("use", "kafka, redis or metrics"),),
    most=3,
)

MEMORY_ALLOCATED: Final = MetricSpec(
    "surgewatch_memory_allocated_bytes",
    "gauge",
    "bytes",
    "Memory in use of what the C library gave out: not what was freed and is kept, nor small "
    "Python objects. What grows here and does not end is a leak; 0: it cannot tell.",
)
RUNNING: Final = (
    *(BUILD, SETTINGS, LINES_SUPPRESSED, LINES_LOST, RELOADS, SPANS),
    *(CERTIFICATE_END, TLS_FILES_UNFIT, MEMORY_ALLOCATED),
)
