"""Pictures of cost as the work grows: one file a part."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import matplotlib

matplotlib.use("Agg")  # no window: it is drawn to a file
from matplotlib import pyplot as plt

_COLOUR: Final = "#c2410c"


class _Sketch(NamedTuple):
    """What a part's picture shows: the column along the bottom, and the curves' columns."""

    along: str
    title: str
    curves: Sequence[tuple[str, str]]


_SPEED: Final = (("records_per_second", "records a second"), ("cpu_us_a_record", "CPU µs a record"))
_SKETCHES: Final[Mapping[str, _Sketch]] = {
    "creators": _Sketch(
        "creators", "creators met", (*_SPEED, ("rss_mb", "resident MB"), ("restart_seconds", "s"))
    ),
    "partitions": _Sketch("partitions", "partitions", _SPEED),
    "chunks": _Sketch("chunk_records_max", "records a chunk at most", _SPEED),
    "hottest": _Sketch("share", "share of the hottest creator", _SPEED),
    "surging": _Sketch("what", "100,000 creators: evenly, and all in one minute", _SPEED),
    "workers": _Sketch("workers", "workers on two cores", _SPEED),
}


def draw_parts(found: Mapping[str, Any], folder: Path) -> list[Path]:
    """Draw every part that was measured and has more than one row; the files."""
    folder.mkdir(parents=True, exist_ok=True)
    drawn = []
    for name, sketch in _SKETCHES.items():
        rows = found["parts"].get(name)
        if rows:
            path = folder / f"scaling-{name}.png"
            _draw(rows, sketch, path)
            drawn.append(path)
    return drawn


def _draw(rows: Sequence[Mapping[str, Any]], sketch: _Sketch, path: Path) -> None:
    curves = sketch.curves
    figure, all_axes = plt.subplots(
        1, len(curves), figsize=(4.5 * len(curves), 3.5), layout="constrained", squeeze=False
    )
    along = [row[sketch.along] for row in rows]
    for axes, (what, words) in zip(all_axes[0], curves, strict=True):
        values = [row[what] for row in rows]
        if isinstance(along[0], str):
            axes.bar(along, values, color=_COLOUR)
        else:
            axes.plot(along, values, "o-", color=_COLOUR)
            axes.set_xscale("log")
            axes.set_xticks(along, [f"{one:,g}" for one in along], rotation=30)
            axes.minorticks_off()
        axes.set_ylim(bottom=0)
        axes.set_title(words)
        axes.spines[["top", "right"]].set_visible(False)
    figure.suptitle(sketch.title)
    figure.savefig(path, dpi=110)
    plt.close(figure)
