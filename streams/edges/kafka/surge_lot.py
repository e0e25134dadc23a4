"""Announcements that wait together: a lot of surge records is one value in the outbox.

A lot is stored as MessagePack, an array of the records' fields for each: a third of their JSON,
which takes Redis a third of the time. A hundred thousand surges stored and removed one by one
would cost Redis and us as many fields, twice. What an earlier version left there is JSON, a
record a line, and is read too.
"""

import struct
from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

import msgspec
from msgspec.structs import astuple, fields

from streams.core.surges.surge import Surge

LOT_MAX: Final = 5_000
"""Records in one lot: some megabytes of JSON."""
_ENCODER: Final = msgspec.json.Encoder()
_PACKER: Final = msgspec.msgpack.Encoder()
_ARRAY32: Final = 0xDD
_HEAD: Final = struct.Struct(">BI")
"""MessagePack's head of an array; its members follow, so that each is packed by itself."""
_LINES: Final = msgspec.json.Decoder(Surge)
_ROW: Final[Any] = msgspec.defstruct(
    "_ROW", [(one.name, one.type) for one in fields(Surge)], array_like=True, gc=False
)
_ROWS: Final = msgspec.msgpack.Decoder(list[_ROW])


class SurgeLot(NamedTuple):
    """Surge records in the order in which they were told, as they are stored and sent."""

    stored: bytes
    lines: bytes
    surge_ids: list[str]
    creator_ids: list[str]

    def values(self) -> list[bytes]:
        """JSON of each record, as it is sent."""
        return self.lines.split(b"\n")[: len(self.surge_ids)]


def lots_of(surges: Sequence[Surge]) -> Iterator[SurgeLot]:
    """Lots of these surges: same surges, same bytes. A number that is not finite becomes null."""
    for first in range(0, len(surges), LOT_MAX):
        yield _lot_of(surges[first : first + LOT_MAX])


def stored_lot_of(stored: bytes) -> SurgeLot:
    """A lot from the outbox. Raises ``msgspec.DecodeError`` for anything else."""
    if stored.startswith(b"{"):
        return _lot_of(_LINES.decode_lines(stored))
    return _lot_of([Surge(*astuple(row)) for row in _ROWS.decode(stored)])


def _lot_of(surges: Sequence[Surge]) -> SurgeLot:
    return SurgeLot(
        _HEAD.pack(_ARRAY32, len(surges)) + b"".join(map(_PACKER.encode, map(astuple, surges))),
        _ENCODER.encode_lines(surges),
        [surge.surge_id for surge in surges],
        [surge.creator_id for surge in surges],
    )
