"""The parts of the benchmark, by name: one line each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from tests.bench.detection import (
    part_arrival,
    part_bound,
    part_cost,
    part_first,
    part_fleet,
    part_mastodon,
    part_mix,
    part_nab,
    part_pages,
    part_peers,
    part_power,
    part_rates,
    part_seismic,
    part_story,
    part_wave,
    part_young,
)
from tests.bench.detection.part import Part

Run = Callable[[float], Part]
"""Measures; given the size of the simulated worlds, above 0 to 1."""


def _whole(run: Callable[[], Part]) -> Run:
    """A part that has no worlds: its size is what it is."""
    return lambda _: run()


PARTS: Final[dict[str, Run]] = {
    "nab": _whole(part_nab.run),
    "mastodon": _whole(part_mastodon.run),
    "seismic": part_seismic.run,
    "rates": part_rates.run,
    "first": part_first.run,
    "pages": part_pages.run,
    "story": part_story.run,
    "power": part_power.run,
    "bound": part_bound.run,
    "wave": part_wave.run,
    "fleet": part_fleet.run,
    "arrival": part_arrival.run,
    "young": part_young.run,
    "mix": part_mix.run,
    "peers": part_peers.run,
    "cost": _whole(part_cost.run),
}
