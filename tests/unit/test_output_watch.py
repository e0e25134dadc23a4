"""Topics that are only written to: each change is told once, and the worker goes on."""

import asyncio

import pytest
from aiokafka.errors import NodeNotReadyError

from streams.edges.kafka.identity import Source, TopicIdentity
from streams.edges.kafka.output_watch import OutputWatch
from streams.edges.kafka.source_guard import MISSING_SECONDS_MAX
from streams.edges.metrics.worker import Trouble

ONE = TopicIdentity("one", 4)


class Watched:
    """A watch of ``surges``, and Kafka as the test says."""

    def __init__(self) -> None:
        self.now = 0.0
        self.told: list[Trouble] = []
        self.watch = OutputWatch({"surges": ONE}, self.ask, self.told.append, lambda: self.now)
        self.found: TopicIdentity | None = ONE
        self.answers = True

    async def ask(self) -> Source:
        if not self.answers:
            raise NodeNotReadyError
        return Source("k", {} if self.found is None else {"surges": self.found})

    def see(self, found: TopicIdentity | None, seconds: float = 0.0) -> list[Trouble]:
        """Look once it is so, and again after some time; what was told since."""
        before, self.found = len(self.told), found
        asyncio.run(self.watch.look())
        self.now += seconds
        asyncio.run(self.watch.look())
        return self.told[before:]


def test_a_topic_that_stays_as_it_is_is_not_told() -> None:
    assert Watched().see(ONE, 100) == []


def test_a_topic_that_is_gone_is_told_once_and_again_when_it_goes_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    kafka = Watched()
    assert kafka.see(None, MISSING_SECONDS_MAX - 1) == [], "a broker may have just started"
    assert kafka.see(None, 1) == ["topic_gone"]
    assert kafka.see(None, 100) == []
    assert "topic surges does not exist any more" in caplog.text
    assert kafka.see(ONE) == []
    assert kafka.see(None, MISSING_SECONDS_MAX) == ["topic_gone"]


def test_a_topic_made_again_is_told_and_then_is_the_one_that_is_known() -> None:
    kafka = Watched()
    assert kafka.see(TopicIdentity("two", 4), 100) == ["topic_replaced"]
    assert kafka.see(TopicIdentity("three", 4), 100) == ["topic_replaced"]


def test_another_partition_count_is_told_once_until_it_changes_again() -> None:
    kafka = Watched()
    assert kafka.see(TopicIdentity("one", 6), 100) == ["partitions_changed"]
    assert kafka.see(TopicIdentity("two", 1)) == ["topic_replaced", "partitions_changed"]
    assert kafka.see(TopicIdentity("three", 4)) == ["topic_replaced"]


def test_kafka_that_does_not_answer_is_no_change() -> None:
    kafka = Watched()
    kafka.answers = False
    assert kafka.see(None, 100) == []
    kafka.answers = True
    assert kafka.see(ONE, 100) == []


def test_ids_that_this_kafka_does_not_tell_are_not_compared() -> None:
    assert Watched().see(TopicIdentity(None, 4), 100) == []
