"""What the script that writes a partition is called with: keys, and arguments in its order."""

from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec
import numpy as np

from streams.core.packing import PackedSeries
from streams.edges.store import Fence, Write

_REFRESH_SECONDS: Final = 43_200
_PACKER: Final = msgspec.msgpack.Encoder()
_LENGTHS_DTYPE: Final = np.dtype([("name", "<u2"), ("tail", "<u4")])
_SEGMENT_DTYPE: Final = np.dtype([("key_no", "<u4"), ("count", "<u2"), ("refresh", "<u2")])


class Expiries:
    """When each hash's expiry was renewed: twice a day is enough for days to live.

    ``clock`` gives seconds that never go back.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._renewed: dict[str, float] = {}

    def forget(self) -> None:
        """Nothing is known to have been renewed."""
        self._renewed.clear()

    def stale(self, hashes: Sequence[str]) -> list[bool]:
        """Which hashes need their expiry renewed; they count as renewed from now on."""
        now = self._clock()
        stale = []
        for key in hashes:
            due = now - self._renewed.get(key, -_REFRESH_SECONDS) >= _REFRESH_SECONDS
            if due:
                self._renewed[key] = now
            stale.append(due)
        return stale


def write_call(
    fence: Fence, write: Write, key_of: Callable[[str], str], expiry_seconds: int, ages: Expiries
) -> tuple[list[str], list[Any]]:
    """Keys and arguments of ``redis_write.lua``; ``key_of`` gives the key of a partition's part."""
    keys = [key_of(part) for part in ("meta", "surges", "outbox")]
    args: list[Any] = [
        fence.owner,
        "" if write.from_offset is None else write.from_offset,
        write.next_offset,
        write.change.watermark_ms,
        expiry_seconds,
        len(write.change.series),
        fence.generation,
        *(write.reread or ("", "")),
    ]
    for series in write.change.series:
        hashes, more = _series_args(series, len(keys) + 1, key_of, ages)
        keys += hashes
        args += more
    surges = write.change.surges
    kept = [part for name, value in surges.items() if value for part in (name, value.decode())]
    gone = [name for name, value in surges.items() if value is None]
    args += [_PACKER.encode(kept), _PACKER.encode(gone)]
    args += _listed([part for pair in write.to_announce.items() for part in pair])
    args += _listed(list(write.announced))
    return keys, args


def _series_args(
    series: PackedSeries, first_key_no: int, key_of: Callable[[str], str], ages: Expiries
) -> tuple[list[str], list[Any]]:
    """The groups' hashes of one series, and the script's eight arguments about it."""
    assert (np.diff(series.groups) >= 0).all(), "slots rise, and groups with them"
    lengths = np.empty(len(series.names), dtype=_LENGTHS_DTYPE)
    lengths["name"] = series.names.lengths
    lengths["tail"] = series.tail_bytes
    groups, counts = np.unique(series.groups, return_counts=True)
    hashes = [key_of(f"s:{series.name}:{group}") for group in groups.tolist()]
    segments = np.empty(len(groups), dtype=_SEGMENT_DTYPE)
    segments["key_no"] = first_key_no + np.arange(len(groups))
    segments["count"] = counts
    segments["refresh"] = ages.stale(hashes)
    return hashes, [
        series.name,
        int(groups[-1]),
        series.head_bytes,
        series.names.joined(),
        lengths.tobytes(),
        series.heads,
        series.tails,
        segments.tobytes(),
    ]


def _listed(members: list[Any]) -> list[Any]:
    return [len(members), *members]
