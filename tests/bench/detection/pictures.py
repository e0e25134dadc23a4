"""Pictures of what the detector's benchmark found, for docs/detection.md."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import matplotlib

matplotlib.use("Agg")  # no window: it is drawn to a file
from matplotlib import pyplot as plt

_ALL: Final = "all"
_OURS: Final = "#c2410c"
_USUAL: Final = "#0f766e"
_WAVE: Final = "#6366f1"
_COUNTS: Final = "#94a3b8"
_FLOOR: Final = "#e2e8f0"
_BANDS: Final = "viridis"
"""Bands of usual rates, small to large: no red in it, that is ours."""
_SAID: Final = {"expected": "expected", "in_wave": "expected in the wave"}
_DAY_MINUTES: Final = 1440.0

Point = tuple[float, float]


class Seen(NamedTuple):
    """A rate that was asked for, what was seen, and its interval; alarms a creator and day."""

    asked: float
    seen: float
    low: float
    high: float


class Told(NamedTuple):
    """What was told at a minute, and what its record says was expected in five minutes."""

    minute: float
    word: str
    expected: float | None
    in_wave: float | None


class Course(NamedTuple):
    """One creator's surge inside a wave, bucket by bucket, and what was told of her.

    ``expected``: on her own past alone, with no rhythm; ``in_wave``: times the wave's true factor.
    """

    minutes: Sequence[float]
    observed: Sequence[float]
    expected: Sequence[float]
    in_wave: Sequence[float]
    told: Sequence[Told]


def draw_rates(lines: Mapping[str, Sequence[Seen]], path: Path) -> Path:
    """Asked against seen, both logarithmic; the floor's bounds are shaded."""
    figure, axes = plt.subplots(figsize=(8, 6), layout="constrained")
    ends = [1e-5, 0.1]
    axes.fill_between(ends, [0.3 * end for end in ends], [1.5 * end for end in ends], color=_FLOOR)
    axes.plot(ends, ends, color="black", linewidth=0.6, linestyle="--")
    colours = _colours_of([name for name in lines if name != _ALL]) | {_ALL: _OURS}
    for name, seen in lines.items():
        some = [one for one in seen if one.seen > 0]
        if some:
            errors = [[s.seen - s.low for s in some], [s.high - s.seen for s in some]]
            axes.errorbar(
                [s.asked for s in some], [s.seen for s in some], yerr=errors, fmt="o-",
                label=name, color=colours[name], linewidth=2 if name == _ALL else 1, capsize=3,
            )  # fmt: skip
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("asked: alarms a creator and day")
    axes.set_ylabel("seen")
    axes.set_title("False alarms asked for and seen (95 %); shaded: 0.3 to 1.5 times")
    return _saved(figure, axes, path)


def draw_delays(lines: Mapping[str, Mapping[str, Sequence[Point]]], path: Path) -> Path:
    """Median delay against multiple, a line a band of usual rates, a field a budget."""
    figure, fields = plt.subplots(
        1, len(lines), figsize=(5 * len(lines), 5), layout="constrained", sharey=True
    )
    for axes, (budget, bands) in zip(fields, lines.items(), strict=True):
        for name, points in bands.items():
            told = [(size, minutes) for size, minutes in points if minutes <= _DAY_MINUTES]
            axes.plot(*zip(*told, strict=True), "o-", label=name) if told else None
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_title(budget)
        axes.set_xlabel("times the usual rate")
    fields[0].set_ylabel("minutes until told, median")
    return _saved(figure, fields[0], path)


def draw_surge(course: Course, path: Path) -> Path:
    """Observed, expected on her own, expected in the wave, and what was told when."""
    figure, axes = plt.subplots(figsize=(11, 5), layout="constrained")
    axes.bar(course.minutes, course.observed, width=4.5, color=_COUNTS, label="observed")
    axes.step(course.minutes, course.expected, color=_USUAL, where="mid", label="expected")
    axes.step(course.minutes, course.in_wave, color=_WAVE, where="mid", label="× the wave")
    top = max(course.observed, default=1.0)
    middle = max([*course.minutes, *(told.minute for told in course.told)], default=0.0) / 2
    for nth, told in enumerate(course.told):
        axes.axvline(told.minute, color=_OURS, linewidth=1)
        side = "left" if told.minute < middle else "right"  # away from the frame's edge
        place = (told.minute, top * (1 - 0.07 * nth))
        axes.annotate(f" {told.word} ", place, color=_OURS, horizontalalignment=side)
    for colour, name in ((_USUAL, "expected"), (_WAVE, "in_wave")):
        said = [(told.minute, getattr(told, name)) for told in course.told]
        points = [(minute, value) for minute, value in said if value is not None]
        if points:
            axes.plot(
                *zip(*points, strict=True), "D", color=colour, label=f"{_SAID[name]} (record)"
            )
    axes.set_xlabel("minutes since the wave began")
    axes.set_ylabel("followers in five minutes")
    axes.set_title("A creator's own surge inside a wave")
    figure.legend(loc="outside lower center", ncols=5, frameon=False)  # inside, labels meet it
    return _saved(figure, None, path)


def _colours_of(names: Sequence[str]) -> dict[str, tuple[float, ...]]:
    """A colour each, from the dark end of the map to before its yellow, which is faint on white."""
    colours = matplotlib.colormaps[_BANDS]
    last = max(len(names) - 1, 1)
    return {name: colours(0.85 * place / last) for place, name in enumerate(names)}


def _saved(figure: Any, axes: Any, path: Path) -> Path:
    if axes is not None:
        axes.legend(frameon=False)
    figure.savefig(path, dpi=110)
    plt.close(figure)
    return path
