"""The workers, and a supervisor that starts an ended one again, as systemd would."""

import signal
import time
import urllib.error
import urllib.request
from collections import Counter
from dataclasses import dataclass, replace
from http.client import HTTPException

from streams.edges.process.child import free_port
from tests.workers import Site, WorkerProcess

_RESTART_SECONDS = 1.0
_OWNED = "surgewatch_partitions_owned "


@dataclass
class Worker:
    """One place for a worker: its process changes, its name and port stay."""

    name: str
    port: int
    process: WorkerProcess
    down_since: float | None = None
    paused: bool = False


class Fleet:
    """Workers of one site. `tend` is to be called a few times a second."""

    def __init__(self, site: Site) -> None:
        self.workers: list[Worker] = []
        self.leaving: list[Worker] = []
        self.exits: Counter[int] = Counter()
        self._site = site
        self._started = 0

    def add(self) -> Worker:
        """Start one more worker."""
        self._started += 1
        port, name = free_port(), f"worker-{self._started}"
        self.workers.append(Worker(name, port, self._process(name, port)))
        return self.workers[-1]

    def tend(self) -> None:
        """Start again whoever has been down for a second; count the exits by code."""
        now = time.monotonic()
        for worker in [worker for worker in self.leaving if not worker.process.runs]:
            self.leaving.remove(worker)
            self.exits[worker.process.wait(1)] += 1
        for worker in self.workers:
            if worker.process.runs:
                continue
            if worker.down_since is None:
                worker.down_since = now
                self.exits[worker.process.wait(1)] += 1
            elif now - worker.down_since >= _RESTART_SECONDS:
                worker.process = self._process(worker.name, worker.port)
                worker.down_since, worker.paused = None, False

    def stop(self, worker: Worker) -> None:
        """Take a worker away with SIGTERM; it may take its time, while a server is down say."""
        self.workers.remove(worker)
        self.leaving.append(worker)
        worker.process.signal(signal.SIGTERM)

    def pause(self, worker: Worker) -> None:
        """SIGSTOP."""
        worker.paused = True
        worker.process.signal(signal.SIGSTOP)

    def resume(self, worker: Worker) -> None:
        """SIGCONT; nothing if it was started anew meanwhile."""
        if worker.paused:
            worker.process.signal(signal.SIGCONT)
            worker.paused = False

    def unready(self) -> list[str]:
        """Workers whose /readyz is not 200, and what they say; those that should be gone, too."""
        words = {worker.name: _unready(worker) for worker in self.workers}
        words |= {worker.name: "told to end, and still there" for worker in self.leaving}
        return [f"{name}: {why}" for name, why in words.items() if why is not None]

    def owned(self) -> dict[str, int]:
        """How many partitions each worker says that it reads; none when it does not answer."""
        return {worker.name: owned_by(worker) for worker in self.workers}

    def owned_awake(self) -> int:
        """How many partitions those read that are not paused."""
        return sum(owned_by(worker) for worker in self.workers if not worker.paused)

    def kill(self) -> None:
        """End all at once."""
        for worker in self.workers + self.leaving:
            self.resume(worker)
            worker.process.kill()

    def _process(self, name: str, port: int) -> WorkerProcess:
        more = {**self._site.more, "SURGEWATCH_METRICS_PORT": str(port)}
        return WorkerProcess(replace(self._site, more=more), name)


def owned_by(worker: Worker) -> int:
    """How many partitions a worker says that it reads; none when it does not answer."""
    try:
        url = f"http://127.0.0.1:{worker.port}/metrics"
        with urllib.request.urlopen(url, timeout=5) as answer:
            text = answer.read().decode()
    except (OSError, HTTPException):
        return 0
    lines = [line for line in text.splitlines() if line.startswith(_OWNED)]
    return sum(int(float(line.removeprefix(_OWNED))) for line in lines)


def _unready(worker: Worker) -> str | None:
    if not worker.process.runs:
        return "it does not run"
    try:
        url = f"http://127.0.0.1:{worker.port}/readyz"
        with urllib.request.urlopen(url, timeout=5):
            return None
    except urllib.error.HTTPError as error:
        with error:
            return error.read().decode()
    except (OSError, HTTPException) as error:
        return str(error)
