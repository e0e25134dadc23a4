"""Announcements in batches: none is lost, and none overtakes another of its partition."""

import asyncio
from typing import Any

import pytest
from aiokafka.errors import (
    InvalidTimestampError,
    KafkaError,
    KafkaTimeoutError,
    MessageSizeTooLargeError,
)
from aiokafka.producer.message_accumulator import BatchBuilder

from streams.edges.kafka.announcer import KafkaAnnouncer
from streams.edges.kafka.surge_lot import SurgeLot, lots_of
from streams.edges.settings.reading import Settings
from tests.unit.test_surge_lot import surges_of


class Keeping(BatchBuilder):  # type: ignore[misc] # aiokafka has no types
    """A batch that says what it holds."""

    def __init__(self) -> None:
        super().__init__(2_000, 0)
        self.held: list[tuple[bytes, bytes]] = []
        self.times: set[int] = set()

    def append(self, *, timestamp: int, key: bytes, value: bytes, headers: Any = ()) -> Any:
        added = super().append(timestamp=timestamp, key=key, value=value)
        if added is not None:
            self.held.append((key, value))
            self.times.add(timestamp)
        return added


class Broker:
    """Takes batches of so many records at most; the sends of these numbers fail."""

    refuses_times = False

    def __init__(self, records_max: int = 1_000, failing: tuple[int, ...] = ()) -> None:
        self.records_max, self.failing, self.sends = records_max, failing, 0
        self.partitions = self.known = {*range(4)}
        self.taken: dict[int, list[tuple[bytes, bytes]]] = {}

    def create_batch(self) -> Keeping:
        return Keeping()

    @property
    def client(self) -> "Broker":
        return self

    async def partitions_for(self, topic: str) -> set[int]:
        assert topic == "surges"
        return self.known

    async def force_metadata_update(self) -> None:
        self.known = self.partitions

    async def send_batch(
        self, batch: Keeping, topic: str, *, partition: int
    ) -> asyncio.Future[None]:
        assert topic == "surges"
        answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.sends += 1
        error: KafkaError | None = None
        if len(batch.held) > self.records_max:
            error = MessageSizeTooLargeError()
        elif self.refuses_times and batch.times != {-1}:
            error = InvalidTimestampError()
        elif self.sends in self.failing:
            error = KafkaTimeoutError()
        if error is not None:
            answer.set_exception(error)
        else:
            self.taken.setdefault(partition, []).extend(batch.held)
            answer.set_result(None)
        return answer


def announced(broker: Broker, lots: list[SurgeLot]) -> int:
    """Announce, and how often it failed."""
    failures: list[int] = []
    announcer = KafkaAnnouncer(Settings(), lambda: failures.append(1))
    announcer._producer = broker
    asyncio.run(announcer.announce(lots))
    return len(failures)


def expected() -> tuple[list[SurgeLot], list[tuple[bytes, bytes]]]:
    lots = [*lots_of(surges_of(40)), *lots_of(surges_of(50)[45:])]
    pairs = [
        (surge_id.encode(), value)
        for lot in lots
        for surge_id, value in zip(lot.surge_ids, lot.values(), strict=True)
    ]
    return lots, pairs


@pytest.mark.parametrize("records_max", [1_000, 3, 1])
def test_each_record_is_sent_once_in_its_order_however_little_a_batch_may_hold(
    records_max: int,
) -> None:
    lots, pairs = expected()
    broker = Broker(records_max)
    assert announced(broker, lots) == 0
    assert sorted(pair for some in broker.taken.values() for pair in some) == sorted(pairs)
    for taken in broker.taken.values():
        assert [pair for pair in pairs if pair in taken] == taken
    assert len(broker.taken) > 1


def test_after_a_failure_the_rest_of_its_partition_is_sent_again_in_order() -> None:
    lots, pairs = expected()
    broker = Broker(failing=(2, 5, 11))
    assert announced(broker, lots) > 0
    for taken in broker.taken.values():
        assert [pair for pair in pairs if pair in taken] == taken
    assert sum(map(len, broker.taken.values())) == len(pairs)


def test_a_record_that_the_topic_takes_in_no_batch_is_an_error() -> None:
    with pytest.raises(MessageSizeTooLargeError):
        announced(Broker(0), expected()[0])


def test_a_broker_that_refuses_our_time_is_sent_records_without_one_and_none_is_lost() -> None:
    lots, pairs = expected()
    broker = Broker()
    broker.refuses_times = True
    assert announced(broker, lots) >= 1
    assert sorted(pair for taken in broker.taken.values() for pair in taken) == sorted(pairs)


def test_a_time_is_sent_as_long_as_it_is_not_refused() -> None:
    lots, _ = expected()
    broker = Broker()
    batches: list[Keeping] = []
    make = broker.create_batch

    def create_batch() -> Keeping:
        batches.append(make())
        return batches[-1]

    broker.create_batch = create_batch  # type: ignore[method-assign]
    assert announced(broker, lots) == 0
    assert all(min(batch.times) > 1_700_000_000_000 for batch in batches)


def test_what_is_for_a_partition_that_the_topic_lacks_waits_and_the_rest_is_sent() -> None:
    lots, pairs = expected()
    broker = Broker()
    broker.partitions = broker.known = {0}

    async def announce() -> None:
        announcer = KafkaAnnouncer(Settings(), lambda: None)
        announcer._producer = broker
        sending = asyncio.create_task(announcer.announce(lots))
        while 0 not in broker.taken:
            await asyncio.sleep(0)
        assert not sending.done()
        assert list(broker.taken) == [0]
        broker.partitions = {*range(4)}
        await asyncio.wait_for(sending, 10)

    asyncio.run(announce())
    assert sorted(pair for taken in broker.taken.values() for pair in taken) == sorted(pairs)
