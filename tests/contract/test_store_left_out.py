"""What every store promises about keys that are left out of memory and read when they are met."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import numpy as np
import pytest

from streams.core.partition_state import StateChange
from streams.core.records.hold import Standing
from streams.core.records.repeats import Reread
from streams.core.records.texts import Ints
from streams.core.time.agreed_clock import Agreed
from streams.edges.redis.store import RedisStore
from streams.edges.store import KeyLimit, MemoryStore, StateLost, Store, Write
from tests.contract.test_store import (
    BEGIN_MS,
    PLACE,
    follow_many,
    run,
    store_of,
    valkey_server,
)
from tests.jobs import contents_of, follow_partition, follows, stored_of

__all__ = ["store_of", "valkey_server"]  # fixtures

Body = Callable[[Store], Awaitable[None]]


def test_with_more_keys_than_the_limit_only_names_and_keys_with_a_surge_are_read(
    store_of: Callable[[], Store],
) -> None:
    async def body(store: Store) -> None:
        partition = follow_partition(20)
        fence = await store.claim(PLACE, 1)
        surging = [("c-7", BEGIN_MS + 10_000 + i, False) for i in range(20)]
        partition.take(follows([*follow_many(500), *surging]))
        change = partition.drain()
        await store.write(PLACE, fence, Write(change, None, 520))
        contents = contents_of(change)
        every, shared = contents["follows"], contents["follows.shared"]
        some = await store.read(PLACE, KeyLimit(499, ("follows", "comments")))
        assert stored_of(some.state) == {
            "follows": {"c-7": every["c-7"]},
            "follows.shared": shared,
        }
        names, groups = some.state.left_out["follows"]
        assert set(names) == every.keys()
        assert some.state.surges == {k: v for k, v in change.surges.items() if v is not None}
        assert stored_of((await store.read(PLACE, KeyLimit(512, ("follows",)))).state) == {
            "follows": every,
            "follows.shared": shared,
        }
        assert not (await store.read(PLACE, KeyLimit(1, ("comments",)))).state.left_out
        place = dict(zip(names.encoded(), groups, strict=True))
        wanted = [(place[b"c-499"], b"c-499"), (place[b"c-3"], b"c-3"), (9_999, b"c-4")]
        found = await store.read_keys(PLACE, {"follows": wanted, "unfollows": [(0, b"c-1")]})
        series = found["follows"]
        values = dict(zip(series.names, series.values, strict=True))
        assert values == {name: every[name] for name in ("c-3", "c-499")}
        assert dict(zip(series.names.encoded(), series.groups, strict=True)) == {
            name: place[name] for name in (b"c-3", b"c-499")
        }
        assert len(found["unfollows"].names) == 0

    run(body, store_of)


def test_of_groups_that_are_asked_for_those_with_nothing_held_are_gone(
    store_of: Callable[[], Store],
) -> None:
    async def body(store: Store) -> None:
        partition = follow_partition(20)
        fence = await store.claim(PLACE, 1)
        partition.take(follows(follow_many(500)))
        await store.write(PLACE, fence, Write(partition.drain(), None, 500))
        asked = {"follows": np.arange(4), "unfollows": np.array([0])}
        nothing = {"follows": [], "unfollows": [0]}
        assert lists_of(await store.read_gone(PLACE, asked)) == nothing
        await expire(store, (1, 2))
        other = store_of()  # knows of no hash how long it lives on, so all are asked for
        for one in (other, other):
            gone = await one.read_gone(PLACE, asked)
            assert lists_of(gone) == {"follows": [1, 2], "unfollows": [0]}
        await other.close()

    run(body, store_of)


def lists_of(groups: dict[str, Ints]) -> dict[str, list[int]]:
    return {name: held.tolist() for name, held in groups.items()}


async def expire(store: Store, groups: Sequence[int]) -> None:
    """As if nothing had written these groups of follows for as long as they live."""
    if isinstance(store, RedisStore):
        for group in groups:
            assert await store._client.pexpire(store._key(PLACE, f"s:follows:{group}"), 1)
        await asyncio.sleep(0.01)
    else:
        assert isinstance(store, MemoryStore)
        rows = store._drawers[PLACE].series["follows"]
        for key in [key for key, (group, _) in rows.items() if group in groups]:
            del rows[key]


def test_where_reading_begins_again_is_kept_with_the_state(store_of: Callable[[], Store]) -> None:
    async def body(store: Store) -> None:
        partition = follow_partition()
        fence = await store.claim(PLACE, 1)
        assert (await store.read(PLACE)).reread is None
        reread = Reread(7, BEGIN_MS)
        await store.write(PLACE, fence, Write(partition.drain(), None, 10, reread=reread))
        assert (await store.read(PLACE)).reread == reread
        await store.write(PLACE, fence, Write(partition.drain(), 10, 20))
        assert (await store.read(PLACE)).reread is None

    run(body, store_of)


def test_a_write_stands_on_the_frontier_too_for_it_moves_where_no_offset_does(
    store_of: Callable[[], Store],
) -> None:
    first, second = Standing(BEGIN_MS, BEGIN_MS - 9), Standing(BEGIN_MS, BEGIN_MS)

    def change(standing: Standing | None) -> StateChange:
        return StateChange(BEGIN_MS, [], {}, standing)

    async def body(store: Store) -> None:
        fence = await store.claim(PLACE, 1)
        assert (await store.read(PLACE)).state.standing is None
        reread = Reread(7, BEGIN_MS, 8, (8, 9), Agreed(BEGIN_MS, 3, (BEGIN_MS, BEGIN_MS + 1)))
        await store.write(PLACE, fence, Write(change(first), None, 10, reread=reread))
        held = await store.read(PLACE)
        assert (held.state.standing, held.reread) == (first, reread)
        frontier = first.frontier_ms
        again = Write(change(second), 10, 10, from_frontier=frontier)
        await store.write(PLACE, fence, again)
        await store.write(PLACE, fence, again)  # its reply was lost
        assert (await store.read(PLACE)).state.standing == second
        with pytest.raises(StateLost):
            await store.write(PLACE, fence, Write(change(second), 10, 11, from_frontier=frontier))
        with pytest.raises(StateLost):
            await store.write(PLACE, fence, Write(change(second), 10, 11))
        off = Write(change(None), 10, 11, from_frontier=second.frontier_ms)
        await store.write(PLACE, fence, off)
        held = await store.read(PLACE)
        assert (held.next_offset, held.state.standing, held.reread) == (11, None, None)

    run(body, store_of)
