"""Batches read together, against aiokafka's own walk over their records as the oracle."""

import asyncio
import random
import re
import struct
import zlib
from collections.abc import Iterator, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.consumer.fetcher import PartitionRecords
from aiokafka.record.memory_records import MemoryRecords
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.core.records.values import Values
from streams.edges.transport.fetch_batches import KeptRecords, parts_of
from streams.edges.transport.fetch_parts import Part
from tests.unit.fetch_desk import (
    COMMITTED,
    ONE,
    Desk,
    batch_of,
    marker_of,
    on_desk,
    reading_together,
    value_of,
    with_crc,
)

Headers = list[tuple[bytes, bytes | None]]


@pytest.fixture(autouse=True, scope="module")
def _together() -> Iterator[None]:
    with reading_together():
        yield


def varint(number: int, more_bytes: int = 0) -> bytes:
    """Zigzag varint; ``more_bytes``: longer than it need be, which is allowed."""
    rest, out = (number << 1) ^ (number >> 63), bytearray()
    while rest > 0x7F or more_bytes:
        more_bytes -= rest <= 0x7F
        out.append(rest & 0x7F | 0x80)
        rest >>= 7
    return bytes([*out, rest])


def sized(data: bytes | None) -> bytes:
    return varint(-1) if data is None else varint(len(data)) + data


def record_of(
    value: bytes | None,
    delta: int,
    key: bytes | None = b"k",
    time_delta: int = 0,
    headers: Headers = [],  # noqa: B006 never changed
    attributes: int = 0,
    more_bytes: int = 0,
) -> bytes:
    told = b"".join(sized(name) + sized(held) for name, held in headers)
    fields = varint(time_delta, more_bytes) + varint(delta, more_bytes) + sized(key) + sized(value)
    record = bytes([attributes]) + fields + varint(len(headers)) + told
    return varint(len(record), more_bytes) + record


def batch_with(records: Sequence[bytes], base: int = 0, last_delta: int | None = None) -> bytes:
    """A batch of these records, as they are."""
    raw = bytearray(batch_of(base, []))
    raw += b"".join(records)
    struct.pack_into(">i", raw, 8, len(raw) - 12)
    struct.pack_into(">i", raw, 23, len(records) - 1 if last_delta is None else last_delta)
    struct.pack_into(">i", raw, 57, len(records))
    return with_crc(raw)


def parts_by(holder: type[MemoryRecords], data: bytes, position: int = 0) -> list[Part]:
    """All parts; the last one tells the error, if there was one."""
    records = PartitionRecords(ONE, holder(data), [], position, None, None, True, COMMITTED)
    parts = []
    try:
        for part in parts_of(records):
            parts.append(part)
            records.next_fetch_offset = part.marks[-1].next_offset
    except Exception as error:
        # bytes of a decompressed batch are counted from another place
        parts.append(Part([re.sub(r"\d+", "#", repr(error)).encode()], [-1], []))
    return parts


def told(parts: Sequence[Part]) -> tuple[list[Any], list[Any]]:
    """Records with their offsets, and the batches' ends."""
    records: list[Any] = []
    marks: list[Any] = []
    rows = 0
    for part in parts:
        records += zip(part.offsets, part.values, strict=True)
        marks += [mark._replace(rows=mark.rows + rows) for mark in part.marks]
        rows += len(part.values)
    return records, marks


def assert_same(data: bytes, position: int = 0) -> bool:
    """Both ways give the same; whether all of it was read together."""
    walked, together = (
        parts_by(MemoryRecords, data, position),
        parts_by(KeptRecords, data, position),
    )
    assert told(together) == told(walked)
    return all(isinstance(part.values, Values) for part in together)


def assert_together(data: bytes) -> None:
    assert assert_same(data)


def assert_walked(data: bytes) -> None:
    assert not assert_same(data)


def object_of(size: int) -> bytes:
    """A value of so many bytes."""
    return b'{"a":"' + b"x" * (size - 8) + b'"}'


@pytest.mark.parametrize("size", [8, 62, 63, 64, 65, 8_190, 8_191])
@pytest.mark.parametrize("key", [None, b"", b"c-1", b"k" * 63, b"k" * 64, b"k" * 9_000])
def test_values_and_keys_of_any_common_size_are_read_together(size: int, key: bytes | None) -> None:
    assert_together(batch_with([record_of(object_of(size), delta, key) for delta in range(70)]))


def test_values_of_sizes_about_the_edges_of_a_varint_mix() -> None:
    sizes = [8, 63, 64, 8_191, 64, 100, 63, 8]
    assert_together(batch_with([record_of(object_of(n), i) for i, n in enumerate(sizes)]))
    assert_walked(batch_with([record_of(object_of(n), i) for i, n in enumerate([*sizes, 8_192])]))


