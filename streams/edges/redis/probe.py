"""Asks a Redis that hung up, or was silent, whether it speaks TLS: it does not say so itself."""

import contextlib
import socket
import ssl
from typing import Final
from urllib.parse import urlsplit

from streams.edges.errors import RedisRefusesUs, RedisUnreachable, SurgewatchError
from streams.edges.redis.errors import unreachable_of
from streams.edges.redis.tls import redis_tls_cause_of

_SECONDS_MAX: Final = 2.0
_PORT: Final = 6379
_SPEAKS_TLS: Final = "it speaks TLS at this address: begin SURGEWATCH_REDIS_URL with {scheme}://"
_SPEAKS_PLAIN: Final = (
    "it does not speak TLS at this address: begin SURGEWATCH_REDIS_URL with {scheme}://"
)


def explained(url_shown: str, error: Exception) -> SurgewatchError:
    """As ``unreachable_of``, and asks the first server when its cause may be TLS; up to 6 s."""
    found = unreachable_of(url_shown, error)
    if isinstance(found, RedisRefusesUs) or not isinstance(found, RedisUnreachable):
        return found
    parts = urlsplit(url_shown)
    address = _address_in(parts.netloc)
    if address is None or parts.scheme == "unix":
        return found
    if parts.scheme.startswith("rediss"):
        if _speaks_plain(address):
            scheme = parts.scheme.replace("rediss", "redis")
            return RedisRefusesUs(url_shown, _SPEAKS_PLAIN.format(scheme=scheme))
        refusal = redis_tls_cause_of(_tls_alert_of(address))
        if refusal is not None:
            return RedisRefusesUs(url_shown, refusal)
    elif _speaks_tls(address):
        scheme = parts.scheme.replace("redis", "rediss")
        return RedisRefusesUs(url_shown, _SPEAKS_TLS.format(scheme=scheme))
    return found


def _address_in(netloc: str) -> tuple[str, int] | None:
    first = urlsplit("//" + netloc.rpartition("@")[2].split(",")[0])
    with contextlib.suppress(ValueError):
        return (first.hostname, first.port or _PORT) if first.hostname else None
    return None


def _speaks_tls(address: tuple[str, int]) -> bool:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # nothing is told to it
    try:
        with (
            socket.create_connection(address, timeout=_SECONDS_MAX) as connection,
            context.wrap_socket(connection),
        ):
            return True
    except OSError:
        return False


def _tls_alert_of(address: tuple[str, int]) -> str:
    """What a server says that wants a certificate; empty: nothing.

    To whom sends at once it says so too, but hangs up before that is read: nothing is sent here.
    """
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with (
            socket.create_connection(address, timeout=_SECONDS_MAX) as connection,
            context.wrap_socket(connection) as secured,
        ):
            secured.recv(1)
    except ssl.SSLError as error:
        return str(error)
    except OSError:  # silent, as who wants no certificate is; or it is gone
        pass
    return ""


def _speaks_plain(address: tuple[str, int]) -> bool:
    with (
        contextlib.suppress(OSError),
        socket.create_connection(address, timeout=_SECONDS_MAX) as connection,
    ):
        connection.sendall(b"PING\r\n")
        return connection.recv(1) in {b"+", b"-"}  # PONG, or that a login is wanted
    return False
