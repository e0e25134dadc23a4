"""Where the state of partitions is kept: the seam, and the body that keeps it in memory."""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple, Protocol

import numpy as np

from streams.core.counting.packing import StoredSeries
from streams.core.partition_state import LeftOut, StateChange, StoredState
from streams.core.records.hold import Standing
from streams.core.records.repeats import Reread
from streams.core.records.texts import Ints, Texts
from streams.core.surges.stored import stored_key_of
from streams.edges.errors import DataError


class Place(NamedTuple):
    """One partition of one topic."""

    topic: str
    partition: int


class Fence(NamedTuple):
    """Right to write one partition, given by a claim; any later claim ends it.

    ``owner`` is WORKER:NUMBER: of two claims of one worker the later has the higher number.
    """

    generation: int
    owner: str


@dataclass(frozen=True, slots=True)
class Held:
    """What a store holds of a partition.

    ``next_offset`` is where reading goes on, None if nothing was ever written; ``outbox`` has
    the surges that may not have been announced yet, by name, in the order of their names.
    ``reread`` is where to begin to learn again which event ids came last.
    """

    next_offset: int | None
    state: StoredState
    outbox: dict[str, bytes]
    reread: Reread | None = None


@dataclass(frozen=True, slots=True)
class Write:
    """One atomic step: changed state, the offsets it leads from and to, and the outbox.

    ``from_offset`` is what the writer knows to be stored (None: nothing), and ``from_frontier``
    the frontier with it (None: none): the change is only right on top of them. Held records can
    be let through, and the state so changed, while no offset moves.
    """

    change: StateChange
    from_offset: int | None
    next_offset: int
    to_announce: Mapping[str, bytes] = field(default_factory=dict)
    announced: Sequence[str] = ()
    reread: Reread | None = None
    from_frontier: int | None = None

    @property
    def frontier(self) -> int | None:
        """The frontier that it leads to."""
        return frontier_of(self.change.standing)


def frontier_of(standing: Standing | None) -> int | None:
    """The frontier of a standing; None: nothing is held back."""
    return None if standing is None else standing.frontier_ms


class StoreKind(NamedTuple):
    """What must not change under stored state.

    ``cluster_id`` and ``topic_ids`` (name, id) say which Kafka and which topics are counted;
    None, or not there: this Kafka does not tell.
    """

    partitions: int
    detector: str
    group: str
    cluster_id: str | None = None
    topic_ids: tuple[tuple[str, str], ...] = ()


class StoreDiffers(DataError):
    """The store holds another kind of state; ``field`` says in what it differs."""

    def __init__(self, field_name: str, words: str) -> None:
        super().__init__(words)
        self.field_name = field_name


class OtherWriter(DataError):
    """Somebody else writes a partition that is ours by the consumer group."""


class KeyLimit(NamedTuple):
    """How many keys are read at once; more of these series are left out, all but surges' keys."""

    keys_max: int
    may_be_left_out: tuple[str, ...]


NO_LIMIT: Final = KeyLimit(1 << 62, ())


def surge_keys_of(surges: Mapping[str, bytes], series: str) -> set[bytes]:
    """Keys of a series that have a surge; surges as they are stored, by name."""
    return {
        stored_key_of(content).encode()
        for name, content in surges.items()
        if name.partition("|")[0] == series
    }


def places_of(keys: set[bytes], held: LeftOut) -> list[tuple[int, bytes]]:
    """Group and name of those of the keys that are held."""
    if not keys:
        return []
    names = held.names.encoded()
    return [(g, name) for g, name in zip(held.groups, names, strict=True) if name in keys]


class FencedOff(Exception):
    """The partition was claimed by another worker since: nothing was written."""

    def __init__(self, place: Place, generation: int) -> None:
        super().__init__(
            f"{place.topic}[{place.partition}]: generation {generation} is fenced off, "
            "another worker has the partition"
        )
        self.place = place
        self.generation = generation


