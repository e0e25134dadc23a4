"""The surges of a partition as the store holds them: JSON by name, the name of its series first."""

from collections.abc import Mapping
from typing import Final

import msgspec

from streams.core.mix_watch import MixSurge, MixWatch
from streams.core.surges import OpenSurge
from streams.core.watch import Watch

_ENCODER: Final = msgspec.json.Encoder()


def drained_surges(
    watches: Mapping[str, Watch], mixes: Mapping[str, MixWatch]
) -> dict[str, bytes | None]:
    """Surges changed since the last call; None: forgotten."""
    surges: dict[str, bytes | None] = {}
    for name, watch in watches.items():
        drained = watch.drain_surges()
        kept = [(key, surge) for key, surge in drained.items() if surge is not None]
        lines = _ENCODER.encode_lines([surge for _, surge in kept]).split(b"\n")
        surges |= dict.fromkeys([f"{name}|{key}" for key in drained])
        surges |= zip([f"{name}|{key}" for key, _ in kept], lines, strict=False)
    for name, mix in mixes.items():
        for key, shift in mix.drain().items():
            surges[f"{name}|{key}"] = None if shift is None else _ENCODER.encode(shift)
    return surges


def restore_surges(
    stored: Mapping[str, bytes], watches: Mapping[str, Watch], mixes: Mapping[str, MixWatch]
) -> None:
    """Give stored surges to whom they belong; their keys must have been restored."""
    surges: dict[str, list[OpenSurge]] = {name: [] for name in watches}
    shifts: dict[str, list[MixSurge]] = {name: [] for name in mixes}
    for name, content in sorted(stored.items()):
        series, _, _ = name.partition("|")
        if series in shifts:
            shifts[series].append(msgspec.json.decode(content, type=MixSurge))
        else:
            surges[series].append(msgspec.json.decode(content, type=OpenSurge))
    for series, watch in watches.items():
        watch.restore_surges(surges[series])
    for series, mix in mixes.items():
        mix.restore(shifts[series])
