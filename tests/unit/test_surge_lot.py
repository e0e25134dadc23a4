"""Lots of announcements: what is stored, what is sent by, and to which partitions."""

from hypothesis import given
from hypothesis import strategies as st

from streams.core.surges import Surge
from streams.core.texts import Texts
from streams.edges.codec_out import encode_surge
from streams.edges.partitions import partitions_of
from streams.edges.producer import partition_of
from streams.edges.surge_lot import LOT_MAX, lots_of, stored_lot_of
from tests.jobs import FollowKind, follow_partition, follows
from tests.unit.test_partition import BEGIN_MS


def surges_of(creators: int) -> list[Surge]:
    """One by rule of each creator, and some by model."""
    records: list[FollowKind] = [
        (f"é\n-{number}", BEGIN_MS + again, False)
        for again in range(2)
        for number in range(creators)
    ]
    return follow_partition(2).take(follows(records)).surges


def test_a_lot_read_back_is_the_lot_that_was_stored() -> None:
    surges = surges_of(LOT_MAX + 3)
    lots = list(lots_of(surges))
    assert [stored_lot_of(lot.lines) for lot in lots] == lots
    assert [value for lot in lots for value in lot.values()] == [*map(encode_surge, surges)]
    assert len(lots) > 1


def test_one_record_as_earlier_versions_stored_it_is_a_lot() -> None:
    (surge,) = surges_of(1)
    lot = stored_lot_of(encode_surge(surge))
    assert (lot.surge_ids, lot.creator_ids) == ([surge.surge_id], [surge.creator_id])
    assert lot.values() == [encode_surge(surge)]


@given(st.lists(st.text(max_size=40), max_size=30), st.integers(1, 9))
def test_partitions_of_many_keys_are_those_that_kafkas_clients_choose(
    keys: list[str], count: int
) -> None:
    chosen = [partition_of(key.encode(), count) for key in keys]
    assert partitions_of(Texts.of(keys), count) == chosen
