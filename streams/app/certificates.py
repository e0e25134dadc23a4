"""When the certificates that a worker uses end, by what they are used for."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Final

from streams.edges.errors import SettingsError
from streams.edges.kafka.login import kafka_files_of
from streams.edges.metrics.access import metrics_files_of
from streams.edges.redis.tls import redis_files_of
from streams.edges.settings.list import Settings
from streams.edges.tls.certificates import CertificateEnd, Part
from streams.edges.tls.contexts import TlsFiles

_FILES_OF: Final = {"kafka": kafka_files_of, "redis": redis_files_of, "metrics": metrics_files_of}


def certificate_ends(settings: Settings) -> Iterator[CertificateEnd]:
    """All that are named in the settings, read now; one that cannot be read is left out."""
    for use, files_of in _FILES_OF.items():
        files = files_of(settings)
        if files is None:
            continue
        parts: Sequence[tuple[Part, str, str | None]] = (
            ("own", "certfile", files.certfile),
            ("authorities", "cafile", files.cafile),
        )
        for part, name, path in parts:
            end = _end_of(files, part)
            if path is not None and end is not None:
                yield CertificateEnd(use, part, f"{files.prefix}_{name}", path, end)


def _end_of(files: TlsFiles, part: Part) -> datetime | None:
    try:
        if part == "authorities":
            return files.authorities_end()
        own = files.own_validity()
    except SettingsError:
        return None
    return None if own is None else own.end
