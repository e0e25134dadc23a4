"""The long-running worker: the Faust app, the pipeline and what watches both, wired together."""

import asyncio
import gc
import itertools
import signal
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterable
from contextlib import AsyncExitStack
from typing import Any, Final

from prometheus_client import CollectorRegistry

from streams import __version__
from streams.app.certificates import CertificatesInUse
from streams.app.jobs import (
    OWN_DETECTOR,
    check_detector,
)
from streams.app.worker.checks import WorkerChecks, second_opinion, trouble_of
from streams.app.worker.faust_app import WorkerApp, build_app, trades_of
from streams.app.worker.idleness import Idleness
from streams.app.worker.lane import Announcer, PipelinePolicy, Trade
from streams.app.worker.losses import Losses
from streams.app.worker.pipeline import Pipeline
from streams.app.worker.placement import Placement
from streams.app.worker.reloading import Reloading
from streams.app.worker.tracing import TracedProgress, Tracing, sink_of
from streams.core.records.dead_letter_limit import DeadLetterLimit
from streams.edges.errors import SettingsError, SurgewatchError
from streams.edges.kafka.announcer import KafkaAnnouncer
from streams.edges.kafka.source_guard import GuardedStore
from streams.edges.kafka.topics import input_topics
from streams.edges.logs.lines import logger_of
from streams.edges.logs.output import Logs
from streams.edges.metrics.access import metrics_access_of
from streams.edges.metrics.exporter import Exporter
from streams.edges.metrics.progress import WorkerProgress
from streams.edges.metrics.worker import Build, Metrics
from streams.edges.process.allocator import allocated_bytes, give_back_spare
from streams.edges.process.clock import Clocks, SteadyClock
from streams.edges.process.health import Health
from streams.edges.process.memory_limit import memory_limit_bytes
from streams.edges.process.watchdog import Watchdog
from streams.edges.redis.client import AsyncClient, async_client_of
from streams.edges.redis.servers import RedisServers
from streams.edges.redis.store import RedisStore, RedisStorePolicy
from streams.edges.settings.list import Settings
from streams.edges.settings.specs import digest_of, url_without_password
from streams.edges.transport.watch import KafkaWatch, lost_while_starting

_BEATS_A_TRIM: Final = 2
"""Memory that growing tables left behind is looked at every other second."""

log = logger_of(__name__)


