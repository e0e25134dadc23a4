"""Texts of many records as columns: UTF-8 in one buffer, so that no text costs a Python object.

A text is hashed, compared and copied eight bytes at a time: ``word(j)`` gives bytes 8j … 8j+7
of every text as one little-endian number, with zeros past the text's end.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, Self, overload

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Words = NDArray[np.uint64]
Bytes = NDArray[np.uint8]

PAD: Final = bytes(8)
"""What must follow the last text in a buffer, so that its last word can be read."""
_MASKS: Final = np.array([(1 << 8 * size) - 1 for size in range(9)], dtype=np.uint64)
_MULTIPLIERS: Final = tuple(
    np.uint64(odd)
    for odd in (
        0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0xD6E8FEB86659FD93,
        0xA0761D6478BD642F, 0xE7037ED1A0B428DB, 0x8EBC6AF09C88C6E3, 0x589965CC75374CC3,
    )
)  # fmt: skip
_GATHERED_BYTES: Final = 64
_MIX: Final = np.uint64(0xFF51AFD7ED558CCD)
_HALF: Final = np.uint64(32)


class Texts(Sequence[str]):
    """Texts by row: text i is ``data[starts[i] : starts[i] + lengths[i]]`` (bytes, UTF-8).

    ``data`` goes on for at least eight bytes after the last text.
    """

    __slots__ = ("_hashes", "_words", "data", "lengths", "starts")

    def __init__(self, data: Bytes, starts: Ints, lengths: Ints) -> None:
        self.data, self.starts, self.lengths = data, starts, lengths
        self._words: list[Words] = []
        self._hashes: Words | None = None

    @classmethod
    def of(cls, texts: Iterable[str]) -> Self:
        """Lay texts out.

        >>> Texts.of(["c-1", "雪"])[1]
        '雪'
        """
        return cls.of_bytes([text.encode() for text in texts])

    @classmethod
    def of_bytes(cls, texts: Sequence[bytes]) -> Self:
        """Lay out texts that are UTF-8 already."""
        lengths = np.fromiter(map(len, texts), np.int64, len(texts))
        data = np.frombuffer(b"".join((*texts, PAD)), np.uint8)
        return cls(data, np.cumsum(lengths) - lengths, lengths)

    def __len__(self) -> int:
        return len(self.starts)

    @overload
    def __getitem__(self, row: int) -> str: ...
    @overload
    def __getitem__(self, row: slice) -> "Texts": ...
    def __getitem__(self, row: int | slice) -> "str | Texts":
        if isinstance(row, slice):
            return Texts(self.data, self.starts[row], self.lengths[row])
        start = int(self.starts[row])
        return self.data[start : start + int(self.lengths[row])].tobytes().decode()

    def __iter__(self) -> Iterator[str]:
        return iter([text.decode() for text in self.encoded()])

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]  # a column is no key

    def __repr__(self) -> str:
        return f"Texts.of({list(self)!r})"

    def take(self, rows: Ints | NDArray[np.bool_]) -> "Texts":
        """Only these rows, in their order; the buffer is shared."""
        taken = Texts(self.data, self.starts[rows], self.lengths[rows])
        if self._words:  # cheaper than to read them again
            count = (int(taken.lengths.max(initial=0)) + 7) // 8
            taken._words = [word[rows] for word in self._words[:count]]
        if self._hashes is not None:
            taken._hashes = self._hashes[rows]
        return taken

    def encoded(self) -> list[bytes]:
        """Each text as UTF-8."""
        data = self.data.tobytes() if len(self) > 1 else self.data
        ends = (self.starts + self.lengths).tolist()
        return [bytes(data[s:e]) for s, e in zip(self.starts.tolist(), ends, strict=True)]

    def joined(self) -> bytes:
        """All texts one after another, nothing between."""
        ends = np.cumsum(self.lengths)
        places = np.repeat(self.starts - (ends - self.lengths), self.lengths)
        places += np.arange(len(places))
        return bytes(self.data[places])

    def words(self) -> list[Words]:
        """Word 0, 1, … of every text, as many as the longest has."""
        if not self._words and len(self):
            count, shortest = (int(self.lengths.max()) + 7) // 8, int(self.lengths.min())
            words = enumerate(self._gathered(count)) if count else ()
            self._words = [self._cut(word, place, shortest) for place, word in words]
        return self._words

    def _gathered(self, count: int) -> list[Words]:
        """Words 0 … count - 1 of every text, all of a text read at once: that costs what one does.

        They have what follows a short text, too.
        """
        size, last = 8 * count, len(self.data) - 8 * count
        if size <= _GATHERED_BYTES and int(self.starts.max()) <= last:
            view: Any = np.ndarray((last + 1,), f"V{size}", self.data, strides=(1,))
            rows: Words = view[self.starts].view("<u8").reshape(-1, count)
            return [*rows.T]
        every: Any = np.ndarray((len(self.data) - 7,), "<u8", self.data, strides=(1,))
        ends = len(self.data) - 8
        return [every[np.minimum(self.starts + 8 * place, ends)] for place in range(count)]

    def _cut(self, word: Words, place: int, shortest: int) -> Words:
        """Word ``place`` with zeros past each text's end."""
        if shortest >= 8 * place + 8:
            return np.ascontiguousarray(word)
        left = self.lengths - 8 * place if place else self.lengths
        return word & _MASKS[np.minimum(np.maximum(left, 0), 8)]

    def hashes(self) -> Words:
        """A 64-bit hash of each text; the same text has the same one in every process."""
        if self._hashes is not None:
            return self._hashes
        total = self.lengths.astype(np.uint64) * _MIX
        for place, word in enumerate(self.words()):
            # a word of zeros adds nothing, so it does not matter how long the longest text is
            product = word * _MULTIPLIERS[place % len(_MULTIPLIERS)]
            product ^= product >> _HALF
            product *= np.uint64(2 * place + 1)
            total += product
        total ^= total >> _HALF
        total *= _MIX
        total ^= total >> _HALF
        self._hashes = total
        return total

    def same_as(self, others: "Texts") -> NDArray[np.bool_]:
        """Whether each text is the other column's in the same row."""
        same: NDArray[np.bool_] = self.lengths == others.lengths
        ours, theirs = self.words(), others.words()
        for place in range(min(len(ours), len(theirs))):
            same &= ours[place] == theirs[place]
        return same


