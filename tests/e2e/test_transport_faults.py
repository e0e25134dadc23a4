"""The batch transport when things fail: nothing is lost, nothing waits for ever, no zombie."""

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from aiokafka import TopicPartition
from faust.types import TP

from streams.edges.transport.batch import (
    OffsetBeyondEnd,
    ReadBack,
    ReadGap,
    TakeOverFailed,
    TransportOptions,
)
from streams.edges.transport.thread import ConsumerThread
from tests.e2e.transport_worker import Desk, Owner, SlowOwner, Store, until
from tests.servers import KafkaServer

Name = Callable[[str], str]
ONE_RECORD = TransportOptions(chunk_records_max=1)


@pytest.fixture
def desk(kafka: KafkaServer, tmp_path: Path) -> Desk:
    return Desk(kafka.bootstrap, tmp_path)


def test_an_exception_in_an_agent_stops_the_app_and_leaves_its_chunk_uncommitted(
    desk: Desk, fresh_name: Name
) -> None:
    async def scenario() -> None:
        topic, group = await desk.make_topic(fresh_name("t"), 1), fresh_name("g")
        await desk.produce(topic, 10, 1)
        store = Store()
        owner = Owner(store)

        async def fail_at_four(event: Any) -> None:
            if event.value.offsets[0] == 4:
                raise LookupError
            await owner.on_event(event)

        run = desk.worker(group, [topic], owner, on_event=fail_at_four, options=ONE_RECORD)
        async with run as app:
            await asyncio.wait_for(app.wait_until_stopped(), 10)
            assert isinstance(app.crash_reason, LookupError)
        assert owner.given_up == [], "a state with half a chunk in it is not stored"
        assert await desk.committed(group) == {TP(topic, 0): 4}
        async with desk.worker(group, [topic], Owner(store)):
            await until(lambda: store.count == 10)
        assert store.offsets[TP(topic, 0)] == list(range(10))

    asyncio.run(scenario())


class BadOwner(Owner):
    """An owner whose take_over fails, hangs, or gives an offset that is not there."""

    def __init__(self, how: str) -> None:
        super().__init__(Store())
        self.how = how

    async def take_over(self, partitions: set[TP], generation: int) -> Mapping[TP, int | None]:
        if self.how == "fails":
            raise LookupError
        if self.how == "hangs":
            await asyncio.Event().wait()
        return dict.fromkeys(partitions, 11)


@pytest.mark.parametrize(
    ("how", "reason"),
    [("fails", LookupError), ("hangs", TakeOverFailed), ("lies", OffsetBeyondEnd)],
)
def test_a_take_over_that_goes_wrong_stops_the_app_instead_of_leaving_it_idle(
    desk: Desk, fresh_name: Name, how: str, reason: type[Exception]
) -> None:
    async def scenario() -> None:
        topic, group = await desk.make_topic(fresh_name("t"), 1), fresh_name("g")
        await desk.produce(topic, 10, 1)
        owner = BadOwner(how)
        options = TransportOptions(take_over_seconds_max=0.2)
        async with desk.worker(group, [topic], owner, options=options) as app:
            await asyncio.wait_for(app.wait_until_stopped(), 10)
            assert isinstance(app.crash_reason, reason)
        assert owner.events == []

    asyncio.run(scenario())


def test_giving_up_has_a_limit_and_what_was_not_stored_is_read_again(
    desk: Desk, fresh_name: Name
) -> None:
    async def scenario() -> None:
        topic, group = await desk.make_topic(fresh_name("t"), 1), fresh_name("g")
        await desk.produce(topic, 10, 1)
        store = Store()
        slow = SlowOwner(store, flushes=False)
        slow.hangs_in = "give_up"
        options = TransportOptions(give_up_seconds_max=0.2)
        async with desk.worker(group, [topic], slow, options=options):
            await until(lambda: slow.events)
        assert (store.count, await desk.committed(group)) == (0, {})
        async with desk.worker(group, [topic], Owner(store)):
            await until(lambda: store.count == 10)

    asyncio.run(scenario())


