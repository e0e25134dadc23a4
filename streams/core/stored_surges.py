"""How surges that are remembered stand in the store: a JSON array each, `OpenSurge`'s fields."""

from collections.abc import Collection, Sequence
from typing import Any, Final

import msgspec

from streams.core.surges import OpenSurge

_ENCODER: Final = msgspec.json.Encoder()
_DECODER: Final = msgspec.json.Decoder(OpenSurge)
_FIELDS: Final = msgspec.structs.fields(OpenSurge)


class _Key(msgspec.Struct, array_like=True):
    """The first fields of an `OpenSurge`."""

    surge_id: str
    trigger: str
    key: str


_KEY_DECODER: Final = msgspec.json.Decoder(_Key)


def encoded_surges(surges: Collection[OpenSurge | None]) -> Sequence[bytes | None]:
    """Each surge as it is stored; None stays None."""
    kept = [surge for surge in surges if surge is not None]
    contents = _ENCODER.encode_lines(kept).split(b"\n")[: len(kept)]
    if len(kept) == len(surges):
        return contents
    rest = iter(contents)
    return [None if surge is None else next(rest) for surge in surges]


def stored_surge_of(content: bytes) -> OpenSurge:
    """Read a stored surge. Raises ``msgspec.DecodeError`` for anything else."""
    if content.startswith(b"{"):
        return msgspec.convert(_row_of(content), OpenSurge)
    return _DECODER.decode(content)


def stored_key_of(content: bytes) -> str:
    """The key of a stored surge. Raises ``msgspec.DecodeError`` for anything else."""
    if content.startswith(b"{"):
        return stored_surge_of(content).key
    return _KEY_DECODER.decode(content).key


def _row_of(content: bytes) -> list[Any]:
    """What an earlier version stored, an object without the fields that are as by default."""
    held = msgspec.json.decode(content, type=dict[str, Any])
    return [held.get(f.name, None if f.required else f.default) for f in _FIELDS]
