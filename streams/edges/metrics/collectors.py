"""Metrics that are computed when they are asked for, or told many at a time."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
from prometheus_client.core import Exemplar, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from streams.core.records.texts import Ints
from streams.edges.metrics.catalogue import LAG_RECORDS, LAG_SECONDS, WATERMARK
from streams.edges.metrics.specs import MetricSpec

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class Place:
    """How far one partition is: records behind, and the watermark (None: no record yet).

    ``read_ms`` is the watermark of what was read: where records are held, it is ahead of that of
    what was counted, and the wait that was asked for is no lag.
    """

    lag_records: int
    watermark_ms: int | None
    read_ms: int | None


class Places(Collector):
    """Lag and watermark of each partition, computed when they are asked for."""

    def __init__(self, now_ms: Callable[[], int]) -> None:
        self.places: dict[tuple[str, int], Place] = {}
        self._now_ms = now_ms

    def collect(self) -> Iterator[Metric]:
        """See Collector."""
        records, seconds, watermark = (
            GaugeMetricFamily(spec.family, spec.meaning, labels=spec.label_names)
            for spec in (LAG_RECORDS, LAG_SECONDS, WATERMARK)
        )
        now_ms = self._now_ms()
        for (topic, partition), place in sorted(self.places.copy().items()):
            values = (topic, str(partition))
            records.add_metric(values, place.lag_records)
            behind_ms = 0
            if place.watermark_ms is not None:
                watermark.add_metric(values, place.watermark_ms / 1000)
            if place.read_ms is not None and place.lag_records:
                behind_ms = max(0, now_ms - place.read_ms)
            seconds.add_metric(values, behind_ms / 1000)
        yield from (records, seconds, watermark)


class Factors(Collector):
    """A gauge of which the series come and go all together."""

    def __init__(self, spec: MetricSpec) -> None:
        self._spec = spec
        self.factors: dict[tuple[str, ...], float] = {}

    def collect(self) -> Iterator[Metric]:
        """See Collector."""
        spec = self._spec
        family = GaugeMetricFamily(spec.family, spec.meaning, labels=spec.label_names)
        for values, factor in sorted(self.factors.items()):
            family.add_metric(values, factor)
        yield family


class Newest(Collector):
    """When the newest surges of each kind were told: the earliest make room, unless they are new.

    So in a flood no more than ``most`` of a kind are told in ``new_ms``, for each is an alert.
    """

    def __init__(self, spec: MetricSpec, most: int, new_ms: int) -> None:
        self._spec, self._most, self._new_ms = spec, most, new_ms
        self._told: dict[str, dict[str, int]] = {}

    def add(self, kind: str, surge_ids: Sequence[str], at_ms: int, now_ms: int) -> None:
        """Take surges told at one time; one that is known keeps its own."""
        known = self._told.get(kind, {})
        new = sum(known_ms > now_ms - self._new_ms for known_ms in known.values())
        fresh = [one for one in surge_ids if one not in known][: self._most - new]
        told = {**known, **dict.fromkeys(fresh, at_ms)}
        newest = sorted(told.items(), key=lambda one: one[1])[-self._most :]
        self._told = {**self._told, kind: dict(newest)}  # at once: another thread collects

    def collect(self) -> Iterator[Metric]:
        """See Collector."""
        spec = self._spec
        family = GaugeMetricFamily(spec.family, spec.meaning, labels=spec.label_names)
        for kind, told in sorted(self._told.items()):
            for surge_id, at_ms in told.items():
                family.add_metric((kind, surge_id), at_ms / 1000)
        yield family


class Delays(Collector):
    """A histogram that takes many values at once: a Histogram's ``observe`` costs 2 µs each."""

    def __init__(self, spec: MetricSpec) -> None:
        self._spec = spec
        self._bounds = np.array([*spec.buckets, np.inf])
        self._told = (np.zeros(len(self._bounds), dtype=np.int64), 0.0)
        self._exemplars: dict[int, Exemplar] = {}

    def add(self, seconds: Sequence[float], surge_ids: Sequence[str]) -> None:
        """Take values, each of a surge; one below 0 is 0, one on a bound belongs to it."""
        held = np.maximum(np.array(seconds, dtype=np.float64), 0.0)
        places = np.searchsorted(self._bounds, held)
        found, last = np.unique(places[::-1], return_index=True)
        now = time.time()
        rows = (len(held) - 1 - last).tolist()
        fresh = {
            place: Exemplar({"surge_id": surge_ids[row]}, float(held[row]), now)
            for place, row in zip(found.tolist(), rows, strict=True)
        }
        self._exemplars = self._exemplars | fresh
        self._sum_up(np.bincount(places, minlength=len(self._bounds)), float(held.sum()))

    def add_ages(self, at_ms: Ints, now_ms: int) -> None:
        """Take the age of each of these times: some 5 µs a bucket and 16,000 of them.

        One in the future has none: it must not make the sum less.
        """
        at_ms = np.minimum(at_ms, now_ms)
        bounds_ms = now_ms - self._bounds[:-1] * 1000.0
        within = [int(np.count_nonzero(at_ms >= bound)) for bound in bounds_ms.astype(np.int64)]
        ages_ms = now_ms * len(at_ms) - int(at_ms.sum())
        self._sum_up(np.diff([0, *within, len(at_ms)]), ages_ms / 1000)

    def _sum_up(self, counts: Ints, seconds: float) -> None:
        known, total = self._told
        self._told = (known + counts, total + seconds)  # at once: another thread collects

    def collect(self) -> Iterator[Metric]:
        """See Collector. A bucket's exemplar is the last surge that fell into it."""
        (counts, total), exemplars = self._told, self._exemplars
        buckets: list[tuple[str, float] | tuple[str, float, Exemplar]] = []
        for place, (bound, count) in enumerate(zip(self._bounds, np.cumsum(counts), strict=True)):
            name: str = floatToGoString(float(bound))  # type: ignore[no-untyped-call]  # theirs
            told = (name, float(count))
            buckets.append((*told, exemplars[place]) if place in exemplars else told)
        family = HistogramMetricFamily(self._spec.family, self._spec.meaning)
        family.add_metric((), buckets, total)
        yield family


class FirstMet(Generic[Value]):
    """Values for labels: the first ``most`` that are met, then one for all others."""

    def __init__(self, most: int, other: Value) -> None:
        self._most, self._other = most, other
        self._known: set[Value] = set()

    def name_of(self, value: Value) -> Value:
        """The value, or what stands for those beyond the limit.

        >>> langs = FirstMet(2, "other")
        >>> [langs.name_of(lang) for lang in ("zh", "en", "fr", "zh")]
        ['zh', 'en', 'other', 'zh']
        """
        if value not in self._known:
            if len(self._known) >= self._most:
                return self._other
            self._known.add(value)
        return value
