"""Whether a wave lasts, of what, and its factors for the keys that it lifts.

When a bucket has closed, the totals of all cohorts, languages, regions and of the platform are set
against what is usual of them (`wave_levels`): once by whose creators they are, once by who came.
One that is far above, by the mean of one, two or three buckets, begins a wave. As long as it lasts
each cohort has a factor: its total over what its keys' rates add up to, drawn toward the region's
and the platform's where it is small.
"""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from streams.core.block_tables import Floats, Ints
from streams.core.wave_factors import FACTOR_MAX, FACTOR_MIN
from streams.core.wave_levels import Above, Levels
from streams.core.wave_nodes import PLATFORM, SIDES, Nodes
from streams.core.wave_sums import FIRST, RAW, busy_of, totals_of, widened

Names = Sequence[tuple[str, str]]

EVENTS_MIN: Final = 60.0
"""A total is judged when so many events of a bucket are usual: thirty large keys at least."""
_RULE: Final = ((1, 0.38, 4.5), (2, 0.36, 4.2), (3, 0.34, 4.0))
"""Buckets, least mean excess (a logarithm) and standard deviations at which a wave begins."""
_RULE_BY_WEEK: Final = ((1, 0.30, 5.0), (2, 0.24, 4.5), (3, 0.20, 4.5))
"""The same where the course of the week is known."""
_EXCESS_MIN: Final = 0.20
_LIFTED: Final = float(np.log(1.2))
_LIFTED_SIGMAS: Final = 2.0
_QUIET_BUCKETS: Final = 6
_LENIENT: Final = 0.85
_WEIGHT: Final = 20.0
"""Events that its region's factor weighs against a cohort's own, and so on."""
_LASTS_MAX: Final = 2 * 288
"""A wave of two days is the usual now."""
_NONE: Final = np.zeros(0, dtype=np.int64)


class Lasting(msgspec.Struct, gc=False):
    """The wave that lasts: the first bucket it was seen in, the columns that hold it.

    Column 2n is node n by whose creators they are, column 2n + 1 by who came.
    """

    bucket: int
    columns: list[int]
    quiet: int = 0


class Seen(NamedTuple):
    """What a closed bucket came to, by column, and the cohorts' factors (None: no wave)."""

    bucket: int
    events: Ints
    above: Above
    lifted: NDArray[np.bool_]
    begun: Ints
    factors: Floats | None = None