@pytest.mark.parametrize("how", ["fails", "hangs"])
def test_a_commit_that_did_not_succeed_is_made_later(
    desk: Desk, fresh_name: Name, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    tries: list[Mapping[TP, int]] = []
    commit = ConsumerThread._commit

    async def commit_third(thread: ConsumerThread, offsets: Mapping[TP, int]) -> bool:
        tries.append(offsets)
        if len(tries) > 2:
            done: bool = await commit(thread, offsets)
            return done
        if how == "hangs":
            await asyncio.Event().wait()
        return False

    monkeypatch.setattr(ConsumerThread, "_commit", commit_third)

    async def scenario() -> None:
        topic, group = await desk.make_topic(fresh_name("t"), 1), fresh_name("g")
        await desk.produce(topic, 10, 1)
        store, failed = Store(), list[None]()
        options = TransportOptions(
            commit_seconds_max=0.1, commit_failed=lambda: failed.append(None)
        )
        run = desk.worker(
            group, [topic], Owner(store), options=options, settings={"broker_commit_interval": 0.1}
        )
        async with run:
            await until(lambda: len(tries) > 2)
        assert set(map(tuple, tries)) == {(TP(topic, 0),)}
        assert len(failed) == 2
        assert await desk.committed(group) == {TP(topic, 0): 10}

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("position", "reason"),
    [(15, ReadGap), (25, ReadBack)],
    ids=["records that are there", "past the end"],
)
def test_reading_that_goes_on_elsewhere_stops_the_app(
    desk: Desk, fresh_name: Name, position: int, reason: type[Exception]
) -> None:
    async def scenario() -> None:
        topic, group = await desk.make_topic(fresh_name("t"), 1), fresh_name("g")
        await desk.produce(topic, 10, 1)
        # what is there must not be left out, not even where deleted records may be
        store, options = Store(), TransportOptions(records_gone=lambda *_: None)
        async with desk.worker(group, [topic], Owner(store), options=options) as app:
            await until(lambda: store.count == 10)
            consumer = app.consumer
            consumer.pause_partitions({TP(topic, 0)})
            # a fetch that waits since before the pause would still take what is sent
            await until(lambda: not consumer._thread._consumer._fetcher._fetch_waiters)
            await desk.produce(topic, 10, 1)

            async def seek_behind_its_back() -> None:
                consumer._thread._consumer.seek(TopicPartition(topic, 0), position)

            await consumer._thread.run(seek_behind_its_back())
            consumer.resume_partitions({TP(topic, 0)})
            await asyncio.wait_for(app.wait_until_stopped(), 10)
            assert isinstance(app.crash_reason, reason)
        assert store.count == 10
        async with desk.worker(group, [topic], Owner(store)):
            await until(lambda: store.count == 20)

    asyncio.run(scenario())


def test_a_full_queue_holds_a_topic_back_and_loses_nothing(desk: Desk, fresh_name: Name) -> None:
    async def scenario() -> None:
        topics = [await desk.make_topic(fresh_name(stem)) for stem in ("slow", "quick")]
        group = fresh_name("g")
        for topic in topics:
            await desk.produce(topic, 2000)
        store = Store()
        owner = Owner(store)

        async def on_event(event: Any) -> None:
            if event.message.topic == topics[0]:
                await asyncio.sleep(0.001)
            await owner.on_event(event)

        options = TransportOptions(chunk_records_max=10)
        run = desk.worker(
            group,
            topics,
            owner,
            on_event=on_event,
            options=options,
            settings={"stream_buffer_maxsize": 2},
        )
        async with run:
            await until(lambda: store.count == 4000)
        assert store.offsets == {TP(t, n): list(range(500)) for t in topics for n in range(4)}

    asyncio.run(scenario())


def test_a_static_member_comes_back_without_a_rebalance(desk: Desk, fresh_name: Name) -> None:
    async def scenario() -> None:
        topic, group = await desk.make_topic(fresh_name("t"), 2), fresh_name("g")
        stays, leaves = Owner(Store()), Owner(Store())

        def member(owner: Owner, name: str) -> Any:
            return desk.worker(group, [topic], owner, settings={"consumer_group_instance_id": name})

        async with member(stays, "one"):
            async with member(leaves, "two"):
                await until(lambda: leaves.taken and len(stays.taken[-1][0]) == 1)
            takes = len(stays.taken)
            async with member(leaves, "two"):
                await until(lambda: len(leaves.taken) == 2)
            assert leaves.taken[0][0] == leaves.taken[1][0]
            assert len(stays.taken) == takes

    asyncio.run(scenario())


def test_a_take_over_ends_before_giving_up_and_the_app_can_stop_while_it_starts(
    desk: Desk, fresh_name: Name
) -> None:
    async def scenario() -> None:
        topic, group = await desk.make_topic(fresh_name("t"), 1), fresh_name("g")
        slow = SlowOwner(Store())
        slow.hangs_in = "take_over"
        app = desk.app(group, [topic], slow)
        starting = asyncio.create_task(app.start())
        await until(lambda: not slow.hangs_in)
        assert not starting.done()
        await app.consumer.wait_empty()
        assert slow.cancelled
        await asyncio.wait_for(app.stop(), 5)
        await asyncio.wait_for(starting, 5)
        assert slow.given_up == [], "nothing was taken over"

    asyncio.run(scenario())


@pytest.mark.parametrize("how", ["pause", "kill"])
def test_stopping_without_a_broker_has_a_limit(
    kafka_factory: Callable[..., KafkaServer], tmp_path: Path, how: str
) -> None:
    server = kafka_factory()
    desk = Desk(server.bootstrap, tmp_path)

    async def scenario() -> None:
        topic = await desk.make_topic("t", 1)
        await desk.produce(topic, 10, 1)
        store = Store()
        options = TransportOptions(commit_seconds_max=0.5, leave_seconds_max=0.5)
        app = desk.app("g", [topic], Owner(store), options=options)
        await app.start()
        await until(lambda: store.count == 10)
        getattr(server, how)()
        await asyncio.wait_for(app.stop(), 5)

    asyncio.run(scenario())
