"""The long-running worker: Faust agents on the batch transport, wired to the pipeline."""

import asyncio
import logging
import signal
import tempfile
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import faust
from redis.asyncio import Redis

from streams.app.jobs import comment_partition_of, follow_partition_of
from streams.app.pipeline import Pipeline, PipelinePolicy, Trade
from streams.core.dead_letter_limit import DeadLetterLimit
from streams.edges.announcer import KafkaAnnouncer
from streams.edges.codec import Limits, decode_comments, decode_follows
from streams.edges.progress import Progress
from streams.edges.redis_store import RedisStore, RedisStorePolicy
from streams.edges.settings_list import Settings
from streams.edges.store import Store
from streams.edges.transport import TransportOptions, faust_settings

log = logging.getLogger(__name__)


class WorkerApp(faust.App):  # type: ignore[misc]  # untyped
    """The Faust app, with what the batch transport asks of it."""

    partition_owner: Pipeline
    transport_options: TransportOptions


def trades_of(settings: Settings) -> dict[str, Trade]:
    """What is done with the chunks of each topic."""
    limits = Limits(settings.record_bytes_max, settings.future_skew_ms)

    def now_ms() -> int:
        return time.time_ns() // 1_000_000

    return {
        settings.topic_follows: Trade(
            lambda chunk: decode_follows(chunk, now_ms(), limits),
            lambda: follow_partition_of(settings),
        ),
        settings.topic_comments: Trade(
            lambda chunk: decode_comments(chunk, now_ms(), limits),
            lambda: comment_partition_of(settings),
        ),
    }


def build_app(settings: Settings, pipeline: Pipeline, datadir: str) -> WorkerApp:
    """Build the app: one agent a topic, each a sentence."""
    options = faust_settings(settings.kafka_bootstrap_servers, datadir)
    app = WorkerApp(
        settings.kafka_group,
        **options | {"broker_session_timeout": settings.kafka_session_timeout_ms / 1000},
        consumer_group_instance_id=settings.kafka_instance_id or "",
    )
    app.partition_owner = pipeline
    app.transport_options = TransportOptions(chunk_records_max=settings.chunk_records_max)

    async def take(stream: Any) -> None:
        async for event in stream.noack().events():
            await pipeline.take(event)

    for topic in (settings.topic_follows, settings.topic_comments):
        app.agent(app.topic(topic), name=f"take-{topic}")(take)
    return app


@dataclass
class Worker:
    """A worker from start to stop."""

    settings: Settings
    progress: Progress

    async def run(self) -> None:
        """Run until SIGTERM or SIGINT, or until something stops it; raises what did."""
        settings = self.settings
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        announcer = KafkaAnnouncer(settings, lambda: None)
        store = redis_store_of(settings)
        await store.check(settings.topic_partitions)
        await announcer.start()
        policy = PipelinePolicy(
            settings.flush_interval_ms / 1000,
            settings.flush_creators_max,
            DeadLetterLimit(
                settings.dead_letters_share_max,
                settings.dead_letters_window,
                settings.dead_letters_row_max,
            ),
        )
        pipeline = Pipeline(trades_of(settings), store, announcer, policy, self.progress)
        with tempfile.TemporaryDirectory(prefix="surgewatch-") as datadir:
            app = build_app(settings, pipeline, datadir)
            pipeline.on_crash = app.crash
            await self._run_app(app, pipeline, stop)
        await announcer.stop()
        await store.close()

    async def _run_app(self, app: WorkerApp, pipeline: Pipeline, stop: asyncio.Event) -> None:
        await app.start()
        tasks = [
            asyncio.create_task(pipeline.run_flushes()),
            asyncio.create_task(stop.wait()),
            asyncio.create_task(app.wait_until_stopped()),
            asyncio.create_task(app._crashed.wait()),
        ]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await app.stop()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        if app.crash_reason is not None:
            raise app.crash_reason


def redis_store_of(settings: Settings) -> RedisStore:
    """The store that the settings name."""
    client = Redis.from_url(
        settings.redis_url,
        password=settings.redis_password,
        socket_timeout=settings.redis_timeout_ms / 1000,
        socket_connect_timeout=settings.redis_timeout_ms / 1000,
    )
    policy = RedisStorePolicy(
        settings.redis_prefix, settings.redis_expiry_days * 86_400, settings.redis_url
    )
    return RedisStore(client, policy, time.monotonic)


__all__ = ["AsyncIterator", "Store", "Worker", "build_app", "redis_store_of", "trades_of"]
