"""Files of TLS, and a context made from them: what cannot be used is refused by its setting.

Whoever serves is always checked: its certificate against the authorities, and its name. There is
no setting that turns this off.
"""

import ssl
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Final

from streams.edges.errors import SettingsError
from streams.edges.tls.certificates import NotCertificate, Validity, last_end_of, validity_of

_KEY_ENCRYPTED: Final = "ENCRYPTED"
"""Stands in the first lines of an encrypted key in PEM, PKCS 8 or older."""


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

        Those that OpenSSL takes and that stand there in another form (``TRUSTED CERTIFICATE``)
        are left out; None, too, if there are no others. Raises SettingsError.
        """
        if self.cafile is None:
            return None
        setting = f"{self.prefix}_cafile"
        try:
            return last_end_of(_text_of(setting, self.cafile))
        except NotCertificate:
            return None


def context_of(files: TlsFiles, now: datetime, *, is_server: bool) -> ssl.SSLContext:
    """Make one from the files as they stand there; raises SettingsError for those of no use."""
    for setting, named in files.paths:
        _text_of(setting, named)
    cafile, path = f"{files.prefix}_cafile", str(files.cafile)
    purpose = ssl.Purpose.CLIENT_AUTH if is_server else ssl.Purpose.SERVER_AUTH
    try:
        context = ssl.create_default_context(purpose, cafile=files.cafile)
    except ssl.SSLError as error:
        raise _unfit(cafile, path, "holds no certificate in PEM form") from error
    except OSError as error:  # it was there a moment ago
        raise _unreadable(cafile, path, error) from error
    check_in_time(files, files.own_validity(), files.authorities_end(), now)
    if files.certfile is not None:
        _load_own(context, files, files.certfile)
    return context


def check_in_time(
    files: TlsFiles, validity: Validity | None, authorities_end: datetime | None, now: datetime
) -> None:
    """Refuse an own certificate that nobody would take, and authorities of which none is left.

    Raises SettingsError.
    """
    if authorities_end is not None and now > authorities_end:
        reason = f"the last of its authorities expired on {authorities_end:%Y-%m-%d %H:%M} UTC"
        setting = f"{files.prefix}_cafile"
        raise _unfit(setting, str(files.cafile), f"{reason}: renew them")
    if validity is None:
        return
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
    except OSError as error:  # it was there a moment ago
        raise _unreadable(setting, path, error) from error


def _text_of(setting: str, path: str) -> str:
    try:
        return Path(path).read_text(encoding="ascii", errors="replace")
    except OSError as error:
        raise _unreadable(setting, path, error) from error


def _unreadable(setting: str, path: str, error: OSError) -> SettingsError:
    return _unfit(setting, path, f"cannot be read: {error.strerror or error}")


def _unfit(setting: str, path: str, reason: str) -> SettingsError:
    return SettingsError(f"{setting} = {path}: {reason}")
