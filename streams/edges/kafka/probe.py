"""Asks a Kafka how it wants to be spoken to, before the clients do: they hide why it fails.

A connection is opened, TLS agreed on, and short requests are sent: ApiVersions, which every
listener answers, then the login, or a question that needs none. Both clients' own logins end, when
refused, in "disconnected" or "unable to bootstrap", kafka-python's after 8 s.
"""

import contextlib
import socket
import ssl
import struct
from collections.abc import Iterator
from typing import Final

from aiokafka.conn import ScramAuthenticator

from streams.edges.errors import (
    KafkaRefusesUs,
    KafkaUnreachable,
    SettingsError,
    SurgewatchError,
)
from streams.edges.kafka.login import WRONG_LOGIN, kafka_context_of, kafka_tls_cause_of
from streams.edges.settings.list import Settings

_SECONDS_MAX: Final = 8.0
_API_VERSIONS: Final = 18
_METADATA: Final = 3
_SASL_HANDSHAKE: Final = 17
_SASL_AUTHENTICATE: Final = 36
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
    is_login = settings.kafka_security_protocol.startswith("SASL")
    unreachable, refused = "", ""
    for server in servers:
        host, _, port = server.rpartition(":")
        address = (host.strip("[]"), int(port))
        try:
            with _connected(address, limit_seconds, context) as connection:
                _greet(connection, is_plain=context is None)
                if is_login:
                    connection.settimeout(_SECONDS_MAX)  # a busy broker takes long for it
                    _log_in(connection, settings)
                elif not _answer(connection, _METADATA, 1, struct.pack(">i", 0)):
                    raise _Refused(_WANTS_LOGIN)
        except _Refused as cause:
            refused = str(cause)
        except TimeoutError:
            unreachable = (
                "it took the connection and did not answer the login in time: is it slow, or "
                "kafka_security_protocol another one there?"
                if is_login
                else "it does not answer: see kafka_security_protocol"
            )
        except OSError as error:
            unreachable = (error.strerror or str(error)).lower()
        else:
            return
    if refused:
        raise KafkaRefusesUs(settings.kafka_bootstrap_servers, refused)
    raise KafkaUnreachable(settings.kafka_bootstrap_servers, unreachable)


def refusal_of(settings: Settings) -> SurgewatchError | None:
    """Why Kafka will not have us as the settings are now; None: that is not what is wrong."""
    try:
        probe(settings)
    except (KafkaRefusesUs, SettingsError) as refusal:
        return refusal
    except KafkaUnreachable:
        pass
    return None


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


def _greet(connection: socket.socket, *, is_plain: bool) -> None:
    with _tls_told():  # a certificate of ours is refused only now, in TLS 1.3
        answer = _answer(connection, _API_VERSIONS, 0, b"")
    if is_plain and answer[:1] == bytes([_ALERT]):
        raise _Refused(SPEAKS_TLS)
    if not answer:
        raise _Refused(_SPEAKS_TLS_PERHAPS if is_plain else "it hung up after TLS was agreed on")


def _log_in(connection: socket.socket, settings: Settings) -> None:
    mechanism = settings.kafka_sasl_mechanism
    answer = _answer(connection, _SASL_HANDSHAKE, 1, _text(mechanism))
    error_code, count = struct.unpack_from(">hi", answer, 8) if answer else (_NO_LOGIN_WANTED, 0)
    if error_code == _NO_LOGIN_WANTED:
        raise _Refused(NO_LOGIN)
    if error_code == _UNSUPPORTED_MECHANISM:
        known = ", ".join(_texts_in(answer, 14, count))
        msg = f"it does not know kafka_sasl_mechanism {mechanism}, but {known}"
        raise _Refused(msg)
    user, password = settings.kafka_sasl_username or "", settings.kafka_sasl_password or ""
    if mechanism == "PLAIN":
        _authenticate(connection, f"\0{user}\0{password}".encode())
        return
    scram = ScramAuthenticator(
        loop=None, sasl_plain_username=user, sasl_plain_password=password, sasl_mechanism=mechanism
    )
    try:
        first = _authenticate(connection, scram.first_message().encode())
        scram.process_server_first_message(first.decode())
        last = _authenticate(connection, scram.final_message().encode())
        scram.process_server_final_message(last.decode())
    except (KeyError, ValueError):
        msg = "it does not prove that it knows the password: is it the Kafka that is meant?"
        raise _Refused(msg) from None


def _authenticate(connection: socket.socket, said: bytes) -> bytes:
    """What Kafka says to a step of the login."""
    body = struct.pack(">i", len(said)) + said
    answer = _answer(connection, _SASL_AUTHENTICATE, 0, body)
    if not answer or struct.unpack_from(">h", answer, 8) != (0,):
        raise _Refused(WRONG_LOGIN)
    (length,) = struct.unpack_from(">h", answer, 10)
    at = 12 + max(length, 0)
    (size,) = struct.unpack_from(">i", answer, at)
    return answer[at + 4 : at + 4 + size]


def _text(text: str) -> bytes:
    return struct.pack(">h", len(text)) + text.encode()


def _texts_in(answer: bytes, at: int, count: int) -> list[str]:
    texts = []
    for _ in range(count):
        (length,) = struct.unpack_from(">h", answer, at)
        texts.append(answer[at + 2 : at + 2 + length].decode(errors="replace"))
        at += 2 + length
    return texts


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
