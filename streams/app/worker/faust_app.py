"""The Faust app of a worker: one agent a topic on the batch transport, and what each does."""

from typing import Any

import faust

from streams.app.jobs import comment_partition_of, follow_partition_of, limits_of
from streams.app.worker.lane import Trade
from streams.app.worker.pipeline import Pipeline
from streams.core.records.chunks import RawChunk
from streams.core.waves.fleet import FleetWaves
from streams.edges.codec.events import decode_comments, decode_follows
from streams.edges.codec.reports import decode_reports
from streams.edges.kafka.producer import client_options_of
from streams.edges.kafka.topics import input_topics
from streams.edges.logs.output import worker_name_of
from streams.edges.metrics.progress import Progress
from streams.edges.process.clock import Clocks, SteadyClock
from streams.edges.settings.list import Settings
from streams.edges.transport.batch import TransportOptions, faust_settings


class WorkerApp(faust.App):  # type: ignore[misc]  # untyped
    """The Faust app, with what the batch transport asks of it."""

    partition_owner: Pipeline
    transport_options: TransportOptions


def trades_of(
    settings: Settings, progress: Progress, clock: SteadyClock | None = None
) -> dict[str, Trade]:
    """What is done with the chunks of each topic; without a clock given, by this machine's."""
    limits = limits_of(settings)
    clock = clock or SteadyClock(Clocks(), lambda *_: None)

    def now_ms(chunk: RawChunk) -> int:
        append_ms = chunk.append_ms
        if append_ms is None or not len(append_ms):
            return clock.now_ms()
        return clock.now_ms(int(append_ms.max()))

    return {
        settings.topic_follows: Trade(
            lambda chunk: decode_follows(chunk, now_ms(chunk), limits),
            lambda: follow_partition_of(settings, progress),
            lambda chunk: decode_follows(chunk, None, limits),
        ),
        settings.topic_comments: Trade(
            lambda chunk: decode_comments(chunk, now_ms(chunk), limits),
            lambda: comment_partition_of(settings, progress),
            lambda chunk: decode_comments(chunk, None, limits),
        ),
        settings.topic_waves: Trade(
            lambda chunk: decode_reports(chunk, settings.redis_prefix, settings.topic_partitions),
            lambda: FleetWaves(settings.topic_partitions),
        ),
    }


def build_app(
    settings: Settings,
    pipeline: Pipeline,
    datadir: str,
    options: TransportOptions | None = None,
) -> WorkerApp:
    """Build the app: one agent a topic, each a sentence."""
    app = WorkerApp(
        settings.kafka_group,
        **faust_settings(settings.kafka_bootstrap_servers, datadir) | login_settings_of(settings),
        consumer_group_instance_id=settings.kafka_instance_id or "",
    )
    app.partition_owner = pipeline
    app.transport_options = options or TransportOptions(settings.chunk_records_max)

    async def take(stream: Any) -> None:
        async for event in stream.noack().events():
            await pipeline.take(event)

    for topic in input_topics(settings):
        app.agent(app.topic(topic), name=f"take-{topic}")(take)
    return app


def login_settings_of(settings: Settings) -> dict[str, Any]:
    """Faust's settings for the name that Kafka knows us by, the login and the session."""
    session_seconds = settings.kafka_session_timeout_ms / 1000
    options: dict[str, Any] = {
        "broker_client_id": worker_name_of(settings),  # as lines of the log name it
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
