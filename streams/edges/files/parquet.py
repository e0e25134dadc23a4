"""Parquet rows as JSON records. pyarrow is optional and imported when a file needs it."""

import math
from collections.abc import Callable, Iterator
from typing import IO, Any, Final

import msgspec

PARQUET_ERRORS: Final = (OSError, ValueError, NotImplementedError)
"""What pyarrow raises for a broken file: its own errors are kinds of these."""
_TIMES: Final = ("at_ms", "account_created_ms")


class ParquetReader:
    """Reads blocks of rows; a null is a field that is not there."""

    def __init__(self, pyarrow: Any, file: Any) -> None:
        self._pyarrow = pyarrow
        self._file = file
        self.row_count: int = file.metadata.num_rows

    def blocks(self, rows: int) -> Iterator[list[bytes]]:
        """Walk the rows in file order as JSON, at most ``rows`` at once."""
        encode = msgspec.json.Encoder().encode
        for batch in self._file.iter_batches(batch_size=rows):
            names = batch.schema.names
            columns = [self._column(name, batch.column(n)) for n, name in enumerate(names)]
            yield [
                encode({n: v for n, v in zip(names, row, strict=True) if v is not None})
                for row in zip(*columns, strict=True)
            ]

    def _column(self, name: str, column: Any) -> list[Any]:
        """Values as JSON has them; moments become whole milliseconds since 1970 UTC."""
        types = self._pyarrow.types
        if types.is_timestamp(column.type) or types.is_date(column.type):
            moments = column.cast(self._pyarrow.timestamp("ms"), safe=False)
            return list(moments.cast(self._pyarrow.int64()).to_pylist())
        values: list[Any] = column.to_pylist()
        if types.is_floating(column.type):
            whole = name in _TIMES
            return [_number(value, whole) for value in values]
        if types.is_binary(column.type) or types.is_large_binary(column.type):
            return [None if v is None else v.decode("utf-8", "replace") for v in values]
        return values


def _number(value: float | None, whole: bool) -> float | int | None:
    """Float of a column; NaN, pandas' word for null, is None and a whole time is an int."""
    if value is None or math.isnan(value):
        return None
    return int(value) if whole and value.is_integer() else value


def parquet_reader(raw: IO[bytes]) -> ParquetReader:
    """Open a Parquet file. Raises ImportError without pyarrow, and PARQUET_ERRORS."""
    import pyarrow  # noqa: PLC0415 - optional, and slow to import
    import pyarrow.parquet  # noqa: PLC0415 - as above

    open_file: Callable[..., Any] = pyarrow.parquet.ParquetFile
    return ParquetReader(pyarrow, open_file(raw))
