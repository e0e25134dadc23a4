"""How far the fleet is: what Redis holds of each partition, beside what Kafka keeps of it."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec

from streams.core.reports.lag import Standing, begin_of
from streams.edges.errors import DataError
from streams.edges.kafka.admin import admin_client
from streams.edges.kafka.group import (
    Group,
    Reach,
    read_committed,
    read_group,
    read_reach,
)
from streams.edges.kafka.peek import Peeked, read_times
from streams.edges.kafka.topics import input_topics, partition_counts
from streams.edges.redis.reader import RedisReader, Stand
from streams.edges.settings.list import Settings
from streams.edges.store import Place


class Standings(NamedTuple):
    """The group, and each partition of the topics that workers read, by topic and number."""

    group: Group
    partitions: tuple[Standing, ...]


def read_standings(settings: Settings) -> Standings:
    """Ask Redis, then Kafka, so that what is counted meanwhile shows as lag and never as loss.

    Raises UnreachableError, and DataError when a topic is not there.
    """
    topics = input_topics(settings)
    with admin_client(settings) as admin:
        counts = partition_counts(admin, topics)
        for topic in topics:
            if topic not in counts:
                msg = f"topic {topic} does not exist: make it with: surgewatch topics create"
                raise DataError(msg)
        places = [Place(topic, number) for topic in topics for number in range(counts[topic])]
        with RedisReader(settings) as reader:
            stands = reader.stands(places)
        group = read_group(admin, settings.kafka_group)
        committed = read_committed(admin, settings.kafka_group)
        reach = read_reach(admin, places)
    known = [standing_of(place, stands, reach, committed, group) for place in places]
    return Standings(group, timed(known, peek(settings, known)))


def standing_of(
    place: Place,
    stands: Mapping[Place, Stand],
    reach: Mapping[Place, Reach],
    committed: Mapping[Place, int],
    group: Group,
) -> Standing:
    """What is known of one partition, without times."""
    stand = stands[place]
    return Standing(
        topic=place.topic,
        partition=place.partition,
        stored_offset=stand.offset,
        committed_offset=committed.get(place),
        first_offset=reach[place].first_offset,
        end_offset=reach[place].end_offset,
        stored_ms=stand.stored_ms,
        member=group.holders.get(place),
    )


def peek(settings: Settings, known: Sequence[Standing]) -> Peeked:
    """Read when what waits happened, and the newest record of every partition."""
    waiting = {_place_of(one): begin_of(one) for one in known if begin_of(one) < one.end_offset}
    ends = {_place_of(one): one.end_offset for one in known if one.end_offset > one.first_offset}
    return read_times(settings, waiting, ends)


def timed(known: Sequence[Standing], peeked: Peeked) -> tuple[Standing, ...]:
    """The same partitions with the times that were read."""
    told = []
    for one in known:
        waiting, newest = (found.get(_place_of(one)) for found in peeked)
        told.append(
            msgspec.structs.replace(
                one,
                waiting_ms=None if waiting is None else waiting.event_ms,
                newest_ms=None if newest is None else newest.event_ms,
            )
        )
    return tuple(told)


def _place_of(one: Standing) -> Place:
    return Place(one.topic, one.partition)
