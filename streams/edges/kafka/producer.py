"""Sends records to Kafka in whole batches, each record to the partition of its creator.

Batches are filled here with aiokafka's ``create_batch`` and sent with ``send_batch``: a tenth
of the work of ``send``, which makes a future for each record.
"""

import asyncio
import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Final, NamedTuple, Self

from aiokafka import AIOKafkaProducer
from aiokafka.errors import (
    AuthenticationFailedError,
    KafkaConnectionError,
    KafkaError,
    KafkaTimeoutError,
    MessageSizeTooLargeError,
    SaslAuthenticationFailed,
    UnsupportedSaslMechanismError,
)
from aiokafka.partitioner import murmur2

from streams.edges.errors import (
    DataError,
    KafkaRefusesUs,
    KafkaUnreachable,
    SurgewatchError,
    UnreachableError,
)
from streams.edges.kafka.login import WRONG_LOGIN, kafka_tls_cause_of, login_options
from streams.edges.kafka.probe import refusal_of
from streams.edges.settings.list import Settings

BATCH_BYTES: Final = 262_144
_CACHED_KEYS_MAX: Final = 500_000


class TopicMissing(DataError):
    """A topic to send to does not exist."""

    def __init__(self, topic: str, bootstrap_servers: str) -> None:
        self.topic = topic
        super().__init__(
            f"topic {topic} does not exist at {bootstrap_servers}: run surgewatch topics create"
        )


class RecordTooLarge(DataError):
    """Kafka takes no record as large as one of a batch."""

    def __init__(self, topic: str) -> None:
        self.topic = topic
        super().__init__(
            f"a record for topic {topic} is larger than the topic's max.message.bytes: "
            "raise it, or take the record out"
        )


class KafkaRefused(UnreachableError):
    """Kafka answers and refuses to take records."""

    def __init__(self, bootstrap_servers: str, cause: str) -> None:
        self.bootstrap_servers = bootstrap_servers
        self.cause = cause
        super().__init__(f"Kafka at {bootstrap_servers} refuses the records: {cause}")


def partition_of(key: bytes, partition_count: int) -> int:
    """Partition that the Java client, aiokafka and kafka-python choose for a key by default.

    >>> partition_of(b"c-000123", 4)
    3
    """
    chosen: int = (murmur2(key) & 0x7FFFFFFF) % partition_count
    return chosen


def client_options_of(settings: Settings) -> dict[str, Any]:
    """Options that every aiokafka client takes: servers, security, time limit.

    Raises SettingsError when the files of the TLS cannot be used.
    """
    return {
        "bootstrap_servers": settings.kafka_bootstrap_servers,
        "request_timeout_ms": settings.kafka_timeout_ms,
        **login_options(settings),
    }


