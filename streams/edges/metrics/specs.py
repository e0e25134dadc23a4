"""What a metric of the catalogue says of itself, and how many series it may have."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import product
from typing import Final, Literal

MetricType = Literal["counter", "gauge", "histogram", "info"]
Unit = Literal["seconds", "bytes", "records", "keys", "surges", "events", "ratio", "none"]
Per = Literal["worker", "topic", "partition"]

PREFIX: Final = "surgewatch_"
TOPICS: Final = 3
"""Input topics of a worker: follows, comments and waves."""


@dataclass(frozen=True, slots=True)
class Label:
    """A label of a metric.

    ``values`` are all that it may have, and their series stand from the start. Without them the
    value comes from the deployment (a topic, a partition, a version) or, where ``most`` is told,
    from records: then the metric has no more than ``most`` series.
    """

    name: str
    meaning: str
    values: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class MetricSpec:
    """One metric: everything that is known of it without a worker.

    ``name`` is as ``/metrics`` has it. ``series``: values of all labels, in their order, where not
    every combination can be. ``per``: of what there is one of each series. ``most``: series of
    which the labels come from records. ``buckets``: a histogram's upper bounds, without +Inf.
    ``is_ours``: False for what prometheus-client tells of any process.
    """

    name: str
    type: MetricType
    unit: Unit
    meaning: str
    labels: tuple[Label, ...] = ()
    per: Per = "worker"
    series: tuple[tuple[str, ...], ...] = ()
    most: int | None = None
    buckets: tuple[float, ...] = ()
    is_ours: bool = True

    @property
    def label_names(self) -> tuple[str, ...]:
        """Names of its labels, in their order."""
        return tuple(label.name for label in self.labels)

    @property
    def family(self) -> str:
        """Its name without what its type adds: as prometheus-client makes and tells it."""
        return self.name.removesuffix({"counter": "_total", "info": "_info"}.get(self.type, ""))

    @property
    def series_each(self) -> int:
        """Most series of it for each worker, topic or partition, see ``per``."""
        if self.most is not None:
            return self.most
        combinations = len(self.series)
        if not combinations:
            combinations = 1
            for label in self.labels:
                combinations *= len(label.values) or 1
        return combinations * (len(self.buckets) + 3 if self.buckets else 1)  # +Inf, sum, count

    def series_known(self, topics: Iterable[str]) -> Iterator[dict[str, str]]:
        """Label values of every series that stands from the start; none if there are no labels."""
        if self.per == "partition" or self.most is not None or not self.labels:
            return
        names = self.label_names
        if self.series:
            yield from (dict(zip(names, values, strict=True)) for values in self.series)
            return
        of_topics = tuple(topics)
        every = [of_topics if one.name == "topic" else one.values for one in self.labels]
        yield from (dict(zip(names, values, strict=True)) for values in product(*every))


@dataclass(frozen=True, slots=True)
class SeriesBound:
    """Most series of one worker: ``fixed`` + ``each_topic`` a topic + ``each_partition`` a one."""

    fixed: int
    each_topic: int
    each_partition: int

    def of(self, partitions: int, topics: int = TOPICS) -> int:
        """Most series of a worker that reads so many partitions, of all topics together.

        >>> SeriesBound(100, 10, 3).of(12)
        166
        """
        return self.fixed + topics * self.each_topic + partitions * self.each_partition


def series_bound_of(specs: Iterable[MetricSpec]) -> SeriesBound:
    """Add up what the metrics may have."""
    sums: dict[Per, int] = {"worker": 0, "topic": 0, "partition": 0}
    for spec in specs:
        sums[spec.per] += spec.series_each
    return SeriesBound(sums["worker"], sums["topic"], sums["partition"])
