"""Queries of panels: PromQL made from the catalogue's metrics, with the unit of what comes out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final, get_args

from grafana_foundation_sdk.models import units

from streams.core.surges.surge import Kind
from streams.edges.metrics.specs import Label, MetricSpec, Unit

RATE_WINDOW: Final = "$__rate_interval"
"""Grafana puts in at least four scrapes, and more where a point of the graph is longer."""
LOG_STREAMS: Final = '{service_name=~"surgewatch.*"}'
"""By the label that Loki itself gives streams, from the name of their container or service."""
TIMES: Final = "suffix:×"
"""Unit of a factor: so many times what is usual."""
UNIT_OF: Final[Mapping[Unit, str]] = {
    "seconds": units.Seconds,
    "bytes": units.BytesIEC,
    "records": units.Short,
    "keys": units.Short,
    "surges": units.Short,
    "events": units.Short,
    "ratio": TIMES,
    "none": units.Short,
}
"""Grafana's name of a metric's unit."""
UNIT_PER_SECOND_OF: Final[Mapping[Unit, str]] = {
    "seconds": units.PercentUnit,  # seconds of a second
    "bytes": units.BytesPerSecondIEC,
    "records": units.RecordsPerSecond,
    "keys": units.CountsPerSecond,
    "surges": units.CountsPerSecond,
    "events": units.EventsPerSecond,
}
"""Grafana's name of the unit of a counter's rate."""


@dataclass(frozen=True, slots=True)
class Query:
    """An expression, the unit of its values, what a line is called, and the metrics it asks.

    ``unit`` is Grafana's name of it. ``legend`` may name labels: ``{{topic}}``. ``exemplars``: with
    dots for single values, each with its surge_id.
    """

    expr: str
    unit: str
    legend: str = ""
    specs: tuple[MetricSpec, ...] = ()
    exemplars: bool = False

    def named(self, legend: str) -> Query:
        """Call its lines so."""
        return replace(self, legend=legend)

    def with_exemplars(self) -> Query:
        """Ask for single values too."""
        return replace(self, exemplars=True)

    def share_of(self, whole: Query) -> Query:
        """How much of another it is; 1: all of it."""
        return replace(
            self,
            expr=f"{self.expr}\n/ ({whole.expr})",
            unit=units.PercentUnit,
            specs=(*self.specs, *whole.specs),
        )

    def largest(self) -> Query:
        """Only the largest of its values."""
        return replace(self, expr=f"max ({self.expr})", legend="")

    def least(self, count: int) -> Query:
        """Only its smallest values, the smallest first."""
        return replace(self, expr=f"bottomk({count}, {self.expr})")

    def top(self, count: int) -> Query:
        """Only its largest values."""
        return replace(self, expr=f"topk({count}, {self.expr})")


@dataclass(frozen=True, slots=True)
class Where:
    """Which series of a metric: label values that they have, and one that they must not have.

    A value with ``|`` names several. A label that is asked for by one value is not narrowed by the
    dashboard's variable of its name.
    """

    labels: Mapping[str, str] = field(default_factory=dict)
    unlike: Mapping[str, str] = field(default_factory=dict)


ALL: Final = Where()


@dataclass(frozen=True, slots=True)
class Scope:
    """What the viewers of a dashboard narrow it to: labels with a variable of the same name.

    Values of ``variables`` are chosen; of ``boxes`` one types how they begin, and nothing is all.
    """

    variables: tuple[str, ...]
    boxes: tuple[str, ...] = ()

    def series(self, spec: MetricSpec, where: Where = ALL, part: str = "") -> str:
        """A metric's series in this scope; ``part``: ``_bucket``, ``_count`` of a histogram.

        >>> from streams.edges.metrics.catalogue import LAG_SECONDS
        >>> Scope(("job", "topic")).series(LAG_SECONDS)
        'surgewatch_lag_seconds{job=~"$job",topic=~"$topic"}'
        """
        labels = tuple(one.name for one in spec.labels if _is_narrowed(one))
        return f"{spec.name}{part}{{{self.matchers(labels, where)}}}"

    def matchers(self, labels: tuple[str, ...], where: Where = ALL) -> str:
        """Matchers of series with these labels, and with those that every scrape has."""
        has = {"job", "instance", *labels}
        exact = {name for name, value in where.labels.items() if "|" not in value}
        parts = [f'{one}=~"${one}"' for one in self.variables if one in has - exact]
        parts += [f'{one}=~"${one}.*"' for one in self.boxes if one in has]
        parts += [
            f'{name}{"=" if name in exact else "=~"}"{value}"'
            for name, value in where.labels.items()
        ]
        parts += [f'{name}!="{value}"' for name, value in where.unlike.items()]
        return ",".join(parts)

    def total(self, spec: MetricSpec, *by: str, where: Where = ALL) -> Query:
        """Sum of a gauge."""
        return self._of("sum", by, self.series(spec, where), UNIT_OF[spec.unit], spec)

    def most(self, spec: MetricSpec, *by: str, where: Where = ALL) -> Query:
        """Largest value of a gauge."""
        return self._of("max", by, self.series(spec, where), UNIT_OF[spec.unit], spec)

    def rate(self, spec: MetricSpec, *by: str, where: Where = ALL, how: str = "sum") -> Query:
        """How much a counter grows a second; ``how``: over the series, ``sum`` or ``avg``.

        >>> from streams.edges.metrics.catalogue import RECORDS
        >>> Scope(("job",)).rate(RECORDS, "result").expr
        'sum by (result) (rate(surgewatch_records_total{job=~"$job"}[$__rate_interval]))'
        """
        expr = f"rate({self.series(spec, where)}[{RATE_WINDOW}])"
        return self._of(how, by, expr, UNIT_PER_SECOND_OF[spec.unit], spec)

    def increase(self, spec: MetricSpec, window: str, *by: str, where: Where = ALL) -> Query:
        """How much a counter grew in the last ``window``: ``1h``, ``1d``."""
        expr = f"increase({self.series(spec, where)}[{window}])"
        return self._of("sum", by, expr, UNIT_OF[spec.unit], spec)

    def grown(self, spec: MetricSpec, window: str, *by: str) -> Query:
        """The same of a counter whose series may begin with events: those count too.

        What was not there a window ago grew by all that it is. Not there: for five minutes, for
        a scrape may fail.
        """
        series = self.series(spec)
        before = f"last_over_time({series}[5m] offset {window})"
        expr = f"({series} unless {before}) or increase({series}[{window}])"
        return self._of("sum", by, expr, UNIT_OF[spec.unit], spec)

    def quantile(self, share: float, spec: MetricSpec, window: str = RATE_WINDOW) -> Query:
        """What so large a share (0..1) of a histogram's values are below."""
        buckets = self.buckets(spec, window)
        expr = f"histogram_quantile({share}, {buckets.expr})"
        return Query(expr, UNIT_OF[spec.unit], f"{share:.0%}", (spec,))

    def buckets(self, spec: MetricSpec, window: str = RATE_WINDOW) -> Query:
        """Values a second in each of a histogram's buckets."""
        expr = f"sum by (le) (rate({self.series(spec, part='_bucket')}[{window}]))"
        return Query(expr, UNIT_OF[spec.unit], "{{le}}", (spec,))

    def age(self, spec: MetricSpec, *by: str) -> Query:
        """Seconds since the oldest of these points of time."""
        return self._of("max", by, f"time() - {self.series(spec)}", units.Seconds, spec)

    def since(self, spec: MetricSpec, *by: str) -> Query:
        """Seconds since the latest of these points of time."""
        return self._of("min", by, f"time() - {self.series(spec)}", units.Seconds, spec)

    def recorded(self, name: str, unit: str, labels: tuple[str, ...] = ()) -> Query:
        """What a recording rule keeps."""
        return Query(f"{name}{{{self.matchers(labels)}}}", unit)

    def lines(self, event: str, *fields: str) -> str:
        """What Loki is asked for lines about an event, narrowed by the variables of these fields.

        >>> Scope(("kind",)).lines("surge_page", "kind")
        '{service_name=~"surgewatch.*"} |= "surge_page" | json | event="surge_page" | kind=~"$kind"'
        """
        narrowed = [f'{name}=~"${name}"' for name in self.variables if name in fields]
        narrowed += [f'{name}=~"${name}.*"' for name in self.boxes if name in fields]
        parts = [f'{LOG_STREAMS} |= "{event}"', "json", f'event="{event}"', *narrowed]
        return " | ".join(parts)

    @staticmethod
    def _of(how: str, by: tuple[str, ...], inner: str, unit: str, spec: MetricSpec) -> Query:
        grouped = f" by ({', '.join(by)}) " if by else ""
        legend = " ".join(f"{{{{{name}}}}}" for name in by)
        return Query(f"{how}{grouped}({inner})", unit, legend, (spec,))


def _is_narrowed(label: Label) -> bool:
    """Whether a label means what the variable of its name does: bad input has kinds of its own.

    >>> from streams.edges.metrics.catalogue import BAD_INPUT
    >>> Scope(("job", "kind")).series(BAD_INPUT)
    'surgewatch_bad_input_total{job=~"$job"}'
    """
    return label.name != "kind" or set(label.values) <= set(get_args(Kind))