class StateLost(Exception):
    """The store is behind what was written to it (restored from an older moment, or emptied).

    Nothing was written. The partition must be read from the store and from Kafka again.
    """

    def __init__(self, place: Place, expected: int | None, found: int | None) -> None:
        if found == expected:
            stands = f"stands at offset {found} as it should, but not by our claim or frontier"
        else:
            stands = f"stands at offset {found} instead of {expected}"
        super().__init__(
            f"{place.topic}[{place.partition}]: the store {stands}; it was restored from an older "
            "moment or emptied"
        )
        self.place, self.expected, self.found = place, expected, found


class StateTorn(StateLost):
    """Half of a write stands in the store: what it holds of the partition is of no moment.

    Nothing was written. The partition must be dropped and counted anew from Kafka.
    """

    def __init__(self, place: Place) -> None:
        super().__init__(place, None, None)
        self.args = (f"{place.topic}[{place.partition}]: half of a write stands in the store",)


class Store(Protocol):
    """Keeps states, offsets and outboxes. Errors of the connection are UnreachableError."""

    async def check(self, kind: StoreKind) -> None:
        """Check (the first time: set) what kind of state is held. Raises DataError."""

    async def claim(self, place: Place, generation: int) -> Fence:
        """Take the right to write a partition; earlier fences end.

        Raises FencedOff if the partition was claimed by a newer generation.
        """

    async def read(self, place: Place, limit: KeyLimit = NO_LIMIT) -> Held:
        """Read what is held of a partition. Raises StateTorn."""

    async def read_keys(
        self, place: Place, wanted: Mapping[str, Sequence[tuple[int, bytes]]]
    ) -> dict[str, StoredSeries]:
        """Read the keys (group, name) of each series that are held there; no others."""

    async def read_gone(self, place: Place, groups: Mapping[str, Ints]) -> dict[str, Ints]:
        """Those of each series' groups in which nothing is held any more; it may miss some.

        The answer stands only until the partition is written again.
        """

    async def drop(self, place: Place, fence: Fence) -> None:
        """Forget all that is held of a partition but its outbox and the claim, in one step.

        Raises FencedOff, StateLost.
        """

    async def write(self, place: Place, fence: Fence, write: Write) -> int:
        """Write all or nothing; bytes written. A repeat of a write that was done does no harm.

        Raises FencedOff, StateLost, StateTorn.
        """

    async def close(self) -> None:
        """Let go of the connection."""


@dataclass(slots=True)
class _Drawer:
    fence: Fence | None = None
    next_offset: int | None = None
    watermark_ms: int = -1
    series: dict[str, dict[bytes, tuple[int, bytes]]] = field(default_factory=dict)
    surges: dict[str, bytes] = field(default_factory=dict)
    outbox: dict[str, bytes] = field(default_factory=dict)
    reread: Reread | None = None
    standing: Standing | None = None


