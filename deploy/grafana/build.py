"""All dashboards as the files that Grafana reads; ``make docs`` writes them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from deploy.grafana import detector_health, surges_now, workers
from deploy.grafana.frame import Board

FOLDER: Final = Path(__file__).parent / "dashboards"
BOARDS: Final[Mapping[str, Board]] = {
    "surges-now": surges_now.BOARD,
    "workers": workers.BOARD,
    "detector-health": detector_health.BOARD,
}
"""Dashboards by their files' names."""


def dashboards() -> Mapping[Path, str]:
    """Each file, as it has to be."""
    encoder = JSONEncoder(sort_keys=True, indent=2, ensure_ascii=False)
    return {
        FOLDER / f"{name}.json": f"{encoder.encode(board.build())}\n"
        for name, board in BOARDS.items()
    }
