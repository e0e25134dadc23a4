"""What is due in the rounds of `make chaos`."""

import random
from collections import Counter
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from tests.chaos.faults import BLACK_SECONDS, KINDS
from tests.chaos.plan import SPEEDS, Due, plan_of
from tests.chaos.proxy import Proxy

BLACK = ("network to Redis black", "network to Kafka black")


@pytest.fixture
def stage() -> Iterator[Any]:
    """What the plan asks of a stage."""
    nets = {"redis_net": Proxy(1), "kafka_net": Proxy(2)}
    for net in nets.values():
        net.start()
    yield SimpleNamespace(chance=random.Random(1), were_black=set(), **nets)
    for net in nets.values():
        net.stop()


def test_each_speed_comes_once_in_three_rounds_and_each_kind_before_one_comes_again(
    stage: Any,
) -> None:
    due = Due(BLACK)
    plans = [plan_of(stage, due) for _ in range(6)]
    for some in (plans[:3], plans[3:]):
        assert Counter(plan.speed for plan in some) == Counter(SPEEDS)
    firsts = [plan.names[0] for plan in plans]
    assert all(set(firsts[begin : begin + 2]) == set(BLACK) for begin in (0, 2, 4))


def test_each_network_is_black_for_thirty_seconds_when_it_first_is(stage: Any) -> None:
    for name in BLACK:
        unused = KINDS[name](stage)  # left out of its round: the next one is the first
        first = KINDS[name](stage)
        assert unused.held_seconds == first.held_seconds == BLACK_SECONDS
        first.begin()
        assert KINDS[name](stage).held_seconds < BLACK_SECONDS
