"""Which surges are asked for, and the newest of them."""

import heapq
from itertools import count
from typing import NamedTuple

from streams.core.surges.surge import Kind, Severity, Surge
from streams.edges.kafka.surge_topic import FoundSurge, SurgeTopicReader
from streams.edges.kafka.topic_reader import Span


class Choice(NamedTuple):
    """Which surges are wanted, by their last state; None: any. ``since_ms``: announced since."""

    since_ms: int
    open_only: bool = False
    kind: Kind | None = None
    severity: Severity | None = None
    surge_id: str | None = None
    creator_id: str | None = None
    post_id: str | None = None

    def takes(self, surge: Surge) -> bool:
        """Whether a surge that was announced in time is wanted."""
        return (
            (not self.open_only or surge.closed_ms is None)
            and self.kind in {None, surge.kind}
            and self.severity in {None, surge.severity}
            and self.surge_id in {None, surge.surge_id}
            and self.creator_id in {None, surge.creator_id}
            and self.post_id in {None, surge.post_id}
        )


class Listed(NamedTuple):
    """The newest surges, newest first, and how many more there are of those wanted."""

    newest: list[FoundSurge]
    more: int


async def list_surges(
    reader: SurgeTopicReader, spans: dict[int, Span], choice: Choice, limit: int
) -> Listed:
    """Read these stretches, and choose. In memory are the newest, and one partition's ids."""
    newest: list[tuple[int, int, FoundSurge]] = []
    numbers, wanted = count(), 0
    for number, span in spans.items():
        async for found in reader.last_states(number, span):
            # one without a time stands behind others that were announced in time
            if 0 <= found.told_ms < choice.since_ms or not choice.takes(found.surge):
                continue
            wanted += 1
            heapq.heappush(newest, (found.told_ms, next(numbers), found))
            if len(newest) > limit:
                heapq.heappop(newest)
    ordered = [found for *_, found in sorted(newest, key=lambda one: one[:2], reverse=True)]
    return Listed(ordered, wanted - len(ordered))
