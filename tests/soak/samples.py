"""What a soak looks at: the worker's own metrics, every few seconds, and how they changed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from prometheus_client.parser import text_string_to_metric_families

HISTOGRAMS: Final = {
    "gc_pause": "surgewatch_gc_pause_seconds",
}


@dataclass(frozen=True, slots=True)
class Sample:
    """One look. ``behind_seconds``: since what was counted last was sent, in the last partition.

    ``surges``: announcements so far, by kind, trigger and state. ``buckets``: of each histogram,
    counts up to each bound; sums in seconds.
    """

    at_seconds: float
    resident_bytes: float
    allocated_bytes: float
    open_files: float
    cpu_seconds: float
    counted: float
    lag_records: float
    behind_seconds: float
    surges: Mapping[str, float]
    buckets: Mapping[str, Mapping[float, float]]
    sums: Mapping[str, float]


def sample_of(
    text: str,
    at_seconds: float,
    topic: str = "follows",
    sent_seconds: Callable[[float], float] = lambda event_ms: event_ms / 1000,
) -> Sample:
    """Read what ``/metrics`` told of a topic; ``sent_seconds``: when an event time was sent."""
    found: dict[str, list[Any]] = {}
    for family in text_string_to_metric_families(text):
        for one in family.samples:
            found.setdefault(one.name, []).append(one)

    def total(name: str, **labels: str) -> float:
        wanted = labels.items()
        return float(sum(one.value for one in found.get(name, []) if wanted <= one.labels.items()))

    marks = found.get("surgewatch_watermark_timestamp_seconds", [])
    slowest = min((one.value for one in marks if one.labels["topic"] == topic), default=None)
    return Sample(
        at_seconds,
        total("process_resident_memory_bytes"),
        total("surgewatch_memory_allocated_bytes"),
        total("process_open_fds"),
        total("process_cpu_seconds_total"),
        total("surgewatch_records_total", result="counted", topic=topic),
        total("surgewatch_lag_records"),
        0.0 if slowest is None else at_seconds - sent_seconds(slowest * 1000),
        {
            " ".join(one.labels[name] for name in ("kind", "trigger", "state")): one.value
            for one in found.get("surgewatch_surges_total", [])
            if one.value
        },
        {
            short: {float(one.labels["le"]): one.value for one in found.get(f"{name}_bucket", [])}
            for short, name in HISTOGRAMS.items()
        },
        {short: total(f"{name}_sum") for short, name in HISTOGRAMS.items()},
    )


def slope_an_hour(samples: Sequence[Sample], what: str) -> float:
    """How much a value grows an hour: the median of the slopes of all pairs (Theil and Sen).

    >>> rising = [sample_of(f"process_open_fds {n}", n * 60.0) for n in range(9)]
    >>> slope_an_hour(rising, "open_files")
    60.0
    """
    at = np.array([one.at_seconds for one in samples])
    values = np.array([getattr(one, what) for one in samples])
    first, second = np.triu_indices(len(samples), k=1)
    slopes = (values[second] - values[first]) / (at[second] - at[first])
    return float(np.median(slopes)) * 3600


def quantile_of(before: Sample, after: Sample, name: str, share: float) -> float | None:
    """A quantile between two looks, in seconds, by a straight line within its bucket; None: empty.

    Past the last bound: that bound.
    """
    ends = sorted(after.buckets[name])
    counts = [after.buckets[name][end] - before.buckets[name].get(end, 0.0) for end in ends]
    if not counts or counts[-1] == 0:
        return None
    wanted, low, below = share * counts[-1], 0.0, 0.0
    for end, count in zip(ends, counts, strict=True):
        if count >= wanted:
            if end == float("inf"):
                return low
            return low + (end - low) * (wanted - below) / max(count - below, 1e-9)
        low, below = end, count
    return low
