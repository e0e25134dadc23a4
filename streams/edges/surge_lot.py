"""Announcements that wait together: a lot of surge records is one value in the outbox.

A lot is the records' JSON, one a line; a record alone with no line's end is a lot too. A hundred
thousand surges stored and removed one by one would cost Redis and us as many fields, twice.
"""

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

import msgspec

from streams.core.surges import Surge

LOT_MAX: Final = 5_000
"""Records in one lot: some megabytes."""
_ENCODER: Final = msgspec.json.Encoder()


class _Name(msgspec.Struct):
    surge_id: str
    creator_id: str


_NAMES: Final = msgspec.json.Decoder(_Name)


class SurgeLot(NamedTuple):
    """Surge records in the order in which they were told, and what they are sent by."""

    lines: bytes
    surge_ids: list[str]
    creator_ids: list[str]

    def values(self) -> list[bytes]:
        """Each record."""
        values = self.lines.split(b"\n")
        if not values[-1]:
            values.pop()
        return values


def lots_of(surges: Sequence[Surge]) -> Iterator[SurgeLot]:
    """Lots of these surges: same surges, same bytes. A number that is not finite becomes null."""
    for first in range(0, len(surges), LOT_MAX):
        some = surges[first : first + LOT_MAX]
        yield SurgeLot(
            _ENCODER.encode_lines(some),
            [surge.surge_id for surge in some],
            [surge.creator_id for surge in some],
        )


def stored_lot_of(lines: bytes) -> SurgeLot:
    """A lot from the outbox. Raises ``msgspec.DecodeError`` for anything else."""
    names = _NAMES.decode_lines(lines)
    return SurgeLot(lines, [name.surge_id for name in names], [name.creator_id for name in names])
