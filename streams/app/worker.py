"""The long-running worker: Faust agents on the batch transport, wired to the pipeline."""

import asyncio
import gc
import logging
import signal
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from typing import Any

import faust
from prometheus_client import CollectorRegistry
from redis.asyncio import Redis

from streams import __version__
from streams.app.jobs import (
    OWN_DETECTOR,
    check_detector,
    comment_partition_of,
    follow_partition_of,
    limits_of,
)
from streams.app.lane import PipelinePolicy, Trade
from streams.app.pipeline import Pipeline
from streams.core.dead_letter_limit import DeadLetterLimit
from streams.edges.announcer import KafkaAnnouncer
from streams.edges.codec import decode_comments, decode_follows
from streams.edges.errors import DataError, SettingsError, UnreachableError
from streams.edges.exporter import Exporter
from streams.edges.health import Health
from streams.edges.metrics import Build, Metrics
from streams.edges.producer import client_options_of
from streams.edges.progress import Progress, WorkerProgress
from streams.edges.redis_store import RedisStore, RedisStorePolicy
from streams.edges.settings_list import Settings
from streams.edges.settings_specs import url_without_password
from streams.edges.store import StoreKind
from streams.edges.topics import check_topics
from streams.edges.transport import TransportOptions, faust_settings
from streams.edges.transport_watch import KafkaWatch
from streams.edges.watchdog import Watchdog

log = logging.getLogger(__name__)


class WorkerApp(faust.App):  # type: ignore[misc]  # untyped
    """The Faust app, with what the batch transport asks of it."""

    partition_owner: Pipeline
    transport_options: TransportOptions


def trades_of(settings: Settings, progress: Progress) -> dict[str, Trade]:
    """What is done with the chunks of each topic."""
    limits = limits_of(settings)

    def now_ms() -> int:
        return time.time_ns() // 1_000_000

    return {
        settings.topic_follows: Trade(
            lambda chunk: decode_follows(chunk, now_ms(), limits),
            lambda: follow_partition_of(settings, progress),
        ),
        settings.topic_comments: Trade(
            lambda chunk: decode_comments(chunk, now_ms(), limits),
            lambda: comment_partition_of(settings, progress),
        ),
    }


def build_app(settings: Settings, pipeline: Pipeline, datadir: str) -> WorkerApp:
    """Build the app: one agent a topic, each a sentence."""
    app = WorkerApp(
        settings.kafka_group,
        **faust_settings(settings.kafka_bootstrap_servers, datadir) | login_settings_of(settings),
        consumer_group_instance_id=settings.kafka_instance_id or "",
    )
    app.partition_owner = pipeline
    app.transport_options = TransportOptions(chunk_records_max=settings.chunk_records_max)

    async def take(stream: Any) -> None:
        async for event in stream.noack().events():
            await pipeline.take(event)

    for topic in app_topics(settings):
        app.agent(app.topic(topic), name=f"take-{topic}")(take)
    return app


def login_settings_of(settings: Settings) -> dict[str, Any]:
    """Faust's settings for the login and the session."""
    session_seconds = settings.kafka_session_timeout_ms / 1000
    options: dict[str, Any] = {
        "broker_session_timeout": session_seconds,
        "broker_request_timeout": max(60.0, session_seconds),  # Faust wants it no shorter
    }
    context = client_options_of(settings).get("ssl_context")
    if settings.kafka_security_protocol.startswith("SASL"):
        options["broker_credentials"] = faust.SASLCredentials(
            username=settings.kafka_sasl_username,
            password=settings.kafka_sasl_password,
            mechanism=settings.kafka_sasl_mechanism,
            ssl_context=context,
        )
    elif context is not None:
        options["broker_credentials"] = faust.SSLCredentials(context)
    return options


