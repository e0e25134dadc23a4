"""Why TLS failed, in plain words, with the setting that mends it.

OpenSSL, asyncio and the clients tell it in one text that is meant for its maintainers.
"""

from typing import Final

_NAMED: Final = "certificate is not valid for"
_OURS: Final = (
    "it does not take our certificate, or wants one that is not set: see {prefix}_certfile"
)
_NO_TLS: Final = "it does not speak TLS at this address: see {plain}"
_CAUSES: Final[tuple[tuple[tuple[str, ...], str], ...]] = (
    (
        ("Hostname mismatch", "IP address mismatch"),
        "its certificate is for another host name{name}: give its address by a name that stands "
        "in the certificate",
    ),
    (
        ("certificate has expired",),
        "its certificate has expired, or one above it: renew it there, or the authority in "
        "{prefix}_cafile (is the clock here right?)",
    ),
    (
        ("certificate is not yet valid",),
        "its certificate is not valid yet: is the clock right, here and there?",
    ),
    (
        ("CERTIFICATE_VERIFY_FAILED",),
        "its certificate is signed by an authority that is not trusted here: see {prefix}_cafile",
    ),
    (
        ("alert certificate expired", "CERTIFICATE_EXPIRED"),
        "it says that our certificate has expired: renew {prefix}_certfile",
    ),
    (
        (
            *("CERTIFICATE_REQUIRED", "certificate required", "BAD_CERTIFICATE"),
            *("bad certificate", "UNKNOWN_CA", "unknown ca", "CERTIFICATE_UNKNOWN"),
            *("certificate unknown",),
        ),
        _OURS,
    ),
    (
        ("HANDSHAKE_FAILURE", "NO_SHARED_CIPHER", "PROTOCOL_VERSION", "UNSUPPORTED_PROTOCOL"),
        "it and we have no version of TLS, or no cipher, in common: TLS 1.2 or newer is wanted",
    ),
    (("WRONG_VERSION_NUMBER", "UNEXPECTED_EOF", "RECORD_LAYER", "wrong version"), _NO_TLS),
    (
        ("EOF occurred in violation of protocol",),
        _OURS,
    ),
    (("[SSL",), _NO_TLS),
)


def tls_cause_of(text: str, prefix: str, plain: str) -> str | None:
    """Cause in plain words; None: the text is not about TLS.

    ``prefix`` begins the names of the settings of the files, ``plain`` is the setting that says
    whether TLS is spoken.

    >>> tls_cause_of("[SSL: WRONG_VERSION_NUMBER] wrong version", "redis_ssl", "redis_url")
    'it does not speak TLS at this address: see redis_url'
    >>> tls_cause_of("Connection refused", "redis_ssl", "redis_url")
    """
    if not any(mark in text for mark in ("SSL", "_ssl", "certificate")):
        return None
    for marks, words in _CAUSES:
        if any(mark in text for mark in marks):
            return words.format(prefix=prefix, plain=plain, name=_name_in(text))
    return None


def _name_in(text: str) -> str:
    """The name that we have and the certificate lacks, where OpenSSL tells it."""
    _, _, rest = text.partition(_NAMED)
    parts = rest.split("'")
    return f", not {parts[1]}" if len(parts) > 2 else ""
