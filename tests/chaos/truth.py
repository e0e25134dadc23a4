"""The ledger: what stands in the topics, read by a bare consumer, and what must come of it."""

import asyncio
import zlib
from array import array
from collections import defaultdict
from collections.abc import Callable, Iterable

import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition

from streams.core.surges.surge import Surge
from streams.core.time.buckets import BUCKET_MS, WINDOW_BUCKETS
from streams.edges.codec.out import DeadLetter, decode_dead_letter, decode_surge
from tests.chaos.expected import ExpectedSurges
from tests.chaos.records import BEGIN_MS
from tests.chaos.rolling import RollingRule
from tests.chaos.stream import Acknowledged
from tests.workers import Ledger, Site

Place = tuple[str, int, int]
_DECODER = msgspec.json.Decoder(dict[str, int | str])


def _order_of(record: tuple[str, int, bytes]) -> tuple[int, bytes]:
    """The order in which held records are counted: by time, then content."""
    return int(_DECODER.decode(record[2])["at_ms"]), record[2]


class _Ids:
    """Event ids of one partition by the watermark at which they came, for two horizons or more."""

    def __init__(self, horizon_ms: int) -> None:
        self._horizon_ms = horizon_ms
        self._now: dict[str, int] = {}
        self._before: dict[str, int] = {}
        self._began_ms = 0

    def came_before(self, event_id: str, water_ms: int) -> bool:
        """Whether it came less than ten minutes of the partition's event time ago."""
        if water_ms - self._began_ms > 2 * self._horizon_ms:
            self._before, self._now, self._began_ms = self._now, {}, water_ms
        came_ms = self._now.get(event_id, self._before.get(event_id))
        self._now[event_id] = water_ms
        if came_ms is None:
            return False
        ago_ms = water_ms - came_ms
        assert abs(ago_ms - self._horizon_ms) > 60_000, "no repeat stands near the edge"
        return ago_ms < self._horizon_ms


class Contradiction(AssertionError):
    """One place or one surge was told twice, and not the same."""


class Truth:
    """What was sent, what must be stored and told, and what was told. Read on after each round."""

    def __init__(self, site: Site) -> None:
        settings = site.settings
        self.ledger = Ledger()
        self.rules = {
            "followers": RollingRule(settings.rule_followers_24h),
            "comments": RollingRule(settings.rule_comments_24h),
        }
        self.bad: dict[Place, tuple[str, bytes]] = {}
        self.dead: dict[Place, DeadLetter] = {}
        self.dead_repeats = self.repeats = self.late = self.too_late = 0
        self._waters_ms: dict[tuple[str, int], int] = defaultdict(int)
        self._ids: dict[tuple[str, int], _Ids] = defaultdict(
            lambda: _Ids(settings.repeats_horizon_ms)
        )
        self._holds = settings.allowed_lateness_ms > 0
        self._held: list[tuple[str, int, bytes]] = []
        self.expected = ExpectedSurges(site)
        self.told: dict[tuple[str, int], Surge] = {}
        self.told_openings: dict[tuple[str, str], set[int]] = defaultdict(set)
        self.contradicting: set[tuple[str, int]] = set()
        self.sums: dict[tuple[str, int], array[int]] = defaultdict(lambda: array("L"))
        self._site = site
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

    @property
    def event_ms(self) -> int:
        """Event time from the first record to the last one."""
        return max(self._waters_ms.values(), default=BEGIN_MS) - BEGIN_MS

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
        by_rule = [
            f"{kind} {key!r} by rule at {missing}"
            for kind, rule in self.rules.items()
            for key, ats in rule.openings.items()
            if (missing := ats - self.told_openings[kind, key])
        ]
        return [*sorted(map(str, names)), *by_rule]

    def strange_surges(self) -> list[str]:
        """Surges told that no record implies, or with another content than it implies."""
        expected = self.expected.surges
        strange = [
            f"{name}: told {surge}, implied {expected.get(name)}"
            for name, surge in self.told.items()
            if expected.get(name) != surge
        ]
        by_rule = [
            f"{kind} {key!r} by rule at {more}"
            for (kind, key), ats in self.told_openings.items()
            if (more := ats - self.rules[kind].openings.get(key, set()))
        ]
        return [*strange, *by_rule]

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
        place = topic, partition
        water_ms = self._waters_ms[place] = max(self._waters_ms[place], at_ms)
        event_id = record.get("event_id")
        again = event_id is not None and self._ids[place].came_before(str(event_id), water_ms)
        bucket, water = at_ms // BUCKET_MS, water_ms // BUCKET_MS
        if bucket <= water - WINDOW_BUCKETS:
            self.too_late += 1
        elif again:
            self.repeats += 1
        else:
            self.late += bucket < water
            self._count_in(record, creator_id, at_ms, water)

    def _count_in(
        self, record: dict[str, int | str], creator_id: str, at_ms: int, water: int
    ) -> None:
        buckets, bucket = self.ledger.buckets, at_ms // BUCKET_MS
        if "post_id" not in record:
            if record.get("kind") == "unfollow":
                buckets["unfollows"][creator_id][bucket] += 1
                return
            row = buckets["follows"][creator_id]
            row[bucket] += 1
            self.rules["followers"].take(creator_id, at_ms, row, water)
            return
        post_id, lang = str(record["post_id"]), record["lang"]
        buckets["comments"][creator_id][bucket] += 1
        buckets["post_langs"][f"{post_id}\0{lang}"][bucket] += 1
        buckets["creator_langs"][f"{creator_id}\0{lang}"][bucket] += 1
        row = buckets["posts"][post_id]
        row[bucket] += 1
        self.rules["comments"].take(post_id, at_ms, row, water)

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
