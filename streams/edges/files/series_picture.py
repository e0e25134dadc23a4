"""A picture of a scored series. matplotlib is optional and imported when a picture is asked for."""

import importlib
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from streams.core.detection.series import RowVerdict
from streams.edges.errors import SettingsError
from streams.edges.files.records import FileUnwritable
from streams.edges.files.series_csv import SeriesLine

_OURS: Final = "#c2410c"
_USUAL: Final = "#0f766e"
_COUNTS: Final = "#94a3b8"


class PlotUnsupported(SettingsError):
    """A picture is asked for and matplotlib is not installed."""

    def __init__(self) -> None:
        super().__init__("--plot needs matplotlib: pip install 'surgewatch[plot]'")


def check_plot() -> None:
    """Raise `PlotUnsupported` before any work is done."""
    try:
        importlib.import_module("matplotlib")
    except ImportError as error:
        raise PlotUnsupported from error


def draw_series(
    path: Path, lines: Sequence[SeriesLine], counts: Sequence[float | None],
    verdicts: Sequence[RowVerdict],
) -> None:  # fmt: skip
    """Counts, what was expected, alerts and jumps above; the score below, both logarithmic.

    Raises PlotUnsupported, and FileUnwritable.
    """
    check_plot()
    figure_module = importlib.import_module("matplotlib.figure")
    figure = figure_module.Figure(figsize=(12, 6), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    moments = [datetime.fromtimestamp(line.row.at_ms / 1000, UTC) for line in lines]
    shown = [float("nan") if count is None else count for count in counts]
    above.plot(moments, shown, color=_COUNTS, linewidth=0.7, label="counted")
    expected = [verdict.expected for verdict in verdicts]
    above.plot(moments, expected, color=_USUAL, linewidth=1.2, label="expected")
    _mark(above, moments, shown, [verdict.alert for verdict in verdicts], ("v", _OURS, "alert"))
    jumps = [verdict.jump_before for verdict in verdicts[1:]] + [False]
    _mark(above, moments, shown, jumps, ("x", "black", "jump of the counter"))
    above.set_yscale("symlog", linthresh=1.0)
    above.set_ylim(bottom=0)
    above.legend(loc="upper left", frameon=False)
    below.plot(moments, [max(v.score, 1e-3) for v in verdicts], color=_OURS, linewidth=0.7)
    below.axhline(1.0, color="black", linewidth=0.6, linestyle="--")
    below.set_yscale("log")
    below.set_ylabel("score")
    for axes in (above, below):
        axes.spines[["top", "right"]].set_visible(False)
    try:
        figure.savefig(path, dpi=110)
    except (OSError, ValueError) as error:
        raise FileUnwritable(path, str(error)) from error


def _mark(
    axes: Any, moments: Sequence[datetime], counts: Sequence[float], chosen: Sequence[bool],
    look: tuple[str, str, str],
) -> None:  # fmt: skip
    rows = [row for row, is_so in enumerate(chosen) if is_so]
    marker, colour, label = look
    if rows:
        places = [moments[row] for row in rows], [counts[row] for row in rows]
        axes.scatter(*places, marker=marker, color=colour, s=36, label=label, zorder=3)
