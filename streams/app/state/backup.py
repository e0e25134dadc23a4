"""Backs up partitions' state and puts a backup back, if it fits."""

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from streams.edges.errors import DataError
from streams.edges.files.state_file import (
    Hashes,
    PlaceBegins,
    PlaceEnds,
    PlaceSum,
    StateHeader,
    StateReader,
    StateWriter,
)
from streams.edges.kafka.reach import Reach, reach_of
from streams.edges.kafka.topics import input_topics
from streams.edges.redis.client import async_client_of
from streams.edges.redis.layout import fields_of
from streams.edges.redis.state import (
    QUIET_SECONDS,
    Meta,
    RedisStates,
    StateMoves,
    WorkerWrites,
    state_in,
)
from streams.edges.redis.store import RedisStore, RedisStorePolicy
from streams.edges.settings.list import Settings
from streams.edges.settings.specs import url_without_password
from streams.edges.store import Place, StoreKind

_TRIES: Final = 5

Tell = Callable[[PlaceSum], None]


class DoesNotFit(DataError):
    """A backup is of another state than the one that it is to be put in the place of."""


async def export_states(
    settings: Settings, path: Path, partitions: Collection[int] | None, tell: Tell
) -> int:
    """Write what Redis holds of partitions (None: all), each as of one offset; the file's bytes.

    Raises DataError if nothing is held, or a worker writes a partition each time it is read.
    """
    async with RedisStates(settings) as states:
        layout = await states.layout()
        if "partitions" not in layout:
            message = (
                f"Redis at {url_without_password(settings.redis_url)} holds no state under "
                f"{settings.redis_prefix!r}: is SURGEWATCH_REDIS_PREFIX the one the workers have?"
            )
            raise DataError(message)
        now_ms = time.time_ns() // 1_000_000
        header = StateHeader(written_ms=now_ms, prefix=settings.redis_prefix, layout=layout)
        with StateWriter(path, header) as writer:
            numbers, nothing = sorted(partitions or range(int(layout["partitions"]))), True
            for place in (Place(topic, n) for topic in input_topics(settings) for n in numbers):
                found = await _export_place(states, writer, place)
                if found is not None:
                    tell(found)
                    nothing = False
            if nothing:
                message = f"nothing is held of {len(numbers)} partitions: see surgewatch counts"
                raise DataError(message)
        return path.stat().st_size


