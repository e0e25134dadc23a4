"""What a case of an alert is, and the labels that cases share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

Series = Mapping[str, str]
"""Series by their name and labels; values each minute (``Case.every``), as promtool has them."""

ONE: Final = 'job="surgewatch",instance="w1"'
OF_ONE: Final = {"job": "surgewatch", "instance": "w1"}
OF_JOB: Final = {"job": "surgewatch"}
TWO: Final = 'job="surgewatch",instance="w2"'
OF_TWO: Final = {"job": "surgewatch", "instance": "w2"}
OF_TOPIC: Final = OF_JOB | {"topic": "follows"}


@dataclass(frozen=True)
class Case:
    """``minute``: the first at which it fires on ``fires``; ``told``: templates as rendered.

    ``also``: other series that it fires on, and the first minute of each, with what is told then.
    ``every``: how far apart values are. What is evaluated is so each minute.
    """

    fires: Series
    minute: int
    silent: Sequence[Series]
    labels: Mapping[str, str]
    told: Mapping[str, str] = field(default_factory=dict)
    fires_without_series: bool = False
    also: Sequence[tuple[Series, int, Mapping[str, str]]] = ()
    every: str = "1m"
