"""Faults that leave a worker up but idle end it with its stacks and exit code 70."""

import asyncio
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from streams.edges.kafka.producer import RecordProducer
from tests.e2e.faulty_worker import FAULTS, FaultyWorker
from tests.workers import Ledger, Site, wait_until

WORDS = {
    "loop_blocked": "the worker's loop has not run for",
    "fetch_ended": "Kafka answers, but nothing was heard of a partition for",
    "consumer_loop_ended": "Kafka answers, but nothing was heard of a partition for",
    "consumer_loop_blocked": "Kafka answers, but nothing was heard of a partition for",
    "agents_hung": "records waiting",
    "deal_without_end": "without an end",
    "stop_without_end": "it has been stopping for",
}


@pytest.fixture
def broken(site_of: Callable[..., Site]) -> Iterator[dict[str, tuple[Site, FaultyWorker]]]:
    """A worker for each fault, all at once; killed in the end."""
    with ExitStack() as stack:
        workers = {}
        for fault in FAULTS:
            site = site_of(SURGEWATCH_WATCHDOG_SECONDS="5", SURGEWATCH_TOPIC_PARTITIONS="1")
            workers[fault] = site, FaultyWorker(site, fault)
            stack.callback(workers[fault][1].kill)
        yield workers


async def send_one(site: Site) -> None:
    topic = site.settings.topic_follows
    async with RecordProducer(site.settings) as producer:
        await producer.open_topic(topic)
        await producer.send(topic, [b"ann"], [Ledger().follow("ann", 1_736_899_200_000)])


@pytest.mark.slow
def test_each_fault_that_leaves_a_worker_idle_ends_it_with_70_and_its_stacks(
    broken: dict[str, tuple[Site, FaultyWorker]],
) -> None:
    site, worker = broken["agents_hung"]
    wait_until(lambda: "broken now" in worker.text(), 90, worker.text)
    asyncio.run(send_one(site))
    workers = {fault: worker for fault, (_, worker) in broken.items()}

    def running() -> list[str]:
        return [fault for fault, worker in workers.items() if worker.runs]

    wait_until(lambda: not running(), 60, lambda: f"up and idle: {running()}")
    for fault, worker in workers.items():
        assert worker.wait(0) == 70, f"{fault}: {worker.text()[-3000:]}"
        told = [line for line in worker.text().splitlines() if line.startswith("surgewatch: ")]
        assert len(told) == 1, worker.text()[-3000:]
        assert WORDS[fault] in told[0], fault
        assert "ending with code 70; all stacks:" in told[0]
        assert "surgewatch-watchdog" in worker.text() or "Thread 0x" in worker.text()


@pytest.mark.slow
def test_a_second_sigterm_ends_a_worker_that_cannot_stop_at_once(
    site_of: Callable[..., Site],
) -> None:
    site = site_of(SURGEWATCH_TOPIC_PARTITIONS="1")
    worker = FaultyWorker(site, "stop_without_end")
    try:
        wait_until(lambda: "stopping: what was read" in worker.text(), 90, worker.text)
        assert worker.runs
        worker.signal(signal.SIGTERM)
        assert worker.wait(30) == -signal.SIGTERM, worker.text()[-3000:]
    finally:
        worker.kill()