async def _export_place(states: RedisStates, writer: StateWriter, place: Place) -> PlaceSum | None:
    """Write one partition; None: nothing is held of it."""
    for _ in range(_TRIES):
        meta = await states.meta(place)
        if "offset" not in meta:
            return None
        if meta.get("begun") != meta.get("done"):
            message = (
                f"{place.topic}[{place.partition}] holds half of a write: export when a worker has "
                "counted it anew"
            )
            raise DataError(message)
        begins = PlaceBegins(*place, state_in(meta))
        writer.begin_place(begins)
        keys, names = 0, set[str]()
        async for hashes in states.hashes(place, meta):
            writer.put_hashes(hashes)
            names.update(name for name, _ in hashes.parts)
            keys += sum(len(pairs) // 2 for name, pairs in hashes.parts if name.startswith("s:"))
        if await states.meta(place) == meta:
            writer.end_place(PlaceEnds(keys, len(names)))
            return PlaceSum(begins, keys, len(names))
        writer.drop_place()
    raise StateMoves(place, _TRIES)


@dataclass(frozen=True, slots=True)
class ImportTask:
    """What to put back; ``partitions`` None: all of the file. ``force``: also over newer state."""

    path: Path
    partitions: frozenset[int] | None = None
    force: bool = False
    dry_run: bool = False


class _Checked(NamedTuple):
    found: PlaceSum
    before: Meta


async def import_states(settings: Settings, task: ImportTask, tell: Tell) -> None:
    """Put a backup in the place of what Redis holds, partition by partition, each in one step.

    All is checked before the first is changed. Raises StateFileDamaged, DoesNotFit, WorkerWrites,
    UnreachableError.
    """
    reader = StateReader(task.path)
    header, places = reader.survey()
    wanted = _chosen(task, places)
    reach = await reach_of(settings, input_topics(settings))
    kind = _kind_of(settings, reach)
    _check_kind(task.path, header, settings, kind)
    async with RedisStates(settings) as states:
        held = await states.layout()
        _check_layout(settings, held, kind)
        checked = {
            one.begins.place: _Checked(one, await _check_place(states, task, one, reach))
            for one in wanted
        }
        if task.dry_run:
            for one in wanted:
                tell(one)
            return
        await _settle(settings, kind)
        await _put_back(states, reader, checked, tell)


async def _put_back(
    states: RedisStates, reader: StateReader, checked: dict[Place, _Checked], tell: Tell
) -> None:
    staging, one = None, None
    try:
        for block in reader.blocks():
            match block:
                case PlaceBegins():
                    one = checked.get(block.place)
                    staging = None if one is None else states.staging(block)
                case Hashes() if staging is not None:
                    await staging.put(block)
                case PlaceEnds() if staging is not None and one is not None:
                    await staging.swap(one.before)
                    staging = None
                    tell(one.found)
                case _:
                    pass
    finally:
        if staging is not None:
            await staging.drop()


def _chosen(task: ImportTask, places: Sequence[PlaceSum]) -> list[PlaceSum]:
    wanted = task.partitions
    chosen = [one for one in places if wanted is None or one.begins.partition in wanted]
    there = {one.begins.partition for one in places}
    missing = sorted((wanted or set()) - there)
    if missing or not chosen:
        of = f"partition {missing[0]}" if missing else "any partition"
        message = f"{task.path} has no state of {of}; it has {', '.join(map(str, sorted(there)))}"
        raise DoesNotFit(message)
    return chosen


def _kind_of(settings: Settings, reach: Reach) -> StoreKind:
    """The kind of state that a worker of these settings writes."""
    ids = sorted((topic, one.topic_id) for topic, one in reach.source.topics.items())
    return StoreKind(
        settings.topic_partitions,
        settings.detector,
        settings.kafka_group,
        reach.source.cluster_id,
        tuple((topic, topic_id) for topic, topic_id in ids if topic_id is not None),
    )


def _check_kind(path: Path, header: StateHeader, settings: Settings, kind: StoreKind) -> None:
    """Compare all that is known on both sides."""
    pairs = {"prefix": (header.prefix, settings.redis_prefix)}
    wanted = fields_of(kind)
    pairs |= {name: (header.layout[name], wanted[name]) for name in wanted if name in header.layout}
    for name, (there, here) in pairs.items():
        if there != here:
            message = f"{path} does not fit: it is of {_words(name)} {there}, and here is {here}"
            raise DoesNotFit(message)


def _words(name: str) -> str:
    if name.startswith("topic_id:"):
        return f"topic {name.removeprefix('topic_id:')} with id"
    return {"kafka_cluster": "the Kafka cluster"}.get(name, name)


def _check_layout(settings: Settings, held: dict[str, str], kind: StoreKind) -> None:
    """Compare with what Redis holds, before it is settled."""
    for name, value in fields_of(kind).items():
        if held.get(name, value) != value:
            message = (
                f"Redis holds state of {_words(name)} {held[name]} under "
                f"{settings.redis_prefix!r}, and here is {value}: nothing can be put there"
            )
            raise DoesNotFit(message)


async def _check_place(
    states: RedisStates, task: ImportTask, found: PlaceSum, reach: Reach
) -> Meta:
    """Check one partition; what Redis holds of it."""
    begins = found.begins
    place, where = begins.place, f"{begins.topic}[{begins.partition}]"
    span = reach.spans.get(place)
    if span is None:
        message = f"{task.path} does not fit: there is no {where} here"
        raise DoesNotFit(message)
    if begins.needed_offset < span.begin:
        message = (
            f"{where}: the backup needs the records from offset {begins.needed_offset} on, and "
            f"Kafka's retention took those before {span.begin}: without them counts would be wrong"
        )
        raise DoesNotFit(message)
    if begins.offset > span.end:
        message = (
            f"{where}: the backup stands at offset {begins.offset}, and Kafka ends at {span.end}: "
            "it has lost records, or is another one"
        )
        raise DoesNotFit(message)
    await states.check_rights(place)
    before = await states.meta(place)
    quiet = await states.seconds_since_write(before)
    if quiet is not None and quiet < QUIET_SECONDS:
        raise WorkerWrites(place, quiet)
    stored = int(before.get("offset", -1))
    if stored > begins.offset and not task.force:
        message = (
            f"{where}: Redis holds newer state (offset {stored}) than the backup (offset "
            f"{begins.offset}): --force puts the backup in its place, to count on from there"
        )
        raise DoesNotFit(message)
    return before


async def _settle(settings: Settings, kind: StoreKind) -> None:
    """Have Redis say what kind of state it holds, before it holds any."""
    policy = RedisStorePolicy(
        settings.redis_prefix,
        settings.redis_expiry_days * 86_400,
        url_without_password(settings.redis_url),
    )
    store = RedisStore(async_client_of(settings), policy, time.monotonic)
    try:
        await store.check(kind)
    finally:
        await store.close()
