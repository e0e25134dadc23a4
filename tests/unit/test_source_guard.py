"""A write waits for an answer to a question that was asked after its records were read."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from aiokafka.errors import NodeNotReadyError

from streams.edges.kafka.identity import Source, TopicIdentity
from streams.edges.kafka.source_guard import (
    PartitionsChanged,
    SourceGuard,
    TopicReplaced,
    change_of,
)

SAME = Source("k", {"follows": TopicIdentity("one", 4)})
REPLACED = Source("k", {"follows": TopicIdentity("two", 4)})


class Kafka:
    """Answers when the test says so; keeps the questions in order."""

    def __init__(self) -> None:
        self.questions: list[asyncio.Future[Source]] = []
        self.failures = 0
        self.guard = SourceGuard(SAME, self.ask, self.fail)

    async def ask(self) -> Source:
        self.questions.append(asyncio.get_running_loop().create_future())
        return await self.questions[-1]

    def fail(self) -> None:
        self.failures += 1

    async def asked(self, count: int) -> None:
        while len(self.questions) < count:
            await asyncio.sleep(0)


def run(body: Callable[[Kafka], Coroutine[Any, Any, None]]) -> None:
    async def limited() -> None:
        kafka = Kafka()
        await asyncio.wait_for(body(kafka), 10)
        await kafka.guard.close()

    asyncio.run(limited())


def test_an_answer_to_an_earlier_question_confirms_nothing_read_since() -> None:
    async def body(kafka: Kafka) -> None:
        early = asyncio.create_task(kafka.guard.confirm())
        await kafka.asked(1)
        late = [asyncio.create_task(kafka.guard.confirm()) for _ in range(5)]
        kafka.questions[0].set_result(SAME)
        await early
        await kafka.asked(2)
        assert not any(one.done() for one in late)
        kafka.questions[1].set_result(REPLACED)
        answers = await asyncio.gather(*late, return_exceptions=True)
        assert [type(answer) for answer in answers] == [TopicReplaced] * 5
        assert len(kafka.questions) == 2

    run(body)


def test_a_kafka_that_does_not_answer_is_asked_again_and_counted() -> None:
    async def body(kafka: Kafka) -> None:
        waiting = asyncio.create_task(kafka.guard.confirm())
        for number in range(3):
            await kafka.asked(number + 1)
            kafka.questions[number].set_exception(NodeNotReadyError())
        await kafka.asked(4)
        assert not waiting.done()
        assert kafka.failures == 3
        kafka.questions[3].set_result(SAME)
        await waiting

    run(body)


def test_a_topic_missing_for_a_moment_is_waited_for() -> None:
    async def body(kafka: Kafka) -> None:
        waiting = asyncio.create_task(kafka.guard.confirm())
        await kafka.asked(1)
        kafka.questions[0].set_result(Source("k", {}))
        await kafka.asked(2)
        assert not waiting.done()
        kafka.questions[1].set_result(SAME)
        await waiting

    run(body)


def test_a_waiter_that_is_cancelled_leaves_the_question_to_the_others() -> None:
    async def body(kafka: Kafka) -> None:
        first, second = (asyncio.create_task(kafka.guard.confirm()) for _ in range(2))
        await kafka.asked(1)
        first.cancel()
        kafka.questions[0].set_result(SAME)
        await second
        assert first.cancelled()

    run(body)


def test_partitions_and_ids_are_compared_and_an_id_that_is_not_told_is_not() -> None:
    assert change_of(SAME, SAME) is None
    more = change_of(SAME, Source("k", {"follows": TopicIdentity("one", 6)}))
    assert isinstance(more, PartitionsChanged)
    assert (more.before, more.now) == (4, 6)
    assert isinstance(change_of(SAME, REPLACED), TopicReplaced)
    for untold in (TopicIdentity(None, 4), TopicIdentity("one", 4)):
        assert change_of(SAME, Source(None, {"follows": untold})) is None
    without = Source(None, {"follows": TopicIdentity(None, 4)})
    assert change_of(without, REPLACED) is None
    with pytest.raises(PartitionsChanged, match="has 3 partitions now and had 4"):
        raise change_of(SAME, Source("k", {"follows": TopicIdentity(None, 3)})) or AssertionError
