"""Whether the topics that are only written to are there as they were: each change is told.

No count hangs on them, so the worker does not end: partitions that have nothing to tell go on, and
the others wait. What is to be told stands in Redis with the state that led to it, and is sent as
soon as there is a topic that takes it.
"""

import time
from collections.abc import Awaitable, Callable, Mapping

from aiokafka.errors import KafkaError

from streams.edges.kafka.identity import Source, TopicIdentity
from streams.edges.kafka.source_guard import MISSING_SECONDS_MAX
from streams.edges.logs.lines import logger_of
from streams.edges.metrics.worker import Trouble

log = logger_of(__name__)


class OutputWatch:
    """Looks at topics; ``told`` hears of each trouble once, when it begins."""

    def __init__(
        self,
        expected: Mapping[str, TopicIdentity],
        ask: Callable[[], Awaitable[Source]],
        told: Callable[[Trouble], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._expected = expected
        self._known = dict(expected)
        self._ask = ask
        self._told = told
        self._clock = clock
        self._missing_since: dict[str, float] = {}
        self._gone: set[str] = set()

    async def look(self) -> None:
        """Tell what has changed since the last look; nothing while Kafka does not answer."""
        try:
            found = await self._ask()
        except (KafkaError, OSError) as error:  # who needs Kafka says so, and waits
            log.debug("outputs_not_looked_at", "not looked at: {error}", error=error)
            return
        for topic in self._expected:
            now = found.topics.get(topic)
            if now is None:
                self._miss(topic)
            else:
                self._meet(topic, now)

    def _miss(self, topic: str) -> None:
        since = self._missing_since.setdefault(topic, self._clock())
        if topic in self._gone or self._clock() - since < MISSING_SECONDS_MAX:
            return
        self._gone.add(topic)
        self._told("topic_gone")
        log.error(
            "output_topic_gone",
            "topic {topic} does not exist any more; partitions that have something for it wait, "
            "and nothing is lost, until it is made again: surgewatch topics create",
            topic=topic,
        )

    def _meet(self, topic: str, now: TopicIdentity) -> None:
        self._missing_since.pop(topic, None)
        before, self._known[topic] = self._known[topic], now
        if before.topic_id and now.topic_id and before.topic_id != now.topic_id:
            self._told("topic_replaced")
            log.warning(
                "output_topic_replaced",
                "topic {topic} was deleted and made again: what was in it before is gone; what "
                "waited, and all from now on, is sent to the new one",
                topic=topic,
            )
        elif topic in self._gone:
            log.info(
                "output_topic_back",
                "topic {topic} is there again: what waited is sent",
                topic=topic,
            )
        self._gone.discard(topic)
        wanted = self._expected[topic].partitions
        if now.partitions not in (before.partitions, wanted):
            self._told("partitions_changed")
            log.error(
                "output_partitions_changed",
                "topic {topic} has {partitions} partitions now, not {wanted}: what is to be sent "
                "to one that it lacks waits, and no worker starts; all five topics need one count "
                "(surgewatch topics check says how)",
                topic=topic,
                partitions=now.partitions,
                wanted=wanted,
            )
