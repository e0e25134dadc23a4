"""The batch transport on a real Kafka: what agents see, from where, and what is committed."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from faust.types import TP

from streams.edges.transport import thread as transport_thread
from streams.edges.transport.batch import RecordsGone, TransportOptions
from tests.e2e.transport_worker import Desk, Owner, Store, until
from tests.servers import KafkaServer

Name = Callable[[str], str]


@pytest.fixture
def desk(kafka: KafkaServer, tmp_path: Path) -> Desk:
    return Desk(kafka.bootstrap, tmp_path)


@pytest.mark.parametrize("path", ["below the record", "public"])
def test_agents_see_every_offset_once_and_in_order_and_all_is_committed(
    desk: Desk, fresh_name: Name, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    if path == "public":
        monkeypatch.setattr(transport_thread, "check_aiokafka", lambda fetcher: ("Fetcher._x",))

    async def scenario() -> None:
        topic, group = await desk.make_topic(fresh_name("t")), fresh_name("g")
        await desk.produce(topic, 20_000)
        store = Store()
        options = TransportOptions(chunk_records_max=700)
        async with desk.worker(group, [topic], Owner(store), options=options) as app:
            await until(lambda: store.count == 20_000)
            consumer = app.consumer
            tp = TP(topic, 0)
            assert await consumer.position(tp) == consumer.end_offsets()[tp] == 5000
            assert consumer.last_chunk_at is not None
            assert not consumer._acked, "the stock bookkeeping must not grow"
        assert store.offsets == {TP(topic, n): list(range(5000)) for n in range(4)}
        assert await desk.committed(group) == {TP(topic, n): 5000 for n in range(4)}

    asyncio.run(scenario())


def test_a_commit_says_what_was_acked_and_not_what_was_handed_over(
    desk: Desk, fresh_name: Name
) -> None:
    async def scenario() -> None:
        topic, group = await desk.make_topic(fresh_name("t"), 1), fresh_name("g")
        await desk.produce(topic, 100, 1)
        events: list[Any] = []

        async def keep(event: Any) -> None:
            events.append(event)

        options = TransportOptions(chunk_records_max=10)
        tp = TP(topic, 0)
        async with desk.worker(group, [topic], None, on_event=keep, options=options) as app:
            await until(lambda: len(events) == 10)
            assert app.consumer.ledger.unacked() == {tp: 10}
            events[2].ack()
            app.consumer.ack(events[1].message)
            assert not await app.consumer.commit()
            assert await desk.committed(group) == {}
            events[0].ack()
            assert await app.consumer.commit()
            assert await desk.committed(group) == {tp: 30}
            app.consumer.ack_to(tp, 55)
            assert await app.consumer.commit()
            assert app.consumer.ledger.unacked() == {tp: 5}
        assert await desk.committed(group) == {tp: 50}

    asyncio.run(scenario())


def test_reading_begins_where_the_owner_says_and_not_where_kafka_does(
    desk: Desk, fresh_name: Name
) -> None:
    async def scenario() -> None:
        topic, group = await desk.make_topic(fresh_name("t"), 2), fresh_name("g")
        await desk.produce(topic, 200, 2)
        first = Store()
        async with desk.worker(group, [topic], Owner(first)):
            await until(lambda: first.count == 200)
        store = Store()  # an older one than Kafka's commit, as after a restore
        store.next_offset[TP(topic, 1)] = 60
        async with desk.worker(group, [topic], Owner(store)):
            await until(lambda: store.count == 140)
        assert store.offsets[TP(topic, 0)] == list(range(100))
        assert store.offsets[TP(topic, 1)] == list(range(60, 100))

    asyncio.run(scenario())


def test_a_rebalance_in_the_middle_leaves_no_hole_and_no_overlap(
    desk: Desk, fresh_name: Name
) -> None:
    async def scenario() -> None:
        topic, group = await desk.make_topic(fresh_name("t")), fresh_name("g")
        store = Store()
        one, two = Owner(store, flushes=False), Owner(store, flushes=False)
        options = TransportOptions(chunk_records_max=50)
        await desk.produce(topic, 4000)
        async with desk.worker(group, [topic], one, options=options):
            await until(lambda: len(one.events) > 10)
            async with desk.worker(group, [topic], two, options=options):
                await until(lambda: len(two.taken[-1][0]) == len(one.taken[-1][0]) == 2)
                assert one.given_up == [one.taken[0][0]]
                await desk.produce(topic, 4000)
                await until(lambda: sum(map(_held, (one, two))) + store.count == 8000)
            await until(lambda: len(one.taken[-1][0]) == 4)
            await desk.produce(topic, 400)
            await until(lambda: _held(one) + store.count == 8400)
        assert store.offsets == {TP(topic, n): list(range(2100)) for n in range(4)}
        assert await desk.committed(group) == {TP(topic, n): 2100 for n in range(4)}

    asyncio.run(scenario())


def _held(owner: Owner) -> int:
    return sum(len(chunk.offsets) for chunks in owner.held.values() for chunk in chunks)


def test_the_same_partition_of_two_topics_meets_in_one_worker(desk: Desk, fresh_name: Name) -> None:
    async def scenario() -> None:
        topics = [await desk.make_topic(fresh_name(stem)) for stem in ("follows", "comments")]
        group = fresh_name("g")
        owners = [Owner(Store()) for _ in range(3)]
        no_name = {
            "consumer_group_instance_id": ""
        }  # as from an empty setting: not a static member
        workers = [desk.worker(group, topics, owner, settings=no_name) for owner in owners]
        async with workers[0], workers[1], workers[2]:
            await until(lambda: all(o.taken for o in owners) and _spread(owners) == [2, 2, 4])
            for owner in owners:
                held = owner.taken[-1][0]
                by_topic = [{tp.partition for tp in held if tp.topic == t} for t in topics]
                assert by_topic[0] == by_topic[1]

    asyncio.run(scenario())


def _spread(owners: list[Owner]) -> list[int]:
    return sorted(len(owner.taken[-1][0]) for owner in owners)


def test_aborted_records_are_not_seen_and_the_commit_passes_the_markers(
    desk: Desk, fresh_name: Name
) -> None:
    async def scenario() -> None:
        topic, group = await desk.make_topic(fresh_name("t"), 1), fresh_name("g")
        async with desk.producer(transactional_id=fresh_name("x")) as producer:
            for turn in range(9):
                await producer.begin_transaction()
                for i in range(5):
                    await producer.send(topic, b"%d" % i, partition=0)
                if turn % 3:
                    await producer.abort_transaction()
                else:
                    await producer.commit_transaction()
        wanted = await desk.read(topic, 0, isolation_level="read_committed")
        assert len(wanted) == 15
        store = Store()
        async with desk.worker(group, [topic], Owner(store)):
            await until(lambda: store.next_offset.get(TP(topic, 0)) == 54)
        assert store.offsets[TP(topic, 0)] == wanted
        assert await desk.committed(group) == {TP(topic, 0): 54}

    asyncio.run(scenario())


def test_a_compacted_topic_is_read_over_its_holes(
    kafka_factory: Callable[..., KafkaServer], tmp_path: Path, fresh_name: Name
) -> None:
    desk = Desk(kafka_factory(settings={"log.cleaner.backoff.ms": "100"}).bootstrap, tmp_path)
    config = {"cleanup.policy": "compact", "min.cleanable.dirty.ratio": "0.01"}

    async def scenario() -> None:
        topic = await desk.make_topic(fresh_name("t"), 1, **config, **{"segment.ms": "100"})
        offsets: list[int] = []
        async with desk.producer() as producer:
            for i in range(300):
                await producer.send(topic, b"%d" % i, key=b"k%d" % (i % 7), partition=0)
            while True:  # a new segment begins only when a record comes
                await asyncio.sleep(0.2)
                await producer.send_and_wait(topic, b"last", key=b"last", partition=0)
                offsets = await desk.read(topic, 0)
                if 0 < len(offsets) < 100:
                    break
        store, group = Store(), fresh_name("g")
        async with desk.worker(group, [topic], Owner(store)):
            await until(lambda: store.next_offset.get(TP(topic, 0)) == offsets[-1] + 1)
        assert set(store.offsets[TP(topic, 0)]) <= set(offsets)
        assert {offsets[-1]} <= set(store.offsets[TP(topic, 0)])
        assert await desk.committed(group) == {TP(topic, 0): offsets[-1] + 1}

    asyncio.run(asyncio.wait_for(scenario(), 60))


def test_records_that_retention_deleted_stop_the_app_unless_they_may_be_left_out(
    desk: Desk, fresh_name: Name
) -> None:
    async def scenario() -> None:
        topic, group = await desk.make_topic(fresh_name("t"), 1), fresh_name("g")
        tp = TP(topic, 0)
        await desk.produce(topic, 50, 1)
        await desk.delete_before(topic, 30)
        store = Store()
        store.next_offset[tp] = 10
        async with desk.worker(group, [topic], Owner(store)) as app:
            await asyncio.wait_for(app.wait_until_stopped(), 20)
            assert isinstance(app.crash_reason, RecordsGone)
        assert store.count == 0
        told: list[tuple[TP, int, int]] = []
        options = TransportOptions(records_gone=lambda *gap: told.append(gap))
        async with desk.worker(group, [topic], Owner(store), options=options):
            await until(lambda: store.count == 20)
        assert store.offsets[tp] == list(range(30, 50))
        assert told == [(tp, 10, 30)]

    asyncio.run(scenario())


def test_nothing_is_taken_between_the_seek_and_the_opening_of_the_gate(
    desk: Desk, fresh_name: Name
) -> None:
    async def scenario() -> None:
        topic, group = await desk.make_topic(fresh_name("t"), 1), fresh_name("g")
        await desk.produce(topic, 10, 1)
        store, tp = Store(), TP(topic, 0)
        async with desk.worker(group, [topic], Owner(store)) as app:
            consumer = app.consumer
            await until(lambda: store.count == 10)
            consumer.stop_flow()
            early = asyncio.create_task(consumer._thread.run(consumer._thread.fetch({tp}, 0.5)))
            await consumer.perform_seek()
            await desk.produce(topic, 10, 1)
            epoch, found = await early
            assert found == {}
            consumer.resume_flow()
            assert consumer.gate.epoch == epoch + 1
            await until(lambda: store.count == 20)
            assert not app.crashed
        assert store.offsets[tp] == list(range(20))

    asyncio.run(scenario())


def test_an_owner_whose_state_went_back_reads_the_difference_again(
    desk: Desk, fresh_name: Name
) -> None:
    async def scenario() -> None:
        topic, group = await desk.make_topic(fresh_name("t"), 1), fresh_name("g")
        await desk.produce(topic, 100, 1)
        store, tp = Store(), TP(topic, 0)
        async with desk.worker(group, [topic], Owner(store)) as app:
            await until(lambda: store.count == 100)
            store.next_offset[tp] = 40
            app.consumer.stop_flow()
            await app.consumer.perform_seek()
            app.consumer.resume_flow()
            await until(lambda: store.count == 160)
        assert store.offsets[tp] == [*range(100), *range(40, 100)]

    asyncio.run(scenario())
