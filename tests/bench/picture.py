"""Pictures of what the benchmark found."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import matplotlib

matplotlib.use("Agg")  # no window: it is drawn to a file
from matplotlib import pyplot as plt

_OURS: Final = "#c2410c"
_THEIRS: Final = "#94a3b8"


def draw_bench(found: Mapping[str, Any], path: Path) -> None:
    """Two lots of bars, best first: records a second; CPU a record, logarithmic from 1 µs."""
    figure, (speed, cost) = plt.subplots(1, 2, figsize=(12, 5), layout="constrained")
    engines = found["engines"]
    _bars(speed, engines, "events_per_second", "records a second (more is better)", "{:,.0f}")
    _bars(cost, engines, "cpu_seconds_per_million", "CPU µs a record (less is better)", "{:.2f}")
    cost.set_xscale("log")
    cost.set_xlim(left=1.0)
    cost.invert_yaxis()
    machine = found["machine"]
    figure.suptitle(
        f"Follows counted, one worker; broker and Redis on the same {machine['cores']} cores "
        f"({found['date'][:10]}, medians of {found['rounds']})"
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _bars(axes: Any, engines: Any, what: str, title: str, words: str) -> None:
    ranked = sorted(engines, key=lambda engine: float(engine[what]))
    colours = [_OURS if one["name"].startswith("surgewatch") else _THEIRS for one in ranked]
    names = [one["name"] + (" (wrong answers)" if one["wrong"] else "") for one in ranked]
    bars = axes.barh(names, [one[what] for one in ranked], color=colours)
    axes.bar_label(bars, [words.format(one[what]) for one in ranked], padding=3)
    axes.set_title(title)
    axes.margins(x=0.2)
    axes.spines[["top", "right"]].set_visible(False)