class _Closed(NamedTuple):
    """What a closed bucket came to: events by node; totals, and the usual ones, by column."""

    events: Floats
    totals: Floats
    usual: Floats
    above: Above
    lifted: NDArray[np.bool_] | None
    begun: Ints

    def seen(self, bucket: int) -> Seen:
        """For those who are told of it. Columns by who came have as many events as comers."""
        events = self.totals.astype(np.int64)
        events[::2] = self.events
        lifted = self.lifted
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

    def __init__(self, nodes: Nodes | None = None) -> None:
        self.nodes = nodes or Nodes()
        self.lasting: Lasting | None = None
        self._levels = Levels()
        self._recent: list[_Recent] = []

    @property
    def can_tell(self) -> bool:
        """Whether the platform's own total is large enough to be judged."""
        if not len(self._levels.known):
            return False
        mean = float(self._levels.means[SIDES * PLATFORM])
        return bool(self._levels.known[SIDES * PLATFORM]) and mean >= EVENTS_MIN

    def copy(self) -> "Waves":
        """A copy that can go its own way; what the nodes are is shared."""
        other, lasting = Waves(self.nodes), self.lasting
        other._levels, other._recent = self._levels.copy(), self._recent
        if lasting is not None:
            other.lasting = Lasting(lasting.bucket, [*lasting.columns], lasting.quiet)
        return other

    def may_begin(self, bucket: int, sums: Ints, names: Names) -> bool:
        """Whether a wave begins with these sums, or with some that are a little larger; learns."""
        return bool(len(self._close(bucket, sums, names, _LENIENT).begun))

    def close(self, bucket: int, sums: Ints, names: Names) -> Seen:
        """Close a bucket with its sums by cohort. Buckets are closed one after the other."""
        closed = self._close(bucket, sums, names, 1.0)
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
                self._levels.accept(closed.totals, seen.lifted)
            if lasting.quiet >= _QUIET_BUCKETS or is_usual:
                self.lasting = None
                return seen
        return seen._replace(factors=self._factors(closed))

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

    def _close(self, bucket: int, sums: Ints, names: Names, share: float) -> _Closed:
        """What a bucket came to, learnt."""
        self._grow(names)
        nodes, known, means = self.nodes, self._levels.known, self._levels.means
        size, of_cohorts = len(nodes.of_cohorts), nodes.columns_of_cohorts
        sums = widened(sums, size)
        judged_means = means * known
        busy = self._busy(sums, judged_means[of_cohorts], size)
        usual = means
        if busy is not None:
            usual = means * busy
            judged_means *= busy
        held = totals_of(sums, judged_means[of_cohorts])
        of_nodes = nodes.totals_of((sums[RAW, :size], held, sums[FIRST, :size]))
        totals = of_nodes[1:].T.ravel()
        above = self._levels.above(bucket, totals)
        judged = known & (above.expected >= EVENTS_MIN)
        most = float((above.excess * judged).max(initial=0.0))
        begun = self._begun(above, judged, most, share)
        lifted = None
        if most >= _LIFTED:
            lifted = judged & (above.excess >= _LIFTED) & (above.sigmas >= _LIFTED_SIGMAS)
        held_back = lifted if self.lasting is not None or len(begun) else None
        self._levels.learn(bucket, totals, above, held_back, 1.0 if busy is None else busy)
        return _Closed(of_nodes[0], totals, usual, above, lifted, begun)

    def _busy(self, sums: Ints, means: Floats, size: int) -> Floats | None:
        """How busy the keys' rates take the bucket to be, by column; nodes' by their cohorts'.

        ``means`` are the cohorts'. None: like any other bucket.
        """
        nodes, every = self.nodes, busy_of(sums, size)
        if every is None:
            return None
        known, of_nodes = nodes.totals_of((means, means * every))
        busy = np.ones(SIDES * len(nodes))
        busy[::2] = np.where(known > 0.0, of_nodes / np.where(known > 0.0, known, 1.0), 1.0)
        busy[nodes.columns_of_cohorts] = every
        return busy

    def _begun(self, above: Above, judged: NDArray[np.bool_], most: float, share: float) -> Ints:
        """Columns that are far above what is usual, by the mean of some of the last buckets."""
        self._recent = [*self._recent, _Recent(above.excess, above.sigmas, most)][-len(_RULE) :]
        if max(one.most for one in self._recent) < share * _EXCESS_MIN:
            return _NONE
        size = len(judged)
        self._recent = [one.wide(size) for one in self._recent]
        far = np.zeros(size, dtype=np.bool_)
        by_week = np.zeros_like(far) if above.by_week is None else above.by_week
        for rule, of in ((_RULE, ~by_week), (_RULE_BY_WEEK, by_week)):
            for count, excess_min, sigmas_min in rule:
                if len(self._recent) >= count:
                    excess = sum(one.excess for one in self._recent[-count:]) / count
                    sigmas = sum(one.sigmas for one in self._recent[-count:]) / count
                    far |= of & (excess >= share * excess_min) & (sigmas >= share * sigmas_min)
        return np.flatnonzero(far & judged)

    def _factors(self, closed: _Closed) -> Floats:
        """Factor of each cohort: also of one that sleeps, so it may be below 1."""
        nodes, totals, means = self.nodes, closed.totals[::2], closed.usual[::2]

        def drawn(of: Ints, toward: Any) -> Floats:
            factor: Floats = (totals[of] + _WEIGHT * toward) / (means[of] + _WEIGHT)
            return factor

        platform = drawn(np.array([PLATFORM]), 1.0)
        regions = drawn(nodes.of_regions, platform)
        return np.clip(drawn(nodes.of_cohorts, regions), FACTOR_MIN, FACTOR_MAX)
