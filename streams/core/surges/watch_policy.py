"""What a watch looks for."""

from dataclasses import dataclass

from streams.core.surges.paging import PagePolicy
from streams.core.surges.rules import Rule
from streams.core.surges.surge import Kind


@dataclass(frozen=True, slots=True)
class WatchPolicy:
    """What a watch looks for. ``name`` is the series' short name in the store.

    ``page``: when the model's surges are pages; None: never, scores are no rates.
    """

    name: str
    kind: Kind
    rule: Rule
    detector: str
    false_alarm_rate: float
    page: PagePolicy | None = None

    @property
    def subject(self) -> str:
        """What its surges are of, in their names: a creator may have the id of a post."""
        return "posts" if self.name == "posts" else self.kind
