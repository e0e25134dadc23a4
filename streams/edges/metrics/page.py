"""The document of the metrics, ``docs/metrics.md``: written from the catalogue."""

from typing import Final

from streams.edges.metrics.catalogue import CATALOGUE, SERIES_BOUND
from streams.edges.metrics.specs import TOPICS, Label, MetricSpec

_HEAD: Final = """\
<!-- Made from streams/edges/metrics/catalogue.py by `make docs`; a test compares. -->
# Metrics

A worker serves these on `/metrics` (Prometheus text, or OpenMetrics where the client asks for it),
and nothing else: `tests/e2e/test_metrics_served.py` compares both ways. Times are in seconds, sizes
in bytes. No label names a creator, a post or a follower.
"""

_SERIES: Final = """\
## How many series

However many creators there are, a worker has at most

    {fixed} + {each_topic} × topics + {each_partition} × partitions

series, with the buckets, sums and counts of histograms. There are {topics} input topics; partitions
are those that this worker has, of all topics: with {topics} × 4 it is at most {small}, with
{topics} × 64 at most {large}. Of the fixed part {dynamic} come and go with records (languages,
cohorts, newest surges: each with the limit told below). Held by `tests/unit/test_metrics.py`.
That is at one moment: a `surge_id` is new with each surge, so Prometheus may meet 20 new series of
a kind and worker in a quarter of an hour.
"""

_SCRAPE: Final = """\
## What a scrape costs

Measured by `make bench-scaling PARTS=scrapes` with a million creators and the worker at its limit:
[scaling.md](scaling.md), *Scrapes*. The worker tells its metrics once a chunk, never once a record.
"""

_UNITS: Final = {"none": ""}


def metrics_markdown() -> str:
    """Write the document."""
    bound = SERIES_BOUND
    series = _SERIES.format(
        fixed=bound.fixed,
        each_topic=bound.each_topic,
        each_partition=bound.each_partition,
        topics=TOPICS,
        small=f"{bound.of(TOPICS * 4):,}",
        large=f"{bound.of(TOPICS * 64):,}",
        dynamic=sum(spec.most or 0 for spec in CATALOGUE),
    )
    ours = [spec for spec in CATALOGUE if spec.is_ours]
    others = [spec for spec in CATALOGUE if not spec.is_ours]
    parts = [
        _HEAD,
        series,
        _SCRAPE,
        "## Surgewatch's\n\n" + _table(ours),
        "## Of the process\n\nAs any program has them that uses prometheus-client.\n\n"
        + _table(others),
        "## Labels\n\n" + _labels(ours),
    ]
    return "\n".join(parts)


def _table(specs: list[MetricSpec]) -> str:
    lines = ["| Metric | Type | Unit | Labels | Series | Meaning |", "|---|---|---|---|--:|---|"]
    for spec in specs:
        labels = ", ".join(f"`{name}`" for name in spec.label_names)
        unit = _UNITS.get(spec.unit, spec.unit)
        meaning = spec.meaning.replace("|", r"\|")
        lines.append(
            f"| `{spec.name}` | {spec.type} | {unit} | {labels} | {_series(spec)} | {meaning} |"
        )
    return "\n".join(lines) + "\n"


def _series(spec: MetricSpec) -> str:
    count = f"{spec.series_each}" if spec.most is None else f"at most {spec.most}"
    return count if spec.per == "worker" else f"{count} a {spec.per}"


def _labels(specs: list[MetricSpec]) -> str:
    lines = ["| Label | Of | Values | Meaning |", "|---|---|---|---|"]
    told: dict[Label, list[str]] = {}
    for spec in specs:
        for label in spec.labels:
            told.setdefault(label, []).append(spec.name)
    for label, names in told.items():
        few = len(names) <= 3
        of = ", ".join(f"`{name}`" for name in names) if few else f"{len(names)} metrics"
        values = ", ".join(f"`{value}`" for value in label.values)
        lines.append(f"| `{label.name}` | {of} | {values} | {label.meaning} |")
    return "\n".join(lines) + "\n"
