"""What a library repeats is told once; what we say is always told."""

import asyncio
import errno
import io
import json
import logging
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from aiokafka.errors import UnknownTopicOrPartitionError
from mode import timers

import streams
from streams.app.worker.faust_app import WorkerApp
from streams.app.worker.surge_lines import tell_surges
from streams.core.surges.surge import Severity, Surge
from streams.edges.errors import DataError
from streams.edges.logs.limit import HELD_BACK, KINDS_MAX, Limit
from streams.edges.logs.lines import EVENT, logger_of, names_in, placed
from streams.edges.logs.output import Logs, Passing, Untold, set_up_logs
from streams.edges.settings.list import Settings
from tests.docs import documents
from tests.log_events import log_lines


def record(name: str, message: str) -> logging.LogRecord:
    return logging.LogRecord(name, logging.ERROR, "file", 1, message, None, None)


def limit(now: list[float]) -> Limit:
    return Limit(lambda: now[0], ("aiokafka",))


def ours(level: int = logging.WARNING, event: str = "store_waited_for") -> logging.LogRecord:
    made = logging.LogRecord("streams.app.worker.asking", level, "file", 1, "waiting", None, None)
    setattr(made, EVENT, event)
    return made


def test_a_librarys_repeated_message_is_told_every_half_minute_and_how_many_were_not() -> None:
    now = [0.0]
    one = limit(now)
    lost = record("aiokafka.client", "Unable connect to node")
    assert [one.filter(lost) for _ in range(3)] == [True, False, False]
    assert one.filter(record("aiokafka.client", "another"))
    now[0] = 29.9
    assert not one.filter(lost)
    now[0] = 30.0
    again = record("aiokafka.client", "Unable connect to node")
    assert one.filter(again)
    assert getattr(again, HELD_BACK) == 3
    assert (one.take_suppressed(), one.take_suppressed()) == (3, 0)


def test_ten_lines_of_an_event_are_told_in_half_a_minute_and_every_error_of_ours() -> None:
    one = limit([0.0])
    assert [one.filter(ours()) for _ in range(12)] == [True] * 10 + [False] * 2
    assert one.filter(ours(event="another"))
    assert all(one.filter(ours(logging.ERROR)) for _ in range(50))


def test_what_was_held_back_is_told_though_nothing_like_it_comes_again() -> None:
    now = [0.0]
    one = limit(now)
    for _ in range(4_130):
        one.filter(ours())
    assert one.take_due() == []
    now[0] = 30.0
    [(last, count)] = one.take_due()
    assert (last.getMessage(), count) == ("waiting", 4_120)
    assert one.take_due() == []
    assert one.filter(ours())
    assert one.take_due(all_kinds=True) == []


def test_lines_that_differ_each_time_are_forgotten_but_not_uncounted() -> None:
    now = [0.0]
    one = limit(now)
    for number in range(5 * KINDS_MAX):
        assert one.filter(record("aiokafka.client", f"line {number}"))
        now[0] += 0.001
    assert len(one._kinds) <= KINDS_MAX


