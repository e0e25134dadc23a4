"""What systemd is told: ready once, alive while it gets on, stopping, and why not."""

from __future__ import annotations

import socket
import time
from pathlib import Path
from typing import Final

import pytest

from streams.edges.process.health import Health
from streams.edges.process.systemd import TOLD_SECONDS, SystemdNotifier

LIMIT: Final = 120.0
PID: Final = 77


def ready_health(now_seconds: float = 0.0) -> Health:
    health = Health(now_seconds, LIMIT)
    health.assigned(now_seconds, 3)
    health.reached_redis()
    health.loaded()
    health.progressed(now_seconds, 5)
    return health


def notifier_of(health: Health, **environ: str) -> SystemdNotifier:
    return SystemdNotifier({"NOTIFY_SOCKET": "/nowhere", **environ}, health, pid=PID)


def test_a_worker_is_ready_once_and_says_what_it_does() -> None:
    health = Health(0.0, LIMIT)
    notifier = notifier_of(health)
    first = notifier.lines(0.0)
    assert "STATUS=it has not joined the consumer group yet" in first
    assert "READY=1" not in first
    health.assigned(1.0, 3)
    health.reached_redis()
    health.loaded()
    health.progressed(1.0, 5)
    told = notifier.lines(1.0)
    assert told[0] == "READY=1"
    assert "STATUS=partitions: 3, records waiting: 5" in told
    assert "READY=1" not in notifier.lines(1.0 + TOLD_SECONDS)


def test_a_start_that_gets_on_asks_for_more_time_and_a_stalled_one_does_not() -> None:
    health = Health(0.0, LIMIT)
    notifier = notifier_of(health)
    assert "EXTEND_TIMEOUT_USEC=60000000" in notifier.lines(0.0)
    stalled = notifier.lines(LIMIT + 1.0)
    assert stalled == ["STATUS=the worker's loop has not run for 121 s"]


def test_only_a_worker_that_gets_on_feeds_the_watchdog() -> None:
    health = ready_health()
    notifier = notifier_of(health)
    assert "WATCHDOG=1" in notifier.lines(0.0)
    health.beat(LIMIT)
    assert "WATCHDOG=1" in notifier.lines(LIMIT)
    health.beat(LIMIT + 10.0)  # the loop runs, but five records wait and none is counted
    assert notifier.lines(LIMIT + 10.0) == ["STATUS=no progress for 130 s with 5 records waiting"]
    health.progressed(LIMIT + 20.0, 0)
    assert "WATCHDOG=1" in notifier.lines(LIMIT + 20.0)
    health.beat(10 * LIMIT)  # nothing waits: idle is alive
    assert "WATCHDOG=1" in notifier.lines(10 * LIMIT)


def test_nothing_is_told_again_before_it_is_due() -> None:
    notifier = notifier_of(ready_health())
    assert notifier.lines(0.0)
    assert notifier.lines(TOLD_SECONDS - 0.1) == []
    assert notifier.lines(TOLD_SECONDS) == ["WATCHDOG=1"], "the status is the same: not again"


@pytest.mark.parametrize(
    ("environ", "due"),
    [
        ({"WATCHDOG_USEC": "4000000"}, 2.0),
        ({"WATCHDOG_USEC": "4000000", "WATCHDOG_PID": str(PID)}, 2.0),
        ({"WATCHDOG_USEC": "4000000", "WATCHDOG_PID": "1"}, TOLD_SECONDS),
        ({"WATCHDOG_USEC": "60000000"}, TOLD_SECONDS),
        ({"WATCHDOG_USEC": "x"}, TOLD_SECONDS),
    ],
)
def test_the_watchdog_is_fed_in_half_of_its_time(environ: dict[str, str], due: float) -> None:
    notifier = notifier_of(ready_health(), **environ)
    assert notifier.lines(0.0)
    assert notifier.lines(due - 0.01) == []
    assert "WATCHDOG=1" in notifier.lines(due)


def test_stopping_is_told_at_once_and_once() -> None:
    health = ready_health()
    notifier = notifier_of(health)
    assert notifier.lines(0.0)
    health.stops(0.5)
    told = notifier.lines(0.5)
    assert told[0] == "STOPPING=1"
    assert "STATUS=it is stopping" in told
    assert "STOPPING=1" not in notifier.lines(0.5 + TOLD_SECONDS)


@pytest.mark.parametrize("is_abstract", [False, True])
def test_a_real_socket_hears_it(tmp_path: Path, is_abstract: bool) -> None:
    name = f"@surgewatch-{tmp_path.name}-{time.monotonic_ns()}"
    path = name if is_abstract else str(tmp_path / "a@b.sock")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.settimeout(10)
        systemd.bind(f"\0{name[1:]}" if is_abstract else path)
        health = ready_health(time.monotonic())
        with SystemdNotifier({"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "200000"}, health):
            lines = systemd.recv(4096).decode().split("\n")
            assert lines[:2] == ["READY=1", "WATCHDOG=1"]
            assert systemd.recv(4096) == b"WATCHDOG=1"
            health.stops(time.monotonic())
            while not (told := systemd.recv(4096)).startswith(b"STOPPING=1"):
                assert told == b"WATCHDOG=1"


def test_a_stop_that_is_quicker_than_a_look_is_told_all_the_same(tmp_path: Path) -> None:
    path = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.settimeout(10)
        systemd.bind(path)
        health = ready_health(time.monotonic())
        with SystemdNotifier({"NOTIFY_SOCKET": path}, health):
            assert systemd.recv(4096).startswith(b"READY=1")
            health.stops(time.monotonic())
        assert systemd.recv(4096).startswith(b"STOPPING=1")


def test_without_systemd_there_is_no_thread_and_a_deaf_one_stops_nothing(tmp_path: Path) -> None:
    with SystemdNotifier({}, ready_health()) as notifier:
        assert notifier._thread is None
    gone = {"NOTIFY_SOCKET": str(tmp_path / "gone"), "WATCHDOG_USEC": "2000"}
    with SystemdNotifier(gone, ready_health()) as notifier:
        assert notifier._thread is not None
        notifier._thread.join(0.05)
        assert notifier._thread.is_alive(), "it goes on though nobody hears"
