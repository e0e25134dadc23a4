"""What a library repeats is told once; what we say is always told."""

import logging

from aiokafka.errors import UnknownTopicOrPartitionError

from streams.edges.errors import DataError
from streams.edges.logs import Passing, Seldom, Untold


def record(name: str, message: str) -> logging.LogRecord:
    return logging.LogRecord(name, logging.ERROR, "file", 1, message, None, None)


def test_a_librarys_repeated_message_is_told_every_half_minute_and_ours_always() -> None:
    now = [0.0]
    seldom = Seldom(lambda: now[0])
    lost = record("aiokafka.client", "Unable connect to node")
    assert [seldom.filter(lost) for _ in range(3)] == [True, False, False]
    assert seldom.filter(record("aiokafka.client", "another"))
    now[0] = 30.0
    assert seldom.filter(lost)
    ours = record("streams.app.pipeline", "waiting for the store")
    assert seldom.filter(ours)
    assert seldom.filter(ours)


def test_a_library_that_caught_our_error_does_not_tell_it_before_we_do() -> None:
    def caught(name: str, error: Exception) -> logging.LogRecord:
        info = (type(error), error, None)
        return logging.LogRecord(name, logging.ERROR, "file", 1, "crashed", None, info)

    untold = Untold()
    assert not untold.filter(caught("mode.services", DataError("the topic is gone")))
    assert untold.filter(caught("mode.services", ValueError("a bug")))
    assert untold.filter(caught("streams.app.pipeline", DataError("the topic is gone")))
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
    ours = record("streams.app.losses", "records were deleted")
    fatal = record("aiokafka.consumer.group_coordinator", "LeaveGroup request failed: %s")
    assert all(Passing().filter(one) for one in (join, ours, fatal))
    assert (join.levelno, join.levelname) == (logging.WARNING, "WARNING")
    assert ours.levelno == fatal.levelno == logging.ERROR
