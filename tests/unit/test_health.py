"""Health and watchdog: what counts as stalled, decided without a clock."""

import os
import subprocess
import sys
import threading

import pytest

from streams.edges.process.health import Health, Signs, stall_of, unready_of
from streams.edges.process.watchdog import STALLED_EXIT_CODE, Watchdog

LIMIT = 120.0


def _health() -> Health:
    return Health(0.0, LIMIT)


def test_an_idle_worker_is_never_stalled_while_its_loop_runs() -> None:
    health = _health()
    health.beat(10_000.0)
    assert health.stalled(10_000.0 + LIMIT) is None


def test_a_loop_that_does_not_run_is_stalled_after_the_limit_and_not_at_it() -> None:
    health = _health()
    health.beat(5.0)
    assert health.stalled(5.0 + LIMIT) is None
    assert health.stalled(5.1 + LIMIT) == "the worker's loop has not run for 120 s"


def test_lag_without_progress_is_stalled_though_the_loop_runs() -> None:
    health = _health()
    health.progressed(1.0, lag_records=9)
    health.beat(1.0 + LIMIT)
    assert health.stalled(1.0 + LIMIT) is None
    health.beat(2.0 + LIMIT)
    assert health.stalled(2.0 + LIMIT) == "no progress for 121 s with 9 records waiting"
    health.progressed(2.0 + LIMIT, lag_records=8)
    assert health.stalled(2.0 + LIMIT) is None


def test_after_an_idle_night_the_time_without_progress_begins_with_the_first_record() -> None:
    health = _health()
    health.progressed(1.0, lag_records=0)
    health.beat(30_000.0)
    health.found_lag(30_000.0, 5)
    assert health.stalled(30_000.0) is None
    health.found_lag(30_060.0, 50)
    health.beat(30_121.0)
    assert health.stalled(30_121.0) == "no progress for 121 s with 50 records waiting"


def test_partitions_that_are_dealt_and_never_read_are_a_stall() -> None:
    health = _health()
    health.assigned(10.0, 4)
    health.beat(131.0)
    assert health.stalled(130.0) is None
    assert health.stalled(131.0) == "partitions were dealt 121 s ago and none is read"
    health.found_lag(131.0, 0)
    assert health.stalled(131.0) is None


def test_a_worker_with_no_partitions_waits_without_end_and_is_ready() -> None:
    health = _health()
    health.assigned(10.0, 0)
    health.reached_redis()
    health.beat(9_999.0)
    assert health.stalled(9_999.0) is None
    assert health.unready(9_999.0) is None


def test_ready_needs_the_group_redis_and_the_state_in_this_order() -> None:
    health = _health()
    assert health.unready(1.0) == "it has not joined the consumer group yet"
    health.assigned(1.0, 2)
    assert health.unready(1.0) == "Redis cannot be reached"
    health.reached_redis()
    assert health.unready(1.0) == "the state of its partitions is not loaded yet"
    health.loaded()
    assert health.unready(1.0) is None
    health.assigned(2.0, 3)
    assert health.unready(2.0) == "the state of its partitions is not loaded yet"
    health.loaded()
    health.failed_redis("Redis takes no writes now: its memory is full (maxmemory)")
    assert health.unready(2.0) == "Redis takes no writes now: its memory is full (maxmemory)"
    health.reached_redis()
    assert health.unready(2.0) is None


def test_a_stalled_worker_is_not_ready() -> None:
    signs = Signs(0.0, 0.0, joined=True, redis_problem=None, state_loaded=True)
    assert unready_of(signs) is None
    assert stall_of(signs, LIMIT + 1, LIMIT) is not None
    health = _health()
    health.assigned(0.0, 0)
    health.reached_redis()
    assert health.unready(LIMIT + 1) == "the worker's loop has not run for 121 s"


