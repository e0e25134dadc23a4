"""What every store promises about keys that are left out of memory and read when they are met."""

from collections.abc import Awaitable, Callable

import pytest

from streams.core.agreed_clock import Agreed
from streams.core.hold import Standing
from streams.core.partition_state import StateChange
from streams.core.repeats import Reread
from streams.edges.store import KeyLimit, StateLost, Store, Write
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