@pytest.fixture
def told(capsys: pytest.CaptureFixture[str]) -> Iterator[Callable[[], str]]:
    """What was said so far; the root logger is as it was after the test."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield lambda: capsys.readouterr().err
    logging.captureWarnings(capture=False)
    root.handlers, root.level = handlers, level


def test_a_line_names_the_worker_and_the_partition_in_every_task(
    told: Callable[[], str],
) -> None:
    log = logger_of("streams.test")
    set_up_logs(Settings(kafka_instance_id="worker-3", log_format="json"))

    async def work(partition: int) -> None:
        with placed("follows", partition, 40 + partition):
            await asyncio.sleep(0)
            log.warning("hung", "waiting {seconds:.1f} s", seconds=partition)
            await asyncio.create_task(deeper())

    async def deeper() -> None:
        logging.getLogger("aiokafka.producer").warning("theirs")

    async def both() -> None:
        await asyncio.gather(work(1), work(2))
        log.info("idle", "nothing to do")

    asyncio.run(both())
    lines = [json.loads(line) for line in told().splitlines()]
    assert {line["worker"] for line in lines} == {"worker-3"}
    hung = [line for line in lines if line.get("event") == "hung"]
    assert [(one["topic"], one["partition"], one["offset"]) for one in hung] == [
        ("follows", 1, 41),
        ("follows", 2, 42),
    ]
    assert [(one["message"], one["seconds"]) for one in hung] == [
        ("waiting 1.0 s", 1),
        ("waiting 2.0 s", 2),
    ]
    theirs = [line for line in lines if line["logger"] == "aiokafka.producer"]
    assert [(one["partition"], one["message"]) for one in theirs] == [(1, "theirs")]
    assert "partition" not in lines[-1]


def test_a_line_for_people_has_the_fields_that_its_sentence_has_not_and_cannot_be_forged(
    told: Callable[[], str],
) -> None:
    set_up_logs(Settings(kafka_instance_id="worker-3"))
    log = logger_of("streams.test")
    log.warning("odd", "lost {topic}", topic="a\n2026 ERROR b\x1b[2J", records=3)
    line = told()
    assert line.count("\n") == 1
    assert line.endswith("WARNING lost a\\n2026 ERROR b\\x1b[2J  [worker=worker-3 records=3]\n")


def test_what_was_held_back_is_told_with_the_partition_that_it_was_about(
    told: Callable[[], str],
) -> None:
    now = [0.0]
    logs = Logs(Settings(kafka_instance_id="w"), lambda: now[0])
    log = logger_of("streams.test")
    with placed("follows", 3):
        for number in range(4_130):
            log.warning("waits", "waiting: {number}", number=number)
    assert told().count("waiting: ") == 10
    now[0] = 31.0
    logs.tell_suppressed()
    line = told()
    assert "waiting: 4129 (… 4,120 like this in the last 30 s)" in line
    assert "partition=3" in line
    assert logs.take_suppressed() == 4_120


def test_the_level_can_be_changed_while_it_runs(told: Callable[[], str]) -> None:
    logs = set_up_logs(Settings())
    log = logger_of("streams.test")
    log.debug("one", "first")
    logs.set_level("debug")
    log.debug("two", "second")
    logging.getLogger("aiokafka.consumer").debug("theirs")
    logs.set_level("info")
    log.debug("three", "third")
    logging.getLogger("aiokafka.consumer").info("chatter")
    said = told()
    assert "first" not in said
    assert "second" in said
    assert "theirs" in said
    assert "third" not in said
    assert "chatter" not in said


def test_what_faust_tells_of_its_daily_work_is_silent_by_whatever_name(
    told: Callable[[], str],
) -> None:
    set_up_logs(Settings())
    for logger in (logging.getLogger("faust.app.base"), WorkerApp.logger):
        logger.info("Flush producer buffer...")
        logger.warning("worth a line of %s", logger.name)
    timers.logger.warning("Timer %s is overlapping (interval=%r runtime=%r)", "commit", 1.0, 2.35)
    timers.logger.warning("another of a timer")
    said = told()
    assert "Flush" not in said
    assert "worth a line of faust.app.base" in said
    assert "worth a line of streams.app.worker.faust_app" in said
    assert "overlapping" not in said
    assert "another of a timer" in said


def test_a_line_of_ours_that_nobody_set_up_goes_where_a_librarys_goes(
    caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    logger_of("streams.test").warning("hung", "waiting for {what}", what="{braces}")
    assert caplog.messages == ["waiting for {braces}"]
    assert capsys.readouterr().out == ""


class Disk(io.StringIO):
    """A stream that takes nothing while it is full."""

    is_full = True

    def write(self, text: str) -> int:
        if self.is_full:
            raise OSError(errno.ENOSPC, "No space left on device")
        return super().write(text)


def test_lines_that_find_no_room_are_counted_and_told_once_there_is(
    told: Callable[[], str],
) -> None:
    now = [0.0]
    logs = Logs(Settings(), lambda: now[0])
    disk = Disk()
    logs._handler.setStream(disk)
    log = logger_of("streams.test")
    for _ in range(3):
        log.info("read", "read on")
    assert logs.take_lost() == 4, "with the line that tells of them"
    now[0] = 31.0
    disk.is_full = False
    assert logs.take_lost() == 0
    assert "4 lines of this log could not be written until now" in disk.getvalue()
    now[0] = 62.0
    assert logs.take_lost() == 0
    assert disk.getvalue().count("\n") == 1
    assert told() == ""


def test_pages_have_a_line_each_up_to_ten_and_notices_only_while_debugging(
    told: Callable[[], str],
) -> None:
    def surge(number: int, severity: Severity, post_id: str | None = None) -> Surge:
        return Surge(
            surge_id=f"s-{number}", revision=0, kind="followers", trigger="rule", state="opened",
            severity=severity, creator_id=f"c-{number}", post_id=post_id, opened_ms=1, seen_ms=1,
            at_ms=1, window_ms=86_400_000, observed=50_000, threshold=50_000, expected_own=None,
            expected_in_wave=None, ratio=None, score=None, detector="d", false_alarm_rate=None,
            prior_weight=None,
        )  # fmt: skip

    many = [surge(number, "page") for number in range(13)]
    set_up_logs(Settings())
    tell_surges([surge(99, "notice"), *many])
    said = told()
    assert "opened by rule: followers of c-0, 50,000 in 24 h" in said
    assert said.count("opened by rule") == 10
    assert "3 more pages were announced with these" in said
    assert "c-99" not in said
    set_up_logs(Settings(log_level="debug"))
    tell_surges([surge(99, "notice", "p-1")])
    assert "followers on c-99's post p-1" in told()
    set_up_logs(Settings(log_level="warning"))
    tell_surges(many)
    assert told() == ""


def test_every_line_of_ours_has_the_fields_of_its_sentence_and_a_name_of_its_own() -> None:
    lines = log_lines()
    assert len(lines) > 20
    for line in lines:
        assert set(names_in(line.sentence)) <= set(line.fields), line
        assert re.fullmatch(r"[a-z]+(_[a-z]+)*", line.event), line
    events = [line.event for line in lines]
    assert len(events) == len(set(events))


def test_the_standard_librarys_logger_is_not_used_for_lines_of_ours() -> None:
    package = Path(str(streams.__file__)).parent
    using = [
        path.name
        for path in package.rglob("*.py")
        if re.search(r"getLogger\(__name__\)", path.read_text())
    ]
    assert using == []


def test_a_library_that_caught_our_error_does_not_tell_it_before_we_do() -> None:
    def caught(name: str, error: Exception) -> logging.LogRecord:
        info = (type(error), error, None)
        return logging.LogRecord(name, logging.ERROR, "file", 1, "crashed", None, info)

    untold = Untold()
    assert not untold.filter(caught("mode.services", DataError("the topic is gone")))
    assert untold.filter(caught("mode.services", ValueError("a bug")))
    assert untold.filter(caught("streams.app.worker.pipeline", DataError("the topic is gone")))
    assert untold.filter(record("mode.services", "crashed"))


def test_a_commit_that_was_given_up_is_not_told_once_more_when_it_fails() -> None:
    def ended(message: str, error: Exception) -> logging.LogRecord:
        info = (type(error), error, None)
        return logging.LogRecord("asyncio", logging.ERROR, "file", 1, message, None, info)

    never = "Task exception was never retrieved\nfuture: <Task finished coro=<%s() done>>"
    commit = never % "GroupCoordinator._do_commit_offsets"
    assert not Untold().filter(ended(commit, UnknownTopicOrPartitionError()))
    assert Untold().filter(ended(commit, ValueError("ours")))
    assert Untold().filter(ended(never % "Fetcher._fetch", UnknownTopicOrPartitionError()))
    assert Untold().filter(ended("Exception in callback", UnknownTopicOrPartitionError()))


def test_a_groups_first_join_is_no_error_and_what_we_call_one_is() -> None:
    join = record("aiokafka.consumer.group_coordinator", "Group Coordinator Request failed: %s")
    mine = record("streams.app.worker.losses", "records were deleted")
    fatal = record("aiokafka.consumer.group_coordinator", "LeaveGroup request failed: %s")
    assert all(Passing().filter(one) for one in (join, mine, fatal))
    assert (join.levelno, join.levelname) == (logging.WARNING, "WARNING")
    assert mine.levelno == fatal.levelno == logging.ERROR


def test_the_document_has_every_line() -> None:
    path = next(path for path in documents() if path.name == "logs.md")
    assert path.read_text(encoding="utf-8") == documents()[path], "run: make docs"
