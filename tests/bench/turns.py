"""Engines in turn: each run is a process of its own, and its answers are held against the truth."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from streams.edges.process.child import ChildProcess
from tests.bench.engines import Engine
from tests.bench.engines.protocol import Order, stamp
from tests.bench.job import Job, Truth
from tests.bench.peers import PeerMissing, peer_python
from tests.bench.stage import PARTITIONS, Stage
from tests.bench.worker_process import ROOT

LIMIT_SECONDS = 300.0
_ERROR_LINES = 3
_NAMES_TOLD = 3
_POLL_SECONDS = 0.02


class EngineSkipped(Exception):
    """The engine cannot run here; the message says why."""


class WrongAnswer(Exception):
    """An engine counted wrongly: the speed of that run means nothing."""


@dataclass(frozen=True, slots=True)
class Run:
    """One run of one engine. CPU is user and system time of the whole process, all threads.

    ``cpu_seconds`` and ``wall_seconds`` are from the first records in hand to the last one
    counted (stored, if the engine stores); ``start_…`` is what came before. ``load_1m`` is the
    machine's one-minute load before the run; ``servers_cpu_seconds`` that of Kafka and Redis.
    """

    records: int
    total: int
    largest: int
    crossed: int | None
    wall_seconds: float
    cpu_seconds: float
    start_wall_seconds: float
    start_cpu_seconds: float
    peak_rss_mb: float
    load_1m: float
    servers_cpu_seconds: dict[str, float]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def run_engine(stage: Stage, engine: Engine, job: Job, truth: Truth, round_no: int) -> Run:
    """Run an engine once. Raises EngineSkipped, WrongAnswer."""
    name = f"{engine.name}-{job.records}-{round_no}"
    folder = stage.folder / name
    folder.mkdir()
    stage.empty_redis()
    stage.make_topics(name, job.topic)
    order = Order(
        name=name,
        bootstrap=stage.kafka.bootstrap,
        topic=job.topic,
        records=job.records,
        partitions=PARTITIONS,
        threshold=job.threshold,
        folder=str(folder),
        environment=stage.variables(name, job.topic, job.threshold),
    )
    load_1m, servers = os.getloadavg()[0], _servers_cpu(stage)
    began_at = time.time()
    told = _told_by(engine, order)
    servers_cpu = {name: cpu - servers[name] for name, cpu in _servers_cpu(stage).items()}
    check(told, truth)
    (first_at, first_cpu), (last_at, last_cpu) = told["first"], told["last"]
    return Run(
        records=job.records,
        total=told["total"],
        largest=told["largest"],
        crossed=None if told["crossed"] is None else len(told["crossed"]),
        wall_seconds=last_at - first_at,
        cpu_seconds=last_cpu - first_cpu,
        start_wall_seconds=first_at - began_at,
        start_cpu_seconds=first_cpu,
        peak_rss_mb=told["peak_rss_mb"],
        load_1m=load_1m,
        servers_cpu_seconds=servers_cpu,
    )


def check(told: Mapping[str, Any], truth: Truth) -> None:
    """Hold an engine's answers against the truth. Raises WrongAnswer."""
    for what in ("total", "largest", "crossed"):
        right, found = getattr(truth, what), told[what]
        if what == "crossed":
            if found is None:
                continue
            if set(found.values()) == {None}:  # it tells who crossed, and not when
                right = dict.fromkeys(right)
        if found != right:
            message = f"{what} {_difference(found, right)}"
            raise WrongAnswer(message)


def _difference(found: Any, right: Any) -> str:
    """What is wrong, without what is right: the creators who crossed may be thousands."""
    if not isinstance(right, dict):
        return f"is {found:,}, not {right:,}"
    lacking, more = sorted(right.keys() - found.keys()), sorted(found.keys() - right.keys())
    differing = sorted(name for name in found.keys() & right.keys() if found[name] != right[name])
    lots = (("lacks", lacking), ("has", more), ("has another time for", differing))
    return f"of {len(right):,} " + ", ".join(
        f"{verb} {', '.join(names[:_NAMES_TOLD])}"
        + (f" and {len(names) - _NAMES_TOLD:,} more" if len(names) > _NAMES_TOLD else "")
        for verb, names in lots
        if names
    )


def _told_by(engine: Engine, order: Order) -> dict[str, Any]:
    """Run an engine's script to its end; what it told. Raises EngineSkipped."""
    try:
        python = str(peer_python(engine.peer)) if engine.peer else sys.executable
    except PeerMissing as missing:
        raise EngineSkipped(str(missing)) from missing
    command = [python, "-m", f"tests.bench.engines.{engine.module}", json.dumps(order._asdict())]
    log = Path(order.folder) / "engine.log"
    child = ChildProcess(engine.name, command, log)
    child.start({**os.environ, "PYTHONPATH": str(ROOT)})
    deadline = time.monotonic() + LIMIT_SECONDS
    while child.runs:
        if time.monotonic() > deadline:
            child.kill()
            message = f"not done within {LIMIT_SECONDS:g} s"
            raise EngineSkipped(message)
        time.sleep(_POLL_SECONDS)
    lines = log.read_text(errors="replace").splitlines()
    told = [line for line in lines if line.startswith(('{"total":', '{"skipped"'))]
    if not told:
        message = f"ended without an answer: {' | '.join(lines[-_ERROR_LINES:])}"
        raise EngineSkipped(message)
    answer: dict[str, Any] = json.loads(told[-1])
    if "skipped" in answer:
        raise EngineSkipped(answer["skipped"])
    return answer


def _servers_cpu(stage: Stage) -> dict[str, float]:
    servers = (stage.kafka, stage.redis)
    return {
        server.name: stamp(server.pid).cpu_seconds for server in servers if server.pid is not None
    }
