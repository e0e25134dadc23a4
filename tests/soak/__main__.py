"""Flat for hours? ``python -m tests.soak --hours 1``. Not a test.

A worker on real Kafka and Redis counts at a share of what this machine can do with the sender on
it, 240 times as fast as a platform lives: an hour is ten days. Memory, files, lag, delays and
stops are looked at, and in the end every count is compared.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from rich.console import Console

from streams.edges.process.child import ChildFailed
from tests.bench.floor import as_dicts, print_floor
from tests.servers import ServerMissing
from tests.soak.run import figures_of, rows_of, soak


def main(argv: Sequence[str] | None = None) -> int:
    """Run; 0 when all of the floor holds, 1 when not, 2 when a server's program is missing."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--hours", type=float, default=1.0)
    parser.add_argument("--share", type=float, default=0.8, help="of the machine's limit")
    parser.add_argument("--json", type=Path, default=Path("build/soak.json"))
    options = parser.parse_args(argv)
    console = Console(soft_wrap=True)
    folder = Path(tempfile.mkdtemp(prefix="surgewatch-soak-"))

    def say(words: str) -> None:
        console.print(words, highlight=False, markup=False)

    try:
        found = soak(folder, options.hours, options.share, say)
    except ServerMissing as missing:
        say(str(missing))
        return 2
    except ChildFailed as failed:
        say(f"FAILED: {failed}\nlogs are kept in {folder}")
        return 1
    rows = rows_of(found)
    told = {**figures_of(found), "floor": as_dicts(rows)}
    told["samples"] = [asdict(one) for one in found.samples]
    told["at_rest"] = [asdict(one) for one in found.at_rest]
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(told))
    say("; ".join(f"{name}: {value}" for name, value in figures_of(found).items()))
    print_floor(console, rows)
    shutil.rmtree(folder, ignore_errors=True)
    return 0 if all(row.holds is not False for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
