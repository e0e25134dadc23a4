"""Reads a partition's series from Redis: all of it, its keys alone, or some keys' values."""

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any, Final, NamedTuple

from streams.core.counting.packing import StoredSeries
from streams.core.partition_state import LeftOut
from streams.core.records.texts import Texts

_READ_GROUPS: Final = 64
_NO_HASH: Final = -2
"""Redis' answer to TTL of a key that is not there; -1: it never expires."""


class SeriesKeys(NamedTuple):
    """Where one series of a partition stands: the client, and the key of each of its groups.

    ``learn`` is told groups and the seconds that their hashes live on by themselves.
    """

    client: Any
    key_of: Callable[[int], str]
    learn: Callable[[Sequence[int], Sequence[int]], None]

    async def everything(self, groups: int) -> StoredSeries:
        """All keys of the first ``groups`` groups, with their values."""
        keys: list[bytes] = []
        numbers: list[int] = []
        values: list[bytes] = []
        for part in _parts_of(groups):
            for group, held in zip(part, await self._asked("hgetall", part), strict=True):
                keys += held.keys()
                values += held.values()
                numbers += [group] * len(held)
        return StoredSeries(Texts.of_bytes(keys), numbers, values)

    async def names(self, groups: int) -> LeftOut:
        """All keys of the first ``groups`` groups."""
        keys: list[bytes] = []
        numbers: list[int] = []
        for part in _parts_of(groups):
            for group, held in zip(part, await self._asked("hkeys", part), strict=True):
                keys += held
                numbers += [group] * len(held)
        return LeftOut(Texts.of_bytes(keys), numbers)

    async def _asked(self, command: str, groups: Sequence[int]) -> list[Any]:
        """Each group's answer to a command; when its hash expires is asked, too."""
        pipeline = self.client.pipeline(transaction=False)
        keys = [self.key_of(group) for group in groups]
        for name in (command, "ttl"):
            for key in keys:
                getattr(pipeline, name)(key)
        answers: list[Any] = await pipeline.execute()
        self.learn(groups, answers[len(keys) :])
        return answers[: len(keys)]

    async def gone(self, groups: Sequence[int]) -> list[int]:
        """Those of the groups that have no hash any more."""
        gone: list[int] = []
        for begin in range(0, len(groups), _READ_GROUPS):
            part = groups[begin : begin + _READ_GROUPS]
            pipeline = self.client.pipeline(transaction=False)
            for group in part:
                pipeline.ttl(self.key_of(group))
            left = await pipeline.execute()
            self.learn(part, left)
            gone += [group for group, ttl in zip(part, left, strict=True) if ttl == _NO_HASH]
        return gone

    async def some(self, wanted: Sequence[tuple[int, bytes]]) -> StoredSeries:
        """Those of the wanted keys (group, name) that are held there."""
        pipeline = self.client.pipeline(transaction=False)
        asked: list[tuple[int, bytes]] = []
        for group, places in groupby(sorted(wanted), itemgetter(0)):
            names = [name for _, name in places]
            asked += [(group, name) for name in names]
            pipeline.hmget(self.key_of(group), names)
        values = [value for held in await pipeline.execute() for value in held]
        found = [(*place, v) for place, v in zip(asked, values, strict=True) if v is not None]
        return StoredSeries(
            Texts.of_bytes([name for _, name, _ in found]),
            [group for group, _, _ in found],
            [value for _, _, value in found],
        )


def _parts_of(groups: int) -> Iterator[range]:
    for first in range(0, groups, _READ_GROUPS):
        yield range(first, min(first + _READ_GROUPS, groups))
