"""Records of uncompressed batches (format v2), found together: guessed, then proved.

A record batch is a chain: each record tells its length, so where the next one begins. Walking it
takes a step of Python a record. Here the values are guessed first: each is a JSON object, so a
``{`` may begin one; the length that stands just before tells where value and record end. Then
the heads of all records are read at once, and the chain is proved: the first record begins where
the batch's records begin, each begins where the one before ends, and its own fields lead to the
guessed value and to the guessed end; the last ends where the batch ends, and there are as many
as the batch's header counts. By induction a proved chain is what a walk would read, whatever the
bytes are; how it was guessed is of no matter.

    length  attributes  timestamp delta  offset delta  key length  key  value length  value  headers
    varint  1 byte      varint           varint        varint           varint               0

Not proved, so left to be walked: batches that hold a record with headers, a tombstone, a value
that does not begin with ``{`` or has 8,192 bytes or more, or more than 8 bytes of timestamp
delta, offset delta and key length together.
"""

from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from streams.core.records.texts import Ints, Words

_OPEN: Final = ord("{")
_STOPS: Final = np.uint64(0x8080808080808080)
_EIGHT: Final = np.uint64(8)
_WORD_BITS: Final = np.uint64(64)
_ONE: Final = np.uint64(1)
_THREE: Final = np.uint64(3)
_HEAD_BYTES: Final = 16

Flags = NDArray[np.bool_]


class Batches(NamedTuple):
    """Where records lie: batch i's are ``data[firsts[i] : ends[i]]``, ``counts[i]`` of them.

    Batches rise and do not overlap; a header of 61 bytes stands before each.
    """

    data: bytes
    firsts: Ints
    ends: Ints
    counts: Ints


class Records(NamedTuple):
    """Values of records (starts and lengths) and their offset deltas, by row.

    Rows [begins[i], stops[i]) are batch i's; they are true if it is ``proved[i]``.
    """

    starts: Ints
    lengths: Ints
    deltas: Ints
    begins: Ints
    stops: Ints
    proved: Flags


class _Guess(NamedTuple):
    """Values that rise and do not overlap: where each and its length begin, where its record ends.

    Given that a record has its value's length at ``heads``, the rest is so for certain: the
    length is a varint of one or two bytes, and a 0 for its headers ends the record.
    """

    heads: Ints
    starts: Ints
    ends: Ints


def records_of(batches: Batches) -> Records:
    """Records of all batches, and which batches' records are proved."""
    guess = _guess_of(batches)
    begins = np.searchsorted(guess.starts, batches.firsts)
    stops = np.searchsorted(guess.starts, batches.ends)
    proved = (stops - begins == batches.counts) & (stops > begins)
    proved[proved] = guess.ends[stops[proved] - 1] == batches.ends[proved]
    if not proved.any():
        return Records(guess.starts, guess.starts, guess.starts, begins, stops, proved)
    places = np.roll(guess.ends, 1)  # each begins where the one before ended
    places[begins[proved]] = batches.firsts[proved]
    good, deltas = _heads_lead(batches.data, places, guess)
    rises = np.append(True, deltas[1:] > deltas[:-1])
    rises[begins[proved]] = True
    wrong = np.flatnonzero(~(good & rises))
    if len(wrong):
        proved &= np.searchsorted(wrong, begins) == np.searchsorted(wrong, stops)
    lengths = guess.ends - guess.starts - 1
    return Records(guess.starts, lengths, deltas, begins, stops, proved)


def _guess_of(batches: Batches) -> _Guess:
    data, first, end = batches.data, int(batches.firsts[0]), int(batches.ends[-1])
    octets = np.frombuffer(data, np.uint8)
    starts = (octets[first:end] == _OPEN).nonzero()[0]
    starts += first
    pairs: Any = np.ndarray((len(data) - 1,), "<u2", data, strides=(1,))
    before = pairs[starts - 2]
    # A length of two bytes, where the first of them goes on, else of one: the second of the two.
    length = np.where(before & 0x80, before & 0x7F | before >> 1 & 0x3F80, before >> 8)
    stops = starts + (length >> 1)
    likely = (before < 0x8000) & (length & 1 == 0)
    likely &= octets.take(stops, mode="clip") == 0
    likely &= stops < end
    heads = starts - 1 - (before >> 7 & 1)
    guess = _Guess(heads, starts, stops + 1)
    if not likely.all():
        guess = _Guess(*(column[likely] for column in guess))
    if not (guess.starts[1:] >= guess.ends[:-1]).all():  # an object in an object
        outer = np.append(True, guess.starts[1:] >= np.maximum.accumulate(guess.ends)[:-1])
        guess = _Guess(*(column[outer] for column in guess))
    return guess


def _heads_lead(data: bytes, places: Ints, guess: _Guess) -> tuple[Flags, Ints]:
    """Whether the record at each place leads to its guessed value and end; its offset delta."""
    last = len(data) - _HEAD_BYTES
    good = places <= last
    view: Any = np.ndarray((last + 1,), f"V{_HEAD_BYTES}", data, strides=(1,))
    words = view[places if good.all() else np.minimum(places, last)].view("<u8")
    word, more = words[::2], words[1::2]
    length, length_bits = _varint(word)
    bits = length_bits + _EIGHT  # the attributes, which aiokafka reads as a varint: of one byte
    good &= (word >> (bits - _ONE)) & _ONE == 0
    head = word >> bits | more << (_WORD_BITS - bits)
    used = _bits_of(head)  # timestamp delta
    offset, offset_bits = _varint(head >> used)
    used += offset_bits
    key, key_bits = _varint(head >> used)
    used += key_bits
    good &= (bits <= _WORD_BITS) & (used <= _WORD_BITS)
    good &= length & _ONE == 0
    good &= (key & _ONE == 0) | (key == _ONE)  # 1 is -1, no key; less than that is not told
    good &= places + ((length_bits >> _THREE) + (length >> _ONE)).view(np.int64) == guess.ends
    good &= places + ((bits + used >> _THREE) + (key >> _ONE)).view(np.int64) == guess.heads
    deltas: Ints = (offset >> _ONE).view(np.int64) ^ -(offset & _ONE).view(np.int64)
    return good, deltas


def _bits_of(word: Words) -> Words:
    """How many bits the varint at the word's beginning has: 8 to 64; 64 also if it goes on."""
    stop = ~word & _STOPS
    stop ^= stop - _ONE
    bits: Words = np.bitwise_count(stop).astype(np.uint64)
    return bits


def _varint(word: Words) -> tuple[Words, Words]:
    """Varint at the word's beginning, as it stands (zigzag), and how many bits it has.

    Bits past the word are zeros, so one that goes on is read short; then it has 65 bits.
    """
    stop = ~word & _STOPS
    mask = stop ^ (stop - _ONE)  # up to and with the lowest clear bit
    bits: Words = np.bitwise_count(mask).astype(np.uint64)
    mask &= word
    value = mask & np.uint64(0x7F)
    most = int(bits.max(initial=8))
    for place in range(1, most // 8):
        value |= mask >> np.uint64(place) & np.uint64(0x7F << 7 * place)
    if most == 64:
        bits[stop == 0] += _ONE
    return value, bits
