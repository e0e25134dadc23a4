"""A real Kafka and a real Redis that ask who one is: TLS, logins, certificates, rights."""

from __future__ import annotations

import hashlib
from pathlib import Path

from redis import Redis
from redis.exceptions import RedisError

from streams.edges.process.child import free_port
from tests.certificates import EXPIRED, Authority
from tests.servers import KafkaServer, RedisServer

USER = "surgewatch"
PASSWORD = "marked-secret one"
KAFKA_USERS = (USER, "surgewatch-admin", "surgewatch-producer", "surgewatch-reader")
"""Of docs/security.md: of the worker, of who makes topics, of who sends."""
ADMIN_PASSWORD = "the admin's word"
_SCRAM = "org.apache.kafka.common.security.scram.ScramLoginModule required;"
_PLAIN = "org.apache.kafka.common.security.plain.PlainLoginModule required"


class SecureKafka(KafkaServer):
    """Kafka with four listeners, and rights asked for at each.

    ``bootstrap``: plain, for the tests' own eyes: who comes there may do everything. ``login``:
    TLS and SASL (SCRAM-SHA-512, SCRAM-SHA-256, PLAIN) as ``USER`` or ``admin``. ``certificate``:
    TLS with a certificate of the client. ``expired``: TLS with a certificate that has expired.
    ``bare``: SASL without TLS.
    """

    def __init__(self, folder: Path, authority: Authority) -> None:
        server = authority.issue("kafka", "localhost")
        stores = {"keystore": server, "truststore": authority.cafile}
        super().__init__(
            folder,
            settings={
                "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,"
                "LOGIN:SASL_SSL,CERTIFICATE:SSL,EXPIRED:SSL,BARE:SASL_PLAINTEXT",
                "inter.broker.listener.name": "PLAINTEXT",
                "sasl.enabled.mechanisms": "SCRAM-SHA-512,SCRAM-SHA-256,PLAIN",
                **{f"ssl.{store}.type": "PEM" for store in stores},
                **{f"ssl.{store}.location": str(path) for store, path in stores.items()},
                "listener.name.certificate.ssl.client.auth": "required",
                "listener.name.expired.ssl.keystore.location": str(
                    authority.issue("kafka-expired", "localhost", not_after=EXPIRED)
                ),
                "listener.name.expired.ssl.keystore.type": "PEM",
                **{
                    f"listener.name.{listener}.{mechanism}.sasl.jaas.config": (
                        f'{_PLAIN} user_{USER}="{PASSWORD}";' if mechanism == "plain" else _SCRAM
                    )
                    for listener in ("login", "bare")
                    for mechanism in ("scram-sha-512", "scram-sha-256", "plain")
                },
                "ssl.principal.mapping.rules": "RULE:^.*CN=([^,]+).*$/$1/,DEFAULT",
                "authorizer.class.name": (
                    "org.apache.kafka.metadata.authorizer.StandardAuthorizer"
                ),
                "super.users": "User:ANONYMOUS;User:admin",
            },
        )
        self._ports: dict[str, int] = {}

    @property
    def login(self) -> str:
        """Address with TLS and a login."""
        return f"localhost:{self._ports['LOGIN']}"

    @property
    def certificate(self) -> str:
        """Address with TLS and a certificate of the client."""
        return f"localhost:{self._ports['CERTIFICATE']}"

    @property
    def expired(self) -> str:
        """Address whose own certificate has expired."""
        return f"localhost:{self._ports['EXPIRED']}"

    @property
    def bare(self) -> str:
        """Address with a login and no TLS."""
        return f"localhost:{self._ports['BARE']}"

    def _more_listeners(self) -> list[str]:
        self._ports = {name: free_port() for name in ("LOGIN", "CERTIFICATE", "EXPIRED", "BARE")}
        return [f"{name}://localhost:{port}" for name, port in self._ports.items()]

    def _format_options(self) -> list[str]:
        users = [("admin", ADMIN_PASSWORD), *((name, PASSWORD) for name in KAFKA_USERS)]
        return [
            part
            for name, word in users
            for mechanism in ("SCRAM-SHA-512", "SCRAM-SHA-256")
            for part in ("--add-scram", f"{mechanism}=[name={name},password={word}]")
        ]


class SecureRedis(RedisServer):
    """Redis with a port with TLS and a plain one, and users with rights.

    ``acl`` is the line of ``USER`` after its name and password (``~key* +command …``); ``admin``
    may do everything. ``clients`` says whether they need a certificate: optional or yes.
    """

    def __init__(
        self, folder: Path, authority: Authority, certificate: Path, acl: str, clients: str
    ) -> None:
        self._authority = authority
        self._certificate = certificate
        self.tls_port = 0
        super().__init__(
            folder,
            settings={
                "tls-cert-file": str(certificate),
                "tls-key-file": str(certificate),
                "tls-ca-cert-file": str(authority.cafile),
                "tls-auth-clients": clients,
                "aclfile": str(folder / "users.acl"),
            },
        )
        self._acl = acl

    @property
    def secure_url(self) -> str:
        """URL of the port with TLS; no login in it."""
        return f"rediss://localhost:{self.tls_port}/0"

    @property
    def plain_url(self) -> str:
        """URL of the port without TLS; no login in it."""
        return f"redis://localhost:{self.port}/0"

    @property
    def url(self) -> str:
        """URL with which the tests see everything."""
        return f"redis://admin:{ADMIN_PASSWORD.replace(' ', '%20')}@127.0.0.1:{self.port}/0"

    def _prepare(self) -> None:
        self.tls_port = free_port()
        self._settings["tls-port"] = str(self.tls_port)
        words = {
            name: _sha256(word) for name, word in ((USER, PASSWORD), ("admin", ADMIN_PASSWORD))
        }
        (self.folder / "users.acl").write_text(
            f"user default off\n"
            f"user admin on #{words['admin']} ~* &* +@all\n"
            f"user {USER} on #{words[USER]} {self._acl}\n"
        )
        super()._prepare()

    def _answers(self) -> bool:
        try:
            with Redis.from_url(self.url) as client:
                return bool(client.ping())
        except RedisError:
            return False


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
