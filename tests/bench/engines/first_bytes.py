"""The first stamp of an engine that does not read in Python: when its sockets have got records."""

import contextlib
import os
import socket
import struct
import threading
import time
from collections.abc import Iterator
from typing import Final

from tests.bench.engines.protocol import Stamp, stamp

RECORDS_BYTES: Final = 65_536
"""No answer about brokers, topics and groups is as large; the first fetch of records is."""
_POLL_SECONDS: Final = 0.002
_BYTES_RECEIVED_AT: Final = 128
"""Place of ``tcpi_bytes_received`` (uint64) in Linux's ``struct tcp_info``."""


def stamp_first_bytes(stamps: list[Stamp]) -> None:
    """Begin to watch this process's sockets; appends one stamp and ends its thread."""

    def watch() -> None:
        while max(_bytes_received(), default=0) < RECORDS_BYTES:
            time.sleep(_POLL_SECONDS)
        stamps.append(stamp())

    threading.Thread(target=watch, daemon=True).start()


def _bytes_received() -> Iterator[int]:
    """Bytes that each TCP connection of this process has received."""
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):  # gone meanwhile, or a socket that is not TCP
            if not os.readlink(f"/proc/self/fd/{name}").startswith("socket:"):
                continue
            with socket.socket(fileno=os.dup(int(name))) as one:
                info = one.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
            yield struct.unpack_from("<Q", info, _BYTES_RECEIVED_AT)[0]
