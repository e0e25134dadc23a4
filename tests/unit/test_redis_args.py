"""What the script that writes a partition is called with, and when a hash's expiry is renewed."""

import random

import msgspec
import numpy as np

from streams.core.counting.packing import PackedSeries
from streams.core.partition_state import StateChange
from streams.core.records.texts import Texts
from streams.edges.redis.args import Expiries, write_call
from streams.edges.store import Fence, Write

HALF_A_DAY, DAY = 43_200, 86_400
FOLLOWS = np.array([3], dtype=np.int32)


def test_a_hash_lives_its_expiry_less_half_a_day_after_its_last_write_restarts_or_not() -> None:
    draw, clock, expires = random.Random(5), [1_000_000.0], 0.0
    ages = Expiries(lambda: clock[0], 3 * DAY)
    for _ in range(5_000):
        clock[0] += draw.expovariate(1 / draw.choice((60, 7_200, DAY)))
        now = clock[0]
        if draw.random() < 0.3:  # another worker reads the partition
            ages = Expiries(lambda: clock[0], 3 * DAY)
            left = round(expires - now) if expires > now else -2
            ages.learn("s:", [3], [left])
        if expires < now:  # Redis took it: this worker's own memory of it is at least as old
            assert ages.stale("s:", FOLLOWS).all()
            expires = now + 3 * DAY
        elif ages.stale("s:", FOLLOWS).any():
            expires = now + 3 * DAY
        assert expires - now > 2.5 * DAY - 2


def test_what_was_renewed_lately_is_not_renewed_again_after_a_restart() -> None:
    ages = Expiries(lambda: 50.0, DAY)
    ages.learn("s:", range(5), [DAY, DAY - 60, HALF_A_DAY, -1, 2 * DAY])
    stale = ages.stale("s:", np.arange(6, dtype=np.int32))
    assert stale.tolist() == [False, False, True, True, True, True]
    assert not ages.stale("s:", np.arange(6, dtype=np.int32)).any()


def test_a_hash_may_be_gone_when_its_time_is_over_or_nothing_is_known_of_it() -> None:
    clock = [50.0]
    ages = Expiries(lambda: clock[0], DAY)
    ages.learn("s:", range(4), [DAY, 60, -2, -1])
    ages.stale("s:", np.array([2], dtype=np.int32))
    groups = np.arange(5)
    assert ages.may_be_gone("s:", groups).tolist() == [False, False, False, True, True]
    clock[0] += 60
    assert ages.may_be_gone("s:", groups).tolist() == [False, True, False, True, True]
    ages.learn("s:", [1], [120])  # it was written once more
    assert not ages.may_be_gone("s:", groups[:3]).any()
    clock[0] += DAY
    assert ages.may_be_gone("s:", groups).all()
    assert not len(ages.may_be_gone("s:", groups[:0]))


def test_a_claim_forgets_only_its_own_partition() -> None:
    ages = Expiries(lambda: 50.0, DAY)
    for stem in ("p:{f:1}:s:follows:", "p:{f:11}:s:follows:"):
        assert ages.stale(stem, FOLLOWS).all()
    ages.forget("p:{f:1}:")
    assert ages.stale("p:{f:1}:s:follows:", FOLLOWS).all()
    assert not ages.stale("p:{f:11}:s:follows:", FOLLOWS).any()


def test_names_and_values_are_cut_where_the_ends_say() -> None:
    names, groups = Texts.of(["a", "bb", "雪"]), np.array([2, 2, 7], dtype=np.int32)
    series = PackedSeries("follows", names, groups, b"1223", np.array([1, 3, 4]))
    write = Write(StateChange(5, [series], {}), None, 9)
    ages = Expiries(lambda: 50.0, DAY)
    ages.stale("p:s:follows:", np.array([7], dtype=np.int32))
    keys, args = write_call(Fence(1, "w:1"), write, lambda part: f"p:{part}", ages)
    assert keys == [b"p:meta", b"p:surges", b"p:outbox", b"p:s:follows:2", b"p:s:follows:7"]
    assert args[15:19] == ["follows", 7, "abb雪".encode(), b"1223"]
    assert msgspec.msgpack.decode(args[19]) == [1, 1, 3, 3, 6, 4]
    assert msgspec.msgpack.decode(args[20]) == [2 * 2 + 1, 2 * 1]
