"""Rounds: engines take turns, and what each turn gave: a run, a reason, or a wrong answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from rich.console import Console

from tests.bench.engines import OURS, Engine
from tests.bench.job import Job, Truth
from tests.bench.stage import Stage
from tests.bench.turns import EngineSkipped, Run, WrongAnswer

MANY: Final = "surgewatch-many"

RunEngine = Callable[[Stage, Engine, Job, Truth, int], Run]


class Turn(NamedTuple):
    """An engine's turn in each round: an engine on one job."""

    name: str
    engine: Engine
    job: Job


class Rounds(NamedTuple):
    """What all rounds gave, by turn: runs with right answers, why skipped, what was wrong."""

    runs: dict[str, list[Run]]
    skipped: dict[str, str]
    wrong: dict[str, list[str]]


def turns_of(engines: Sequence[Engine], records_max: int, records_many: int) -> list[Turn]:
    """What runs in each round; slow engines get a shorter job of the same kind."""
    turns = []
    for engine in engines:
        records = min(records_max, engine.records_max or records_max)
        turns.append(Turn(engine.name, engine, Job(records, topic=f"follows-{records}")))
        if engine.name == "surgewatch" and records_many:
            many = Job(records_many, topic=f"follows-{records_many}")
            turns.append(Turn(MANY, engine, many))
    return turns


def run_rounds(
    stage: Stage, turns: Sequence[Turn], rounds: int, run: RunEngine, console: Console
) -> Rounds:
    """Take all turns of all rounds. Raises WrongAnswer for an engine of ours only."""
    truths = _fill_topics(stage, turns, console)
    found = Rounds({}, {}, {})
    for round_no in range(rounds):
        for turn in turns:
            if turn.name in found.skipped:
                continue
            told = f"round {round_no + 1}: {turn.name}"
            try:
                one = run(stage, turn.engine, turn.job, truths[turn.job.topic], round_no)
            except EngineSkipped as reason:
                found.skipped[turn.name] = str(reason)
                console.print(f"{told} skipped: {reason}")
            except WrongAnswer as answer:
                if turn.engine.name in OURS:
                    message = f"{told}: {answer}"
                    raise WrongAnswer(message) from answer
                found.wrong.setdefault(turn.name, []).append(f"round {round_no + 1}: {answer}")
                console.print(f"{told} WRONG: {answer}")
            else:
                found.runs.setdefault(turn.name, []).append(one)
                console.print(
                    f"{told}: {one.records / one.wall_seconds:,.0f} events/s, "
                    f"{one.cpu_seconds / one.records * 1e6:.2f} µs CPU a record, "
                    f"load before {one.load_1m:.1f}"
                )
    whole = {name: runs for name, runs in found.runs.items() if name not in found.skipped}
    return found._replace(runs=whole)


def _fill_topics(stage: Stage, turns: Sequence[Turn], console: Console) -> dict[str, Truth]:
    """Fill each job's topic once; what is right, by topic."""
    truths: dict[str, Truth] = {}
    for job in (turn.job for turn in turns):
        if job.topic not in truths:
            console.print(f"filling {job.topic}: records of {job.record_bytes:.0f} bytes")
            stage.fill(job.topic, job.batches())
            truths[job.topic] = job.truth()
    return truths