class MemoryStore:
    """A store in memory: for the back-test and for tests; passes the same suite as Redis'."""

    def __init__(self) -> None:
        self._drawers: dict[Place, _Drawer] = {}
        self._claims = 0

    async def check(self, kind: StoreKind) -> None:
        """Nothing can differ."""

    async def claim(self, place: Place, generation: int) -> Fence:
        """See Store."""
        drawer = self._drawers.setdefault(place, _Drawer())
        if drawer.fence is not None and drawer.fence.generation > generation:
            raise FencedOff(place, generation)
        self._claims += 1
        drawer.fence = Fence(generation, f"memory:{self._claims}")
        return drawer.fence

    async def read(self, place: Place, limit: KeyLimit = NO_LIMIT) -> Held:
        """See Store."""
        drawer = self._drawers.get(place, _Drawer())
        series, left_out = {}, {}
        leave = {name for name in limit.may_be_left_out if name in drawer.series}
        many = sum(len(drawer.series[name]) for name in leave) > limit.keys_max
        for name, rows in sorted(drawer.series.items()):
            ordered = sorted(rows.items(), key=lambda row: row[1][0])
            if many and name in leave:
                names = Texts.of_bytes([key for key, _ in ordered])
                left_out[name] = LeftOut(names, [group for _, (group, _) in ordered])
                kept = surge_keys_of(drawer.surges, name)
                ordered = [row for row in ordered if row[0] in kept]
            series[name] = _stored_of(ordered)
        surges, standing = dict(drawer.surges), drawer.standing
        state = StoredState(drawer.watermark_ms, series, surges, left_out, standing)
        outbox = dict(sorted(drawer.outbox.items()))
        return Held(drawer.next_offset, state, outbox, drawer.reread)

    async def drop(self, place: Place, fence: Fence) -> None:
        """See Store."""
        drawer = self._drawers.get(place, _Drawer())
        if drawer.fence is None:
            raise StateLost(place, None, drawer.next_offset)
        if drawer.fence != fence:
            raise FencedOff(place, fence.generation)
        self._drawers[place] = _Drawer(fence, outbox=drawer.outbox)

    async def read_keys(
        self, place: Place, wanted: Mapping[str, Sequence[tuple[int, bytes]]]
    ) -> dict[str, StoredSeries]:
        """See Store."""
        drawer = self._drawers.get(place, _Drawer())
        found = {}
        for series, keys in wanted.items():
            rows = drawer.series.get(series, {})
            held = [(name, rows[name]) for group, name in keys if name in rows]
            asked = set(keys)
            found[series] = _stored_of([row for row in held if (row[1][0], row[0]) in asked])
        return found

    async def read_gone(self, place: Place, groups: Mapping[str, Ints]) -> dict[str, Ints]:
        """See Store."""
        series = self._drawers.get(place, _Drawer()).series
        gone = {}
        for name, asked in groups.items():
            held = {group for group, _ in series.get(name, {}).values()}
            gone[name] = np.setdiff1d(asked, [*held])
        return gone

    async def write(self, place: Place, fence: Fence, write: Write) -> int:
        """See Store."""
        drawer = self._drawers.setdefault(place, _Drawer())
        if drawer.fence is not None and drawer.fence != fence:
            raise FencedOff(place, fence.generation)
        stands = (drawer.next_offset, frontier_of(drawer.standing))
        ours = {(write.from_offset, write.from_frontier), (write.next_offset, write.frontier)}
        if drawer.fence is None or stands not in ours:
            raise StateLost(place, write.from_offset, drawer.next_offset)
        size = 0
        for packed in write.change.series:
            rows = drawer.series.setdefault(packed.name, {})
            values = packed.values()
            places = zip(packed.groups.tolist(), values, strict=True)
            rows.update(zip(packed.names.encoded(), places, strict=True))
            size += sum(map(len, values))
        for name, content in write.change.surges.items():
            if content is None:
                drawer.surges.pop(name, None)
            else:
                drawer.surges[name] = content
        drawer.outbox.update(write.to_announce)
        for name in write.announced:
            drawer.outbox.pop(name, None)
        drawer.watermark_ms = write.change.watermark_ms
        drawer.next_offset = write.next_offset
        drawer.reread, drawer.standing = write.reread, write.change.standing
        return size

    async def empty(self) -> None:
        """Lose everything, as a store without its disk does."""
        self._drawers.clear()

    async def places(self) -> AsyncIterator[Place]:
        """Partitions that something is held of."""
        for place in sorted(self._drawers):
            yield place

    async def close(self) -> None:
        """Nothing to let go of."""


def _stored_of(rows: list[tuple[bytes, tuple[int, bytes]]]) -> StoredSeries:
    return StoredSeries(
        names=Texts.of_bytes([key for key, _ in rows]),
        groups=[group for _, (group, _) in rows],
        values=[value for _, (_, value) in rows],
    )
