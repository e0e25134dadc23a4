"""``python -m tests.bench.detection [--parts nab,rates] [--size 0.1]``: detector and floor."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from tests.bench import report
from tests.bench.detection import rows
from tests.bench.detection.part import PartSkipped
from tests.bench.detection.parts import PARTS
from tests.bench.part_names import names_among


def print_details(console: Console, name: str, details: Sequence[dict[str, Any]]) -> None:
    """Print what a part found, as a table."""
    console.print(f"\n{name}:")
    if details:
        table = Table(box=box.MARKDOWN)
        for column in details[0]:
            table.add_column(column)
        for row in details:
            table.add_row(*map(str, row.values()))
        console.print(table)


def _size(text: str) -> float:
    size = float(text)
    if not 0 < size <= 1:
        message = f"{text}: a size is above 0 and at most 1"
        raise argparse.ArgumentTypeError(message)
    return size


def main(argv: Sequence[str] | None = None) -> int:
    """Run, print, write; 1 when a floor that was measured is not reached."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.detection", description=__doc__)
    parser.add_argument(
        "--parts", type=names_among(PARTS), default=list(PARTS), help=",".join(PARTS)
    )
    parser.add_argument(
        "--size", type=_size, default=1.0, help="of the simulated worlds, above 0 to 1: all"
    )
    parser.add_argument("--json", type=Path, default=Path("build/detection.json"))
    parser.add_argument("--pictures", type=Path, default=Path("build"), help="folder")
    options, console = parser.parse_args(argv), Console(soft_wrap=True, width=180)
    options.pictures.mkdir(parents=True, exist_ok=True)
    reached: dict[str, float] = {}
    found: dict[str, Any] = {
        "date": report.now(),
        "machine": report.machine(),
        "size": options.size,
        "parts": {},
    }
    written = [options.json]
    for name in options.parts:
        begin = time.monotonic()
        try:
            part = PARTS[name](options.size)
        except PartSkipped as skipped:
            console.print(f"\n{name}: not measured: {skipped}")
            continue
        reached |= part.reached
        found["parts"][name] = part.details
        print_details(console, f"{name} ({time.monotonic() - begin:.0f} s)", part.details)
        written += part.draw(options.pictures) if part.draw else []
    console.print("\nfloor:")
    rows.print_rows(console, reached)
    found["floor"] = rows.as_dicts(reached)
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(found, indent=2, ensure_ascii=False) + "\n")
    console.print(f"written: {', '.join(map(str, written))}")
    return int(any(row["holds"] is False for row in found["floor"]))


if __name__ == "__main__":
    sys.exit(main())
