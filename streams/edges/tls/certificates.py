"""When a certificate begins and ends to be valid, read from its file.

Python's ssl tells this of the other side's certificate alone; of our own it is read here, from the
few first fields of its DER form (RFC 5280, section 4.1).
"""

import re
import ssl
from datetime import UTC, datetime
from typing import Final, Literal, NamedTuple

Part = Literal["own", "authorities"]
_PEM: Final = re.compile(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)
_SEQUENCE: Final = 0x30
_VERSION: Final = 0xA0
_UTC_TIME: Final = 0x17
_LONG: Final = 0x80


class NotCertificate(Exception):
    """A text that holds no certificate in PEM form, or one that is broken."""


class Validity(NamedTuple):
    """From when to when a certificate is valid; both belong to it."""

    begin: datetime
    end: datetime


class CertificateEnd(NamedTuple):
    """A file of certificates: its setting, its path, and when it ends to be of use."""

    use: str
    part: Part
    setting: str
    path: str
    end: datetime


class FilesState(NamedTuple):
    """Files of one use of TLS: why they cannot be used as they are now, and when they end.

    ``problem`` None: they can. ``ends`` are those of the files that could last be used.
    """

    use: str
    problem: str | None
    ends: tuple[CertificateEnd, ...]


def validity_of(pem: str) -> Validity:
    """Validity of the first certificate in a PEM text: the one's own, before its chain.

    Raises NotCertificate.
    """
    found = _PEM.search(pem)
    if found is None:
        raise NotCertificate
    return _validity_of(found[0])


def last_end_of(pem: str) -> datetime:
    """When the last of the certificates in a PEM text ends: of authorities, when none is left.

    Raises NotCertificate.
    """
    found = [_validity_of(one).end for one in _PEM.findall(pem)]
    if not found:
        raise NotCertificate
    return max(found)


def _validity_of(pem: str) -> Validity:
    try:
        der = ssl.PEM_cert_to_DER_cert(pem)
        _, certificate, _ = _element(der)
        _, fields, _ = _element(certificate)
        kind, _, rest = _element(fields)
        if kind == _VERSION:
            _, _, rest = _element(rest)  # the serial number
        for _ in ("signature", "issuer"):
            _, _, rest = _element(rest)
        kind, times, _ = _element(rest)
        if kind != _SEQUENCE:
            raise NotCertificate
        begin_kind, begin, rest = _element(times)
        end_kind, end, _ = _element(rest)
        return Validity(_time(begin_kind, begin), _time(end_kind, end))
    except (IndexError, ValueError) as error:
        raise NotCertificate from error


def _element(der: bytes) -> tuple[int, bytes, bytes]:
    """Tag and content of the first element, and what follows it."""
    kind, size, at = der[0], der[1], 2
    if size & _LONG:
        at += size & ~_LONG
        size = int.from_bytes(der[2:at], "big")
    if at + size > len(der):
        raise NotCertificate
    return kind, der[at : at + size], der[at + size :]


def _time(kind: int, content: bytes) -> datetime:
    """UTCTime has two digits of the year, of 1950 to 2049; GeneralizedTime four."""
    text = content.decode("ascii")
    if kind == _UTC_TIME:
        text = f"{'19' if int(text[:2]) >= 50 else '20'}{text}"
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC)
