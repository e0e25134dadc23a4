"""A connection of kafka-python's admin client, with failures told in plain words.

The client says only "Unable to bootstrap" after its time is over; why (no such host, connection
refused, wrong password) stands in its log alone, so that is read here.
"""

import contextlib
import logging
import re
import warnings
from collections.abc import Iterator
from typing import Any, Final

from streams.edges.errors import KafkaRefusesUs, KafkaUnreachable
from streams.edges.kafka.login import WRONG_LOGIN, kafka_tls_cause_of, login_options
from streams.edges.kafka.probe import NO_LOGIN, probe
from streams.edges.settings.list import Settings

with warnings.catch_warnings():
    # kafka-python 3.0.12 reads its schemas, when imported, in a way that Python 3.11 deprecates.
    warnings.filterwarnings("ignore", "(read|open)_text is deprecated", DeprecationWarning)
    from kafka import TopicPartition
    from kafka import errors as kafka_errors
    from kafka.admin import ConfigResource, ConfigResourceType, KafkaAdminClient, OffsetSpec
    from kafka.errors import KafkaError

__all__ = [
    "ConfigResource",
    "ConfigResourceType",
    "KafkaAdminClient",
    "KafkaError",
    "OffsetSpec",
    "TopicPartition",
    "admin_client",
    "kafka_errors",
]

_CONNECT_MS_MAX: Final = 8_000
_LOST = re.compile(r"(?:Connection lost|SaslHandshake failed|Connection failed): (.*)", re.DOTALL)
_PLAIN_WORDS = (
    ("SaslAuthenticationFailed", WRONG_LOGIN),
    ("UnsupportedSaslMechanism", "it does not know this kafka_sasl_mechanism"),
    ("IllegalSaslState", NO_LOGIN),
)
_NO_ANSWER: Final = "it does not answer: see kafka_security_protocol"


@contextlib.contextmanager
def admin_client(settings: Settings) -> Iterator[KafkaAdminClient]:
    """Give an admin client, closed at the end; raises ``KafkaUnreachable`` within the time limit.

    The limit is ``kafka_timeout_ms`` for each question, at most 8 s for the connection (8 s with
    a login).
    """
    probe(settings)
    is_login = settings.kafka_security_protocol.startswith("SASL")
    # a refused login is told by the broker alone, which may be slow: never less than 8 s for it
    connect_ms = _CONNECT_MS_MAX if is_login else min(settings.kafka_timeout_ms, _CONNECT_MS_MAX)
    with _kafka_log() as heard:
        try:
            admin = _Admin(
                bootstrap_servers=settings.kafka_bootstrap_servers.split(","),
                client_id="surgewatch-admin",
                bootstrap_timeout_ms=connect_ms,
                request_timeout_ms=settings.kafka_timeout_ms,
                **login_options(settings),
            )
        except (KafkaError, OSError) as error:
            raise _unreachable(settings, heard, str(error)) from error
        try:
            yield admin
        except KafkaError as error:
            raise KafkaUnreachable(
                settings.kafka_bootstrap_servers, cause_of(heard, type(error).__name__)
            ) from error
        finally:
            admin.close()


def _unreachable(settings: Settings, heard: list[str], otherwise: str) -> KafkaUnreachable:
    """The error; a login that was refused once is refused again, and so is a certificate.

    A broker may hang up before its refusal is read, which only a login makes it do.
    """
    refusal, servers = _refusal_in(heard), settings.kafka_bootstrap_servers
    if refusal is not None:
        return KafkaRefusesUs(servers, refusal)
    cause = cause_of(heard, otherwise)
    if settings.kafka_security_protocol.startswith("SASL"):
        if "disconnected" in cause:
            cause = "it hung up during the login: wrong user name or password?"
        elif cause == _NO_ANSWER or "bootstrap" in cause.lower() or "timed out" in cause.lower():
            cause = (
                "it took the connection and did not answer the login in time: is it slow, or "
                "kafka_security_protocol another one there?"
            )
    return KafkaUnreachable(servers, cause)


class _Admin(KafkaAdminClient):  # type: ignore[misc]  # kafka-python has no types
    """Admin client that ends its thread also when it cannot connect (3.0.12 leaves it behind)."""

    def __init__(self, **options: Any) -> None:
        self._closed = False
        try:
            super().__init__(**options)
        except BaseException:  # Ctrl-C too
            with contextlib.suppress(AttributeError):  # refused options: nothing was begun
                self.close()
            raise


def cause_of(heard: list[str], otherwise: str) -> str:
    """Most telling cause among the client's log lines, in plain words.

    >>> cause_of(["Connection lost: [Error 34] IllegalSaslState: no"], "")
    'it wants no login here: see kafka_security_protocol'
    """
    told = _causes_in(heard)
    refusal = _refusal_in(heard)
    if refusal is not None:
        return refusal
    if any("RequestTimedOut" in line for line in told):
        return _NO_ANSWER
    return " ".join((told[-1] if told else otherwise).split())


def _refusal_in(heard: list[str]) -> str | None:
    """Why the broker will not have us so; None: no line tells of that."""
    told = _causes_in(heard)
    for mark, words in _PLAIN_WORDS:
        if any(mark in line for line in told):
            return words
    return next((cause for line in told if (cause := kafka_tls_cause_of(line))), None)


def _causes_in(heard: list[str]) -> list[str]:
    return [match.group(1) for line in heard if (match := _LOST.search(line))]


@contextlib.contextmanager
def _kafka_log() -> Iterator[list[str]]:
    """Listen to the client's log, which is else printed: a line for each try."""
    heard: list[str] = []

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            heard.append(record.getMessage())

    logger, listener = logging.getLogger("kafka"), Listener(logging.WARNING)
    propagate, logger.propagate = logger.propagate, False
    logger.addHandler(listener)
    try:
        yield heard
    finally:
        logger.removeHandler(listener)
        logger.propagate = propagate