def test_signs_told_from_many_threads_are_all_kept() -> None:
    health = _health()

    def tell() -> None:
        for second in range(2_000):
            health.reached_redis()
            health.beat(float(second))

    threads = [threading.Thread(target=tell) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert health.signs.redis_problem is None
    assert health.signs.beat_seconds == 1_999.0


def test_a_paused_process_gets_its_time_anew_and_a_stalled_one_does_not() -> None:
    now = [0.0]
    health = _health()
    watchdog = Watchdog(health, clock=lambda: now[0])
    now[0] = 1_000.0  # nobody ran for 1,000 s, the watchdog neither
    assert watchdog.look() is None
    while now[0] < 1_000.0 + LIMIT:
        now[0] += 5.0
        assert watchdog.look() is None
    now[0] += 5.0
    assert watchdog.look() == "the worker's loop has not run for 125 s"


def test_the_watchdog_ends_the_process_once_with_stacks(capfd: pytest.CaptureFixture[str]) -> None:
    codes: list[int] = []
    ended = threading.Event()

    def end(code: int) -> None:
        codes.append(code)
        ended.set()

    seconds = iter(range(0, 10_000, 4))
    health = Health(0.0, 10.0)
    health.limit_seconds = 0.2  # so that it looks every 0.05 s
    watchdog = Watchdog(health, clock=lambda: next(seconds) / 100, end_process=end)
    watchdog.start()
    assert ended.wait(20)
    watchdog.stop()
    assert codes == [STALLED_EXIT_CODE]
    said = capfd.readouterr().err
    assert "the worker's loop has not run" in said
    assert "test_the_watchdog_ends_the_process_once_with_stacks" in said


PROGRAM = """
import threading
from streams.edges.process.health import Health
from streams.edges.process.watchdog import Watchdog
import time

def stuck_in_here() -> None:
    threading.Event().wait()

Watchdog(Health(time.monotonic(), 0.4)).start()
stuck_in_here()
"""


def test_a_stuck_process_exits_with_code_70_and_says_where_it_stands() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == STALLED_EXIT_CODE
    assert "surgewatch: the worker's loop has not run for" in done.stderr
    assert "in stuck_in_here" in done.stderr
    assert done.stdout == ""


def test_the_watchdog_leaves_a_healthy_worker_alone() -> None:
    codes: list[int] = []
    looked = threading.Event()
    looks = iter(range(1_000_000))

    def clock() -> float:
        if next(looks) > 5:
            looked.set()
        return 0.0

    watchdog = Watchdog(Health(0.0, 0.04), clock=clock, end_process=codes.append)
    watchdog.start()
    assert looked.wait(20)
    watchdog.stop()
    watchdog.stop()
    assert codes == []


def test_a_worker_that_thinks_it_has_read_all_but_hears_nothing_is_stalled() -> None:
    health = _health()
    health.assigned(0.0, 4)
    health.found_lag(0.0, 0)
    for now in range(0, 131, 10):
        health.beat(now)
        health.found_flow(now, heard=now < 10, dealing=False)
        assert health.stalled(now) is None
    health.beat(131.0)
    words = "Kafka answers, but nothing was heard of a partition for 121 s"
    assert health.stalled(131.0) == words
    health.found_flow(131.0, heard=True, dealing=False)
    assert health.stalled(131.0) is None


def test_a_silent_kafka_is_no_fault_of_an_idle_worker_and_its_time_begins_anew_after_it() -> None:
    health = _health()
    health.assigned(0.0, 4)
    health.found_lag(0.0, 0)
    health.heard_kafka(silent=True)
    health.beat(900.0)
    health.found_flow(900.0, heard=False, dealing=True)
    assert health.stalled(900.0) is None
    health.heard_kafka(silent=False)
    health.found_flow(900.0, heard=False, dealing=False)
    health.beat(1_020.0)
    assert health.stalled(1_020.0) is None
    health.beat(1_021.0)
    assert health.stalled(1_021.0) is not None


def test_a_deal_without_an_end_is_a_stall_after_what_others_may_take() -> None:
    health = _health()
    health.found_flow(10.0, heard=True, dealing=True)
    health.beat(190.0)
    health.found_flow(190.0, heard=True, dealing=True)
    assert health.stalled(190.0) is None
    health.beat(191.0)
    words = "partitions have been dealt for 181 s without an end"
    assert health.stalled(191.0) == words
    health.found_flow(191.0, heard=True, dealing=False)
    assert health.stalled(191.0) is None


def test_a_stop_that_hangs_is_a_stall_whatever_else_is_well() -> None:
    health = _health()
    health.progressed(0.0, 7)
    health.stops(100.0)
    health.beat(160.0)
    assert health.stalled(160.0) is None, "stopping has a time of its own"
    assert health.stalled(161.0) == "it has been stopping for 61 s"
    health.forgive(161.0)
    assert health.stalled(161.0) is None
    assert health.stalled(222.0) == "it has been stopping for 61 s"


NOBODY_READS = """
import os, time
from streams.edges.process.health import Health
from streams.edges.process.watchdog import Watchdog

os.set_blocking(2, False)
try:
    while True:
        os.write(2, b"x" * 65536)
except BlockingIOError:
    os.set_blocking(2, True)
Watchdog(Health(time.monotonic(), 0.4)).start()
os.write(2, b"and one line more")
"""


@pytest.mark.parametrize("closed", [False, True])
def test_a_worker_whose_lines_nobody_reads_ends_all_the_same(closed: bool) -> None:
    read, write = os.pipe()
    program = PROGRAM if closed else NOBODY_READS
    with subprocess.Popen([sys.executable, "-c", program], stderr=write) as stuck:
        os.close(write)
        if closed:
            os.close(read)
        assert stuck.wait(timeout=60) == STALLED_EXIT_CODE
    if not closed:
        os.close(read)
