"""Lots of announcements: what is stored, what is sent by, and to which partitions."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from streams.core.records.texts import Texts
from streams.core.surges.surge import LanguageShare, Surge
from streams.edges.codec.out import encode_surge
from streams.edges.kafka.partitioner import partitions_of
from streams.edges.kafka.producer import partition_of
from streams.edges.kafka.surge_lot import LOT_MAX, lots_of, stored_lot_of
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
    assert [stored_lot_of(lot.stored) for lot in lots] == lots
    assert [value for lot in lots for value in lot.values()] == [*map(encode_surge, surges)]
    assert len(lots) > 1


numbers = st.none() | st.floats()
shares = st.builds(LanguageShare, st.text(), st.floats())


@given(
    st.lists(
        st.tuples(
            st.text(), numbers, numbers, st.none() | st.lists(shares), st.none() | shares,
            st.none() | st.integers(-(2**63), 2**63 - 1),
        ),
        min_size=1,
    )
)  # fmt: skip
def test_whatever_a_surge_says_is_sent_in_the_same_bytes_after_a_restart(drawn: list[Any]) -> None:
    (surge,) = surges_of(1)
    surges = [
        replace(
            surge, creator_id=text, score=score, ratio=ratio, langs=langs, usual_lang=usual,
            closed_ms=closed_ms,
        )
        for text, score, ratio, langs, usual, closed_ms in drawn
    ]  # fmt: skip
    (lot,) = lots_of(surges)
    assert stored_lot_of(lot.stored) == lot
    assert stored_lot_of(lot.stored).values() == [*map(encode_surge, surges)]


@pytest.mark.parametrize("end", [b"", b"\n"])
def test_records_as_earlier_versions_stored_them_are_a_lot(end: bytes) -> None:
    surges = surges_of(3)
    (lot,) = lots_of(surges)
    assert stored_lot_of(b"\n".join(map(encode_surge, surges)) + end) == lot
    assert stored_lot_of(encode_surge(surges[0])).values() == [encode_surge(surges[0])]


@given(st.lists(st.text(max_size=40), max_size=30), st.integers(1, 9))
def test_partitions_of_many_keys_are_those_that_kafkas_clients_choose(
    keys: list[str], count: int
) -> None:
    chosen = [partition_of(key.encode(), count) for key in keys]
    assert partitions_of(Texts.of(keys), count) == chosen
