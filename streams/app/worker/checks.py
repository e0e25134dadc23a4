"""What must hold of Kafka and Redis for the counts to be right: at the start and while running."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Any, Final

from aiokafka.errors import KafkaError

from streams.edges.errors import DataError, KafkaUnreachable, SurgewatchError, UnreachableError
from streams.edges.kafka.announcer import KafkaAnnouncer
from streams.edges.kafka.identity import Source, TopicIdentity, source_of
from streams.edges.kafka.output_watch import OutputWatch
from streams.edges.kafka.rights import check_rights
from streams.edges.kafka.source_guard import (
    PartitionsChanged,
    SourceGuard,
    TopicGone,
    TopicReplaced,
)
from streams.edges.kafka.topics import Finding, check_topics, input_topics, output_topics
from streams.edges.logs.lines import logger_of
from streams.edges.metrics.progress import WorkerProgress
from streams.edges.metrics.worker import Trouble
from streams.edges.process.clock import ClockWrong, SteadyClock, allowed_off_ms
from streams.edges.redis.servers import EvictsKeys, RedisServers
from streams.edges.settings.list import Settings
from streams.edges.store import OtherWriter, Store, StoreDiffers, StoreKind
from streams.edges.transport.contract import (
    OffsetBeyondEnd,
    ReadBack,
    RecordsGone,
    TakeOverFailed,
)

_SECOND_OPINION_SECONDS_MAX: Final = 5.0
_TROUBLES: Final[tuple[tuple[type[SurgewatchError], Trouble], ...]] = (
    (PartitionsChanged, "partitions_changed"),
    (TopicReplaced, "topic_replaced"),
    (TopicGone, "topic_gone"),
    (RecordsGone, "records_gone"),
    (ReadBack, "read_back"),
    (OffsetBeyondEnd, "read_back"),
    (OtherWriter, "other_fleet"),
    (EvictsKeys, "redis_evicts"),
    (ClockWrong, "clock_wrong"),
)

_BY_PRODUCERS: Final = (
    "{finding}. Until then what is from the future is judged by the time at which it is read: in a "
    "backlog one fast clock may make the other records of its partition late"
)

log = logger_of(__name__)


class TopicUnfit(DataError):
    """A topic is not there, or is not what it must be, when a worker starts."""

    def __init__(self, finding: Finding) -> None:
        super().__init__(str(finding))
        kinds: dict[str, Trouble] = {"missing": "topic_gone", "partitions": "partitions_changed"}
        self.trouble = kinds.get(finding.kind)


def trouble_of(error: SurgewatchError) -> Trouble | None:
    """Which metric's label an error has; None: it is no bad input."""
    if isinstance(error, TopicUnfit):
        return error.trouble
    if isinstance(error, StoreDiffers):
        if error.field_name.startswith("topic_id:"):
            return "topic_replaced"
        named: dict[str, Trouble] = {"group": "other_fleet", "kafka_cluster": "other_kafka"}
        return named.get(error.field_name)
    return next((trouble for kind, trouble in _TROUBLES if isinstance(error, kind)), None)


