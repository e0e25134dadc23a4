"""What the demo knows at a moment: how far the telling and the worker are, and what was told."""

from collections import deque
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np

from streams.app.demo.story import Cast, cast_of
from streams.core.surges.surge import State, Surge
from streams.core.time.buckets import BUCKET_MS
from streams.core.worlds.platform import HOUR_MS, World
from streams.core.worlds.simulated_delivery import WorldStep
from streams.core.worlds.truth import Truth, TruthLedger
from streams.edges.process.worker_signs import WorkerSigns
from streams.edges.settings.list import Settings

HISTORY_LEN: Final = 120
"""Samples of rate and lag that are kept: a minute of them."""

TELLING: Final = "telling the story"
"""The phase in which there is a story to show; the others are shown by their own words."""


@dataclass(frozen=True, slots=True)
class SurgeRow:
    """One surge: as it was opened, and what became of it.

    ``delay_seconds``: from the hand-over of its record to the broker until it was read here.
    """

    opened: Surge
    delay_seconds: float | None
    latest: Surge
    grown: int = 0

    @property
    def state(self) -> State:
        """What has become of it, whether or not late records have amended it since."""
        if self.latest.state != "amended":
            return self.latest.state
        if self.latest.closed_ms is not None:
            return "closed"
        return "grown" if self.grown else "opened"


@dataclass(slots=True)
class DemoState:
    """Filled by the demo's tasks, shown by its view. Seconds are of one monotonic clock."""

    world: World
    settings: Settings
    began_seconds: float
    phase: str = "starting"
    address: str | None = None
    sent: int = 0
    told_to_ms: int | None = None
    signs: WorkerSigns | None = None
    rates: deque[float] = field(default_factory=lambda: deque(maxlen=HISTORY_LEN))
    lags: deque[float] = field(default_factory=lambda: deque(maxlen=HISTORY_LEN))
    rows: dict[str, SurgeRow] = field(default_factory=dict)
    announcements: int = 0
    wave_share: float = 0.0
    story_began_seconds: float | None = None
    story_seconds: float = 0.0
    _released: dict[int, float] = field(default_factory=dict)
    _looked: tuple[float, int] | None = None
    _ledger: TruthLedger = field(init=False)

    def __post_init__(self) -> None:
        """Begin to keep the truth."""
        rules = (self.settings.rule_followers_24h, self.settings.rule_comments_24h)
        self._ledger = TruthLedger(self.world, *rules)

    @property
    def cast(self) -> Cast:
        """Who plays."""
        return cast_of(self.world)

    @property
    def hours(self) -> float:
        """Event time told so far."""
        return 0.0 if self.told_to_ms is None else self.hours_at(self.told_to_ms)

    @property
    def read(self) -> int:
        """Records that the worker has taken."""
        return 0 if self.signs is None else self.signs.records

    @property
    def lag(self) -> int:
        """Records that were sent and are not known to be taken: those since the last look too."""
        return max(0, self.sent - self.read)

    @property
    def lag_seen(self) -> int:
        """Records that were sent and not taken when the worker was asked last."""
        return int(self.lags[-1]) if self.lags else 0

    def hours_at(self, at_ms: int) -> float:
        """Hours of the story at an event time."""
        return (at_ms - self.world.start_ms) / HOUR_MS

    def truth(self) -> Truth:
        """What is true of everything told so far."""
        return self._ledger.truth()

    def release(self, step: WorldStep, now_seconds: float) -> None:
        """A step's records are about to be handed to the broker."""
        if self.story_began_seconds is None:
            self.story_began_seconds = now_seconds
        self._released[step.start_ms // BUCKET_MS] = now_seconds

    def tell(self, step: WorldStep, now_seconds: float) -> None:
        """A step's records were handed to the broker."""
        self._ledger.take(step)
        self.sent += len(step.follows) + len(step.comments)
        self.told_to_ms = step.end_ms
        if self.story_began_seconds is not None:
            self.story_seconds = now_seconds - self.story_began_seconds
        if len(step.follows):
            new = int(np.count_nonzero(step.follows.user >= self.world.policy.users))
            self.wave_share = new / len(step.follows)

    def look(self, signs: WorkerSigns, now_seconds: float) -> None:
        """The worker was asked how far it is."""
        if self._looked is not None:
            before_seconds, before = self._looked
            self.rates.append((signs.records - before) / max(now_seconds - before_seconds, 1e-3))
        self._looked = (now_seconds, signs.records)
        self.signs = signs
        self.lags.append(float(self.lag))

    def hear(self, surge: Surge, now_seconds: float) -> SurgeRow:
        """A surge was announced; gives what is known of it now."""
        self.announcements += 1
        row = self.rows.get(surge.surge_id)
        if row is None:
            row = SurgeRow(surge, self._delay_seconds(surge, now_seconds), surge)
        else:
            row = replace(row, latest=surge, grown=row.grown + (surge.state == "grown"))
        self.rows[surge.surge_id] = row
        return row

    def _delay_seconds(self, surge: Surge, now_seconds: float) -> float | None:
        released = self._released.get(surge.at_ms // BUCKET_MS)
        return None if released is None else max(0.0, now_seconds - released)
