"""TLS with Redis: connections whose context is ours, made from files that may be renewed."""

import socket
import ssl
from typing import Any

from redis.asyncio.connection import SSLConnection as AsyncSSLConnection
from redis.connection import SSLConnection

from streams.edges.settings.list import Settings
from streams.edges.tls.causes import tls_cause_of
from streams.edges.tls.contexts import RenewingContext
from streams.edges.tls.files import TlsFiles


def redis_files_of(settings: Settings) -> TlsFiles | None:
    """Files of the TLS with Redis; None: without TLS."""
    if not settings.redis_url.startswith("rediss"):
        return None
    return TlsFiles(
        "redis_ssl",
        settings.redis_ssl_cafile,
        settings.redis_ssl_certfile,
        settings.redis_ssl_keyfile,
        settings.redis_ssl_key_password,
    )


def redis_context_of(settings: Settings) -> RenewingContext | None:
    """TLS as the settings want it for Redis; None: without. Raises SettingsError."""
    files = redis_files_of(settings)
    return None if files is None else RenewingContext.of(files)


def redis_tls_cause_of(text: str) -> str | None:
    """Why TLS with Redis failed, in plain words; None: the text is not about TLS."""
    return tls_cause_of(text, "redis_ssl", "redis_url, rediss:// is with TLS and redis:// without")


def async_connection_of(context: ssl.SSLContext) -> type[AsyncSSLConnection]:
    """Kind of connection for redis-py's asyncio clients.

    Of its own kind each connection would keep the files as it first read them.
    """

    class Connection(AsyncSSLConnection):
        def _connection_arguments(self) -> Any:
            return {"host": self.host, "port": self.port, "ssl": context}

    return Connection


def sync_connection_of(context: ssl.SSLContext) -> type[SSLConnection]:
    """Kind of connection for redis-py's blocking clients."""

    class Connection(SSLConnection):
        def _wrap_socket_with_ssl(self, sock: socket.socket) -> ssl.SSLSocket:
            return context.wrap_socket(sock, server_hostname=self.host)

    return Connection