@pytest.mark.parametrize("time_delta", [-1, -64, -65, 2**13, -(2**20), 2**27, 2**33])
@pytest.mark.parametrize("step", [1, 7, 64, 8_192, 2**16])
def test_times_before_the_first_and_far_offsets_are_read_together_up_to_eight_bytes(
    time_delta: int, step: int
) -> None:
    deltas = [step * place for place in range(9)]
    records = [record_of(object_of(90), delta, time_delta=time_delta) for delta in deltas]
    head_bytes = len(varint(time_delta) + varint(deltas[-1]) + varint(1))
    assert assert_same(batch_with(records, 5, deltas[-1])) == (head_bytes <= 8)


@pytest.mark.parametrize(
    "key",
    [
        b'{"creator_id":"c-1"}',
        b'{"a":"b"}\x00',
        b"\x10{",
        b"\xff\x00{",
        record_of(b'{"a":1}', 1),
        record_of(b'{"a":1}', 1) + b"\x00",
        varint(9) + b'{"a":1}  \x00',
    ],
)
def test_keys_that_look_like_objects_or_records_mislead_nobody(key: bytes) -> None:
    for size in (30, 100, 300):
        assert_same(batch_with([record_of(object_of(size), delta, key) for delta in range(20)]))


def test_objects_in_objects_are_read_together_wherever_they_stand() -> None:
    values = [
        b'{"meta":{"n":%d,"pad":"%b"},"at_ms":1736899200000}' % (place, b"x" * (place % 40))
        for place in range(300)
    ]
    values += [b'{"pad":"%b","meta":{"n":12,"by":"mobile-app"}}' % (b"x" * n) for n in range(300)]
    assert_together(batch_with([record_of(value, i) for i, value in enumerate(values)]))


@pytest.mark.parametrize(
    "odd",
    [
        record_of(None, 5),
        record_of(b"", 5),
        record_of(b"null", 5),
        record_of(b' {"a":1}', 5),
        record_of(b'{"a":1}', 5, headers=[(b"trace", b"1")]),
        record_of(b'{"a":1}', 5, headers=[(b"trace", None), (b"{", b"{}")]),
        record_of(object_of(9_000), 5),
        record_of(object_of(50), 5, time_delta=2**61),
        record_of(object_of(50), 5, attributes=0x80),
    ],
)
def test_a_batch_with_an_odd_record_is_walked_and_its_neighbours_are_not(odd: bytes) -> None:
    plain = [record_of(object_of(50 + delta), delta) for delta in range(10)]
    data = (
        batch_with(plain)
        + batch_with([*plain[:5], odd, *plain[6:]], 10)
        + batch_with(plain, 20)
        + batch_with(plain, 30)
    )
    assert_walked(data)
    kinds = [isinstance(part.values, Values) for part in parts_by(KeptRecords, data)]
    assert kinds == [True, False, True]


def test_varints_that_are_longer_than_need_be_count_for_what_they_say() -> None:
    records = [record_of(object_of(50), delta, more_bytes=1) for delta in range(20)]
    assert_together(batch_with(records))


def test_offsets_that_do_not_rise_are_told_as_they_stand() -> None:
    records = [record_of(object_of(50), delta) for delta in (0, 2, 1, 3)]
    assert_walked(batch_with(records))
    assert_same(batch_with(records[:2], 10) + batch_with(records[:2], 11))


def test_wrong_counts_and_lengths_are_told_as_aiokafka_tells_them() -> None:
    good = bytearray(batch_with([record_of(object_of(50), delta) for delta in range(9)]))
    for count in (-1, 0, 8, 10, 2**31 - 1):
        struct.pack_into(">i", good, 57, count)
        assert_walked(batch_of(0, range(9)) + with_crc(good))


def test_a_response_cut_short_gives_its_whole_batches() -> None:
    data = batch_of(0, range(9)) + batch_of(9, range(9))
    for end in range(len(data)):
        assert_same(data[:end])


def test_compressed_batches_are_read_together_with_the_others() -> None:
    data = batch_of(0, range(50), codec=1) + batch_of(50, range(9)) + batch_of(59, [3, 5], codec=1)
    assert_together(data)
    assert len(parts_by(KeptRecords, data)) == 1


@pytest.mark.parametrize("codec", [1, 2, 3, 4, 5])
def test_what_cannot_be_decompressed_is_told_after_what_came_before(codec: int) -> None:
    bad = bytearray(batch_of(9, range(9)))
    bad[22] |= codec
    data = batch_of(0, range(9)) + with_crc(bad)
    assert_walked(data)
    assert [len(part.values) for part in parts_by(KeptRecords, data)] == [9, 1]


