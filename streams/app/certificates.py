"""The files of TLS that a worker uses, by what for: whether they serve, and when they end."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Final

from streams.edges.errors import SettingsError
from streams.edges.kafka.login import kafka_files_of
from streams.edges.metrics.access import metrics_files_of
from streams.edges.redis.tls import redis_files_of
from streams.edges.settings.list import Settings
from streams.edges.tls.certificates import CertificateEnd, FilesState, Part
from streams.edges.tls.contexts import FilesInUse
from streams.edges.tls.files import TlsFiles

_FILES_OF: Final = {"kafka": kafka_files_of, "redis": redis_files_of, "metrics": metrics_files_of}


class CertificatesInUse:
    """Those that are named in the settings, as they are each time they are asked for.

    Of a file that can no longer be used the last is told that could: the worker goes on with it.
    """

    def __init__(self, settings: Settings) -> None:
        told = {use: files_of(settings) for use, files_of in _FILES_OF.items()}
        self._files = {use: files for use, files in told.items() if files is not None}
        self._in_use: dict[str, FilesInUse] = {}

    def states(self) -> list[FilesState]:
        """State of each use that has TLS."""
        return [self._state_of(use, files) for use, files in self._files.items()]

    def _state_of(self, use: str, files: TlsFiles) -> FilesState:
        in_use = self._in_use.get(use)
        if in_use is None:
            try:
                in_use = self._in_use[use] = FilesInUse(files, is_server=use == "metrics")
            except SettingsError as problem:
                return FilesState(use, str(problem), tuple(_ends(use, files, _readable(files))))
        else:
            in_use.look()
        own = None if in_use.own is None else in_use.own.end
        ends: dict[Part, datetime | None] = {"own": own, "authorities": in_use.authorities_end}
        told = None if in_use.problem is None else str(in_use.problem)
        return FilesState(use, told, tuple(_ends(use, files, ends)))


def _readable(files: TlsFiles) -> dict[Part, datetime | None]:
    """What can be read of files of which one cannot be used."""
    ends: dict[Part, datetime | None] = {}
    try:
        own = files.own_validity()
        ends["own"] = None if own is None else own.end
    except SettingsError:
        ends["own"] = None
    try:
        ends["authorities"] = files.authorities_end()
    except SettingsError:
        ends["authorities"] = None
    return ends


def _ends(
    use: str, files: TlsFiles, ends: Mapping[Part, datetime | None]
) -> Iterator[CertificateEnd]:
    named: tuple[tuple[Part, str, str | None], ...] = (
        ("own", "certfile", files.certfile),
        ("authorities", "cafile", files.cafile),
    )
    for part, name, path in named:
        end = ends[part]
        if path is not None and end is not None:
            yield CertificateEnd(use, part, f"{files.prefix}_{name}", path, end)
