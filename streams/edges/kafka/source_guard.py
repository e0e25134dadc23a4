"""Nothing is written before Kafka has said that its topics are still those that we count.

A topic made anew has offsets that look right and records that are not; more partitions send a
creator's next records to another partition. Either would end in counts that no later step can
put right, so each write waits for the answer to a question that was asked after its records were
read: had the topic changed before they were read, the answer would tell (a topic's id never comes
back, nor does a partition go). One answer serves all writes that waited for it: 0.4 ms of CPU.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

from aiokafka.errors import KafkaError

from streams.core.counting.packing import StoredSeries
from streams.core.records.texts import Ints
from streams.edges.errors import DataError
from streams.edges.kafka.identity import Source
from streams.edges.logs.lines import logger_of
from streams.edges.redis.layout import topic_replaced
from streams.edges.store import (
    NO_LIMIT,
    Fence,
    Held,
    KeyLimit,
    Place,
    Store,
    StoreKind,
    Write,
)

MISSING_SECONDS_MAX: Final = 10.0
"""So long a topic may be missing: a broker that has just started may not know it yet."""
_RETRY_SECONDS_MAX: Final = 1.0
_TELL_SECONDS: Final = 10.0

log = logger_of(__name__)


class PartitionsChanged(DataError):
    """A topic has another number of partitions than when we started."""

    def __init__(self, topic: str, before: int, now: int) -> None:
        super().__init__(
            f"topic {topic} has {now} partitions now and had {before}: since then Kafka puts "
            "creators' records into other partitions, so nothing more is counted; what is stored "
            f"is right up to the change. Either make new topics with {now} partitions (other "
            "SURGEWATCH_TOPIC_… names, another SURGEWATCH_REDIS_PREFIX, surgewatch topics create) "
            f"and move the producers there, or give all five topics {now} partitions and set "
            f"SURGEWATCH_TOPIC_PARTITIONS={now} and another SURGEWATCH_REDIS_PREFIX: counts are "
            "whole again 24 hours after the change"
        )
        self.topic, self.before, self.now = topic, before, now


class TopicReplaced(DataError):
    """A topic was deleted and made again."""

    def __init__(self, topic: str, before: str, now: str) -> None:
        super().__init__(topic_replaced(topic, (before, now)))
        self.topic, self.before, self.now = topic, before, now


class TopicGone(DataError):
    """A topic was deleted."""

    def __init__(self, topic: str) -> None:
        super().__init__(
            f"topic {topic} does not exist any more; what is stored is right up to its end. If it "
            "is made again (surgewatch topics create), set another SURGEWATCH_REDIS_PREFIX: the "
            "new one's records cannot be counted on top of the old one's"
        )
        self.topic = topic


def change_of(expected: Source, found: Source) -> DataError | None:
    """What has changed so that counting must end; None: nothing, or only that a topic is missing.

    An id that one of the two answers does not tell is not compared.
    """
    for topic, before in expected.topics.items():
        now = found.topics.get(topic)
        if now is None:
            continue
        if before.topic_id and now.topic_id and before.topic_id != now.topic_id:
            return TopicReplaced(topic, before.topic_id, now.topic_id)
        if before.partitions != now.partitions:
            return PartitionsChanged(topic, before.partitions, now.partitions)
    return None


class SourceGuard:
    """Asks Kafka; ``failed`` is told of each question that was not answered."""

    def __init__(
        self,
        expected: Source,
        ask: Callable[[], Awaitable[Source]],
        failed: Callable[[], None],
    ) -> None:
        self._expected = expected
        self._ask = ask
        self._failed = failed
        self._asking: asyncio.Task[DataError | None] | None = None
        self._next: asyncio.Task[DataError | None] | None = None
        self._told_seconds = -_TELL_SECONDS

    async def confirm(self) -> None:
        """Return when Kafka has answered a question asked from now on: all is as it was.

        Waits for as long as Kafka does not answer. Raises PartitionsChanged, TopicReplaced,
        TopicGone.
        """
        if self._next is None:
            self._next = asyncio.create_task(self._ask_after(self._asking))
        change = await asyncio.shield(self._next)
        if change is not None:
            raise change

    async def close(self) -> None:
        """End what is being asked."""
        asked = [task for task in (self._asking, self._next) if task is not None]
        for task in asked:
            task.cancel()
        await asyncio.gather(*asked, return_exceptions=True)

    async def _ask_after(self, before: "asyncio.Task[DataError | None] | None") -> DataError | None:
        """Ask once the question before is answered; who comes from now on waits for the next."""
        if before is not None:
            await asyncio.wait([before])
        self._asking, self._next = self._next, None
        return await self._answer()

    async def _answer(self) -> DataError | None:
        loop = asyncio.get_running_loop()
        wait_seconds, missing_since = 0.05, None
        while True:
            try:
                found = await self._ask()
            except (KafkaError, OSError) as error:
                self._failed()
                cause = str(error) or type(error).__name__
                self._tell(f"waiting for Kafka to say which topics it has: {cause}")
            else:
                change = change_of(self._expected, found)
                missing = sorted(self._expected.topics.keys() - found.topics.keys())
                if change is not None or not missing:
                    return change
                missing_since = missing_since or loop.time()
                if loop.time() - missing_since >= MISSING_SECONDS_MAX:
                    return TopicGone(missing[0])
                self._tell(f"waiting for topic {missing[0]}: Kafka does not know it now")
            await asyncio.sleep(wait_seconds)
            wait_seconds = min(2 * wait_seconds, _RETRY_SECONDS_MAX)

    def _tell(self, line: str) -> None:
        """Say what is waited for, every ten seconds."""
        now = asyncio.get_running_loop().time()
        if now - self._told_seconds >= _TELL_SECONDS:
            self._told_seconds = now
            log.warning("topics_waited_for", "{cause}", cause=line)


class GuardedStore:
    """A store that claims and writes only what the guard has confirmed."""

    def __init__(self, store: Store, guard: SourceGuard) -> None:
        self._store = store
        self._guard = guard

    async def check(self, kind: StoreKind) -> None:
        """See Store."""
        await self._store.check(kind)

    async def claim(self, place: Place, generation: int) -> Fence:
        """See Store. Raises also what the guard raises."""
        await self._guard.confirm()
        return await self._store.claim(place, generation)

    async def read(self, place: Place, limit: KeyLimit = NO_LIMIT) -> Held:
        """See Store."""
        return await self._store.read(place, limit)

    async def read_keys(
        self, place: Place, wanted: Mapping[str, Sequence[tuple[int, bytes]]]
    ) -> dict[str, StoredSeries]:
        """See Store."""
        return await self._store.read_keys(place, wanted)

    async def read_gone(self, place: Place, groups: Mapping[str, Ints]) -> dict[str, Ints]:
        """See Store."""
        return await self._store.read_gone(place, groups)

    async def drop(self, place: Place, fence: Fence) -> None:
        """See Store. Raises also what the guard raises."""
        await self._guard.confirm()
        await self._store.drop(place, fence)

    async def write(self, place: Place, fence: Fence, write: Write) -> int:
        """See Store. Raises also what the guard raises."""
        await self._guard.confirm()
        return await self._store.write(place, fence, write)

    async def close(self) -> None:
        """See Store."""
        await self._store.close()
