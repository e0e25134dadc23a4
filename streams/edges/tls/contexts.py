"""TLS contexts that follow their files: made anew when one of them has changed."""

import os
import ssl
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from streams.edges.errors import SettingsError
from streams.edges.logs.lines import logger_of
from streams.edges.tls.files import TlsFiles, check_in_time, context_of

log = logger_of(__name__)

_Stamp = tuple[tuple[int, int, int, int], ...]


class FilesInUse:
    """Files of one use of TLS, as they were when they could last be used.

    ``context``, ``own`` and ``authorities_end`` are of those; ``problem`` is why the files as they
    are now cannot be used, so why a worker that starts anew would be refused. None: they can.
    """

    def __init__(
        self,
        files: TlsFiles,
        *,
        is_server: bool = False,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Raises SettingsError for files that cannot be used."""
        self._files, self._is_server, self._now = files, is_server, now
        self.problem: SettingsError | None = None
        self._read()

    def look(self) -> bool:
        """Look at the files, and read them anew if they changed; whether they were, and serve."""
        # What was of no use is tried again: it may only have had to wait for its first day.
        if self.problem is None and _stamp_of(self._files) == self._stamp:
            self._check_time()
            return False
        try:
            self._read()
        except SettingsError as error:
            self.problem = error
            return False
        self.problem = None
        return True

    def _read(self) -> None:
        stamp = _stamp_of(self._files)
        context = context_of(self._files, self._now(), is_server=self._is_server)
        own, authorities_end = self._files.own_validity(), self._files.authorities_end()
        self.context, self.own, self.authorities_end = context, own, authorities_end
        self._stamp = stamp

    def _check_time(self) -> None:
        try:
            check_in_time(self._files, self.own, self.authorities_end, self._now())
        except SettingsError as error:
            self.problem = error


class RenewingContext(ssl.SSLContext):
    """A context that reads its files anew, before a handshake, when one of them has changed.

    So a renewed certificate or authority counts from the next connection on, without a restart.
    Files that do not fit together (half of a renewal is done) are told of in the log; what was
    read before is used until they do.
    """

    _prefix: str
    _in_use: FilesInUse
    _told: str | None
    _lock: threading.Lock

    @classmethod
    def of(cls, files: TlsFiles, *, is_server: bool = False) -> "RenewingContext":
        """Make one; raises SettingsError for files that cannot be used."""
        context = cls(ssl.PROTOCOL_TLS_SERVER if is_server else ssl.PROTOCOL_TLS_CLIENT)
        context._prefix, context._told = files.prefix, None
        context._in_use = FilesInUse(files, is_server=is_server)
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
            if self._in_use.look():
                log.info("tls_files_renewed", "{prefix} files were read anew", prefix=self._prefix)
            problem = self._in_use.problem
            told = None if problem is None else str(problem)
            if told is not None and told != self._told:  # once, not at each handshake
                log.warning(
                    "tls_files_unfit", "{error}; what was read before is used on", error=told
                )
            self._told = told
            return self._in_use.context


def _stamp_of(files: TlsFiles) -> _Stamp:
    """What changes when a file is written, replaced, or may be read; through Kubernetes' links."""
    stamps = []
    for _, path in files.paths:
        try:
            stat = os.stat(path)
        except OSError:
            stamps.append((0, 0, 0, 0))
        else:
            stamps.append((stat.st_ino, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_size))
    return tuple(stamps)