def joined_texts(parts: Sequence[Texts]) -> Texts:
    """All parts' texts in one column."""
    if len(parts) == 1:
        return parts[0]
    if not parts:
        return Texts.of([])
    shifts = np.cumsum([0, *(len(part.data) for part in parts)]).tolist()
    return Texts(
        np.concatenate([part.data for part in parts]),
        np.concatenate([p.starts + shift for p, shift in zip(parts, shifts, strict=False)]),
        np.concatenate([part.lengths for part in parts]),
    )


def paired(keys: Texts, seconds: Texts, separator: int) -> Texts:
    """``keys[i]``, the byte ``separator`` and ``seconds[i]`` as one text each."""
    lengths = keys.lengths + seconds.lengths + 1
    ends = np.cumsum(lengths)
    begins = ends - lengths
    data = np.zeros(int(lengths.sum()) + len(PAD), np.uint8)
    for texts, at in ((keys, begins), (seconds, begins + keys.lengths + 1)):
        within = np.arange(int(texts.lengths.sum()))
        within -= np.repeat(np.cumsum(texts.lengths) - texts.lengths, texts.lengths)
        data[np.repeat(at, texts.lengths) + within] = texts.data[
            np.repeat(texts.starts, texts.lengths) + within
        ]
    data[begins + keys.lengths] = separator
    return Texts(data, begins, lengths)
