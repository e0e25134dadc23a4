"""A worker that prints its counters when it ends, and whose clocks a test can set.

As a program: run by ``ToldWorker``. The real command's exit codes and lines, without its options.
"""

import os
import re
import sys
from pathlib import Path
from typing import Final

from prometheus_client import generate_latest

from streams.app.worker.command import run_quickly
from streams.app.worker.worker import Worker
from streams.edges.errors import SurgewatchError
from streams.edges.logs.output import set_up_logs
from streams.edges.process.clock import Clocks, monotonic_ms, wall_ms
from streams.edges.settings.reading import read_settings
from tests.workers import Site, WorkerProcess

_SHIFT_FILE: Final = "TOLD_WORKER_SHIFT_FILE"
_LINE: Final = re.compile(r'surgewatch_(\w+?)_total\{\w+="([^"]+)"\} (\S+)')


class ToldWorker(WorkerProcess):
    """The worker as a process."""

    arguments = ("-m", "tests.e2e.told_worker")

    def __init__(self, site: Site, name: str, shift_ms: int = 0) -> None:
        self._shift_file = site.folder / f"{name}.shift"
        self.shift_clock(shift_ms)
        site.more = {**site.more, _SHIFT_FILE: str(self._shift_file)}
        super().__init__(site, name)

    def shift_clock(self, by_ms: int, steady_by_ms: int = 0) -> None:
        """Set its wall clock to the true time and so much; also the monotonic one if so told."""
        new = self._shift_file.with_suffix(".new")
        new.write_text(f"{by_ms} {steady_by_ms}")
        new.rename(self._shift_file)

    def counters(self) -> dict[str, float]:
        """Counters with one label, as they stood at its end: ``name:label`` to value."""
        return {f"{name}:{label}": float(n) for name, label, n in _LINE.findall(self.text())}


def assert_plain(worker: WorkerProcess, *words: str) -> None:
    """The worker ended with one line that has these words."""
    lines = [line for line in worker.text().splitlines() if line.startswith("surgewatch: ")]
    assert len(lines) == 1, worker.text()
    for word in words:
        assert word in lines[0]
    assert "Traceback" not in worker.text(), worker.text()


def main() -> int:
    """Run the worker; its exit code."""
    settings = read_settings({k: v for k, v in os.environ.items() if k != _SHIFT_FILE})
    logs = set_up_logs(settings)
    shift_file = Path(os.environ[_SHIFT_FILE])

    def shift_ms(place: int) -> int:
        return int(shift_file.read_text().split()[place])

    clocks = Clocks(lambda: wall_ms() + shift_ms(0), lambda: monotonic_ms() + shift_ms(1))
    worker = Worker(settings, clocks, logs)
    code = 0
    try:
        run_quickly(worker.run())
    except SurgewatchError as error:
        sys.stderr.write(f"surgewatch: {error}\n")
        code = error.exit_code
    sys.stderr.write(generate_latest(worker.registry).decode())
    return code


if __name__ == "__main__":
    sys.exit(main())
