"""Values as columns behave as the list of bytes that they stand for."""

import numpy as np
import pytest

from streams.core.records.values import Values, joined_values

PLAIN = [b"one", b"", b"three", b"4"]


def columns(values: list[bytes], between: bytes = b"-") -> Values:
    lengths = np.array([len(value) for value in values], np.int64)
    ends = np.cumsum(lengths + len(between))
    return Values(between.join([*values, b""]), ends - len(between) - lengths, lengths)


def test_columns_are_a_sequence_of_their_values() -> None:
    values = columns(PLAIN)
    assert list(values) == PLAIN
    assert [values[row] for row in range(len(values))] == PLAIN
    assert values[-1] == b"4"
    assert b"three" in values
    assert None not in values
    assert (values == PLAIN, values == PLAIN[:3], values == columns(PLAIN, b"...")) == (
        True,
        False,
        True,
    )
    with pytest.raises(IndexError):
        values[4]


def test_a_slice_is_of_columns_too_and_shares_the_buffer() -> None:
    values = columns(PLAIN)
    for part in (slice(1, 3), slice(None, 2), slice(2, None), slice(4, None)):
        assert values[part] == PLAIN[part]
        assert values[part].data is values.data
    assert not values[4:]


def test_parts_are_joined_as_columns_where_all_are() -> None:
    values, other = columns(PLAIN), columns([b"x", b"yz"])
    joined = joined_values([values[:2], values[2:]])
    assert isinstance(joined, Values)
    assert joined.data is values.data
    assert joined == PLAIN
    joined = joined_values([values, other])
    assert isinstance(joined, Values)
    assert joined == [*PLAIN, b"x", b"yz"]


def test_parts_of_which_one_is_a_list_are_joined_as_a_list() -> None:
    assert joined_values([columns(PLAIN), [None, b"x"]]) == [*PLAIN, None, b"x"]
    assert joined_values([[b"a"], [b"b"]]) == [b"a", b"b"]
    assert joined_values([]) == []
