"""Sends traces to an OpenTelemetry collector over OTLP/HTTP, from a thread of its own.

Imported only where ``traces_endpoint`` is set: the packages are those of the extra ``traces``.
"""

import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from typing import Final

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.trace import set_span_in_context

from streams import __version__
from streams.edges.logs.lines import logger_of
from streams.edges.metrics.catalogue_running import SpanResult
from streams.edges.traces.steps import Step

SPANS_WAITING_MAX: Final = 8_192
_SPANS_AT_ONCE: Final = 512
_SEND_SECONDS_MAX: Final = 3.0
_GATHER_SECONDS: Final = 0.5
_TOLD_AGAIN_SECONDS: Final = 60.0

log = logger_of(__name__)


class Traces:
    """Takes finished traces; never waits, never raises. ``count`` hears what became of spans."""

    def __init__(
        self,
        endpoint: str,
        endpoint_shown: str,
        worker: str,
        count: Callable[[SpanResult, int], None],
    ) -> None:
        for name in ("opentelemetry", "urllib3"):  # one line, and that is ours: no URL is in it
            logging.getLogger(name).setLevel(logging.CRITICAL)
        resource = Resource.create(
            {
                "service.name": "surgewatch",
                "service.version": __version__,
                "service.instance.id": worker,
            }
        )
        provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._sender = _Sender(OTLPSpanExporter(endpoint, timeout=_SEND_SECONDS_MAX), count)
        self._sender.endpoint_shown = endpoint_shown
        provider.add_span_processor(self._sender)
        self._tracer = provider.get_tracer("surgewatch", __version__)

    def start(self) -> None:
        """Begin to send."""
        self._sender.start()

    def stop(self) -> None:
        """Send what waits, but for no longer than one try."""
        self._sender.shutdown()

    def tell(self, root: Step, steps: Sequence[Step]) -> None:
        """Take one trace: its root, and its steps in an order in which parents come first."""
        whole = self._tracer.start_span(
            root.name, attributes=root.attributes, start_time=root.began_ns
        )
        contexts: dict[str | None, Context] = {None: set_span_in_context(whole)}
        for step in steps:
            parent = contexts.get(step.within, contexts[None])
            span = self._tracer.start_span(
                step.name, parent, attributes=step.attributes, start_time=step.began_ns
            )
            contexts[step.name] = set_span_in_context(span)
            span.end(step.ended_ns)
        whole.end(root.ended_ns)


class _Sender(SpanProcessor):
    """A bounded queue and the thread that empties it: what finds no room is dropped, and counted.

    The SDK's own drops without a count.
    """

    endpoint_shown = ""

    def __init__(
        self, exporter: OTLPSpanExporter, count: Callable[[SpanResult, int], None]
    ) -> None:
        self._exporter = exporter
        self._count = count
        self._waiting: queue.Queue[ReadableSpan] = queue.Queue(SPANS_WAITING_MAX)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="surgewatch-traces", daemon=True)
        self._told_at: float | None = None
        self._dropped = 0

    def start(self) -> None:
        self._thread.start()

    def on_end(self, span: ReadableSpan) -> None:
        """See SpanProcessor."""
        try:
            self._waiting.put_nowait(span)
        except queue.Full:
            self._drop(1)

    def shutdown(self) -> None:
        """See SpanProcessor."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(2 * _SEND_SECONDS_MAX)

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """See SpanProcessor: nobody asks for it."""
        return True

    def _run(self) -> None:
        while not self._stopping.wait(_GATHER_SECONDS):
            self._send_waiting()
        self._send_waiting()
        self._exporter.shutdown()  # type: ignore[no-untyped-call]  # theirs

    def _send_waiting(self) -> None:
        while not self._waiting.empty():
            spans: list[ReadableSpan] = []
            while len(spans) < _SPANS_AT_ONCE and not self._waiting.empty():
                spans.append(self._waiting.get_nowait())
            if not self._send(spans) and self._stopping.is_set():
                self._drop(self._waiting.qsize())
                return

    def _send(self, spans: Sequence[ReadableSpan]) -> bool:
        try:
            sent = self._exporter.export(spans) is SpanExportResult.SUCCESS
        except Exception:  # a thread that ends would end all traces, in silence
            sent = False
        if sent:
            self._count("sent", len(spans))
            self._tell_back()
        else:
            self._drop(len(spans))
            self._tell_lost()
        return sent

    def _drop(self, spans: int) -> None:
        self._dropped += spans
        self._count("dropped", spans)

    def _tell_lost(self) -> None:
        now = time.monotonic()
        if self._told_at is None or now - self._told_at >= _TOLD_AGAIN_SECONDS:
            self._told_at = now
            log.warning(
                "traces_not_taken",
                "traces are not taken at {endpoint}: {spans} spans are dropped so far, nothing "
                "else is lost. Is the collector running, and is SURGEWATCH_TRACES_ENDPOINT right?",
                endpoint=self.endpoint_shown,
                spans=self._dropped,
            )

    def _tell_back(self) -> None:
        if self._told_at is not None:
            self._told_at = None
            log.warning(
                "traces_taken_again",
                "traces are taken again at {endpoint}",
                endpoint=self.endpoint_shown,
            )
