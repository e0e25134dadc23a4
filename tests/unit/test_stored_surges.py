"""Surges as they stand in the store, by this version and by the one before."""

from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from streams.core.surges.stored import encoded_surges, stored_key_of, stored_surge_of
from streams.core.surges.surge import Closing, LanguageShare, Measured, OpenSurge

numbers = st.integers(0, 2**53)
known = st.none() | st.floats(allow_nan=False, allow_infinity=False)
shares = st.builds(LanguageShare, st.text(), st.floats(0, 1))
closings = st.builds(
    Closing,
    bucket=numbers,
    measured=st.builds(Measured, numbers, known, st.floats(0, 9), st.floats(0, 1)),
    langs=st.none() | st.lists(shares),
    usual_lang=st.none() | shares,
)
surges = st.builds(
    OpenSurge,
    st.text(), st.sampled_from(["rule", "model"]), st.text(), st.text(), st.none() | st.text(),
    numbers, st.sampled_from(["notice", "page"]), numbers, numbers, numbers, numbers, numbers,
    st.none() | closings,
)  # fmt: skip


@given(st.lists(st.none() | surges))
def test_a_surge_read_back_is_the_surge_that_was_stored(drawn: list[OpenSurge | None]) -> None:
    contents = encoded_surges(drawn)
    assert [content and stored_surge_of(content) for content in contents] == drawn
    keys = [content and stored_key_of(content) for content in contents]
    assert keys == [surge and surge.key for surge in drawn]


@given(surges, st.booleans())
def test_what_an_earlier_version_stored_is_read_as_it_was(surge: OpenSurge, sparse: bool) -> None:
    held: dict[str, Any] = {
        field.name: getattr(surge, field.name)
        for field in msgspec.structs.fields(OpenSurge)
        if not sparse or field.required or getattr(surge, field.name) != field.default
    }
    content = msgspec.json.encode(held)
    assert stored_surge_of(content) == surge
    assert stored_key_of(content) == surge.key
