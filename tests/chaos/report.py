"""The figures of a run, for people and for programs."""

import json
from pathlib import Path
from statistics import median
from typing import Any

from rich.table import Table

from tests.chaos.run import Result


def figures_of(result: Result) -> dict[str, Any]:
    """What `build/chaos.json` holds."""
    account = result.account
    return {
        "rounds": result.rounds,
        "records": result.records,
        "lost": account.lost,
        "duplicated": account.duplicated,
        "surges_missing": account.surges_missing,
        "surges_contradicting": account.surges_contradicting,
        "zombies": account.zombies,
        "seconds_to_recover": {
            fault: {
                "all": [round(value, 1) for value in seconds],
                "p50": round(median(seconds), 1),
                "max": round(max(seconds), 1),
            }
            for fault, seconds in sorted(result.seconds_to_recover.items())
        },
        "seed": result.seed,
        "seconds": round(result.seconds),
        "surges": result.surges_told,
        "dead_letters": result.dead_letters,
        "commits_looked_at": result.commits_looked_at,
        "repeated_upstream": result.repeats,
        "recounts": result.recounts,
        "redis_files_repaired": result.repairs,
        "dead_repeats": result.dead_repeats,
        "event_hours": round(result.event_hours, 1),
        "late": result.late,
        "too_late": result.too_late,
        "workers_paused": result.workers_paused,
        "paused_taken_over": result.paused_taken_over,
        "bursts": len(result.unstored_at_fault),
        "unstored_at_fault": result.unstored_at_fault,
        "held_seconds": {
            fault: [round(value, 1) for value in seconds]
            for fault, seconds in sorted(result.held_seconds.items())
        },
        "full_disk": result.full_disk,
        "exits": {str(code): count for code, count in sorted(result.exits.items())},
    }


def write_json(result: Result, path: Path) -> None:
    """Write the figures."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(figures_of(result), indent=2) + "\n")


def table_of(result: Result) -> Table:
    """Seconds from a fault's end to reading again, by fault."""
    table = Table(
        title=f"chaos: {result.rounds} rounds, {result.records:,} records, seed {result.seed}"
    )
    table.add_column("fault")
    for name in ("rounds", "p50 s", "max s"):
        table.add_column(name, justify="right")
    for fault, seconds in sorted(result.seconds_to_recover.items()):
        row = (str(len(seconds)), f"{median(seconds):.1f}", f"{max(seconds):.1f}")
        table.add_row(fault, *row)
    return table


def account_of(result: Result) -> str:
    """What went wrong, and what was done, in lines."""
    account = result.account
    return (
        f"lost {account.lost}, duplicated {account.duplicated}; surges missing "
        f"{account.surges_missing}, contradicting {account.surges_contradicting}; "
        f"zombies {account.zombies}; workers' exits {dict(result.exits)}\n"
        f"{result.event_hours:.1f} hours of event time, {result.late:,} records late, "
        f"{result.too_late:,} too late to count, {result.repeats:,} repeats; "
        f"{result.dead_letters:,} dead letters, {result.dead_repeats:,} told once more\n"
        f"{len(result.unstored_at_fault)} bursts, not stored as faults began: "
        f"{_range_of(result.unstored_at_fault)}; {result.workers_paused} paused workers woken, "
        f"{result.paused_taken_over} of them after others had all partitions\n"
        f"Redis' disk full by {result.full_disk}; its files repaired {result.repairs} times; "
        f"partitions counted anew {result.recounts}; {result.seconds:.0f} s"
    )


def _range_of(values: list[int]) -> str:
    return f"{min(values):,} to {max(values):,}" if values else "none"
