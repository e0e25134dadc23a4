"""Values of many records as columns: bytes in one buffer, so that no value costs an object."""

from collections.abc import Iterator, Sequence
from typing import overload

import numpy as np

from streams.core.records.texts import Ints


class Values(Sequence[bytes]):
    """Values by row: value i is ``data[starts[i] : starts[i] + lengths[i]]``.

    The rows stand in ``data`` in their order and do not overlap; between them may stand anything.
    A slice shares the buffer; a value is made when it is asked for.

    >>> Values(b"-ab-c", np.array([1, 4]), np.array([2, 1]))[0]
    b'ab'
    """

    __slots__ = ("data", "lengths", "starts")

    def __init__(self, data: bytes, starts: Ints, lengths: Ints) -> None:
        self.data, self.starts, self.lengths = data, starts, lengths

    def __len__(self) -> int:
        return len(self.starts)

    @overload
    def __getitem__(self, row: int) -> bytes: ...
    @overload
    def __getitem__(self, row: slice) -> "Values": ...
    def __getitem__(self, row: int | slice) -> "bytes | Values":
        if isinstance(row, slice):
            return Values(self.data, self.starts[row], self.lengths[row])
        start = int(self.starts[row])
        return self.data[start : start + int(self.lengths[row])]

    def __iter__(self) -> Iterator[bytes]:
        data, ends = self.data, (self.starts + self.lengths).tolist()
        return (data[start:end] for start, end in zip(self.starts.tolist(), ends, strict=True))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]  # a column is no key

    def __repr__(self) -> str:
        return f"Values of {list(self)!r}"

    def take(self, rows: Ints) -> "Values":
        """Only these rows, which rise; the buffer is shared."""
        return Values(self.data, self.starts[rows], self.lengths[rows])


def joined_values(parts: Sequence[Sequence[bytes | None]]) -> Sequence[bytes | None]:
    """All parts' values in one sequence: columns where all of them are, else a list."""
    if len(parts) == 1:
        return parts[0]
    columns = [part for part in parts if isinstance(part, Values)]
    if not columns or len(columns) < len(parts):
        return [value for part in parts for value in part]
    shifts, data = [0] * len(columns), columns[0].data
    if any(part.data is not data for part in columns):
        shifts = np.cumsum([0, *(len(part.data) for part in columns)]).tolist()
        data = b"".join([part.data for part in columns])
    return Values(
        data,
        np.concatenate([p.starts + shift for p, shift in zip(columns, shifts, strict=False)]),
        np.concatenate([part.lengths for part in columns]),
    )
