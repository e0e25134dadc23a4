"""Exact on real Kafka and Redis: two workers, four partitions, one killed in the middle."""

import asyncio
from collections.abc import Callable

import pytest

from streams.core.surges.surge import Surge
from tests.sender import Sender, assert_exact
from tests.workers import Site, WorkerProcess, wait_until


def openings_of(surges: list[Surge]) -> set[tuple[str, int]]:
    return {
        (surge.creator_id, surge.opened_ms)
        for surge in surges
        if (surge.kind, surge.trigger, surge.state) == ("followers", "rule", "opened")
    }


def assert_no_contradiction(surges: list[Surge]) -> None:
    """One content for each surge and revision, however often it was announced."""
    contents: dict[tuple[str, int], Surge] = {}
    for surge in surges:
        assert contents.setdefault((surge.surge_id, surge.revision), surge) == surge


@pytest.mark.slow
def test_kill_9_of_one_of_two_workers_loses_and_doubles_nothing(
    site_of: Callable[..., Site], start: Callable[[Site, str], WorkerProcess]
) -> None:
    site = site_of()
    sender = Sender(site, 160_000)
    asyncio.run(sender.send(0.3))
    first, second = start(site, "first"), start(site, "second")
    wait_until(
        lambda: sum(site.stored_offsets(site.settings.topic_follows).values()) > 3000, 60, "begun"
    )
    asyncio.run(sender.send(0.3))
    first.kill()
    asyncio.run(sender.send(0.4))
    wait_until(sender.all_stored, 60, f"all stored; {second.text()[-2000:]}")
    assert_exact(sender)
    expected = sender.ledger.openings
    assert len(expected) > 5
    surges = asyncio.run(site.surges(lambda found: openings_of(found) >= expected))
    assert openings_of(surges) == expected
    assert_no_contradiction(surges)
    assert second.stop() == 0


@pytest.mark.slow
def test_a_worker_stopped_with_sigterm_hands_over_without_losing_or_doubling(
    site_of: Callable[..., Site], start: Callable[[Site, str], WorkerProcess]
) -> None:
    site = site_of()
    sender = Sender(site, 80_000)
    asyncio.run(sender.send(0.5))
    first = start(site, "first")
    wait_until(
        lambda: sum(site.stored_offsets(site.settings.topic_follows).values()) > 0, 60, "begun"
    )
    second = start(site, "second")
    assert first.stop() == 0, first.text()[-2000:]
    asyncio.run(sender.send(0.5))
    wait_until(sender.all_stored, 60, f"all stored; {second.text()[-2000:]}")
    assert_exact(sender)
    assert second.stop() == 0
