"""What the script that writes a partition is called with: keys, and arguments in its order."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from streams.core.counting.packing import PackedSeries
from streams.core.records.hold import Standing
from streams.core.records.repeats import Reread
from streams.core.records.texts import Ints
from streams.core.time.agreed_clock import Agreed
from streams.edges.store import Fence, Write

_REFRESH_SECONDS: Final = 43_200
_PACKER: Final = msgspec.msgpack.Encoder()


class Expiries:
    """When each group's hash had its expiry renewed: twice a day is enough for days to live.

    A hash so lives ``expiry_seconds`` less half a day at least after its last write. ``clock``
    gives seconds that never go back; groups are told apart by what their keys begin with.
    """

    def __init__(self, clock: Callable[[], float], expiry_seconds: int) -> None:
        self._clock = clock
        self.expiry_seconds = expiry_seconds
        self._renewed: dict[str, NDArray[np.float64]] = {}

    def forget(self, stem: str = "") -> None:
        """Nothing is known to have been renewed of the keys that begin so."""
        self._renewed = {s: held for s, held in self._renewed.items() if not s.startswith(stem)}

    def learn(self, stem: str, groups: Sequence[int], seconds_left: Sequence[int]) -> None:
        """Take note of how long hashes live on by themselves (below 0: no hash, or no expiry).

        One that was renewed at r has r + expiry - now left, so r is known as if this worker had
        done it. Redis rounds to the nearest second: a whole one is taken off. More left than the
        expiry: it was longer once, and is set anew.
        """
        left = np.array(seconds_left, dtype=np.float64)
        renewed = self._clock() + left - self.expiry_seconds - 1
        known = (left >= 0) & (left <= self.expiry_seconds)
        rows = np.array(groups, dtype=np.int64)
        self._column(stem, int(rows.max(initial=-1)))[rows] = np.where(known, renewed, -np.inf)

    def stale(self, stem: str, groups: NDArray[np.int32]) -> NDArray[np.bool_]:
        """Which groups' hashes need their expiry renewed; they count as renewed from now on."""
        now, renewed = self._clock(), self._column(stem, int(groups.max(initial=-1)))
        stale: NDArray[np.bool_] = now - renewed[groups] >= _REFRESH_SECONDS
        renewed[groups[stale]] = now
        return stale

    def may_be_gone(self, stem: str, groups: Ints) -> NDArray[np.bool_]:
        """Which groups' hashes are not known to live on: whether they do the server must say."""
        renewed = self._column(stem, int(groups.max(initial=-1)))[groups]
        gone: NDArray[np.bool_] = self._clock() - renewed >= self.expiry_seconds
        return gone

    def _column(self, stem: str, highest: int) -> NDArray[np.float64]:
        held = self._renewed.get(stem, np.empty(0))
        if highest >= len(held):
            more = np.full(max(highest + 1 - len(held), len(held) // 2), -np.inf)
            held = self._renewed[stem] = np.concatenate((held, more))
        return held


def write_call(
    fence: Fence, write: Write, key_of: Callable[[str], str], ages: Expiries
) -> tuple[list[bytes], list[Any]]:
    """Keys and arguments of ``write.lua``; ``key_of`` gives the key of a partition's part."""
    keys = [key_of(part).encode() for part in ("meta", "surges", "outbox")]
    args: list[Any] = [
        fence.owner,
        "" if write.from_offset is None else write.from_offset,
        write.next_offset,
        write.change.watermark_ms,
        ages.expiry_seconds,
        len(write.change.series),
        fence.generation,
        *_told(write.change.standing, 2),
        "" if write.from_frontier is None else write.from_frontier,
        *_told(write.reread and write.reread[:3], 3),
        " ".join(map(str, write.reread.dead_offsets)) if write.reread else "",
        " ".join(map(str, _numbers_of(write.reread.agreed))) if write.reread else "",
    ]
    for series in write.change.series:
        hashes, more = _series_args(series, key_of(f"s:{series.name}:"), ages)
        keys += hashes
        args += more
    surges = write.change.surges
    kept = [part for name, value in surges.items() if value for part in (name, value.decode())]
    gone = [name for name, value in surges.items() if value is None]
    args += [_PACKER.encode(kept), _PACKER.encode(gone)]
    args += _listed([part for pair in write.to_announce.items() for part in pair])
    args += _listed(list(write.announced))
    return keys, args


def _series_args(series: PackedSeries, stem: str, ages: Expiries) -> tuple[list[bytes], list[Any]]:
    """The groups' hashes of one series, and the script's six arguments about it."""
    assert (np.diff(series.groups) >= 0).all(), "slots rise, and groups with them"
    groups, counts = np.unique(series.groups, return_counts=True)
    begin = stem.encode()
    ends = np.column_stack((np.cumsum(series.names.lengths), series.ends))
    return [b"%b%d" % (begin, group) for group in groups.tolist()], [
        series.name,
        int(groups[-1]),
        series.names.joined(),
        series.data,
        _PACKER.encode(ends.ravel().tolist()),
        _PACKER.encode((2 * counts + ages.stale(stem, groups)).tolist()),
    ]


def _listed(members: list[Any]) -> list[Any]:
    return [len(members), *members]


def _told(values: Sequence[int | None] | None, count: int) -> list[int | str]:
    """Numbers for the script; '' for each that there is not."""
    return ["" if value is None else value for value in values or (None,) * count]


def standing_in(meta: Mapping[bytes, bytes]) -> Standing | None:
    """The standing in a partition's hash; None: nothing was held back."""
    if not meta.get(b"frontier_ms"):
        return None
    return Standing(int(meta[b"read_watermark_ms"]), int(meta[b"frontier_ms"]))


def reread_in(meta: Mapping[bytes, bytes]) -> Reread | None:
    """Where reading begins again, from a partition's hash; None: nowhere."""
    if not meta.get(b"reread_offset"):
        return None
    held = meta.get(b"held_offset")
    return Reread(
        int(meta[b"reread_offset"]),
        int(meta[b"reread_watermark_ms"]),
        int(held) if held else None,
        tuple(map(int, meta.get(b"reread_dead", b"").split())),
        _agreed_in(meta.get(b"reread_agreed", b"")),
    )


def _numbers_of(agreed: Agreed) -> list[int]:
    return [agreed.ms, agreed.skips, *agreed.sample_ms]


def _agreed_in(told: bytes) -> Agreed:
    numbers = [*map(int, told.split())]
    return Agreed(numbers[0], numbers[1], tuple(numbers[2:])) if numbers else Agreed()