class WorkerChecks:
    """Checks of one worker."""

    def __init__(
        self,
        settings: Settings,
        progress: WorkerProgress,
        announcer: KafkaAnnouncer,
        store: Store,
        servers: RedisServers,
        clock: SteadyClock,
    ) -> None:
        self._settings = settings
        self._progress, self._metrics = progress, progress.metrics
        self._announcer = announcer
        self._store = store
        self._servers = servers
        self._clock = clock
        self._topics = input_topics(settings)
        self._outputs = output_topics(settings)
        self._source = Source(None, {})
        self._written: dict[str, TopicIdentity] = {}

    async def at_start(self, stop: asyncio.Event) -> None:
        """Wait until all answer and nothing is wrong, or until we are to stop.

        Each try that fails is counted: a worker that is started anew and anew tells why.
        Raises what is wrong, and UnreachableError after ``start_seconds_max`` for each server.
        """
        for check in (self._check_kafka, self._ask_source, self._check_redis, self._check_clock):
            await self._wait_for(check, stop)
        await self._servers.advise()

    async def _wait_for(self, ask: Callable[[], Awaitable[None]], stop: asyncio.Event) -> None:
        """Ask until there is an answer or we are to stop; in the end the last error is raised."""
        give_up = time.monotonic() + self._settings.start_seconds_max
        while not stop.is_set():
            try:
                return await ask()
            except UnreachableError as error:
                self._progress.check_failed(error)
                if time.monotonic() >= give_up or not error.retry:
                    raise
                log.warning("server_waited_for", "waiting: {error}", error=error)
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), 1.0)
        return None

    def build_guard(self) -> SourceGuard:
        """Guard of the topics as they were at the start."""
        return SourceGuard(
            self._source,
            lambda: source_of(self._announcer.client, self._topics),
            lambda: self._metrics.add_kafka_error("connect"),
        )

    def watches(self, guard: SourceGuard) -> tuple[Coroutine[Any, Any, None], ...]:
        """Checks to run beside the work: they end only by raising what is wrong."""
        outputs = OutputWatch(
            self._written,
            lambda: source_of(self._announcer.client, self._outputs),
            self._metrics.add_trouble,
        )
        return (
            self._repeat(guard.confirm),
            self._repeat(outputs.look),
            self._repeat(self._check_redis),
        )

    def change(self, settings: Settings) -> None:
        """Go by these from now on."""
        self._settings = settings

    async def _repeat(self, check: Callable[[], Awaitable[None]]) -> None:
        while True:
            await asyncio.sleep(self._settings.check_interval_ms / 1000)
            try:
                await check()
            except UnreachableError as error:  # with nothing to write nobody else would notice
                self._progress.check_failed(error)
                log.warning("not_checked", "not checked: {error}", error=error)

    async def _check_kafka(self) -> None:
        await asyncio.to_thread(check_rights, self._settings)
        findings = await asyncio.to_thread(check_topics, self._settings)
        for finding in findings:
            if finding.blocks:
                raise TopicUnfit(finding)
        await self._announcer.start()
        events = (self._settings.topic_follows, self._settings.topic_comments)
        for finding in findings:
            if finding.kind == "times" and finding.topic in events:
                log.warning("times_by_producers", _BY_PRODUCERS, finding=finding)

    async def _ask_source(self) -> None:
        try:
            client = self._announcer.client
            found = await source_of(client, (*self._topics, *self._outputs))
        except (KafkaError, OSError) as error:
            cause = str(error) or type(error).__name__
            raise KafkaUnreachable(self._settings.kafka_bootstrap_servers, cause) from error
        missing = [one for one in (*self._topics, *self._outputs) if one not in found.topics]
        if missing:  # it was there a moment ago
            raise TopicGone(missing[0])
        count = self._settings.topic_partitions
        topics = {topic: one._replace(partitions=count) for topic, one in found.topics.items()}
        self._written = {topic: topics.pop(topic) for topic in self._outputs}
        self._source = Source(found.cluster_id, topics)

    async def _check_redis(self) -> None:
        memory = await self._servers.check()
        if memory is not None:
            self._metrics.set_redis_memory(memory.used_bytes, memory.max_bytes)
        settings = self._settings
        ids = [(topic, one.topic_id) for topic, one in sorted(self._source.topics.items())]
        await self._store.check(
            StoreKind(
                settings.topic_partitions,
                settings.detector,
                settings.kafka_group,
                self._source.cluster_id,
                tuple((topic, topic_id) for topic, topic_id in ids if topic_id is not None),
            )
        )
        self._progress.redis_checked()

    async def _check_clock(self) -> None:
        """Compare the clock with Redis': while running it is compared with steadier ones only."""
        off_ms = await self._servers.clock_off_ms(self._clock.now_ms)
        allowed_ms = allowed_off_ms(self._settings)
        if off_ms is not None and abs(off_ms) > allowed_ms:
            self._metrics.set_clock_off(off_ms / 1000)
            raise ClockWrong(off_ms, allowed_ms)


async def second_opinion(error: SurgewatchError, guard: SourceGuard) -> SurgewatchError:
    """Say why offsets went back, or are not known: Kafka knows whether the topic is another one."""
    if isinstance(error, (ReadBack, OffsetBeyondEnd, TakeOverFailed)):
        try:
            await asyncio.wait_for(guard.confirm(), _SECOND_OPINION_SECONDS_MAX)
        except TimeoutError:
            return error
        except DataError as found:
            return found
    return error
