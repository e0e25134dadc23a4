"""Which faults a round has, and in which order they begin and end."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from time import monotonic
from typing import Literal, get_args

from tests.chaos.faults import KINDS, Fault
from tests.chaos.stage import Stage

_FAULTS_MAX = 3
_OVERLAP_SHARE = 0.5
Speed = Literal["at rest", "full speed", "burst"]
SPEEDS: tuple[Speed, ...] = get_args(Speed)
Held = tuple[str, float]
TAKING_BACK = {"Redis cut short", "Redis cut short and killed", "Redis emptied"}
"""`kill -9` of Redis alone does not: the system keeps what it had written to its file."""


@dataclass(frozen=True)
class Plan:
    """What is done in one round: one fault, or up to three that overlap, and at which speed."""

    names: tuple[str, ...]
    faults: tuple[Fault, ...]
    speed: Speed

    @property
    def takes_redis_back(self) -> bool:
        """Whether Redis forgets what it had stored."""
        return any(name in TAKING_BACK for name in self.names)

    def run(self, stage: Stage) -> list[Held]:
        """Begin them one by one, hold them, and end them, the last one first; who lasted how long.

        What is done at once, a kill say, is not held.
        """
        held: list[Held] = []

        def end(name: str, fault: Fault, began: float) -> None:
            fault.end()
            if fault.held_seconds:
                held.append((name, monotonic() - began))

        with ExitStack() as healed:
            for number, (name, fault) in enumerate(zip(self.names, self.faults, strict=True)):
                if number:
                    stage.wait(stage.chance.uniform(0, 2))
                fault.begin()
                healed.callback(end, name, fault, monotonic())
            stage.wait(max(fault.held_seconds for fault in self.faults))
        return held


@dataclass
class Due:
    """Kinds of fault and speeds that are still due: each comes before one comes again."""

    kinds: Sequence[str]
    kinds_left: list[str] = field(default_factory=list)
    speeds_left: list[Speed] = field(default_factory=list)


def plan_of(stage: Stage, due: Due) -> Plan:
    """The next round's plan."""
    chance, kinds = stage.chance, due.kinds
    if not due.kinds_left:
        due.kinds_left += chance.sample(kinds, len(kinds))
    if not due.speeds_left:
        due.speeds_left += chance.sample(SPEEDS, len(SPEEDS))
    chosen = [due.kinds_left.pop()]
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
    return Plan(tuple(names), tuple(faults.values()), due.speeds_left.pop())
