"""Whether a wave lasts, of what, and its factors for the keys that it lifts.

When a bucket has closed, the totals of all cohorts, languages, regions and of the platform are set
against what is usual of them (`levels.py`): once by whose creators they are, once by who came.
One that is far above, by the mean of one to four buckets, begins a wave. As long as it lasts
each cohort has a factor: its total over what its keys' rates add up to, drawn toward the region's
and the platform's where it is small.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from streams.core.detection.block_tables import Floats, Ints
from streams.core.waves.factors import FACTOR_MAX, FACTOR_MIN
from streams.core.waves.levels import Levels
from streams.core.waves.nodes import PLATFORM, SIDES, Nodes
from streams.core.waves.span import Above, LevelSpan
from streams.core.waves.sums import (
    FIRST,
    RAW,
    busy_of,
    plain_count_of,
    plain_totals_of,
    stacked,
    totals_of,
)

Names = Sequence[tuple[str, str]]


class Step(NamedTuple):
    """A way in which a total is far above: by the means of so many ``buckets``.

    ``events_min``: of a total of which so many events of a bucket are usual. ``excess`` (a
    logarithm) and ``sigmas`` (standard deviations): the least mean of each; ``by_week``: the same
    two where the course of the week is known.
    """

    buckets: int
    events_min: float
    excess: float
    sigmas: float
    by_week: tuple[float, float]


Rules = tuple[Step, ...]
"""When a wave begins: a total is far above in one of these ways."""
TELLING: Final[Rules] = (
    Step(1, 60.0, 0.38, 4.5, (0.30, 5.0)),  # thirty large keys at least
    Step(2, 60.0, 0.36, 4.2, (0.24, 4.5)),
    Step(3, 60.0, 0.34, 4.0, (0.20, 4.5)),
    Step(4, 60.0, 0.30, 3.3, (0.25, 4.0)),  # of a slow rise the level learns each hour
    Step(3, 30.0, 0.50, 3.0, (0.50, 3.0)),  # what no wrong course of a day comes to
)
"""For a wave that is told: it wakes people."""
FACTORS: Final[Rules] = (
    Step(1, 25.0, 0.34, 4.0, (0.30, 4.0)),
    Step(2, 25.0, 0.30, 3.5, (0.24, 3.5)),
    Step(3, 25.0, 0.28, 3.2, (0.20, 3.2)),
)
"""For the factors of one partition, which has a part of the events: a few too many only say what
was counted, one too few has those whom the wave lifts told as if they surged."""
_BEFORE: Final = max(step.buckets for step in (*TELLING, *FACTORS)) - 1
_EXCESS_MIN: Final = 0.20
LIFTED: Final = float(np.log(1.2))
"""Excess from which on a total counts as lifted, while a wave lasts."""
_LIFTED_SIGMAS: Final = 2.0
_QUIET_BUCKETS: Final = 6
_WEIGHT: Final = 20.0
"""Events that its region's factor weighs against a cohort's own, and so on."""
_LASTS_MAX: Final = 2 * 288
"""A wave of two days is the usual now."""
_SPAN_MAX: Final = 64
"""Buckets that close together: each has all rows of the levels for itself."""
_NONE: Final = np.zeros(0, dtype=np.int64)


class Lasting(msgspec.Struct, gc=False):
    """The wave that lasts: the first bucket it was seen in, the columns that hold it.

    Column 2n is node n by whose creators they are, column 2n + 1 by who came.
    """

    bucket: int
    columns: list[int]
    quiet: int = 0


class Seen(NamedTuple):
    """What a closed bucket came to, by column, and the cohorts' factors (None: no wave).

    ``busy``: how busy it is for each cohort; None: like any other.
    """

    bucket: int
    events: Ints
    above: Above
    lifted: NDArray[np.bool_]
    begun: Ints
    factors: Floats | None = None
    busy: Floats | None = None


class _Counted(NamedTuple):
    """What buckets count, a row a bucket: events by node, totals and how busy it is by column."""

    events: Floats
    totals: Floats
    busy: Floats | None
    """None: all of them are like any other bucket."""


class _Closed(NamedTuple):
    """What buckets that closed came to."""

    counted: _Counted
    after: list["Waves"]
    """Waves after each of them, up to one in which a wave begins."""
    above: Above
    """Of the last of these."""
    lifted: NDArray[np.bool_] | None
    begun: Ints

    def seen(self, bucket: int) -> Seen:
        """For those who are told of the last. Columns by who came have as many events as comers."""
        place, lifted = len(self.after) - 1, self.lifted
        events = self.counted.totals[place].astype(np.int64)
        events[::2] = self.counted.events[place]
        if lifted is None:
            lifted = np.zeros(len(events), dtype=np.bool_)
        return Seen(bucket, events, self.above, lifted, self.begun)


class _Recent(NamedTuple):
    """How far totals were above usual in one of the last buckets, and the most of any judged."""

    excess: Floats
    sigmas: Floats
    most: float

    def wide(self, size: int) -> "_Recent":
        """With 0 of totals met since."""
        room = np.zeros(max(size - len(self.excess), 0))
        excess, sigmas = (np.concatenate((one, room)) for one in (self.excess, self.sigmas))
        return _Recent(excess, sigmas, self.most)


class Waves:
    """Levels of all nodes, and the wave that lasts."""

    def __init__(
        self,
        nodes: Nodes | None = None,
        levels: Levels | None = None,
        recent: Sequence[_Recent] = (),
        rules: Rules = TELLING,
    ) -> None:
        self.nodes, self._levels = nodes or Nodes(), levels or Levels()
        self._recent, self._rules = recent, rules
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
        far = (last.excess >= _EXCESS_MIN) & (last.sigmas >= _LIFTED_SIGMAS)
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
        self._levels, self._recent = closed.after[0]._levels, closed.after[0]._recent
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
        }

    def restore(self, state: dict[str, Any], names: Names) -> None:
        """Put a state back."""
        self._levels.restore(state["rows"], dict(state["hours"]))
        self._grow(names)
        self._recent = [
            _Recent(np.array(excess, dtype=np.float64), np.array(sigmas, dtype=np.float64), most)
            for excess, sigmas, most in state["recent"]
        ]
        if state["lasting"] is not None:
            self.lasting = msgspec.convert(state["lasting"], Lasting)

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
        place, begun = _begun(self._rules, self._recent, (above, judged, mosts))
        seen, lifted = above.at(place), None
        if mosts[place] >= LIFTED:
            lifted = (seen.excess >= LIFTED) & (seen.sigmas >= _LIFTED_SIGMAS) & judged[place]
        if place == last:
            span.learn(last, lifted if self.lasting is not None or len(begun) else None)
        past = [*self._recent, *map(_Recent, above.excess, above.sigmas, mosts)]
        first = len(self._recent) + 1
        after = [
            Waves(self.nodes, levels, past[: first + later][-_BEFORE - 1 :], self._rules)
            for later, levels in enumerate(span.after[: place + 1])
        ]
        return _Closed(counted, after, seen, lifted, begun)

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
        rows = np.empty((count, 3, layers.shape[2]))
        rows[:, 0], rows[:, 2] = layers[:count, RAW], layers[:count, FIRST]
        rows[:, 1] = totals[:count]
        of_nodes = nodes.totals_of(rows.reshape(3 * count, -1)).reshape(count, 3, -1)
        by_column = of_nodes[:, 1:].transpose(0, 2, 1).reshape(count, -1)
        of_columns = None if every is None else self._busy(means[:count], every[:count])
        return _Counted(of_nodes[:, 0], by_column, of_columns)

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


def _begun(
    rules: Rules,
    recent: Sequence[_Recent],
    now: tuple[Above, NDArray[np.bool_], list[float]],
) -> tuple[int, Ints]:
    """The first bucket in which a wave begins, and its columns; or the last one, and none.

    They are far above what is usual, by the mean of some of the last buckets.
    """
    above, judged, mosts = now
    count, size = judged.shape
    before = recent[-_BEFORE:]
    if max(*mosts, *(one.most for one in before), 0.0) < _EXCESS_MIN:
        return count - 1, _NONE
    unknown = _Recent(np.full(size, -np.inf), np.full(size, -np.inf), 0.0)
    before = [unknown] * (_BEFORE - len(before)) + [one.wide(size) for one in before]
    most = np.array([one.most for one in before] + mosts)
    excess = np.stack([*(one.excess for one in before), *above.excess])
    sigmas = np.stack([*(one.sigmas for one in before), *above.sigmas])
    far = np.zeros_like(judged)
    for step in rules:
        begins = range(_BEFORE + 1 - step.buckets, _BEFORE + 1)
        mean_excess = sum(excess[begin : begin + count] for begin in begins) / step.buckets
        mean_sigmas = sum(sigmas[begin : begin + count] for begin in begins) / step.buckets
        is_far = mean_excess >= np.where(above.by_week, step.by_week[0], step.excess)
        is_far &= mean_sigmas >= np.where(above.by_week, step.by_week[1], step.sigmas)
        far |= is_far & (above.expected >= step.events_min)
    is_high = np.any(sliding_window_view(most >= _EXCESS_MIN, _BEFORE + 1), axis=1)
    # it must still be so: what was high and is not any more is no wave that begins
    far &= judged & is_high[:, None] & (above.excess >= LIFTED) & (above.sigmas >= _LIFTED_SIGMAS)
    for place in range(count):
        if far[place].any():
            return place, np.flatnonzero(far[place])
    return count - 1, _NONE


def spans_of(buckets: list[int]) -> Iterator[list[int]]:
    """Buckets that follow each other, no more than may close together."""
    begin = 0
    for place in range(1, len(buckets) + 1):
        goes_on = place < len(buckets) and buckets[place] == buckets[place - 1] + 1
        if not goes_on or place - begin == _SPAN_MAX:
            yield buckets[begin:place]
            begin = place
