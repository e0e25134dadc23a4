"""Asks a Kafka how it wants to be spoken to, before the clients do: they hide why it fails.

A connection is opened, TLS agreed on, and two short requests are sent: ApiVersions, which every
listener answers, and one that shows whether a login is wanted. A password is not tried here.
"""

import contextlib
import socket
import ssl
import struct
from collections.abc import Iterator
from typing import Final

from streams.edges.errors import KafkaRefusesUs, KafkaUnreachable
from streams.edges.kafka_login import kafka_context_of, kafka_tls_cause_of
from streams.edges.settings_list import Settings

_SECONDS_MAX: Final = 8.0
_API_VERSIONS: Final = 18
_METADATA: Final = 3
_SASL_HANDSHAKE: Final = 17
_ALERT: Final = 0x15
"""First byte of what a TLS listener answers to plain words."""
_ANSWER_BYTES_MAX: Final = 1_000_000
_UNSUPPORTED_MECHANISM: Final = 33
_NO_LOGIN_WANTED: Final = 34

SPEAKS_TLS: Final = "it speaks TLS at this address: see kafka_security_protocol"
_SPEAKS_TLS_PERHAPS: Final = (
    "it closed the connection at our first words: does it speak TLS there? See "
    "kafka_security_protocol"
)
_WANTS_LOGIN: Final = (
    "it closed the connection as we asked without a login: does it want one? See "
    "kafka_security_protocol"
)
NO_LOGIN: Final = "it wants no login here: see kafka_security_protocol"


class _Refused(Exception):
    """A cause that does not pass by itself."""


def probe(settings: Settings) -> None:
    """Return when one of the servers can be spoken to as the settings say.

    Raises KafkaUnreachable: none listens, or answers in time; KafkaRefusesUs: none can be spoken
    to so; SettingsError: files of the TLS cannot be used.
    """
    context = kafka_context_of(settings)
    servers = settings.kafka_bootstrap_servers.split(",")
    limit_seconds = min(settings.kafka_timeout_ms / 1000, _SECONDS_MAX) / len(servers)
    unreachable, refused = "", ""
    for server in servers:
        host, _, port = server.rpartition(":")
        address = (host.strip("[]"), int(port))
        try:
            with _connected(address, limit_seconds, context) as connection:
                _ask(connection, settings)
        except _Refused as cause:
            refused = str(cause)
        except TimeoutError:
            unreachable = "it does not answer: see kafka_security_protocol"
        except OSError as error:
            unreachable = (error.strerror or str(error)).lower()
        else:
            return
    if refused:
        raise KafkaRefusesUs(settings.kafka_bootstrap_servers, refused)
    raise KafkaUnreachable(settings.kafka_bootstrap_servers, unreachable)


@contextlib.contextmanager
def _connected(
    address: tuple[str, int], limit_seconds: float, context: ssl.SSLContext | None
) -> Iterator[socket.socket]:
    with contextlib.ExitStack() as stack:
        try:
            connection = socket.create_connection(address, timeout=limit_seconds)
        except TimeoutError as error:
            msg = "timed out"
            raise OSError(msg) from error
        stack.enter_context(connection)
        if context is not None:
            with _tls_told():
                connection = context.wrap_socket(connection, server_hostname=address[0])
            stack.enter_context(connection)
        yield connection


def _ask(connection: socket.socket, settings: Settings) -> None:
    is_plain = not settings.kafka_security_protocol.endswith("SSL")
    with _tls_told():  # a certificate of ours is refused only now, in TLS 1.3
        answer = _answer(connection, _API_VERSIONS, 0, b"")
        if is_plain and answer[:1] == bytes([_ALERT]):
            raise _Refused(SPEAKS_TLS)
        if not answer:
            raise _Refused(_SPEAKS_TLS_PERHAPS if is_plain else "it hung up after TLS was agreed")
        if settings.kafka_security_protocol.startswith("SASL"):
            _ask_for_login(connection, settings.kafka_sasl_mechanism)
        elif not _answer(connection, _METADATA, 1, struct.pack(">i", 0)):
            raise _Refused(_WANTS_LOGIN)


def _ask_for_login(connection: socket.socket, mechanism: str) -> None:
    name = mechanism.encode()
    answer = _answer(connection, _SASL_HANDSHAKE, 1, struct.pack(">h", len(name)) + name)
    if not answer:
        raise _Refused(NO_LOGIN)
    error_code, count = struct.unpack_from(">hi", answer, 8)
    if error_code == _NO_LOGIN_WANTED:
        raise _Refused(NO_LOGIN)
    if error_code == _UNSUPPORTED_MECHANISM:
        known, at = [], 14
        for _ in range(count):
            (length,) = struct.unpack_from(">h", answer, at)
            known.append(answer[at + 2 : at + 2 + length].decode(errors="replace"))
            at += 2 + length
        msg = f"it does not know kafka_sasl_mechanism {mechanism}, but {', '.join(known)}"
        raise _Refused(msg)


def _answer(connection: socket.socket, key: int, version: int, body: bytes) -> bytes:
    """A whole answer with its length before it; empty when the other side hung up."""
    client = b"surgewatch-probe"
    head = struct.pack(">hhih", key, version, 1, len(client)) + client
    try:
        connection.sendall(struct.pack(">i", len(head) + len(body)) + head + body)
        found = connection.recv(4)
        if len(found) < 4 or found[0] == _ALERT:
            return found[:1] if found[:1] == bytes([_ALERT]) else b""
        size = min(int.from_bytes(found, "big"), _ANSWER_BYTES_MAX)
        while len(found) < size + 4:
            more = connection.recv(65_536)
            if not more:
                return b""
            found += more
    except (ConnectionResetError, BrokenPipeError):
        return b""
    return found


@contextlib.contextmanager
def _tls_told() -> Iterator[None]:
    """Say in plain words why TLS failed."""
    try:
        yield
    except (ssl.SSLError, ConnectionResetError, BrokenPipeError) as error:
        raise _Refused(kafka_tls_cause_of(f"[SSL] {error}") or str(error)) from error
