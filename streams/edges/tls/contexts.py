"""TLS contexts made from files: checked when they are made, made anew when a file changes.

Whoever serves is always checked: its certificate against the authorities, and its name. There is
no setting that turns this off.
"""

import os
import ssl
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from streams.edges.errors import SettingsError
from streams.edges.logs.lines import logger_of
from streams.edges.tls.certificates import (
    NotCertificate,
    Validity,
    last_end_of,
    validity_of,
)

_KEY_ENCRYPTED: Final = "ENCRYPTED"
"""Stands in the first lines of an encrypted key in PEM, PKCS 8 or older."""

log = logger_of(__name__)

_Stamp = tuple[tuple[int, int, int], ...]


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """Files of one use of TLS; ``prefix`` begins the names of its settings (``kafka_ssl``).

    ``cafile`` None: the system's authorities. ``keyfile`` None: the key is in ``certfile``.
    """

    prefix: str
    cafile: str | None = None
    certfile: str | None = None
    keyfile: str | None = None
    key_password: str | None = field(default=None, repr=False)

    @property
    def paths(self) -> tuple[tuple[str, str], ...]:
        """Setting and path of every file that is named."""
        named = (("cafile", self.cafile), ("certfile", self.certfile), ("keyfile", self.keyfile))
        return tuple((f"{self.prefix}_{name}", path) for name, path in named if path is not None)

    def own_validity(self) -> Validity | None:
        """From when to when our own certificate is valid; None: there is none.

        Raises SettingsError.
        """
        if self.certfile is None:
            return None
        setting = f"{self.prefix}_certfile"
        try:
            return validity_of(_text_of(setting, self.certfile))
        except NotCertificate as error:
            raise _unfit(setting, self.certfile, "holds no certificate in PEM form") from error

    def authorities_end(self) -> datetime | None:
        """When the last of the authorities in ``cafile`` ends; None: the system's are taken.

        Raises SettingsError.
        """
        if self.cafile is None:
            return None
        setting = f"{self.prefix}_cafile"
        try:
            return last_end_of(_text_of(setting, self.cafile))
        except NotCertificate as error:
            raise _unfit(setting, self.cafile, "holds no certificate in PEM form") from error


class RenewingContext(ssl.SSLContext):
    """A context that reads its files anew, before a handshake, when one of them has changed.

    So a renewed certificate or authority counts from the next connection on, without a restart.
    Files that do not fit together (half of a renewal is done) are told of in the log; what was
    read before is used until they do.
    """

    _files: TlsFiles
    _is_server: bool
    _current: ssl.SSLContext
    _stamp: _Stamp
    _lock: threading.Lock

    @classmethod
    def of(cls, files: TlsFiles, *, is_server: bool = False) -> "RenewingContext":
        """Make one; raises SettingsError for files that cannot be used."""
        context = cls(ssl.PROTOCOL_TLS_SERVER if is_server else ssl.PROTOCOL_TLS_CLIENT)
        context._files, context._is_server = files, is_server
        context._stamp = _stamp_of(files)
        context._current = _context_of(files, is_server)
        context._lock = threading.Lock()
        return context

    def wrap_socket(self, *args: Any, **options: Any) -> ssl.SSLSocket:
        """See SSLContext."""
        return self._renewed().wrap_socket(*args, **options)

    def wrap_bio(self, *args: Any, **options: Any) -> ssl.SSLObject:
        """See SSLContext; what asyncio and uvloop call."""
        return self._renewed().wrap_bio(*args, **options)

    def _renewed(self) -> ssl.SSLContext:
        with self._lock:
            stamp = _stamp_of(self._files)
            if stamp == self._stamp:
                return self._current
            self._stamp = stamp  # told once for each change
            try:
                self._current = _context_of(self._files, self._is_server)
            except SettingsError as error:
                log.warning(
                    "tls_files_unfit", "{error}; what was read before is used on", error=str(error)
                )
            else:
                prefix = self._files.prefix
                log.info("tls_files_renewed", "{prefix} files were read anew", prefix=prefix)
            return self._current


def _stamp_of(files: TlsFiles) -> _Stamp:
    """What changes when a file is written or replaced; through links, as Kubernetes renews."""
    stamps = []
    for _, path in files.paths:
        try:
            stat = os.stat(path)
        except OSError:
            stamps.append((0, 0, 0))
        else:
            stamps.append((stat.st_ino, stat.st_mtime_ns, stat.st_size))
    return tuple(stamps)


def _context_of(files: TlsFiles, is_server: bool) -> ssl.SSLContext:
    for setting, path in files.paths:
        _text_of(setting, path)
    purpose = ssl.Purpose.CLIENT_AUTH if is_server else ssl.Purpose.SERVER_AUTH
    try:
        context = ssl.create_default_context(purpose, cafile=files.cafile)
    except ssl.SSLError as error:
        setting = f"{files.prefix}_cafile"
        raise _unfit(setting, str(files.cafile), "holds no certificate in PEM form") from error
    if files.certfile is not None:
        _check_in_time(files)
        _load_own(context, files, files.certfile)
    return context


def _check_in_time(files: TlsFiles) -> None:
    """Refuse an own certificate that nobody would take."""
    validity, now = files.own_validity(), datetime.now(UTC)
    assert validity is not None, "only where there is one"
    setting, path = f"{files.prefix}_certfile", str(files.certfile)
    if now > validity.end:
        raise _unfit(setting, path, f"expired on {validity.end:%Y-%m-%d %H:%M} UTC: renew it")
    if now < validity.begin:
        reason = f"is valid from {validity.begin:%Y-%m-%d %H:%M} UTC only: is the clock right?"
        raise _unfit(setting, path, reason)


def _load_own(context: ssl.SSLContext, files: TlsFiles, certfile: str) -> None:
    setting = f"{files.prefix}_keyfile" if files.keyfile else f"{files.prefix}_certfile"
    path = files.keyfile or certfile
    # An empty password rather than none, with which OpenSSL would ask at the terminal.
    password = files.key_password or ""
    try:
        context.load_cert_chain(certfile, files.keyfile, password=password)
    except ssl.SSLError as error:
        told = error.reason or ""
        if "MISMATCH" in told:
            reason = f"is not the key of {files.prefix}_certfile"
        elif _KEY_ENCRYPTED in _text_of(setting, path):
            wrong = "wrong" if files.key_password else "missing"
            reason = f"is encrypted, and {files.prefix}_key_password is {wrong}"
        else:
            reason = "holds no private key in PEM form"
        raise _unfit(setting, path, reason) from error


def _text_of(setting: str, path: str) -> str:
    try:
        return Path(path).read_text(encoding="ascii", errors="replace")
    except OSError as error:
        raise _unfit(setting, path, f"cannot be read: {error.strerror or error}") from error


def _unfit(setting: str, path: str, reason: str) -> SettingsError:
    return SettingsError(f"{setting} = {path}: {reason}")