class Worker:
    """A worker from start to stop."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.registry = CollectorRegistry()
        topics = (settings.topic_follows, settings.topic_comments)
        build = Build(__version__, settings.detector)
        metrics = Metrics(self.registry, topics, build, lambda: time.time_ns() // 1_000_000)
        self.health = Health(time.monotonic(), settings.watchdog_seconds)
        self._progress = WorkerProgress(metrics, self.health)

    async def run(self) -> None:
        """Run until SIGTERM or SIGINT, or until something stops it; raises what did."""
        settings = self._settings
        check_detector(settings)
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        async with AsyncExitStack() as stack:
            self._serve(stack)
            store = redis_store_of(settings)
            stack.push_async_callback(store.close)
            await _wait_for(redis_check_of(settings, store), settings.start_seconds_max, stop)
            announcer = KafkaAnnouncer(settings, lambda: self._progress.kafka_failed("produce"))
            stack.push_async_callback(announcer.stop)
            await _wait_for(kafka_check_of(settings, announcer), settings.start_seconds_max, stop)
            if stop.is_set():
                return
            trades = trades_of(settings, self._progress)
            policy = pipeline_policy_of(settings)
            pipeline = Pipeline(trades, store, announcer, policy, self._progress)
            datadir = stack.enter_context(tempfile.TemporaryDirectory(prefix="surgewatch-"))
            app = build_app(settings, pipeline, datadir)
            failed: asyncio.Future[Exception] = asyncio.get_running_loop().create_future()

            def fail(error: Exception) -> None:
                if not failed.done():
                    failed.set_result(error)

            pipeline.on_failure = fail
            pipeline.on_state_lost = app.consumer.read_again
            await self._run_app(app, pipeline, stop, failed)

    def _serve(self, stack: AsyncExitStack) -> None:
        """Serve metrics and health, and watch for a standstill."""
        settings = self._settings
        if settings.metrics_port >= 0:
            exporter = Exporter(self.registry, self.health)
            port = exporter.start(settings.metrics_host, settings.metrics_port)
            stack.callback(exporter.stop)
            log.info("metrics on http://%s:%d/metrics", settings.metrics_host, port)
        watchdog = Watchdog(self.health)
        watchdog.start()
        stack.callback(watchdog.stop)

    async def _run_app(
        self,
        app: WorkerApp,
        pipeline: Pipeline,
        stop: asyncio.Event,
        failed: asyncio.Future[Exception],
    ) -> None:
        waits: list[asyncio.Future[Any]] = [
            failed,
            asyncio.create_task(stop.wait()),
            asyncio.create_task(app._crashed.wait()),
            asyncio.create_task(pipeline.run_flushes()),
            asyncio.create_task(self._beat(app, pipeline)),
        ]
        try:
            await app.start()
            gc.collect()
            gc.freeze()  # what is there now lives as long as the worker: never walk it again
            watch = KafkaWatch(
                self._settings.kafka_bootstrap_servers,
                lambda: self._progress.kafka_failed("fetch"),
            )
            waits.append(asyncio.create_task(watch.run(app)))
            log.info("reading %s and %s", *app_topics(self._settings))
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            log.info("stopping: what was read is stored first")
            await app.stop()
            for wait in waits:
                wait.cancel()
            ended = await asyncio.gather(*waits, return_exceptions=True)
        for error in (app.crash_reason, *ended):
            if isinstance(error, Exception):
                raise error

    async def _beat(self, app: WorkerApp, pipeline: Pipeline) -> None:
        """Tell once a second that the loop runs, and how far it is."""
        while True:
            if pipeline.lanes:
                positions = {tp: await app.consumer.position(tp) for tp in pipeline.lanes}
                pipeline.tell(app.consumer.end_offsets(), positions)
            else:
                pipeline.tell({}, {})
            await asyncio.sleep(1.0)


def app_topics(settings: Settings) -> tuple[str, str]:
    """The topics that are read."""
    return settings.topic_follows, settings.topic_comments


def pipeline_policy_of(settings: Settings) -> PipelinePolicy:
    """When to write, and when a topic is too broken."""
    return PipelinePolicy(
        settings.flush_interval_ms / 1000,
        settings.flush_creators_max,
        DeadLetterLimit(
            settings.dead_letters_share_max,
            settings.dead_letters_window,
            settings.dead_letters_row_max,
        ),
        settings.repeats_horizon_ms,
        settings.keys_in_memory_max if settings.detector == OWN_DETECTOR else None,
    )


def redis_check_of(settings: Settings, store: RedisStore) -> Callable[[], Awaitable[None]]:
    """Ask whether Redis answers and holds our kind of state; raises DataError if it does not."""
    return lambda: store.check(
        StoreKind(settings.topic_partitions, settings.detector, settings.kafka_group)
    )


def kafka_check_of(settings: Settings, announcer: KafkaAnnouncer) -> Callable[[], Awaitable[None]]:
    """Ask whether Kafka answers and its topics are as they must be, and connect the announcer."""

    async def check() -> None:
        findings = await asyncio.to_thread(check_topics, settings)
        blocking = [finding for finding in findings if finding.blocks]
        if blocking:
            raise DataError(str(blocking[0]))
        await announcer.start()

    return check


async def _wait_for(
    ask: Callable[[], Awaitable[None]], seconds_max: float, stop: asyncio.Event
) -> None:
    """Ask until there is an answer or we are to stop; in the end the last error is raised."""
    give_up = time.monotonic() + seconds_max
    while not stop.is_set():
        try:
            return await ask()
        except UnreachableError as error:
            if time.monotonic() >= give_up or not error.retry:
                raise
            log.warning("waiting: %s", error)
        with suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), 1.0)
    return None


def redis_store_of(settings: Settings) -> RedisStore:
    """The store that the settings name."""
    try:
        client = Redis.from_url(
            settings.redis_url,
            password=settings.redis_password,
            socket_timeout=settings.redis_timeout_ms / 1000,
            socket_connect_timeout=settings.redis_timeout_ms / 1000,
        )
    except ValueError as error:
        msg = f"redis_url = {url_without_password(settings.redis_url)}: {error}"
        raise SettingsError(msg) from error
    policy = RedisStorePolicy(
        settings.redis_prefix,
        settings.redis_expiry_days * 86_400,
        url_without_password(settings.redis_url),
    )
    return RedisStore(client, policy, time.monotonic)
