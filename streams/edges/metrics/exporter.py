"""HTTP server for ``/metrics``, ``/livez`` and ``/readyz``, in a thread of its own."""

import asyncio
import errno
import socket
import socketserver
import ssl
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Final, Self

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from streams.edges.errors import SettingsError
from streams.edges.metrics.access import CHALLENGE, MetricsAccess
from streams.edges.process.health import Health

REQUEST_SECONDS_MAX: Final = 5.0
"""A client that is slower than this is cut off."""
LAST_SCRAPE_SECONDS_MAX: Final = 15.0
"""So long a worker that ends waits for a scrape more: Prometheus' usual interval, a pod's half."""
OPEN: Final = MetricsAccess()
"""Without TLS, to everyone."""
_SLACK: Final = 0.25
_PAGES: Final = ("/metrics", "/livez", "/readyz")


class Scrapes:
    """When metrics were asked for, so that one knows when they will be again."""

    def __init__(self) -> None:
        self._is_done = threading.Event()
        self._count = self._waited_from = 0
        self._last: tuple[float, ...] = ()

    def came(self, now: float) -> int:
        """Take note that metrics are asked for; the number of this scrape."""
        self._last = (*self._last[-1:], now)
        self._count += 1
        return self._count

    def done(self, number: int) -> None:
        """A scrape was answered: one that began before the wait does not end it."""
        if number > self._waited_from:
            self._is_done.set()

    def wait(self, seconds: float) -> None:
        """Wait for one that begins from now on."""
        self._waited_from = self._count
        self._is_done.clear()
        self._is_done.wait(seconds)

    def next_within(self, now: float) -> float:
        """Seconds within which the next scrape will come, if nothing changes; 0: none will.

        >>> scrapes = Scrapes()
        >>> scrapes.came(100.0), scrapes.came(104.0)
        (1, 2)
        >>> scrapes.next_within(105.0), scrapes.next_within(150.0)
        (4.0, 0.0)
        """
        if len(self._last) < 2:
            return 0.0
        before, last = self._last
        due = last + (last - before) * (1 + _SLACK) - now
        return min(due, LAST_SCRAPE_SECONDS_MAX) if due > 0 else 0.0


class Exporter:
    """Serve a registry and a health until ``stop``; a context manager does both.

    ``/metrics``: OpenMetrics or Prometheus text, as the client accepts. ``/livez``, ``/readyz``:
    200 ``ok``, or 503 and the reason in one line. ``access`` says who may read ``/metrics``; the
    other two are for probes, which have no password, and tell only whether the worker works.
    """

    def __init__(
        self,
        registry: CollectorRegistry,
        health: Health,
        clock: Callable[[], float] = time.monotonic,
        access: MetricsAccess = OPEN,
    ) -> None:
        self._access = access
        self._registry = registry
        self._health = health
        self._clock = clock
        self._scrapes = Scrapes()
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None

    def start(self, host: str, port: int) -> int:
        """Begin to serve; port 0 takes any free one. Give the port.

        Raises ``SettingsError`` when the address cannot be had.
        """
        assert self._server is None, "the exporter serves already"
        try:
            self._server = _Server.at(host, port, self._handler())
            self._server.context = self._access.context
        except OSError as error:
            raise SettingsError(_refusal(host, port, error)) from error
        self._thread = threading.Thread(
            target=self._server.serve_forever,
            args=(0.1,),  # looks so often, in seconds, whether it shall end
            name="surgewatch-exporter",
            daemon=True,
        )
        self._thread.start()
        bound: int = self._server.server_address[1]
        return bound

    def stop(self) -> None:
        """End serving and free the port; again: nothing."""
        if self._server is not None and self._thread is not None:
            self._server.shutdown()
            self._server.server_close()
            self._thread.join()
        self._server = self._thread = None

    async def be_scraped(self) -> None:
        """Wait for one scrape more, if there were scrapes at a pace; not for long.

        The counters of what ends a worker change last, and would be seen by nobody.
        """
        seconds = self._scrapes.next_within(self._clock())
        if seconds:
            await asyncio.to_thread(self._scrapes.wait, seconds)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def answer(self, path: str, accept: str) -> tuple[int, str, bytes]:
        """Status, content type and body for one request."""
        text = "text/plain; charset=utf-8"
        page = path.partition("?")[0]
        if page == "/metrics":
            encode, content_type = choose_encoder(accept)
            return 200, content_type, encode(self._registry)
        if page == "/livez":
            reason = self._health.stalled(self._clock())
        elif page == "/readyz":
            reason = self._health.unready(self._clock())
        else:
            return 404, text, f"there are {', '.join(_PAGES)}\n".encode()
        if reason is None:
            return 200, text, b"ok\n"
        return 503, text, f"{reason}\n".encode()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        exporter = self

        class Handler(BaseHTTPRequestHandler):
            timeout = REQUEST_SECONDS_MAX
            server_version = "surgewatch"
            sys_version = ""

            def do_GET(self) -> None:  # http.server's name for it
                is_scrape, scrapes = self.path.startswith("/metrics"), exporter._scrapes
                login = exporter._access.login
                if login and is_scrape and not login.allows(self.headers.get("Authorization", "")):
                    self._refuse()
                    return
                number = scrapes.came(exporter._clock()) if is_scrape else 0
                status, content_type, body = exporter.answer(
                    self.path, self.headers.get("Accept", "")
                )
                self.send_response(status)
                self.send_header("Content-Type", content_type)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)
                scrapes.done(number)

            def _refuse(self) -> None:
                body = b"metrics_username and metrics_password are wanted\n"
                self.send_response(401)
                self.send_header("WWW-Authenticate", CHALLENGE)
                self.send_header("Content-Type", "text/plain; charset=utf-8")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Say nothing: a probe a second would fill the log."""

        return Handler


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    # A client that hangs must not hold up the worker's end.
    block_on_close = False
    context: ssl.SSLContext | None = None

    @classmethod
    def at(cls, host: str, port: int, handler: type[BaseHTTPRequestHandler]) -> Self:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        server = cls((host, port), handler, bind_and_activate=False)
        try:
            # The class is for IPv4: the socket is made anew in the family of the address.
            server.socket.close()
            server.address_family = family
            server.socket = socket.socket(family, server.socket_type)
            server.server_bind()
            server.server_activate()
        except BaseException:
            server.server_close()
            raise
        return server

    def server_bind(self) -> None:
        # HTTPServer asks DNS for the host's full name here, which may take seconds.
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Answer; in the thread of this request, so that a slow handshake holds up no other."""
        if self.context is None:
            super().finish_request(request, client_address)
            return
        request.settimeout(REQUEST_SECONDS_MAX)
        with self.context.wrap_socket(request, server_side=True) as secured:
            super().finish_request(secured, client_address)

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: a client that went away is no fault of ours."""


def _refusal(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return (
            f"metrics_port = {port}: {host}:{port} is in use: end what uses it, or set "
            "SURGEWATCH_METRICS_PORT (0: any free port, -1: none)"
        )
    if error.errno == errno.EACCES:
        return f"metrics_port = {port}: not allowed: take a port from 1024 up"
    reason = error.strerror or error
    return f"metrics_host = {host}: cannot serve there ({reason}): give an address of this machine"
