"""Where the real data lies that some tests run on; it is no part of the repository."""

import os
from pathlib import Path

import pytest

_CHECKOUT = Path(__file__).resolve().parents[1]


class RealDataAbsent(Exception):
    """There is no such file: where it was looked for."""


def real_data(name: str) -> Path:
    """Path of a real data file or folder; skips the test, with the reason, where it is absent."""
    try:
        return path_of(name)
    except RealDataAbsent as absent:
        pytest.skip(str(absent))  # it is no part of the repository: says where it was looked for


def path_of(name: str) -> Path:
    """Path of a real data file or folder. Raises `RealDataAbsent`.

    The folder is ``$SURGEWATCH_DATA`` or, beside the checkout, ``shared/data``.
    """
    told = os.environ.get("SURGEWATCH_DATA")
    folder = Path(told) if told else _CHECKOUT.parent / "shared" / "data"
    path = folder / name
    if not path.exists():
        message = f"no real data: {path} is absent; set SURGEWATCH_DATA to its folder"
        raise RealDataAbsent(message)
    return path