class Worker:
    """A worker from start to stop.

    ``clocks`` are where it reads the time, ``logs`` its lines; ``read`` reads its settings anew.
    """

    def __init__(
        self,
        settings: Settings,
        clocks: Clocks | None = None,
        logs: Logs | None = None,
        read: Callable[[], Settings] | None = None,
    ) -> None:
        self._settings = settings
        self._logs = logs
        self._read = read or (lambda: settings)
        self._reload_asked = asyncio.Event()
        self._clocks = clocks or Clocks()
        self.registry = CollectorRegistry()
        build = Build(__version__, settings.detector, digest_of(settings))
        self._clock = SteadyClock(self._clocks, self._clock_jumped)
        self._metrics = Metrics(
            *(self.registry, input_topics(settings), build, self._clock.now_ms),
            CertificatesInUse(settings).states,
        )
        self.health = Health(time.monotonic(), settings.watchdog_seconds)
        traced = settings.traces_endpoint is not None
        self._progress = (TracedProgress if traced else WorkerProgress)(self._metrics, self.health)
        self._metrics.set_memory_limit(memory_limit_bytes())
        self._metrics.set_partitions(len(input_topics(settings)) * settings.topic_partitions)

    async def run(self) -> None:
        """Run until SIGTERM or SIGINT, or until something stops it; raises what did.

        The last line tells of an end in order. The same signal again ends it at once.
        """
        check_detector(self._settings)
        stop, loop = asyncio.Event(), asyncio.get_running_loop()

        def end(number: signal.Signals) -> None:
            self.health.stops(time.monotonic())
            stop.set()
            # The same signal once more ends the process at once: who sends it will not wait.
            loop.remove_signal_handler(number)
            signal.signal(number, signal.SIG_DFL)

        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, end, number)
        loop.add_signal_handler(signal.SIGHUP, self._reload_asked.set)
        async with AsyncExitStack() as stack:
            stack.callback(self._tell_suppressed, all_kinds=True)
            self._serve(stack)
            try:
                await self._run(stack, stop)
            except SurgewatchError as error:
                trouble = trouble_of(error)
                if trouble is not None:
                    self._metrics.add_trouble(trouble)
                raise
        log.info("ended", "ended in order: what was counted is stored")

    async def _run(self, stack: AsyncExitStack, stop: asyncio.Event) -> None:
        settings = self._settings
        tracing = self._trace(stack)
        client = async_client_of(settings)
        store = redis_store_of(settings, client)
        stack.push_async_callback(store.close)
        announcer = KafkaAnnouncer(settings, lambda: self._progress.kafka_failed("produce"))
        stack.push_async_callback(announcer.stop)
        servers = RedisServers(client, url_without_password(settings.redis_url))
        checks = WorkerChecks(settings, self._progress, announcer, store, servers, self._clock)
        await checks.at_start(stop)
        if stop.is_set():
            return
        guard = checks.build_guard()
        stack.push_async_callback(guard.close)
        placement = Placement(settings.topic_partitions, self._metrics)

        def trades_now(settings: Settings) -> dict[str, Trade]:
            trades = trades_of(settings, self._progress, self._clock)
            for topic in (settings.topic_follows, settings.topic_comments):
                trades[topic] = trades[topic].looked_at_by(placement.look)
            return trades if tracing is None else tracing.trades(trades)

        parts: tuple[GuardedStore, Announcer] = GuardedStore(store, guard), announcer
        options = Losses(settings, self._metrics).options
        if tracing is not None:
            parts, options = tracing.parts(store, guard, announcer), tracing.options(options)
        policy = pipeline_policy_of(settings)
        pipeline = Pipeline(trades_now(settings), *parts, policy, self._progress)
        datadir = stack.enter_context(temporary_folder())
        app = build_app(settings, pipeline, datadir, options)
        failed: asyncio.Future[Exception] = asyncio.get_running_loop().create_future()

        def fail(error: Exception) -> None:
            if not failed.done():
                failed.set_result(error)

        pipeline.on_failure = fail
        pipeline.on_state_lost = app.consumer.read_again

        async def apply(new: Settings, jobs_change: bool) -> None:
            if self._logs is not None:
                self._logs.set_level(new.log_level)
            checks.change(new)
            pipeline.change(trades_now(new), pipeline_policy_of(new))
            self._metrics.set_settings_hash(digest_of(new))
            if tracing is not None:
                tracing.share = new.traces_sample_share
            if jobs_change:
                await app.consumer.read_again(pipeline.hand_in)

        reloading = Reloading(settings, self._read, check_detector, apply, self._metrics.reloaded)
        try:
            with lost_while_starting(self._settings.kafka_bootstrap_servers):
                ends = (failed, *checks.watches(guard), reloading.run(self._reload_asked))
                await self._run_app(app, (pipeline, Idleness(announcer)), stop, ends)
        except SurgewatchError as error:
            raise await second_opinion(error, guard) from error

    def _trace(self, stack: AsyncExitStack) -> Tracing | None:
        """Begin to trace if the settings want it."""
        if not isinstance(self._progress, TracedProgress):
            return None
        sink = sink_of(self._settings, self._metrics)
        sink.start()
        stack.callback(sink.stop)
        self._progress.tracing = Tracing(sink, self._settings.traces_sample_share)
        return self._progress.tracing

    def _clock_jumped(self, _: int, off_ms: int) -> None:
        self._metrics.add_trouble("clock_jump")
        self._metrics.set_clock_off(off_ms / 1000)

    def _serve(self, stack: AsyncExitStack) -> None:
        """Serve metrics and health, and watch for a standstill."""
        settings = self._settings
        if settings.metrics_port >= 0:
            access = metrics_access_of(settings)
            exporter = Exporter(self.registry, self.health, access=access)
            port = exporter.start(settings.metrics_host, settings.metrics_port)
            stack.callback(exporter.stop)
            stack.push_async_callback(exporter.be_scraped)
            log.info(
                "metrics_served",
                "metrics on {scheme}://{host}:{port}/metrics",
                scheme=access.scheme,
                host=settings.metrics_host,
                port=port,
            )
            if (warning := access.warning(settings.metrics_host)) is not None:
                log.warning("metrics_open", "{what}", what=warning)
        self._metrics.gc_pauses.start()
        stack.callback(self._metrics.gc_pauses.stop)
        watchdog = Watchdog(self.health)
        watchdog.start()
        stack.callback(watchdog.stop)

    async def _run_app(
        self,
        app: WorkerApp,
        parts: tuple[Pipeline, Idleness],
        stop: asyncio.Event,
        ends: Iterable[Awaitable[Any]],
    ) -> None:
        pipeline, idleness = parts
        waits: list[asyncio.Future[Any]] = [
            *map(asyncio.ensure_future, ends),
            asyncio.create_task(stop.wait()),
            asyncio.create_task(app._crashed.wait()),
            asyncio.create_task(pipeline.run_flushes()),
            asyncio.create_task(self._beat(app, pipeline, idleness)),
        ]
        try:
            await app.start()
            gc.collect()
            gc.freeze()  # what is there now lives as long as the worker: never walk it again
            watch = KafkaWatch(
                self._settings.kafka_bootstrap_servers,
                lambda: self._progress.kafka_failed("fetch"),
                lambda silent: self.health.heard_kafka(silent=silent),
            )
            waits.append(asyncio.create_task(watch.run(app)))
            topics = ", ".join(input_topics(self._settings))
            log.info("reading", "reading {topics}", topics=topics)
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            log.info("stopping", "stopping: what was read is stored first")
            self.health.stops(time.monotonic())
            await app.stop()
            for wait in waits:
                wait.cancel()
            ended = await asyncio.gather(*waits, return_exceptions=True)
        for error in (app.crash_reason, *ended):
            if isinstance(error, Exception):
                raise error

    def _tell_suppressed(self, *, all_kinds: bool = False) -> None:
        if self._logs is not None:
            self._logs.tell_suppressed(all_kinds=all_kinds)
            self._metrics.add_suppressed(self._logs.take_suppressed())
            self._metrics.add_lines_lost(self._logs.take_lost())

    async def _beat(self, app: WorkerApp, pipeline: Pipeline, idleness: Idleness) -> None:
        """Tell once a second that the loop runs, and how far it is; look at the clock."""
        for beat in itertools.count(1):
            self._tell_suppressed()
            self._clock.now_ms()
            self._metrics.set_clock_off(self._clock.off_ms / 1000)
            if beat % _BEATS_A_TRIM == 0:
                self._metrics.set_memory_allocated(allocated_bytes())
                give_back_spare()
            heard = True
            if pipeline.lanes:
                positions = {tp: app.consumer.begun_at(tp) for tp in pipeline.lanes}
                pipeline.tell(app.consumer.end_offsets(), positions)
                fresh = app.consumer.fresh_end_offsets()
                pipeline.let_quiet(fresh)
                idleness.look(pipeline.lanes, fresh, positions)
                heard = pipeline.lanes.keys() <= fresh.keys()
            else:
                pipeline.tell({}, {})
            dealing = app.consumer.gate.is_dealing
            self.health.found_flow(time.monotonic(), heard=heard, dealing=dealing)
            await asyncio.sleep(1.0)


def temporary_folder() -> tempfile.TemporaryDirectory[str]:
    """A folder that is gone when it ends. Raises SettingsError where none can be made."""
    try:
        return tempfile.TemporaryDirectory(prefix="surgewatch-")
    except OSError as error:
        message = (
            f"no folder for temporary files can be made ({error.strerror}): set TMPDIR to one that "
            "can be written; in a container with a read-only root, mount a tmpfs on /tmp"
        )
        raise SettingsError(message) from error


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
        settings.keys_in_memory_max if settings.detector == OWN_DETECTOR else None,
        settings_hash=digest_of(settings),
    )


def redis_store_of(settings: Settings, client: AsyncClient) -> RedisStore:
    """The store that the settings name."""
    policy = RedisStorePolicy(
        settings.redis_prefix,
        settings.redis_expiry_days * 86_400,
        url_without_password(settings.redis_url),
    )
    return RedisStore(client, policy, time.monotonic)
