"""Whether a wave lasts, of what, and its factors for the keys that it lifts.

When a bucket has closed, the totals of all cohorts, languages, regions and of the platform are set
against what is usual of them (`levels.py`): once by whose creators they are, once by who came.
One that is far above, by the mean of one to four buckets, begins a wave, and so do accounts that
are far younger than usual (`young.py`); `begin.py` has the rules. As long as it lasts each cohort
has a factor: its total over what its keys' rates add up to, drawn toward the region's and the
platform's where it is small.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from streams.core.detection.block_tables import Floats, Ints
from streams.core.waves.begin import (
    BEFORE,
    EXCESS_MIN,
    LIFTED,
    LIFTED_SIGMAS,
    TELLING,
    Recent,
    Rules,
    begun_in,
    with_young,
)
from streams.core.waves.factors import FACTOR_MAX, FACTOR_MIN
from streams.core.waves.levels import Levels
from streams.core.waves.nodes import PLATFORM, SIDES, Nodes
from streams.core.waves.span import Above, LevelSpan
from streams.core.waves.sums import (
    FIRST,
    RAW,
    ROWS,
    TOLD,
    busy_of,
    plain_count_of,
    plain_totals_of,
    stacked,
    totals_of,
)
from streams.core.waves.young import Evidence, Young

Names = Sequence[tuple[str, str]]


_QUIET_BUCKETS: Final = 6
_WEIGHT: Final = 20.0
"""Events that its region's factor weighs against a cohort's own, and so on."""
_LASTS_MAX: Final = 2 * 288
"""A wave of two days is the usual now."""
_SPAN_MAX: Final = 64
"""Buckets that close together: each has all rows of the levels for itself."""


class Lasting(msgspec.Struct, gc=False):
    """The wave that lasts: the first bucket it was seen in, the columns that hold it.

    Column 2n is node n by whose creators they are, column 2n + 1 by who came.
    """

    bucket: int
    columns: list[int]
    quiet: int = 0


class Seen(NamedTuple):
    """What a closed bucket came to, by column, and the cohorts' factors (None: no wave).

    ``busy``: how busy it is for each cohort; None: like any other. ``came``: by node, how young
    who came is; None: not told.
    """

    bucket: int
    events: Ints
    above: Above
    lifted: NDArray[np.bool_]
    begun: Ints
    factors: Floats | None = None
    busy: Floats | None = None
    came: Evidence | None = None


class _Counted(NamedTuple):
    """What buckets count, a row a bucket: events by node, totals and how busy it is by column."""

    events: Floats
    totals: Floats
    busy: Floats | None
    """None: all of them are like any other bucket."""
    ages: Floats | None
    """By node what `young.py` counts; None: not asked."""


class _Closed(NamedTuple):
    """What buckets that closed came to."""

    counted: _Counted
    after: list["Waves"]
    """Waves after each of them, up to one in which a wave begins."""
    above: Above
    """Of the last of these."""
    lifted: NDArray[np.bool_] | None
    begun: Ints
    came: Evidence | None

    def seen(self, bucket: int) -> Seen:
        """For those who are told of the last. Columns by who came have as many events as comers."""
        place, lifted = len(self.after) - 1, self.lifted
        events = self.counted.totals[place].astype(np.int64)
        events[::2] = self.counted.events[place]
        if lifted is None:
            lifted = np.zeros(len(events), dtype=np.bool_)
        return Seen(bucket, events, self.above, lifted, self.begun, came=self.came)


class Waves:
    """Levels of all nodes, and the wave that lasts."""

    def __init__(
        self,
        nodes: Nodes | None = None,
        levels: Levels | None = None,
        recent: Sequence[Recent] = (),
        rules: Rules = TELLING,
        young: Young | None = None,
    ) -> None:
        self.nodes, self._levels = nodes or Nodes(), levels or Levels()
        self._recent, self._rules, self._young = recent, rules, young
        self._events_min = min(step.events_min for step in rules)
        self.lasting: Lasting | None = None

    @property
    def can_tell(self) -> bool:
        """Whether the platform's own total is large enough to be judged."""
        if not len(self._levels.known):
            return False
        mean = float(self._levels.means[SIDES * PLATFORM])
        return bool(self._levels.known[SIDES * PLATFORM]) and mean >= self._events_min

    @property
    def may_be_lifted(self) -> bool:
        """Whether the last bucket may belong to a wave, be it one that only the fleet can tell."""
        if self.lasting is not None:
            return True
        if not self._recent:
            return False
        # also of a total too small to be judged here: all partitions' together may be large enough
        last = self._recent[-1].wide(len(self._levels.known))
        far = (last.excess >= EXCESS_MIN) & (last.sigmas >= LIFTED_SIGMAS)
        return bool((far & self._levels.known).any())

    def calm_after(self, bucket: int, sums: Sequence[Ints], names: Names) -> list["Waves"]:
        """Waves after each of the buckets from this one on, with their sums by cohort.

        They end before one in which a wave begins. No wave may last.
        """
        assert self.lasting is None, "what a wave lifts is learnt bucket after bucket"
        after: list[Waves] = []
        while len(after) < len(sums):
            done = len(after)
            waves = after[-1] if after else self
            closed = waves._close(bucket + done, sums[done:], names)
            if len(closed.begun):
                return after + closed.after[:-1]
            after += closed.after
        return after

    def close(self, bucket: int, sums: Ints, names: Names) -> Seen:
        """Close a bucket with its sums by cohort. Buckets are closed one after the other."""
        closed = self._close(bucket, [sums], names)
        usual, busy = self._levels.means, closed.counted.busy
        if busy is not None:
            usual = usual * busy[0]
        after = closed.after[0]
        self._levels, self._recent, self._young = after._levels, after._recent, after._young
        seen, lasting = closed.seen(bucket), self.lasting
        if lasting is None:
            if not len(seen.begun):
                return seen
            self.lasting = Lasting(bucket, seen.begun.tolist())
        else:
            holds = any(bool(seen.lifted[column]) for column in lasting.columns)
            lasting.columns = sorted({*lasting.columns, *seen.begun.tolist()})
            lasting.quiet = 0 if holds or len(seen.begun) else lasting.quiet + 1
            is_usual = bucket - lasting.bucket >= _LASTS_MAX
            if is_usual:
                self._levels.accept(closed.counted.totals[0], seen.lifted)
                if self._young is not None:
                    self._young = self._young.accepted(seen.lifted[1::2])
            if lasting.quiet >= _QUIET_BUCKETS or is_usual:
                self.lasting = None
                return seen
        factors = self._factors(closed.counted.totals[0, ::2], usual[::2])
        if busy is None:
            return seen._replace(factors=factors)
        return seen._replace(factors=factors, busy=busy[0, self.nodes.columns_of_cohorts])

    def state(self) -> dict[str, Any]:
        """All of it as plain values."""
        rows, hours = self._levels.state()
        last = max((place + 1 for place, age in enumerate(rows[0]) if age), default=0)
        return {
            "rows": [row[:last] for row in rows],
            "hours": [[hour, row[:last]] for hour, row in hours.items()],
            "recent": [
                [one.excess[:last].tolist(), one.sigmas[:last].tolist(), one.most]
                for one in (recent.wide(last) for recent in self._recent)
            ],
            "lasting": self.lasting,
            "young": None if self._young is None else self._young.state(),
        }

    def restore(self, state: dict[str, Any], names: Names) -> None:
        """Put a state back."""
        self._levels.restore(state["rows"], dict(state["hours"]))
        self._grow(names)
        self._recent = [
            Recent(np.array(excess, dtype=np.float64), np.array(sigmas, dtype=np.float64), most)
            for excess, sigmas, most in state["recent"]
        ]
        if state["lasting"] is not None:
            self.lasting = msgspec.convert(state["lasting"], Lasting)
        if self._young is not None and state.get("young") is not None:  # earlier versions have none
            self._young = Young.restored(state["young"])

    def _grow(self, names: Names) -> None:
        self.nodes.grow(names)
        self._levels.grow(SIDES * len(self.nodes))

    def _close(self, bucket: int, sums: Sequence[Ints], names: Names) -> _Closed:
        """What these buckets come to, or as many of the first as can close together."""
        self._grow(names)
        counted = self._counted(stacked(sums, len(self.nodes.of_cohorts)))
        last, busy = len(counted.totals) - 1, counted.busy
        span = LevelSpan(self._levels, bucket, counted.totals, 1.0 if busy is None else busy)
        for place in range(last):
            span.see(place)
            span.learn(place, None)
        span.see(last)
        above = span.above
        judged = span.known & (above.expected >= self._events_min)
        mosts = (above.excess * judged).max(axis=1, initial=0.0).tolist()
        aged = [] if self._young is None else self._young.ahead(counted.ages)
        came = [evidence for _, evidence in aged]
        place, begun = begun_in(self._rules, self._recent, (above, judged, mosts), came)
        seen, lifted = above.at(place), None
        if mosts[place] >= LIFTED:
            lifted = (seen.excess >= LIFTED) & (seen.sigmas >= LIFTED_SIGMAS) & judged[place]
        if aged:
            seen, lifted = with_young(seen, lifted, came[place])
        if place == last:
            span.learn(last, lifted if self.lasting is not None or len(begun) else None)
        past = [*self._recent, *map(Recent, above.excess, above.sigmas, mosts)]
        first = len(self._recent) + 1
        after = [
            Waves(
                *(self.nodes, levels, past[: first + later][-BEFORE - 1 :], self._rules),
                aged[later][0] if aged else self._young,
            )
            for later, levels in enumerate(span.after[: place + 1])
        ]
        return _Closed(counted, after, seen, lifted, begun, came[place] if aged else None)

    def _counted(self, layers: Ints) -> _Counted:
        """What the first of these buckets count, up to a later one in which a cohort is lifted.

        Its totals hang on what is usual before it, and that on the totals of those before.
        """
        nodes, every = self.nodes, busy_of(layers)
        totals, busy = plain_totals_of(layers), 1.0 if every is None else every
        means = self._levels.means_ahead(nodes.columns_of_cohorts, totals, busy)
        usual = means * busy
        count = plain_count_of(layers, usual)
        if not count:
            count, totals[0] = 1, totals_of(layers[0], usual[0])
        some = 3 if self._young is None else ROWS - TOLD + 3
        rows = np.empty((count, some, layers.shape[2]))
        rows[:, 0], rows[:, 2] = layers[:count, RAW], layers[:count, FIRST]
        rows[:, 1], rows[:, 3:] = totals[:count], layers[:count, TOLD : TOLD + some - 3]
        of_nodes = nodes.totals_of(rows.reshape(some * count, -1)).reshape(count, some, -1)
        by_column = of_nodes[:, 1:3].transpose(0, 2, 1).reshape(count, -1)
        of_columns = None if every is None else self._busy(means[:count], every[:count])
        ages = None if self._young is None else of_nodes[:, 2:]
        return _Counted(of_nodes[:, 0], by_column, of_columns, ages)

    def _busy(self, means: Floats, every: Floats) -> Floats:
        """How busy the keys' rates take buckets to be, by column; nodes' by their cohorts'.

        ``means`` are the cohorts', and so is ``every``.
        """
        nodes, count = self.nodes, len(means)
        rows = np.concatenate((means, means * every))
        known, of_nodes = nodes.totals_of(rows).reshape(2, count, -1)
        busy = np.ones((count, SIDES * len(nodes)))
        busy[:, ::2] = np.where(known > 0.0, of_nodes / np.where(known > 0.0, known, 1.0), 1.0)
        busy[:, nodes.columns_of_cohorts] = every
        return busy

    def _factors(self, totals: Floats, means: Floats) -> Floats:
        """Factor of each cohort: also of one that sleeps, so it may be below 1."""
        nodes = self.nodes

        def drawn(of: Ints, toward: Any) -> Floats:
            factor: Floats = (totals[of] + _WEIGHT * toward) / (means[of] + _WEIGHT)
            return factor

        platform = drawn(np.array([PLATFORM]), 1.0)
        regions = drawn(nodes.of_regions, platform)
        return np.clip(drawn(nodes.of_cohorts, regions), FACTOR_MIN, FACTOR_MAX)


def spans_of(buckets: list[int]) -> Iterator[list[int]]:
    """Buckets that follow each other, no more than may close together."""
    begin = 0
    for place in range(1, len(buckets) + 1):
        goes_on = place < len(buckets) and buckets[place] == buckets[place - 1] + 1
        if not goes_on or place - begin == _SPAN_MAX:
            yield buckets[begin:place]
            begin = place
