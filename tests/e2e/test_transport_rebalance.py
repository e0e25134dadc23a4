"""The batch transport while partitions are dealt: nothing is read that nobody sought."""

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from faust.tables.recovery import RebalanceAgain
from faust.types import TP

from tests.e2e.transport_worker import Desk, Owner, SlowOwner, Store, until
from tests.servers import KafkaServer

Name = Callable[[str], str]


@pytest.fixture
def desk(kafka: KafkaServer, tmp_path: Path) -> Desk:
    return Desk(kafka.bootstrap, tmp_path)


def test_a_rebalance_during_a_take_over_begins_another_one(desk: Desk, fresh_name: Name) -> None:
    async def scenario() -> None:
        topic, group = await desk.make_topic(fresh_name("t"), 2), fresh_name("g")
        store = Store()
        slow, other = SlowOwner(store), Owner(store)
        async with desk.worker(group, [topic], slow):
            await until(lambda: slow.taken)
            slow.hangs_in = "take_over"
            async with desk.worker(group, [topic], other):
                await until(lambda: not slow.hangs_in)
            await until(lambda: len(slow.taken) == 2)
            assert len(slow.taken[1][0]) == 2
            await desk.produce(topic, 10, 2)
            await until(lambda: store.count == 10)

    asyncio.run(scenario())


class LosingOwner(Owner):
    """An owner whose store went back while it gives up, and is slow when it takes over."""

    slow = False

    async def take_over(self, partitions: set[TP], generation: int) -> Mapping[TP, int | None]:
        if self.slow:
            await asyncio.sleep(1.0)  # as long as a store may be away; others fetch meanwhile
        return await super().take_over(partitions, generation)

    async def give_up(self, partitions: set[TP]) -> None:
        await super().give_up(partitions)
        if self.slow:
            await self.app.consumer.read_again()


def test_a_state_lost_during_a_rebalance_does_not_open_the_gate_to_partitions_not_yet_sought(
    desk: Desk, fresh_name: Name
) -> None:
    async def scenario() -> None:
        topic, group = await desk.make_topic(fresh_name("t"), 2), fresh_name("g")
        store = Store()
        losing, other = LosingOwner(store), Owner(store)
        async with desk.worker(group, [topic], losing) as app:
            async with desk.worker(group, [topic], other):
                await until(lambda: losing.taken and len(losing.taken[-1][0]) == 1)
                await desk.produce(topic, 10, 2)
                await until(lambda: store.count == 10)
                losing.slow = True
            await desk.produce(topic, 10, 2)  # to be read from 5 on: the other has committed it
            await until(lambda: store.count == 20, "the other's partition is read on")
            assert app.crash_reason is None
            assert len(losing.taken[-1][0]) == 2

    asyncio.run(scenario())


class ForgetfulOwner(Owner):
    """An owner whose store goes back while partitions are being taken over the first time."""

    async def take_over(self, partitions: set[TP], generation: int) -> Mapping[TP, int | None]:
        given = await super().take_over(partitions, generation)
        if len(self.taken) == 1:
            self.reading_again = asyncio.create_task(self.app.consumer.read_again())
            await asyncio.sleep(0.2)  # the rest is still being taken over when it is heard of
        return given


def test_a_state_lost_while_partitions_are_taken_over_has_them_taken_over_once_more(
    desk: Desk, fresh_name: Name
) -> None:
    async def scenario() -> None:
        topic, group = await desk.make_topic(fresh_name("t"), 2), fresh_name("g")
        await desk.produce(topic, 10, 2)
        store = Store()
        owner, other = ForgetfulOwner(store), Owner(store)
        async with desk.worker(group, [topic], owner) as app:
            await until(lambda: store.count == 10, "it reads, and does not wait for a rebalance")
            assert len(owner.taken) == 2
            async with desk.worker(group, [topic], other):
                await until(lambda: other.taken, "the group can still rebalance")
                await desk.produce(topic, 10, 2)
                await until(lambda: store.count == 20)
            assert app.crash_reason is None

    asyncio.run(scenario())


def test_a_seek_begun_while_partitions_are_dealt_opens_the_gate_to_nothing(
    desk: Desk, fresh_name: Name
) -> None:
    async def scenario() -> None:
        topic, group = await desk.make_topic(fresh_name("t"), 1), fresh_name("g")
        await desk.produce(topic, 10, 1)
        store = Store()
        owner = Owner(store)
        async with desk.worker(group, [topic], owner) as app:
            await until(lambda: store.count == 10)
            consumer = app.consumer
            consumer.gate.begin_dealing()  # as the consumer's thread does, at the first sign of it
            with pytest.raises(RebalanceAgain):
                await consumer.perform_seek()
            consumer.resume_flow()
            assert not consumer.gate.is_open()
            consumer.gate.end_dealing()
            taken = len(owner.taken)
            await consumer.read_again()  # Faust's own seek is due, and comes after it
            consumer.resume_flow()
            assert not consumer.gate.is_open()
            assert len(owner.taken) == taken
            await consumer.perform_seek()
            consumer.resume_flow()
            await desk.produce(topic, 10, 1)
            await until(lambda: store.count == 20)
        assert store.offsets[TP(topic, 0)] == list(range(20))

    asyncio.run(scenario())
