"""The ledger: what may be committed, whatever order chunks are acked in."""

from faust.types import TP
from hypothesis import given
from hypothesis import strategies as st

from streams.edges.transport.ledger import Ledger

TP_0, TP_1 = TP("t", 0), TP("t", 1)


def ledger_of(*next_offsets: int) -> Ledger:
    ledger = Ledger()
    ledger.reset([TP_0, TP_1])
    for next_offset in next_offsets:
        ledger.hand_over(TP_0, next_offset)
    return ledger


def test_nothing_is_committable_before_an_ack() -> None:
    assert ledger_of(10, 20).committable() == {}


def test_a_commit_never_passes_a_chunk_that_is_not_acked() -> None:
    ledger = ledger_of()
    receipts = [ledger.hand_over(TP_0, offset) for offset in (10, 20, 30)]
    receipts[1].acked = receipts[2].acked = True
    assert ledger.committable() == {}
    receipts[0].acked = True
    assert ledger.committable() == {TP_0: 30}


def test_a_failed_commit_is_offered_again_and_a_booked_one_is_not() -> None:
    ledger = ledger_of(10)
    ledger.ack_to(TP_0, 10)
    assert ledger.committable() == ledger.committable() == {TP_0: 10}
    ledger.book({TP_0: 10})
    assert ledger.committable() == {}


def test_acks_that_come_during_a_commit_are_kept() -> None:
    ledger = ledger_of(10, 20)
    ledger.ack_to(TP_0, 10)
    offsets = ledger.committable()
    ledger.ack_to(TP_0, 20)
    ledger.book(offsets)
    assert ledger.committable() == {TP_0: 20}


def test_acking_to_an_offset_inside_a_chunk_leaves_the_chunk_open() -> None:
    ledger = ledger_of(10, 20)
    ledger.ack_to(TP_0, 19)
    assert ledger.committable() == {TP_0: 10}
    assert ledger.unacked() == {TP_0: 1}


def test_partitions_do_not_wait_for_each_other() -> None:
    ledger = ledger_of(10)
    ledger.hand_over(TP_1, 7).acked = True
    assert ledger.committable() == {TP_1: 7}


def test_what_was_given_up_is_not_committed_any_more() -> None:
    ledger = ledger_of(10)
    ledger.ack_to(TP_0, 10)
    ledger.forget([TP_0])
    ledger.book({TP_0: 10})
    assert ledger.committable() == {}


@given(st.permutations(range(6)), st.sets(st.integers(0, 5)))
def test_the_commit_is_the_end_of_the_acked_beginning(order: list[int], commits: set[int]) -> None:
    ledger = ledger_of()
    receipts = [ledger.hand_over(TP_0, 10 * (i + 1)) for i in range(6)]
    committed = 0
    for turn, i in enumerate(order):
        receipts[i].acked = True
        acked = set(order[: turn + 1])
        reached = 10 * next((n for n in range(6) if n not in acked), 6)
        assert ledger.committable().get(TP_0, committed) == reached
        if turn in commits:
            ledger.book(ledger.committable())
            committed = reached
    assert ledger.unacked() == {}
