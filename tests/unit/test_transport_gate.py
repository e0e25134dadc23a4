"""The gate opens only to what was sought after the last dealing and the last closing."""

from hypothesis import given
from hypothesis import strategies as st

from streams.edges.transport.gate import Gate


def sought(gate: Gate) -> Gate:
    seek = gate.begin_seek()
    assert seek is not None
    assert gate.end_seek(seek)
    return gate


def test_it_opens_after_a_seek_and_each_opening_is_an_epoch() -> None:
    gate = Gate()
    gate.open()
    assert not gate.is_open()
    sought(gate).open()
    gate.open()
    assert gate.is_open()
    assert gate.epoch == 1
    gate.close()
    gate.open()
    assert not gate.is_open()
    sought(gate).open()
    assert gate.epoch == 2


def test_a_seek_that_begins_while_partitions_are_dealt_is_none() -> None:
    gate = sought(Gate())
    gate.begin_dealing()
    assert gate.begin_seek() is None
    assert gate.is_dealing
    gate.end_dealing()
    gate.open()
    assert not gate.is_open()
    assert gate.is_seek_due
    assert not gate.is_dealing
    sought(gate).open()
    assert gate.is_open()
    assert not gate.is_seek_due


def test_a_seek_does_not_outlive_a_dealing_or_another_seek() -> None:
    gate = Gate()
    early = gate.begin_seek()
    assert early is not None
    gate.begin_dealing()
    gate.end_dealing()
    assert not gate.holds(early)
    assert not gate.end_seek(early)
    late, later = gate.begin_seek(), gate.begin_seek()
    assert late is not None
    assert later is not None
    assert not gate.end_seek(late)
    assert gate.end_seek(later)


def test_a_seek_closes_what_was_open() -> None:
    gate = sought(Gate())
    gate.open()
    gate.begin_seek()
    assert not gate.is_open()


@given(st.lists(st.sampled_from(["close", "deal", "dealt", "seek", "end", "open"]), max_size=40))
def test_whatever_the_order_it_is_open_only_to_what_was_sought_since_the_last_dealing(
    steps: list[str],
) -> None:
    gate, seek, good = Gate(), None, False  # good: sought, and nothing has come in between
    dealing, dealt, begun = False, 0, 0
    for step in steps:
        match step:
            case "close":
                gate.close()
                good, seek = False, None
            case "deal":
                gate.begin_dealing()
                good, seek, dealing, dealt = False, None, True, dealt + 1
            case "dealt":
                gate.end_dealing()
                dealing = False
            case "seek":
                seek = gate.begin_seek()
                good = good and dealing
                assert (seek is None) == dealing
                begun = begun if dealing else dealt
            case "end" if seek is not None:
                good = gate.end_seek(seek)
                assert good
            case "open":
                gate.open()
                assert gate.is_open() == good
        assert gate.is_open() <= good
        assert gate.is_seek_due == (dealing or begun != dealt)
