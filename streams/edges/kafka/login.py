"""How Kafka is spoken to: protocol, TLS files and login, as aiokafka and kafka-python want them."""

from typing import Any, Final

from streams.edges.settings.list import Settings
from streams.edges.tls.causes import tls_cause_of
from streams.edges.tls.contexts import RenewingContext
from streams.edges.tls.files import TlsFiles

WRONG_LOGIN: Final = (
    "wrong user name or password: see kafka_sasl_username, kafka_sasl_password and "
    "kafka_sasl_mechanism"
)
"""A user of another mechanism is told as a wrong password: SCRAM-SHA-256 and -512 are two."""


def login_options(settings: Settings) -> dict[str, Any]:
    """Options of either client for the protocol, TLS and the login. Raises SettingsError."""
    options: dict[str, Any] = {"security_protocol": settings.kafka_security_protocol}
    if settings.kafka_security_protocol.startswith("SASL"):
        options |= {
            "sasl_mechanism": settings.kafka_sasl_mechanism,
            "sasl_plain_username": settings.kafka_sasl_username,
            "sasl_plain_password": settings.kafka_sasl_password,
        }
    context = kafka_context_of(settings)
    return options if context is None else options | {"ssl_context": context}


def kafka_context_of(settings: Settings) -> RenewingContext | None:
    """TLS as the settings want it for Kafka; None: without. Raises SettingsError."""
    files = kafka_files_of(settings)
    return None if files is None else RenewingContext.of(files)


def kafka_files_of(settings: Settings) -> TlsFiles | None:
    """Files of the TLS with Kafka; None: without TLS."""
    if not settings.kafka_security_protocol.endswith("SSL"):
        return None
    return TlsFiles(
        "kafka_ssl",
        settings.kafka_ssl_cafile,
        settings.kafka_ssl_certfile,
        settings.kafka_ssl_keyfile,
        settings.kafka_ssl_key_password,
    )


def kafka_tls_cause_of(text: str) -> str | None:
    """Why TLS with Kafka failed, in plain words; None: the text is not about TLS."""
    return tls_cause_of(text, "kafka_ssl", "kafka_security_protocol")
