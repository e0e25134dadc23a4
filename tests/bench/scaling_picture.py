"""Pictures of cost as the work grows: one file a part."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import matplotlib

matplotlib.use("Agg")  # no window: it is drawn to a file
from matplotlib import pyplot as plt

from tests.bench.scaling_tables import TABLES

_COLOUR: Final = "#c2410c"
_TITLES: Final = {
    "redis_cpu_us_a_record": "CPU µs of Redis a record",
    "bytes_a_creator_mean": "Redis, bytes: mean creator",
    "redis_bytes_a_creator": "Redis, bytes a creator",
}
"""Titles of curves whose column in the table leans on the one before it."""


class _Sketch(NamedTuple):
    """What a part's picture shows: its title, the column along the bottom, those of the curves."""

    title: str
    along: str
    curves: Sequence[str]


_SPEED: Final = ("records_per_second", "cpu_us_a_record", "redis_cpu_us_a_record", "rss_mb")
_SKETCHES: Final[Mapping[str, _Sketch]] = {
    "creators": _Sketch(
        "creators met", "creators", (*_SPEED, "restart_seconds", "redis_bytes_a_creator")
    ),
    "partitions": _Sketch("partitions", "partitions", _SPEED),
    "chunks": _Sketch("records a chunk at most", "chunk_records_max", _SPEED),
    "hottest": _Sketch("share of the hottest creator", "share", _SPEED),
    "surging": _Sketch("100,000 creators: evenly, and all in one minute", "what", _SPEED),
    "workers": _Sketch("workers on two cores", "workers", _SPEED),
    "redis": _Sketch(
        "creators in Redis after 24 hours",
        "creators",
        ("bytes_a_creator_median", "bytes_a_creator_mean", *_SPEED),
    ),
    "comments": _Sketch("comments among the records", "what", (*_SPEED, "redis_bytes_a_creator")),
    "repeats": _Sketch("event ids remembered or not", "what", _SPEED),
    "scrapes": _Sketch("scrapes of a busy worker", "every", _SPEED),
}


def draw_parts(found: Mapping[str, Any], folder: Path) -> list[Path]:
    """Draw every part that was measured; the files."""
    folder.mkdir(parents=True, exist_ok=True)
    drawn = []
    for name, sketch in _SKETCHES.items():
        rows = found["parts"].get(name)
        if rows:
            path = folder / f"scaling-{name}.png"
            _draw(name, rows, sketch, path)
            drawn.append(path)
    return drawn


def _draw(name: str, rows: Sequence[Mapping[str, Any]], sketch: _Sketch, path: Path) -> None:
    columns = {column.name: column for column in TABLES[name]}
    count = len(sketch.curves)
    figure, all_axes = plt.subplots(
        1, count, figsize=(4.0 * count, 3.5), layout="constrained", squeeze=False
    )
    along = [row[sketch.along] for row in rows]
    words = [columns[sketch.along].told(row) for row in rows]
    for axes, what in zip(all_axes[0], sketch.curves, strict=True):
        values = [row[what] for row in rows]
        if isinstance(along[0], str) or not min(along):  # 0 has no place on a log scale
            axes.bar(words, values, color=_COLOUR)
            axes.tick_params(axis="x", rotation=30)
        else:
            axes.plot(along, values, "o-", color=_COLOUR)
            axes.set_xscale("log")
            axes.set_xticks(along, words, rotation=30)
            axes.minorticks_off()
        axes.set_ylim(0, 1.1 * max(*values, 1e-9))
        axes.set_title(_TITLES.get(what, columns[what].words))
        axes.spines[["top", "right"]].set_visible(False)
    figure.suptitle(sketch.title)
    figure.savefig(path, dpi=110)
    plt.close(figure)
