"""Which faults a round has, and in which order they begin and end."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from tests.chaos.faults import KINDS, Fault
from tests.chaos.stage import Stage

_FAULTS_MAX = 3
_OVERLAP_SHARE = 0.5
_FULL_SPEED_SHARE = 0.7
TAKING_BACK = {"Redis cut short", "Redis cut short and killed", "Redis emptied"}
"""`kill -9` of Redis alone does not: the system keeps what it had written to its file."""


@dataclass(frozen=True)
class Plan:
    """What is done in one round: one fault, or up to three that overlap."""

    names: tuple[str, ...]
    faults: tuple[Fault, ...]
    full_speed: bool

    @property
    def takes_redis_back(self) -> bool:
        """Whether Redis forgets what it had stored."""
        return any(name in TAKING_BACK for name in self.names)

    def run(self, stage: Stage) -> None:
        """Begin them one by one, hold them, and end them, the last one first."""
        with ExitStack() as healed:
            for number, fault in enumerate(self.faults):
                if number:
                    stage.wait(stage.chance.uniform(0, 2))
                fault.begin()
                healed.callback(fault.end)
            stage.wait(max(fault.held_seconds for fault in self.faults))


def plan_of(stage: Stage, to_come: list[str], kinds: Sequence[str]) -> Plan:
    """The next round's plan; `to_come` are the kinds still due, refilled when they are out."""
    chance = stage.chance
    if not to_come:
        to_come += chance.sample(kinds, len(kinds))
    chosen = [to_come.pop()]
    while len(chosen) < _FAULTS_MAX and chance.random() < _OVERLAP_SHARE:
        chosen.append(chance.choice(kinds))
    faults: dict[str, Fault] = {}
    names = []
    for number, name in enumerate(chosen):
        fault = KINDS[name](stage)
        place = f"worker {number}" if fault.target == "worker" else fault.target
        if place not in faults:
            faults[place] = fault
            names.append(name)
    return Plan(tuple(names), tuple(faults.values()), chance.random() < _FULL_SPEED_SHARE)
