"""What a library repeats is told once; what we say is always told."""

import logging

from streams.edges.logs import Seldom


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
