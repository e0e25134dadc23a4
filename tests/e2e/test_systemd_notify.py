"""A real worker tells a real socket, as systemd's, that it is ready, alive and stopping."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from pathlib import Path

from tests.workers import Site, WorkerProcess


def heard_until(systemd: socket.socket, line: str) -> list[str]:
    """Lines told within a minute, up to the message that has this one."""
    heard: list[str] = []
    ends = time.monotonic() + 60
    while line not in heard:
        assert time.monotonic() < ends, heard
        heard += systemd.recv(4096).decode().split("\n")
    return heard


def test_a_worker_tells_systemd_what_it_does(
    site_of: Callable[..., Site], start: Callable[[Site, str], WorkerProcess], tmp_path: Path
) -> None:
    path = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.settimeout(60)
        systemd.bind(str(path))
        site = site_of()
        site.more = {**site.more, "NOTIFY_SOCKET": str(path), "WATCHDOG_USEC": "2000000"}
        worker = start(site, "worker")
        starting = heard_until(systemd, "READY=1")
        assert "STATUS=it has not joined the consumer group yet" in starting
        assert any(line.startswith("EXTEND_TIMEOUT_USEC=") for line in starting)
        told = [line for line in starting if line.startswith("STATUS=partitions: ")]
        assert told, "the status comes with READY=1"
        assert not told[-1].startswith("STATUS=partitions: 0")
        began = time.monotonic()
        for _ in range(3):
            heard_until(systemd, "WATCHDOG=1")
        assert time.monotonic() - began < 2 * 3, "fed too late for a limit of 2 s"
        assert worker.stop() == 0
        systemd.settimeout(1)
        stopping = heard_until(systemd, "STOPPING=1")
        assert "READY=1" not in stopping
        assert "STATUS=it is stopping" in stopping
