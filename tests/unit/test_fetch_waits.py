"""When chunks are taken, when not, and how long a call waits."""

import asyncio

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import ConsumerStoppedError

from streams.edges.transport.fetch import fetch_chunks
from tests.unit.fetch_desk import ONE, TWO, Desk, batch_of, on_desk


def test_nothing_is_taken_while_the_gate_is_closed() -> None:
    async def take(desk: Desk) -> None:
        desk.put(batch_of(0, [0]))
        assert await fetch_chunks(desk.fetcher, {ONE}, 0.0, 9, lambda: False) == {}
        assert desk.position() == 0
        assert ONE in await desk.take()

    on_desk(take)


def test_nothing_is_taken_during_a_rebalance_and_the_wait_has_a_limit() -> None:
    async def take(desk: Desk) -> None:
        desk.put(batch_of(0, [0]))
        desk.subscriptions.rebalances = True
        assert await fetch_chunks(desk.fetcher, {ONE}, 0.01, 9) == {}
        desk.subscriptions.rebalances = False
        assert ONE in await desk.take()

    on_desk(take)


def test_partitions_that_were_not_asked_for_are_kept_and_unassigned_ones_dropped() -> None:
    gone = TopicPartition("t", 9)

    async def take(desk: Desk) -> None:
        desk.put(batch_of(0, [0]), tp=TWO)
        desk.fetcher._records[gone] = desk.fetcher._records[TWO]
        assert await fetch_chunks(desk.fetcher, {ONE}, 0.0, 9) == {}
        assert list(desk.fetcher._records) == [TWO]

    on_desk(take)


def test_a_waiting_call_returns_as_soon_as_something_was_fetched() -> None:
    async def take(desk: Desk) -> None:
        waiting = asyncio.create_task(fetch_chunks(desk.fetcher, {ONE}, 30.0, 9))
        while not desk.fetcher._fetch_waiters:
            await asyncio.sleep(0)
        desk.put(batch_of(0, [0]))
        for waiter in desk.fetcher._fetch_waiters:
            desk.fetcher._notify(waiter)
        assert ONE in await asyncio.wait_for(waiting, 5)

    on_desk(take)


def test_a_closed_fetcher_says_so() -> None:
    async def take(desk: Desk) -> None:
        desk.fetcher._closed = True
        with pytest.raises(ConsumerStoppedError):
            await desk.take()

    on_desk(take)
