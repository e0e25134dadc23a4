"""Names of a benchmark's parts, as its command line is given them."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Collection


def names_among(known: Collection[str]) -> Callable[[str], list[str]]:
    """Reader of names with commas between; it raises ArgumentTypeError for others than these."""

    def read(text: str) -> list[str]:
        asked = text.split(",")
        unknown = [name for name in asked if name not in known]
        if unknown:
            message = f"no such part: {', '.join(unknown)}; there are {', '.join(known)}"
            raise argparse.ArgumentTypeError(message)
        return [name for name in known if name in asked]

    return read
