"""The rounds of a run."""

import time
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from streams.edges.child import ChildFailed
from tests.chaos.checks import (
    Account,
    ChaosFailed,
    check,
    check_commits,
    reading_again,
    settle,
    wait_for,
)
from tests.chaos.faults import KINDS
from tests.chaos.plan import Plan, plan_of
from tests.chaos.stage import Stage

_BURST = 25_000
_RECOUNTED = "is dropped and counted anew"
_FULL_PER_SECOND = 4_000


@dataclass
class Result:
    """Figures of a whole run."""

    seed: int
    rounds: int = 0
    records: int = 0
    account: Account = field(default_factory=Account)
    surges_told: int = 0
    dead_letters: int = 0
    exits: Counter[int] = field(default_factory=Counter)
    seconds: float = 0.0
    seconds_to_recover: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    recounts: int = 0
    repairs: int = 0
    repeats: int = 0
    commits_looked_at: int = 0

    def take(self, stage: Stage) -> None:
        """Take up the stage's figures after a round."""
        self.records, self.exits = stage.truth.records, stage.fleet.exits
        self.surges_told, self.dead_letters = len(stage.truth.told), len(stage.truth.dead)
        self.repeats = stage.truth.repeats
        self.repairs = stage.redis.repairs
        self.commits_looked_at = stage.commits.looks
        logs = stage.site.folder.glob("worker-*.log")
        self.recounts = sum(log.read_text().count(_RECOUNTED) for log in logs)


class RoundFailed(Exception):
    """A round whose checks failed; the message names seed, round, faults and difference.

    ``result`` has the figures up to it.
    """

    def __init__(self, result: Result, number: int, plan: Plan, cause: Exception) -> None:
        self.result, self.number = result, number
        faults = " with ".join(plan.names)
        super().__init__(f"seed {result.seed}, round {number} ({faults}):\n{cause}")


def run(
    folder: Path,
    seed: int,
    rounds: int,
    say: Callable[[str], None],
    only: str = "",
    lateness_seconds: int = 0,
) -> Result:
    """Run the rounds. Raises RoundFailed, ServerMissing.

    With ``lateness_seconds`` workers hold records back. It must be longer than a fault lasts: what
    is held is then let go at the end of a round only, as the ledger takes it.
    """
    began = time.monotonic()
    result = Result(seed)
    stage = Stage.built(folder, seed, rounds, lateness_seconds)
    kinds = [kind for kind in KINDS if any(word in kind for word in only.split(","))]
    with stage.kept:
        wait_for(stage, lambda: not stage.fleet.unready(), 60)
        to_come: list[str] = []
        for number in range(1, rounds + 1):
            plan = plan_of(stage, to_come, kinds)
            try:
                seconds = _round(stage, plan, result.account)
            except (ChaosFailed, AssertionError, ChildFailed) as cause:
                raise RoundFailed(result, number, plan, cause) from cause
            finally:
                result.take(stage)
            result.rounds = number
            for name in set(plan.names):
                result.seconds_to_recover[name].append(seconds)
            speed = "full speed" if plan.full_speed else "at rest"
            say(
                f"round {number}: {' with '.join(plan.names)}, {speed}: reading after "
                f"{seconds:.1f} s; {result.records:,} records exact, {result.surges_told} surges, "
                f"{result.dead_letters} dead letters"
            )
    result.seconds = time.monotonic() - began
    return result


def _round(stage: Stage, plan: Plan, account: Account) -> float:
    if plan.full_speed:
        stage.stream.owe(_BURST)
        stage.stream.per_second = _FULL_PER_SECOND
        stage.wait(stage.chance.uniform(0.5, 3))
        check_commits(stage)
    stage.commits.on = not plan.takes_redis_back
    repairs = stage.redis.repairs
    plan.run(stage)
    stage.commits.on &= stage.redis.repairs == repairs
    seconds = reading_again(stage)
    settle(stage)
    stage.commits.on = True
    check(stage, account)
    return seconds
