"""What tests ask of the system about a process."""

from __future__ import annotations

import time
from pathlib import Path


def process_runs(pid: int) -> bool:
    """Whether it runs. One that ended and waits for the machine's init to take it does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in {"Z", "X"}


def wait_until_gone(pid: int, *, limit_seconds: float) -> None:
    """Return when it has ended; fails the test when the limit has passed."""
    deadline = time.monotonic() + limit_seconds
    while process_runs(pid):
        assert time.monotonic() < deadline, f"process {pid} still runs after {limit_seconds} s"
        time.sleep(0.01)
