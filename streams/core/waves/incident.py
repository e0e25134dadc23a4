"""A wave as it is told: one incident that opens, grows and closes, whatever it is of."""

from collections.abc import Sequence
from typing import Final, NamedTuple, Self

import msgspec
import numpy as np

from streams.core.detection.rounding import rounded
from streams.core.surges.surge import (
    State,
    Surge,
    Wave,
    WavePart,
    WaveReceiver,
    surge_id_of,
)
from streams.core.time.buckets import BUCKET_MS, start_ms_of
from streams.core.waves.begin import LIFTED
from streams.core.waves.lasting import Seen
from streams.core.waves.nodes import PLATFORM, Node, Nodes

_GROWN_MAX: Final = 3
_GROWN_RATIO: Final = 2.0
PARTS_MAX: Final = 10
"""Languages, regions or cohorts of a wave that are told: those with most above what is usual."""
LIFTED_MAX: Final = 64
"""Cohorts that metrics say a wave lifts: as many as they tell notices of."""
_MOST: Final = 0.6
"""A wave that lifts so large a part of what is usual is one of the platform."""
_ALIKE: Final = 0.5
"""Standard deviations by which newcomers of a region may be less far above than of a language."""
_BREADTH: Final = {"cohort": 0, "language": 1, "region": 1, "platform": 2}


class Parts(NamedTuple):
    """How many partitions a bucket's events are of, and who receives most of them."""

    partitions: int
    receivers: Sequence[WaveReceiver]


class WaveIncident(msgspec.Struct, gc=False):
    """What is remembered of a wave between its announcements."""

    series: str
    surge_id: str
    opened_ms: int
    told_factor: float = 0.0
    told_breadth: int = 0
    revision: int = -1
    column: int = 0

    @classmethod
    def of(cls, series: str, seen: Seen, nodes: Nodes) -> Self:
        """A wave that begins; its name depends on what was counted alone."""
        opened_ms = start_ms_of(seen.bucket)
        # without those named since: whom else reports of later buckets name must leave no trace
        events = np.trim_zeros(seen.events[::2][: len(nodes)], "b")
        counted = ",".join(map(str, events.tolist()))
        return cls(
            series, surge_id_of("wave", "model", f"{series}|{counted}", opened_ms), opened_ms
        )

    def tell(self, seen: Seen, nodes: Nodes, of: Parts) -> list[Surge]:
        """What is told of a closed bucket, if anything."""
        column = self._column_of(seen, nodes)
        factor = _factor_of(seen, column)
        breadth = _BREADTH[nodes.all[column // 2].scope]
        state: State = "opened"
        if seen.factors is None:
            state, column = "closed", self.column
        elif self.revision >= 0:
            state = "grown"
            # As it fades the platform stands in for what is lifted no more: that is no growth.
            wider = breadth > self.told_breadth and seen.above.excess[column] >= LIFTED
            higher = factor >= _GROWN_RATIO * self.told_factor
            if self.revision >= _GROWN_MAX or not (wider or higher):
                return []
        self.revision += 1
        if state != "closed":
            self.told_factor, self.told_breadth, self.column = factor, breadth, column
        return [self._record(state, seen, nodes, of)]

    @staticmethod
    def _column_of(seen: Seen, nodes: Nodes) -> int:
        """The platform, if the wave lifts most of it, else what is farthest above."""
        usual = seen.above.expected[::2]
        mine = [place for place, node in enumerate(nodes.all) if node.scope == "cohort"]
        lifted = sum(float(usual[place]) for place in mine if seen.lifted[2 * place])
        if lifted >= _MOST * sum(float(usual[place]) for place in mine):
            return 2 * PLATFORM
        far = seen.begun if len(seen.begun) else np.flatnonzero(seen.lifted)
        if not len(far):
            return 2 * PLATFORM
        sigmas = seen.above.sigmas
        column = int(far[np.argmax(sigmas[far])])
        if not column % 2 or seen.came is None or not seen.came.holds[column // 2]:
            return column
        # of those who come from one country, who all write one language, it is the country
        alike = [at for at in far[far % 2 == 1].tolist() if nodes.all[at // 2].scope == "region"]
        country = max(alike, key=lambda at: float(sigmas[at]), default=column)
        return country if sigmas[country] >= sigmas[column] - _ALIKE else column

    def _record(self, state: State, seen: Seen, nodes: Nodes, of: Parts) -> Surge:
        node, end_ms = nodes.all[self.column // 2], start_ms_of(seen.bucket) + BUCKET_MS
        ratio = rounded(_factor_of(seen, self.column))
        observed = int(seen.events[self.column])
        by_newcomers = bool(self.column % 2)
        came, place = seen.came if by_newcomers else None, self.column // 2
        if came is not None and not came.told[place]:
            came = None
        return Surge(
            surge_id=self.surge_id,
            revision=self.revision,
            kind="wave",
            trigger="model",
            state=state,
            severity="page",
            creator_id="",
            post_id=None,
            opened_ms=self.opened_ms,
            seen_ms=end_ms,
            at_ms=end_ms,
            window_ms=BUCKET_MS,
            observed=observed,
            threshold=None,
            expected_own=rounded(observed / ratio) if ratio else None,
            expected_in_wave=None,
            ratio=ratio,
            score=None,
            detector="surgewatch",
            false_alarm_rate=None,
            prior_weight=None,
            closed_ms=end_ms if state == "closed" else None,
            wave=Wave(
                series=self.series,
                scope=node.scope,
                lang=node.lang,
                region=node.region,
                by_newcomers=by_newcomers,
                languages=parts_of(seen, nodes, "language"),
                regions=parts_of(seen, nodes, "region"),
                cohorts=parts_of(seen, nodes, "cohort"),
                receivers=[*map(_told, of.receivers)],
                partitions=of.partitions,
                young=None if came is None else int(came.young[place]),
                young_usual=None if came is None else rounded(came.usual[place]),
            ),
        )


def _told(one: WaveReceiver) -> WaveReceiver:
    return WaveReceiver(one.key, one.observed, rounded(one.expected))


def _factor_of(seen: Seen, column: int) -> float:
    return float(np.exp(seen.above.excess[column]))


def parts_of(seen: Seen, nodes: Nodes, scope: str, most: int = PARTS_MAX) -> list[WavePart]:
    """Those that are lifted, by whose creators they are; the one with most above usual first."""
    places = [p for p, node in enumerate(nodes.all) if node.scope == scope and seen.lifted[2 * p]]
    more = {place: _more_in(seen, 2 * place) for place in places}
    places.sort(key=lambda place: (-more[place], _text_of(nodes.all[place])))
    return [_part_of(seen, nodes.all[place], 2 * place) for place in places[:most]]


def _more_in(seen: Seen, column: int) -> float:
    return float(seen.events[column] * (1.0 - np.exp(-seen.above.excess[column])))


def _part_of(seen: Seen, node: Node, column: int) -> WavePart:
    factor = rounded(_factor_of(seen, column))
    observed = int(seen.events[column])
    return WavePart(node.lang, node.region, factor, observed, rounded(observed / factor))


def _text_of(node: Node) -> str:
    return f"{node.lang}|{node.region}"