class RecordProducer:
    """A producer for the length of an ``async with``; leaves only when all is acknowledged.

    ``idempotent`` keeps a retried batch from standing twice in the topic; the embedded broker
    cannot do it. Records of one key keep their order. ``records_sent`` counts what was handed
    over. Raises KafkaUnreachable, KafkaRefused, TopicMissing, RecordTooLarge.
    """

    def __init__(self, settings: Settings, *, idempotent: bool = True) -> None:
        self._settings = settings
        self._servers = settings.kafka_bootstrap_servers
        self._idempotent = idempotent
        self._limit_seconds = settings.kafka_timeout_ms / 1000
        self._counts: dict[str, int] = {}
        self._builders: dict[str, list[Any]] = {}
        self._cached: dict[tuple[int, bytes], int] = {}
        self._futures: dict[asyncio.Future[Any], str] = {}
        self._unkeyed = 0
        self.records_sent = 0

    async def __aenter__(self) -> Self:
        """Connect; KafkaUnreachable when no broker answers or the login is refused."""
        self._producer = AIOKafkaProducer(
            **client_options_of(self._settings),
            acks="all",
            enable_idempotence=self._idempotent,
            max_batch_size=BATCH_BYTES,
        )
        causes: list[Cause] = []
        try:
            with aiokafka_quiet(causes):
                async with asyncio.timeout(self._limit_seconds):
                    await self._producer.start()
        except (KafkaError, OSError) as error:  # a TimeoutError too
            await self._stop()
            raise await unreachable_of(self._settings, causes, error) from error
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Send what is still here, unless an error ends the run, and disconnect."""
        try:
            if error is None:
                await self.flush()
        finally:
            for future in self._futures:
                future.cancel()
            await self._stop()

    async def _stop(self) -> None:
        """Disconnect; batches that a dead broker does not take within the limit are dropped."""
        with aiokafka_quiet([]):
            try:
                async with asyncio.timeout(self._limit_seconds):
                    await self._producer.stop()
            except TimeoutError:
                # stop() waits for ever for a batch that cannot be sent: end what it left.
                await self._producer._sender.close()
                await self._producer.client.close()

    async def open_topic(self, topic: str) -> int:
        """Number of the topic's partitions; call it before ``send``. Raises TopicMissing."""
        with self._plain_errors(topic):
            cluster = await self._producer.client.fetch_all_metadata()
            if topic not in cluster.topics():
                raise TopicMissing(topic, self._servers)
            count = len(await self._producer.partitions_for(topic))
        self._counts[topic] = count
        self._builders[topic] = [None] * count
        return count

    async def send(
        self,
        topic: str,
        keys: Sequence[bytes | None],
        values: Sequence[bytes | None],
        partitions: Sequence[int] | None = None,
    ) -> None:
        """Hand over records in order; waits when Kafka is slower than the caller.

        Where no partitions are given, the key's is taken; a record without a key goes to the next
        one in turn.
        """
        builders = self._builders[topic]
        now_ms = int(time.time() * 1000)
        if partitions is None:
            partitions = self._partitions_of(topic, keys)
        for partition, key, value in zip(partitions, keys, values, strict=True):
            builder = builders[partition]
            if builder is None or not builder.append(timestamp=now_ms, key=key, value=value):
                if builder is not None:
                    await self._submit(topic, partition, builder)
                builder = builders[partition] = self._producer.create_batch()
                builder.append(timestamp=now_ms, key=key, value=value)
        self.records_sent += len(values)

    async def push(self) -> None:
        """Send the batches that are not full too, without waiting for acknowledgement."""
        for topic, builders in self._builders.items():
            for partition, builder in enumerate(builders):
                if builder is not None:
                    builders[partition] = None
                    await self._submit(topic, partition, builder)

    async def flush(self) -> None:
        """Send all batches and wait until Kafka has acknowledged every record."""
        await self.push()
        while self._futures:
            # An idempotent batch never expires in aiokafka: it is retried until Kafka is back.
            done, _ = await asyncio.wait(
                self._futures, timeout=self._limit_seconds, return_when=asyncio.FIRST_COMPLETED
            )
            if not done:
                raise KafkaUnreachable(self._servers, f"no answer for {self._limit_seconds:g} s")
            self._check_sent()

    def _partitions_of(self, topic: str, keys: Sequence[bytes | None]) -> list[int]:
        count, cached = self._counts[topic], self._cached
        if len(cached) > _CACHED_KEYS_MAX:
            cached.clear()
        partitions = []
        for key in keys:
            if key is None:
                self._unkeyed += 1
                partitions.append(self._unkeyed % count)
                continue
            partition = cached.get((count, key))
            if partition is None:
                partition = cached[count, key] = partition_of(key, count)
            partitions.append(partition)
        return partitions

    async def _submit(self, topic: str, partition: int, builder: Any) -> None:
        self._check_sent()
        builder.close()
        with self._plain_errors(topic):
            future = await self._producer.send_batch(builder, topic, partition=partition)
            self._futures[future] = topic

    def _check_sent(self) -> None:
        """Forget what is acknowledged and raise what was refused."""
        done = [future for future in self._futures if future.done()]
        for future in done:
            with self._plain_errors(self._futures.pop(future)):
                future.result()

    @contextmanager
    def _plain_errors(self, topic: str) -> Iterator[None]:
        try:
            yield
        except MessageSizeTooLargeError as error:
            raise RecordTooLarge(topic) from error
        except (KafkaConnectionError, KafkaTimeoutError, AuthenticationFailedError) as error:
            raise KafkaUnreachable(self._servers, _words_of(error)) from error
        except KafkaError as error:
            raise KafkaRefused(self._servers, _words_of(error)) from error


def _words_of(error: BaseException) -> str:
    return type(error).__name__.removesuffix("Error")


class Cause(NamedTuple):
    """Why aiokafka failed; ``is_refusal``: Kafka will not have us so, which does not pass."""

    words: str
    is_refusal: bool


class _Kept(logging.Handler):
    """Keeps the arguments of aiokafka's messages: the cause is told there and nowhere else."""

    def __init__(self, causes: list[Cause]) -> None:
        super().__init__()
        self._causes = causes

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the error that a message is about, in plain words."""
        for error in record.args if isinstance(record.args, tuple) else ():
            if isinstance(error, BaseException):
                self._causes.append(_cause_of(error))


def _cause_of(error: BaseException) -> Cause:
    if isinstance(error, (SaslAuthenticationFailed, AuthenticationFailedError)):
        return Cause(WRONG_LOGIN, is_refusal=True)
    if isinstance(error, UnsupportedSaslMechanismError):
        return Cause("it does not know this kafka_sasl_mechanism", is_refusal=True)
    text = str(error) or _words_of(error)
    tls_cause = kafka_tls_cause_of(text)
    return Cause(tls_cause or text.splitlines()[0], is_refusal=tls_cause is not None)


async def unreachable_of(
    settings: Settings, causes: list[Cause], error: BaseException
) -> SurgewatchError:
    """Error for a Kafka that a client of ours could not begin with.

    ``causes`` are what ``aiokafka_quiet`` kept: the error itself says only that there was one, and
    often only that the connection was closed, so Kafka is asked once more.
    """
    refusal = await asyncio.to_thread(refusal_of, settings)
    if refusal is not None:
        return refusal
    servers = settings.kafka_bootstrap_servers
    cause = causes[-1] if causes else Cause(str(error) or "no answer", is_refusal=False)
    return (KafkaRefusesUs if cause.is_refusal else KafkaUnreachable)(servers, cause.words)


@contextmanager
def aiokafka_quiet(causes: list[Cause]) -> Iterator[None]:
    """Keep the errors that aiokafka logs in ``causes``, instead of printing them.

    Several threads may be in it at once: the last to leave lets it print again.
    """
    log, kept = logging.getLogger("aiokafka"), _Kept(causes)
    log.addHandler(kept)
    log.propagate = False
    try:
        yield
    finally:
        log.removeHandler(kept)
        log.propagate = not any(isinstance(one, _Kept) for one in log.handlers)
