"""How long the garbage collector stops the worker, as a metric."""

import bisect
import gc
import time
from collections.abc import Iterator
from typing import Any, Final

from prometheus_client.core import HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from streams.edges.metrics.catalogue import GC_PAUSE

_BOUNDS: Final = GC_PAUSE.buckets


class GcPauses(Collector):
    """Times every collection between ``start`` and ``stop``; some 2 µs each.

    No Histogram: a collection may begin while this thread holds a metric's lock.
    """

    def __init__(self) -> None:
        self._counts = [0] * (len(_BOUNDS) + 1)
        self._seconds = 0.0
        self._began = 0.0

    def start(self) -> None:
        """Begin to time them."""
        gc.callbacks.append(self._take)

    def stop(self) -> None:
        """End it."""
        gc.callbacks.remove(self._take)

    def _take(self, phase: str, told: dict[str, Any]) -> None:
        if phase == "start":
            self._began = time.perf_counter()
            return
        seconds = time.perf_counter() - self._began
        self._counts[bisect.bisect_left(_BOUNDS, seconds)] += 1
        self._seconds += seconds

    def collect(self) -> Iterator[Metric]:
        """See Collector."""
        family = HistogramMetricFamily(GC_PAUSE.family, GC_PAUSE.meaning)
        buckets, total = [], 0.0
        for bound, count in zip((*_BOUNDS, float("inf")), self._counts, strict=True):
            total += count
            name: str = floatToGoString(bound)  # type: ignore[no-untyped-call]  # theirs
            buckets.append((name, total))
        family.add_metric((), buckets, self._seconds)
        yield family
