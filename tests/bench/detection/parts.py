"""The parts of the benchmark, by name: one line each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from tests.bench.detection import part_cost, part_mastodon, part_nab, part_seismic
from tests.bench.detection.part import Part

PARTS: Final[dict[str, Callable[[], Part]]] = {
    "nab": part_nab.run,
    "mastodon": part_mastodon.run,
    "seismic": part_seismic.run,
    "cost": part_cost.run,
}
