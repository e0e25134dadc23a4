"""The floor: what the benchmark's figures must reach, and whether they do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

from rich import box
from rich.console import Console
from rich.table import Table

_COUNTING_ONLY: Final = ("surgewatch", "surgewatch-count", "aiokafka")
"""Ours, and the bare loop: all others are stream engines."""


@dataclass(frozen=True, slots=True)
class FloorRow:
    """One measure. ``reached`` and ``holds`` are None when it was not measured."""

    what: str
    unit: str
    bound: Literal["at least", "at most"]
    floor: float
    aim: float
    reached: float | None

    @property
    def holds(self) -> bool | None:
        """Whether the floor is reached."""
        if self.reached is None:
            return None
        return (
            self.reached >= self.floor if self.bound == "at least" else self.reached <= self.floor
        )

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self) | {"holds": self.holds}


def speed_rows(found: Mapping[str, Any]) -> list[FloorRow]:
    """Rows of the speed table, from what ``python -m tests.bench`` found.

    An engine that answered wrongly is as one that was not measured.
    """
    engines = {one["name"]: one for one in found["engines"] if not one["wrong"]}
    cpu = {name: float(one["cpu_seconds_per_million"]) for name, one in engines.items()}
    speed = {name: float(one["events_per_second"]) for name, one in engines.items()}
    peers = {name: of for name, of in speed.items() if name not in _COUNTING_ONLY}
    next_name = max(peers, key=lambda name: peers[name], default="none")

    def least(what: str, floor: float, aim: float, over: Any, under: Any) -> FloorRow:
        return FloorRow(what, "times", "at least", floor, aim, ratio(over, under))

    ours, bare = cpu.get("surgewatch"), cpu.get("aiokafka")
    # without Kafka Streams, which is the fastest, the next one says little
    next_speed = peers.get(next_name) if "kafka-streams" in peers else None
    many = found.get("many")
    many_cpu = many["cpu_seconds_per_million"] if many else None
    whole = "whole job, CPU a record: times less than"
    wall = "whole job, records a second: times those of"
    return [
        least(f"{whole} the bare aiokafka loop", 1.0, 1.5, bare, ours),
        least(
            f"{wall} the next stream engine ({next_name})",
            *(1.5, 1.5, speed.get("surgewatch"), next_speed),
        ),
        least(
            f"{wall} the bare aiokafka loop, which only counts",
            *(1.5, 1.5, speed.get("surgewatch"), speed.get("aiokafka")),
        ),
        least(f"{whole} stock Faust with a dictionary", 20, 30, cpu.get("faust-dict"), ours),
        least(f"{whole} stock Faust with a Table", 80, 120, cpu.get("faust-table"), ours),
        FloorRow(
            *("count only, CPU a record", "µs", "at most", 2.0, 1.3, cpu.get("surgewatch-count"))
        ),
        FloorRow(
            f"{_millions(many)} records: times the CPU a record of {_millions(engines)}",
            *("times", "at most", 1.1, 1.1, ratio(many_cpu, ours)),
        ),
        FloorRow(
            "record in Kafka to surge announced at half of the full rate, p99",
            *("s", "at most", 1.0, 0.3, _p99_seconds(found.get("latency"))),
        ),
    ]


def _p99_seconds(latency: Mapping[str, Any] | None) -> float | None:
    """The delay; None where the producer fell behind: a lower rate says nothing about this one."""
    if latency is None:
        return None
    asked, reached = latency["records_per_second_asked"], latency["records_per_second"]
    return float(latency["p99_ms"]) / 1000 if reached >= 0.95 * asked else None


def ratio(over: float | None, under: float | None) -> float | None:
    """One over the other; None when either is not known."""
    return None if over is None or not under else round(over / under, 3)


def _millions(found: Mapping[str, Any] | None) -> str:
    one = found.get("surgewatch", found) if found else None
    return f"{one['records'] / 1e6:g} million" if one and "records" in one else "more"


def print_floor(console: Console, rows: Sequence[FloorRow]) -> None:
    """Print the rows as a table."""
    table = Table(box=box.MARKDOWN)
    for column in ("measure", "floor", "aim", "reached", "holds"):
        table.add_column(column, justify="left" if column == "measure" else "right")
    for row in rows:
        sign = "≥" if row.bound == "at least" else "≤"
        table.add_row(
            row.what,
            f"{sign} {row.floor:g} {row.unit}",
            f"{row.aim:g}",
            "not measured" if row.reached is None else f"{row.reached:.3g}",
            {True: "yes", False: "NO", None: "-"}[row.holds],
        )
    console.print(table)


def as_dicts(rows: Iterable[FloorRow]) -> list[dict[str, Any]]:
    """For JSON."""
    return [row.as_dict() for row in rows]
