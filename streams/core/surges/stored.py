"""How surges that are remembered stand in the store: by name, the name of their series first.

A surge is a JSON array of `OpenSurge`'s fields, a shift of languages an object of `MixSurge`'s.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

import msgspec

from streams.core.mixes.watches import Mixes
from streams.core.surges.pending import NAME
from streams.core.surges.surge import OpenSurge
from streams.core.surges.watch import Watch

_ENCODER: Final = msgspec.json.Encoder()
_DECODER: Final = msgspec.json.Decoder(OpenSurge)
_FIELDS: Final = msgspec.structs.fields(OpenSurge)


class _Key(msgspec.Struct, array_like=True):
    """The first fields of an `OpenSurge`."""

    surge_id: str
    trigger: str
    key: str


_KEY_DECODER: Final = msgspec.json.Decoder(_Key)


def drained_surges(watches: Mapping[str, Watch], mixes: Mixes | None) -> dict[str, bytes | None]:
    """Surges changed since the last call; None: forgotten."""
    surges: dict[str, bytes | None] = {}
    for name, watch in watches.items():
        drained = watch.drain_surges()
        names = [f"{name}|{key}" for key in drained]
        surges |= zip(names, encoded_surges(drained.values()), strict=True)
        waiting = watch.drain_pending()
        names = [f"{name}|{key}" for key in waiting]
        surges |= zip(names, encoded_surges(waiting.values()), strict=True)
        if watch.waves is not None:
            surges |= watch.waves.drain()
    return surges if mixes is None else surges | mixes.drain()


def restore_surges(
    stored: Mapping[str, bytes], watches: Mapping[str, Watch], mixes: Mixes | None
) -> None:
    """Give stored surges to whom they belong; their keys must have been restored."""
    for watch in watches.values():
        if watch.waves is not None:
            stored = watch.waves.restore(stored)
    if mixes is not None:
        stored = mixes.restore(stored)
    surges: dict[str, list[OpenSurge]] = {name: [] for name in watches}
    waiting: dict[str, list[OpenSurge]] = {name: [] for name in watches}
    for name, content in sorted(stored.items()):
        series, _, rest = name.partition("|")
        mine = waiting if rest.startswith(f"{NAME}|") else surges
        mine[series].append(stored_surge_of(content))
    for series, watch in watches.items():
        watch.restore_surges(surges[series])
        watch.restore_pending(waiting[series])


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
