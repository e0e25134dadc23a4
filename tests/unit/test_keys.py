"""Keys in numpy do what a dictionary does, whatever the keys and however they collide."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.core.records.keys import GROUP_KEYS, UNMET, Keys
from streams.core.records.texts import Texts, Words, joined_texts, paired

names = st.text(
    st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=40
) | st.sampled_from(["c-1", "c-10", "c-100000", "12345678", "123456789", "ab" * 128])
lots = st.lists(st.lists(names, max_size=30), max_size=8)


def slots_by_dict(lots_of_names: list[list[str]]) -> list[list[int]]:
    slots: dict[str, int] = {}
    return [[slots.setdefault(name, len(slots)) for name in lot] for lot in lots_of_names]


@given(lots)
def test_slots_are_those_of_a_dictionary_in_the_order_of_first_meetings(
    drawn: list[list[str]],
) -> None:
    keys = Keys()
    assert [keys.slots_of(Texts.of(lot)).tolist() for lot in drawn] == slots_by_dict(drawn)
    met = list(dict.fromkeys(name for lot in drawn for name in lot))
    assert list(keys.names_of(np.arange(len(keys)))) == met
    assert [keys.name_of(slot) for slot in range(len(keys))] == met
    groups = keys.groups_of(np.arange(len(keys))).tolist()
    assert groups == [number // GROUP_KEYS for number in range(len(met))]


@given(lots)
def test_keys_with_one_hash_are_told_apart_by_their_bytes(drawn: list[list[str]]) -> None:
    def poor_hashes(self: Texts) -> Words:
        return (self.lengths % 2).astype(np.uint64)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Texts, "hashes", poor_hashes)
        keys = Keys()
        assert [keys.slots_of(Texts.of(lot)).tolist() for lot in drawn] == slots_by_dict(drawn)
        assert keys.slot_of("\N{SNOWMAN} was never met") is None


def test_a_hundred_thousand_keys_are_found_again_and_others_are_not() -> None:
    keys, count = Keys(), 100_000
    every = [f"c-{number * 7919}" for number in range(count)]
    for begin in range(0, count, 9_999):
        keys.slots_of(Texts.of(every[begin : begin + 9_999]))
    assert keys.find(Texts.of(every)).tolist() == list(range(count))
    assert (keys.find(Texts.of([f"d-{number}" for number in range(5_000)])) == UNMET).all()
    assert len(keys) == count


def test_restored_keys_keep_their_groups_and_new_ones_begin_a_group_of_their_own() -> None:
    keys = Keys()
    keys.admit(Texts.of(["a", "b"]), np.array([3, 0], dtype=np.int32))
    assert keys.groups_of(keys.slots_of(Texts.of(["b", "a", "c"]))).tolist() == [0, 3, 4]
    twice = Keys()
    twice.admit(Texts.of(["a", "a"]), np.array([0, 1], dtype=np.int32))
    assert len(twice) == 1


@given(st.lists(st.tuples(names, names), max_size=20))
def test_texts_give_back_what_was_laid_out(drawn: list[tuple[str, str]]) -> None:
    left, right = [one for one, _ in drawn], [two for _, two in drawn]
    texts = Texts.of(left)
    assert list(texts) == left == [texts[row] for row in range(len(left))]
    assert texts.joined().decode() == "".join(left)
    assert list(joined_texts([texts, Texts.of(right)])) == left + right
    assert list(paired(texts, Texts.of(right), 0)) == [f"{a}\0{b}" for a, b in drawn]
    backwards = np.arange(len(left))[::-1]
    assert list(texts.take(backwards)) == left[::-1]
    assert texts.same_as(Texts.of(right)).tolist() == [a == b for a, b in drawn]
