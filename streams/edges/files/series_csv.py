"""Series of counts as CSV: `timestamp,value` in, `timestamp,value,expected,score,alert` out.

Gzipped or not, with or without a byte order mark, lines ended either way. Times are ISO 8601
(UTC where no zone is given) or whole or fractional seconds or milliseconds since 1970.
"""

import csv
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from streams.core.detection.policy import COUNT_MAX
from streams.core.detection.series import RowVerdict, SeriesRow
from streams.edges.files.records import FileBroken, RecordFile

TIME: Final = "timestamp"
VALUE: Final = "value"
HEADER: Final = b"timestamp,value,expected,score,alert"
_NOTHING: Final = frozenset({"", "nan", "null", "none", "na", "n/a", "-"})
_MS_FROM: Final = 1e11
"""Times above are milliseconds: as seconds they would lie after the year 5138."""
_TIME_MS_MAX: Final = 253_402_300_800_000
_QUOTED: Final = frozenset('",\r\n')


@dataclass(frozen=True, slots=True)
class SeriesLine:
    """A line of the file: its number (the header's is 1), its texts and what they say."""

    line_no: int
    time_text: str
    value_text: str
    row: SeriesRow


class SeriesBroken(FileBroken):
    """A line of the file is no row of a series; ``line_no`` says which."""

    def __init__(self, path: Path, line_no: int, cause: str) -> None:
        super().__init__(path, f"line {line_no}: {cause}")
        self.line_no = line_no


def read_series(path: Path, value_column: str = VALUE) -> list[SeriesLine]:
    """Read a whole series. Raises FileMissing, FileBroken and, with the line, SeriesBroken."""
    cells = _cells_of(path)
    first = next(cells, None)
    if first is None:
        raise FileBroken(path, f"is empty: its first line must be {TIME},{VALUE}")
    header_no, header = first
    time_at, value_at = (_place_of(path, header_no, header, n) for n in (TIME, value_column))
    lines = []
    for line_no, row in cells:
        if len(row) != len(header):
            cause = f"has {len(row)} columns, the header has {len(header)}"
            raise SeriesBroken(path, line_no, cause)
        time_text, value_text = row[time_at].strip(), row[value_at].strip()
        try:
            moment = SeriesRow(_at_ms_of(time_text), _count_of(value_text))
        except ValueError as error:
            raise SeriesBroken(path, line_no, str(error)) from None
        lines.append(SeriesLine(line_no, time_text, value_text, moment))
    if not lines:
        raise FileBroken(path, "has a header and no rows")
    return lines


def encode_row(line: SeriesLine, verdict: RowVerdict) -> bytes:
    """One line of the output."""
    texts = f"{_cell(line.time_text)},{_cell(line.value_text)}"
    said = f"{verdict.expected:.6g},{verdict.score:.6g},{int(verdict.alert)}"
    return f"{texts},{said}".encode()


def _cells_of(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Cells of each line that is not blank, with its number."""
    with RecordFile(path, "series") as file:
        if file.is_parquet:
            raise FileBroken(path, "is Parquet: a series is CSV")
        numbered = enumerate((raw for chunk in file.chunks() for raw in chunk.values), start=1)
        for line_no, raw in numbered:
            if raw is None or not raw.strip():
                continue
            try:
                yield line_no, next(csv.reader([raw.decode().rstrip("\r\n")], strict=True))
            except UnicodeDecodeError:
                raise SeriesBroken(path, line_no, "is not UTF-8 text: is it a CSV file?") from None
            except csv.Error as error:
                raise SeriesBroken(path, line_no, f"is not CSV: {error}") from None


def _place_of(path: Path, line_no: int, header: Iterable[str], name: str) -> int:
    names = [one.strip().lower() for one in header]
    if names.count(name.lower()) != 1:
        shown = ",".join(names)[:80]
        cause = f"the header must have one column {name!r}; it is {shown!r}"
        raise SeriesBroken(path, line_no, cause)
    return names.index(name.lower())


def _at_ms_of(text: str) -> int:
    try:
        number = float(text)
    except ValueError:
        return _iso_ms_of(text)
    at_ms = number if abs(number) >= _MS_FROM else number * 1000
    if not abs(at_ms) < _TIME_MS_MAX:
        message = f"timestamp {text[:40]!r} is out of range"
        raise ValueError(message)
    return round(at_ms)


def _iso_ms_of(text: str) -> int:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        what = "is no time: ISO 8601, or seconds or milliseconds since 1970"
        message = f"timestamp {text[:40]!r} {what}"
        raise ValueError(message) from None
    zoned = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return round(zoned.timestamp() * 1000)


def _count_of(text: str) -> float | None:
    if text.lower() in _NOTHING:
        return None
    try:
        count = float(text)
    except ValueError:
        message = f"value {text[:40]!r} is no number"
        raise ValueError(message) from None
    if not math.isfinite(count) or abs(count) > COUNT_MAX:
        message = f"value {text[:40]!r} is beyond {COUNT_MAX:g}"
        raise ValueError(message)
    return count


def _cell(text: str) -> str:
    return '"' + text.replace('"', '""') + '"' if _QUOTED & set(text) else text
