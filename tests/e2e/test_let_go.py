"""A worker with room for few keys counts as exactly as one with room for all."""

import asyncio
from collections.abc import Callable

import pytest

from tests.sender import Sender, assert_exact
from tests.workers import Site, WorkerProcess, wait_until


@pytest.mark.slow
def test_with_room_for_a_thousand_keys_every_creator_is_exact_over_a_kill_9(
    site_of: Callable[..., Site], start: Callable[[Site, str], WorkerProcess]
) -> None:
    site = site_of(SURGEWATCH_KEYS_IN_MEMORY_MAX="1000")
    sender = Sender(site, 60_000)
    asyncio.run(sender.send(0.5))
    first = start(site, "first")
    wait_until(sender.all_stored, 60, f"half stored; {first.text()[-2000:]}")
    first.kill()
    asyncio.run(sender.send(0.5))
    second = start(site, "second")
    wait_until(sender.all_stored, 60, f"all stored; {second.text()[-2000:]}")
    assert_exact(sender)
    series = second.metrics()
    assert sum(v for k, v in series.items() if "keys_let_go_total" in k) > 1_000
    assert sum(v for k, v in series.items() if "keys_read_back_total" in k) > 500
    assert sum(v for k, v in series.items() if "keys_left_out" in k) > 1_000
    assert second.stop() == 0
