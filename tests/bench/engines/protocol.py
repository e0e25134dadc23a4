"""What engines and the benchmark say to each other. Small: it is in every engine's memory."""

import json
import os
import sys
import time
from pathlib import Path
from typing import Any, Final, NamedTuple, NoReturn

SKIPPED_CODE: Final = 3


class Order(NamedTuple):
    """What an engine is to do."""

    name: str
    bootstrap: str
    topic: str
    records: int
    partitions: int
    threshold: int
    folder: str
    environment: dict[str, str]


class Stamp(NamedTuple):
    """A moment of a process: seconds since 1970, CPU seconds since it began."""

    at_seconds: float
    cpu_seconds: float


class Answer(NamedTuple):
    """What an engine did. ``crossed``: creator to time of the crossing record; None: not done.

    An engine that tells who crossed, and not when, gives None for every time.

    ``first`` is taken when the first records are in hand, before any is decoded; ``last`` when
    the last one is counted (and stored, if the engine stores). ``peak_rss_mb``: 10^6 bytes.
    """

    total: int
    largest: int
    crossed: dict[str, int] | dict[str, None] | None
    first: Stamp
    last: Stamp
    peak_rss_mb: float


def order_of(argv: list[str]) -> Order:
    """Read the order from a script's arguments."""
    return Order(**json.loads(argv[1]))


def stamp(pid: int | None = None) -> Stamp:
    """The present moment of this process, or of another one."""
    # Linux makes a process's CPU clock from its number: clock_getcpuclockid(3).
    cpu = time.process_time() if pid is None else time.clock_gettime((~pid << 3) | 2)
    return Stamp(time.time(), cpu)


def memory_mb(what: str, pid: int | str = "self") -> float:
    """Memory of a process in MB (10^6 bytes): ``VmHWM`` is its peak, ``VmRSS`` is now."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{what}:"):
            return int(line.split()[1]) * 1024 / 1e6
    message = f"process {pid} tells no {what}"
    raise LookupError(message)


def answer(**facts: Any) -> None:
    """Print the answer, past whatever has taken ``sys.stdout``."""
    facts.setdefault("peak_rss_mb", memory_mb("VmHWM"))
    os.write(1, json.dumps(Answer(**facts)._asdict()).encode() + b"\n")


def skip(reason: str) -> NoReturn:
    """End: this engine cannot run here."""
    os.write(1, json.dumps({"skipped": reason}).encode() + b"\n")
    sys.exit(SKIPPED_CODE)
