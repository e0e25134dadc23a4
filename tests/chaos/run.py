"""The rounds of a run."""

import time
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests.chaos.checks import (
    Account,
    ChaosFailed,
    check,
    check_commits,
    reading_again,
    settle,
)
from tests.chaos.faults import KINDS
from tests.chaos.plan import Due, Plan, plan_of
from tests.chaos.stage import Stage
from tests.servers import ServerMissing

_AT_ONCE = 25_000
_BURSTS = (200_000, 250_000)
_BURST_SECONDS_MAX = 120.0
_READ_SHARES = (0.0, 0.5)
"""Of a burst, so much is stored before its faults begin."""
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
    late: int = 0
    too_late: int = 0
    event_hours: float = 0.0
    dead_repeats: int = 0
    workers_paused: int = 0
    paused_taken_over: int = 0
    unstored_at_fault: list[int] = field(default_factory=list)
    """Of each round with a burst: records of it not yet stored as its faults began."""
    held_seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    full_disk: str = ""

    def take(self, stage: Stage) -> None:
        """Take up the stage's figures after a round."""
        self.records, self.exits = stage.truth.records, stage.fleet.exits
        self.surges_told, self.dead_letters = len(stage.truth.told), len(stage.truth.dead)
        self.repeats, self.dead_repeats = stage.truth.repeats, stage.truth.dead_repeats
        self.late, self.too_late = stage.truth.late, stage.truth.too_late
        self.event_hours = stage.truth.event_ms / 3_600_000
        self.workers_paused = stage.pauses.total()
        self.paused_taken_over = stage.pauses[True]
        self.full_disk = "tmpfs" if stage.redis.disk is not None else "file-size limit"
        self.repairs = stage.redis.repairs
        self.commits_looked_at = stage.commits.looks
        logs = stage.site.folder.glob("worker-*.log")
        self.recounts = sum(log.read_text().count(_RECOUNTED) for log in logs)


class RoundFailed(Exception):
    """A round whose checks failed; the message names seed, round, faults and difference.

    ``result`` has the figures up to it.
    """

    def __init__(self, result: Result, number: int, plan: Plan | None, cause: Exception) -> None:
        self.result, self.number = result, number
        faults = "no fault yet" if plan is None else " with ".join(plan.names)
        ours = isinstance(cause, ChaosFailed | AssertionError)
        words = str(cause) if ours else f"{type(cause).__name__}: {cause}"
        super().__init__(f"seed {result.seed}, round {number} ({faults}):\n{words}")


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
    plan: Plan | None = None
    try:
        stage = Stage.built(folder, seed, rounds, lateness_seconds)
        due = Due([kind for kind in KINDS if any(word in kind for word in only.split(","))])
        with stage.kept:
            stage.wait_for(lambda: not stage.fleet.unready(), 60)
            for _ in range(rounds):
                plan = plan_of(stage, due)
                try:
                    words = _round(stage, plan, result)
                finally:
                    result.take(stage)
                result.rounds += 1
                say(f"round {result.rounds}: {words}; {_so_far(result)}")
    except ServerMissing:
        raise
    except Exception as cause:  # re-raised below: whatever it is, seed and round are told with it
        raise RoundFailed(result, result.rounds + 1, plan, cause) from cause
    finally:
        result.seconds = time.monotonic() - began
    return result


def _so_far(result: Result) -> str:
    return (
        f"{result.records:,} records exact, {result.surges_told} surges, "
        f"{result.dead_letters} dead letters"
    )


def _round(stage: Stage, plan: Plan, result: Result) -> str:
    """Do what is planned and check; what was done, in words."""
    words = [f"{' with '.join(plan.names)}, {plan.speed}"]
    if plan.speed == "burst":
        result.unstored_at_fault.append(_burst(stage))
        words.append(f"{result.unstored_at_fault[-1]:,} records not stored yet")
    elif plan.speed == "full speed":
        stage.stream.owe(_AT_ONCE)
        stage.stream.per_second = _FULL_PER_SECOND
        stage.wait(stage.chance.uniform(0.5, 3))
        check_commits(stage)
    stage.commits.on = not plan.takes_redis_back
    repairs = stage.redis.repairs
    held = plan.run(stage)
    stage.commits.on &= stage.redis.repairs == repairs
    seconds = reading_again(stage)
    settle(stage)
    stage.commits.on = True
    check(stage, result.account)
    for name, lasted in held:
        result.held_seconds[name].append(lasted)
    for name in set(plan.names):
        result.seconds_to_recover[name].append(seconds)
    if held:
        words.append("held " + ", ".join(f"{lasted:.0f} s" for _, lasted in reversed(held)))
    return ", ".join(words) + f": reading after {seconds:.1f} s"


def _burst(stage: Stage) -> int:
    """Send a burst that is read while the faults begin; how much of it is not stored by then."""
    records = stage.chance.choice(_BURSTS)
    stage.stream.make_burst(records)
    if not stage.wait_for(lambda: stage.stream.burst_made, _BURST_SECONDS_MAX):
        msg = f"the producer made no burst within {_BURST_SECONDS_MAX:g} s"
        raise ChaosFailed(msg)
    goal = records * stage.chance.uniform(*_READ_SHARES)
    before = sum(stage.stored().values())

    def stored() -> int:
        return sum(stage.stored().values()) - before

    stage.stream.release_burst()
    stage.stream.per_second = _FULL_PER_SECOND
    if not stage.wait_for(lambda: stored() > goal, _BURST_SECONDS_MAX):
        msg = f"{stored():,} of a burst of {records:,} stored within {_BURST_SECONDS_MAX:g} s"
        raise ChaosFailed(msg)
    return max(records - stored(), 0)
