"""What survives which fault, by the record: ``python -m tests.chaos``. Not a test.

Rounds of seeded faults on a real Kafka, a real Redis and real workers. After each round every
count, dead letter and surge is held against a ledger of what stands in Kafka; the first
difference ends the run with the seed, the round and the key, and keeps the logs.
"""

import argparse
import random
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from tests.chaos import report
from tests.chaos.run import RoundFailed, run
from tests.servers import ServerMissing


def told_options(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--seed", type=int, default=None, help="default: chosen, and printed")
    parser.add_argument(
        "--lateness-seconds", type=int, default=0, help="hold records back so long; try 60"
    )
    parser.add_argument("--only", default="", help="kinds of fault with one of these words: a,b")
    parser.add_argument("--json", type=Path, default=Path("build/chaos.json"))
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Run; 0 when everything held, 1 when not, 2 when a server's program is missing."""
    options = told_options(argv)
    console = Console()
    seed = random.SystemRandom().randrange(1_000_000) if options.seed is None else options.seed
    folder = Path(tempfile.mkdtemp(prefix="surgewatch-chaos-"))

    def say(words: str) -> None:
        console.print(words, highlight=False, markup=False, soft_wrap=True)

    say(f"seed {seed}, {options.rounds} rounds; logs in {folder}")
    try:
        result = run(folder, seed, options.rounds, say, options.only, options.lateness_seconds)
    except ServerMissing as missing:
        say(str(missing))
        return 2
    except RoundFailed as failed:
        say(f"FAILED: {failed}\nlogs are kept in {folder}")
        report.write_json(failed.result, options.json)
        return 1
    report.write_json(result, options.json)
    console.print(report.table_of(result))
    say(report.account_of(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
