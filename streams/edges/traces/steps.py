"""A step of a chunk's way, as traces tell it."""

from dataclasses import dataclass, field

Attributes = dict[str, str | int | float]


@dataclass(slots=True)
class Step:
    """A part of a chunk's way, in Unix time; ``within``: the step that it is a part of."""

    name: str
    began_ns: int
    ended_ns: int
    attributes: Attributes = field(default_factory=dict)
    within: str | None = None