def test_control_batches_between_break_no_part() -> None:
    data = batch_of(0, range(9)) + marker_of(9, 7, b"commit") + batch_of(10, range(9))
    assert_together(data)
    (part,) = parts_by(KeptRecords, data)
    assert list(part.offsets) == [*range(9), *range(10, 19)]
    assert [mark.rows for mark in part.marks] == [9, 9, 18]


def test_what_aiokafka_fetches_is_read_together() -> None:
    async def fetch(desk: Desk) -> None:
        await desk.take()
        data = batch_of(0, range(9))
        desk.put(data)
        desk.fetcher._records.clear()
        topics: list[Any] = [("t", [(0, 0, 99, -1, 0, [], -1, data)])]
        response = SimpleNamespace(API_VERSION=11, topics=topics)
        desk.fetcher._client.send = lambda node, request: asyncio.sleep(0, response)
        request = SimpleNamespace(topics=[("t", [(0, 0, 1000)])])
        assignment = desk.subscriptions.subscription.assignment
        await desk.fetcher._proc_fetch_request(assignment, 1, request)
        chunk = (await desk.take())[ONE].chunk
        assert isinstance(chunk.values, Values)
        assert chunk.values == [value_of(offset) for offset in range(9)]

    on_desk(fetch)


def odd_bytes(chance: random.Random, size_max: int) -> bytes:
    pieces = [b"{", b'{"', b"}", b"\x00", b"\x01", b"\x80", b"\xff", b"x", b'"', b"\x10{\x00"]
    return b"".join(chance.choices(pieces, k=chance.randrange(size_max)))


def any_record(chance: random.Random, delta: int) -> bytes:
    value = chance.choice([object_of(chance.choice([9, 40, 63, 64, 200])), b"{}"])
    if chance.random() < 0.03:
        value = b"{" + odd_bytes(chance, 30)
    key = odd_bytes(chance, 20) if chance.random() < 0.03 else chance.choice([None, b"", b"c-1"])
    rare = chance.random() < 0.003
    return record_of(
        chance.choice([None, b"", b"x", value]) if rare else value,
        delta,
        key,
        chance.choice([0, 1, -1, 70, -9_000]),
        [(odd_bytes(chance, 4).replace(b"\x80", b"").replace(b"\xff", b""), b"v")]
        if chance.random() < 0.003
        else [],
    )


def any_response(chance: random.Random) -> list[bytearray]:
    """Batches of any records, with holes, with headers and tombstones in a few of them."""
    batches, base = [], 0
    for _ in range(chance.randint(1, 5)):
        deltas = sorted(chance.sample(range(60), chance.randint(1, 40)))
        records = [any_record(chance, delta) for delta in deltas]
        batches.append(bytearray(batch_with(records, base, 59)))
        base += 60 + chance.choice([0, 0, 1])
    return batches


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 2**32), st.integers(0, 70))
def test_any_mix_of_batches_is_read_as_aiokafka_reads_it(seed: int, position: int) -> None:
    assert_same(b"".join(any_response(random.Random(seed))), position)


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 2**32))
def test_garbled_bytes_under_a_right_checksum_are_read_as_aiokafka_reads_them(seed: int) -> None:
    chance = random.Random(seed)
    batches = any_response(chance)
    for _ in range(chance.choice([1, 1, 2, 5])):
        batch = chance.choice(batches)
        at = chance.randrange(57 if chance.random() < 0.1 else 61, len(batch))
        batch[at] = chance.choice([batch[at] ^ 1 << chance.randrange(8), 0, 1, 0x7B, 0x80, 0xFF])
    assert_same(b"".join(map(with_crc, batches)))


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32))
def test_garbled_headers_of_batches_are_read_as_aiokafka_reads_them(seed: int) -> None:
    chance = random.Random(seed)
    batches = any_response(chance)
    batch = chance.choice(batches)
    at = chance.choice([*range(7), *range(21, 43), *range(57, 61)])
    batch[at] ^= 1 << chance.randrange(8)
    assert_same(b"".join(map(with_crc, batches)))


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32))
def test_garbled_bytes_that_were_compressed_are_read_as_aiokafka_reads_them(seed: int) -> None:
    chance = random.Random(seed)
    data = b""
    for batch in any_response(chance):
        at = chance.randrange(61, len(batch))
        batch[at] ^= (1 << chance.randrange(8)) * (chance.random() < 0.3)
        packer = zlib.compressobj(wbits=31)
        packed = bytearray(batch[:61] + packer.compress(batch[61:]) + packer.flush())
        packed[22] |= 1
        struct.pack_into(">i", packed, 8, len(packed) - 12)
        data += with_crc(packed)
    assert_same(data)
