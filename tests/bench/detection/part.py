"""What a part of the benchmark hands in, and where the real data lies."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.real_data import real_data


class PartSkipped(Exception):
    """The part cannot be measured here: why."""


@dataclass(frozen=True, slots=True)
class Part:
    """``reached``: figures by the keys of `rows.ROWS`; ``details``: a table for people."""

    reached: dict[str, float]
    details: Sequence[dict[str, Any]] = ()
    draw: Callable[[Path], list[Path]] | None = field(default=None)
    """Draws pictures into a folder, and gives their paths."""


def data(name: str) -> Path:
    """Path of real data. Raises `PartSkipped` where there is none."""
    try:
        return real_data(name)
    except pytest.skip.Exception as skipped:
        raise PartSkipped(str(skipped)) from None
