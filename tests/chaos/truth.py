"""The ledger: what stands in the topics, read by a bare consumer, and what must come of it."""

import asyncio
import zlib
from array import array
from collections import defaultdict
from collections.abc import Callable, Iterable

import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition

from streams.core.surges import Surge
from streams.edges.codec_out import DeadLetter, decode_dead_letter, decode_surge
from tests.chaos.expected import ExpectedSurges
from tests.chaos.stream import Acknowledged
from tests.workers import Ledger, Site

Place = tuple[str, int, int]
_DECODER = msgspec.json.Decoder(dict[str, int | str])


def _order_of(record: tuple[str, int, bytes]) -> tuple[int, bytes]:
    """The order in which held records are counted: by time, then content."""
    return int(_DECODER.decode(record[2])["at_ms"]), record[2]


class Contradiction(AssertionError):
    """One place or one surge was told twice, and not the same."""


class Truth:
    """What was sent, what must be stored and told, and what was told. Read on after each round."""

    def __init__(self, site: Site) -> None:
        settings = site.settings
        self.ledger = Ledger(threshold=settings.rule_followers_24h)
        self.openings: dict[tuple[str, str], int] = {}
        self.bad: dict[Place, tuple[str, bytes]] = {}
        self.dead: dict[Place, DeadLetter] = {}
        self.dead_repeats = self.repeats = 0
        self._ids: dict[tuple[str, int], dict[str, int]] = defaultdict(dict)
        self._horizon_ms = settings.repeats_horizon_ms
        self._holds = settings.allowed_lateness_ms > 0
        self._held: list[tuple[str, int, bytes]] = []
        self.expected = ExpectedSurges(site)
        self.told: dict[tuple[str, int], Surge] = {}
        self.told_openings: dict[tuple[str, str], set[int]] = defaultdict(set)
        self.contradicting: set[tuple[str, int]] = set()
        self.sums: dict[tuple[str, int], array[int]] = defaultdict(lambda: array("L"))
        self._site = site
        self._posts_max = settings.rule_comments_24h
        self._post_totals: dict[str, int] = defaultdict(int)
        self._inputs = (settings.topic_follows, settings.topic_comments)
        self._positions: dict[TopicPartition, int] = {}
        self._takes: dict[str, Callable[[str, int, int, bytes, bytes], None]] = {
            settings.topic_follows: self._book,
            settings.topic_comments: self._book,
            settings.topic_surges: self._take_surge,
            settings.topic_dead_letters: self._take_dead,
        }

    @property
    def records(self) -> int:
        """Records in the topics, bad ones included."""
        return sum(len(sums) for sums in self.sums.values())

    def read(self) -> None:
        """Read all four topics on to their ends."""
        asyncio.run(self._read())

    def let_held(self) -> None:
        """Count what workers that hold records back have let go once the topics are quiet."""
        self.expected.let_held()
        for topic, partition, value in sorted(self._held, key=_order_of):
            self._count(topic, partition, value)
        self._held.clear()

    def missing_surges(self) -> list[str]:
        """Surges that the records imply and that nobody told."""
        names = self.expected.surges.keys() - self.told.keys()
        by_rule = [k for k, at in self.openings.items() if at not in self.told_openings[k]]
        return [*sorted(map(str, names)), *map(str, by_rule)]

    def strange_surges(self) -> list[str]:
        """Surges told that no record implies, or with another content than it implies."""
        expected = self.expected.surges
        strange = [
            f"{name}: told {surge}, implied {expected.get(name)}"
            for name, surge in self.told.items()
            if expected.get(name) != surge
        ]
        more = [k for k, at in self.told_openings.items() if at != {self.openings.get(k, -1)}]
        return [*strange, *map(str, more)]

    def unsent(self, acknowledged: Iterable[Acknowledged]) -> list[str]:
        """Acknowledged batches that are not in the topic as they were sent."""
        return [
            f"{lot.topic}[{lot.partition}] from offset {lot.base_offset}: {len(lot.checksums)}"
            for lot in acknowledged
            if self.sums[lot.topic, lot.partition][
                lot.base_offset : lot.base_offset + len(lot.checksums)
            ].tolist()
            != lot.checksums
        ]

    def _partitions(self, topics: Iterable[str]) -> list[TopicPartition]:
        numbers = range(self._site.settings.topic_partitions)
        return [TopicPartition(topic, number) for topic in topics for number in numbers]

    async def _read(self) -> None:
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self._site.bootstrap, max_partition_fetch_bytes=4_000_000
        )
        await consumer.start()
        try:
            partitions = self._partitions(self._takes)
            consumer.assign(partitions)
            ends = await consumer.end_offsets(partitions)
            for tp in partitions:
                consumer.seek(tp, self._positions.get(tp, 0))
            while any(self._positions.get(tp, 0) < ends[tp] for tp in partitions):
                for tp, records in (await consumer.getmany(timeout_ms=200)).items():
                    take = self._takes[tp.topic]
                    if tp.topic in self._inputs:
                        values = [record.value for record in records]
                        self.expected.take(tp.topic, tp.partition, records[0].offset, values)
                    for record in records:
                        take(tp.topic, tp.partition, record.offset, record.key, record.value)
                    self._positions[tp] = records[-1].offset + 1
        finally:
            await consumer.stop()

    def _book(self, topic: str, partition: int, offset: int, key: bytes, value: bytes) -> None:
        sums = self.sums[topic, partition]
        assert offset == len(sums), f"{topic}[{partition}] has no hole at {len(sums)}"
        sums.append(zlib.crc32(value))
        if key.startswith(b"poison "):
            self.bad[topic, partition, offset] = (key[7:].decode(), value)
        elif self._holds:
            self._held.append((topic, partition, value))
        else:
            self._count(topic, partition, value)

    def _count(self, topic: str, partition: int, value: bytes) -> None:
        record = _DECODER.decode(value)
        creator_id, at_ms = str(record["creator_id"]), int(record["at_ms"])
        if self._came_before(topic, partition, record.get("event_id"), at_ms):
            self.repeats += 1
            return
        if "post_id" not in record:
            unfollow = record.get("kind") == "unfollow"
            known = len(self.ledger.openings)
            self.ledger.follow(creator_id, at_ms, unfollow=unfollow)
            if len(self.ledger.openings) > known:
                self.openings["followers", creator_id] = at_ms
            return
        post_id = str(record["post_id"])
        self.ledger.comment(creator_id, post_id, at_ms, str(record["lang"]))
        self._post_totals[post_id] += 1
        if self._post_totals[post_id] == self._posts_max:
            self.openings["comments", post_id] = at_ms

    def _came_before(
        self, topic: str, partition: int, event_id: int | str | None, at_ms: int
    ) -> bool:
        """Whether the id came less than ten minutes of the partition's event time ago."""
        ids = self._ids[topic, partition]
        water_ms = ids[""] = max(ids.get("", 0), at_ms)
        if event_id is None:
            return False
        ago_ms = water_ms - ids.get(str(event_id), -self._horizon_ms * 2)
        ids[str(event_id)] = water_ms
        assert abs(ago_ms - self._horizon_ms) > 60_000, "no repeat stands near the edge"
        return ago_ms < self._horizon_ms

    def _take_surge(
        self, _topic: str, _partition: int, _offset: int, _key: bytes, v: bytes
    ) -> None:
        surge = decode_surge(v)
        name = (surge.surge_id, surge.revision)
        if self.told.setdefault(name, surge) != surge:
            self.contradicting.add(name)
        if (surge.trigger, surge.state) == ("rule", "opened"):
            key = surge.post_id if surge.kind == "comments" else surge.creator_id
            self.told_openings[surge.kind, str(key)].add(surge.opened_ms)

    def _take_dead(self, _topic: str, _partition: int, _offset: int, _key: bytes, v: bytes) -> None:
        letter = decode_dead_letter(v)
        place = (letter.topic, letter.partition, letter.offset)
        if place in self.dead:
            self.dead_repeats += 1
        if self.dead.setdefault(place, letter) != letter:
            msg = f"dead letter of {place} has two contents"
            raise Contradiction(msg)
