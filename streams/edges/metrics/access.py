"""Who may read the metrics: TLS and basic authentication of the page, as the settings want them."""

import base64
import binascii
import hashlib
import hmac
import ipaddress
import ssl
from dataclasses import dataclass
from typing import Final

from streams.edges.settings.list import Settings
from streams.edges.tls.contexts import RenewingContext
from streams.edges.tls.files import TlsFiles

CHALLENGE: Final = 'Basic realm="surgewatch", charset="UTF-8"'


class Login:
    """A user name and a password, of which only a digest is kept."""

    def __init__(self, username: str, password: str) -> None:
        self._digest = _digest_of(f"{username}:{password}".encode())

    def allows(self, header: str) -> bool:
        """Whether an Authorization header has both; takes as long for any wrong one.

        >>> login = Login("prometheus", "word")
        >>> login.allows("Basic cHJvbWV0aGV1czp3b3Jk"), login.allows("Bearer x"), login.allows("")
        (True, False, False)
        """
        scheme, _, encoded = header.strip().partition(" ")
        if scheme.lower() != "basic":
            return False
        try:
            given = base64.b64decode(encoded.strip(), validate=True)
        except (binascii.Error, ValueError):
            return False
        return hmac.compare_digest(_digest_of(given), self._digest)


def _digest_of(text: bytes) -> bytes:
    # Of equal length whatever was given: a comparison tells nothing, not even the length.
    return hashlib.sha256(text).digest()


@dataclass(frozen=True, slots=True)
class MetricsAccess:
    """How the page is served: ``context`` None: without TLS; ``login`` None: to everyone."""

    context: ssl.SSLContext | None = None
    login: Login | None = None

    @property
    def scheme(self) -> str:
        """First part of the page's URL."""
        return "http" if self.context is None else "https"

    def warning(self, host: str) -> str | None:
        """What others may see of a page that is served at an address; None: nothing."""
        if is_loopback(host) or (self.context and self.login):
            return None
        lacks, settings = [], []
        if self.context is None:
            lacks.append("without TLS")
            settings.append("metrics_ssl_certfile")
        if self.login is None:
            lacks.append("to everyone who reaches it")
            settings.append("metrics_username and metrics_password")
        return (
            f"metrics are served on {host}, which other machines may reach, {' and '.join(lacks)}: "
            f"set {' and '.join(settings)}, or let only the scraper reach the port"
        )


def metrics_access_of(settings: Settings) -> MetricsAccess:
    """What the settings want. Raises SettingsError for files that cannot be used."""
    files = metrics_files_of(settings)
    username, password = settings.metrics_username, settings.metrics_password
    login = Login(username, password) if username and password else None
    context = None if files is None else RenewingContext.of(files, is_server=True)
    return MetricsAccess(context, login)


def metrics_files_of(settings: Settings) -> TlsFiles | None:
    """Files of the TLS of the page; None: without TLS."""
    if settings.metrics_ssl_certfile is None:
        return None
    return TlsFiles(
        "metrics_ssl",
        None,
        settings.metrics_ssl_certfile,
        settings.metrics_ssl_keyfile,
        settings.metrics_ssl_key_password,
    )


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address.

    >>> is_loopback("127.0.0.1"), is_loopback("::1"), is_loopback("localhost"), is_loopback("::")
    (True, True, True, False)
    """
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
