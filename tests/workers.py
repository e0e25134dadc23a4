"""Real workers as processes, and what they must have counted: for end-to-end tests."""

import os
import re
import signal
import struct
import subprocess
import sys
import time
import urllib.request
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition

from streams.core.surges.surge import Surge
from streams.core.surges.watch_state import WATCH_STATE_DTYPE
from streams.core.time.buckets import BUCKET_MS, WINDOW_BUCKETS
from streams.edges.codec.out import DeadLetter, decode_dead_letter, decode_surge
from streams.edges.kafka.producer import partition_of
from streams.edges.kafka.topics import create_topics
from streams.edges.redis.client import sync_client_of
from streams.edges.settings.list import Settings
from streams.edges.settings.reading import read_settings

Buckets = dict[int, int]


def wait_until(done: Callable[[], bool], seconds_max: float, what: str | Callable[[], str]) -> None:
    """Wait for a condition, asking 20 times a second; fails with what was waited for."""
    ends = time.monotonic() + seconds_max
    pause = signal.sigtimedwait
    while not done():
        if time.monotonic() >= ends:
            words = what if isinstance(what, str) else what()
            msg = f"not within {seconds_max} s: {words[-3000:]}"
            raise AssertionError(msg)
        pause([], 0.05)


@dataclass
class Site:
    """Topics, group and key prefix of one test on shared servers."""

    bootstrap: str
    redis_url: str
    name: str
    folder: Path
    more: Mapping[str, str] = field(default_factory=dict)

    @property
    def environ(self) -> dict[str, str]:
        """Variables that make a worker work here."""
        return {
            "SURGEWATCH_KAFKA_BOOTSTRAP_SERVERS": self.bootstrap,
            "SURGEWATCH_KAFKA_GROUP": self.name,
            "SURGEWATCH_KAFKA_SESSION_TIMEOUT_MS": "6000",
            "SURGEWATCH_REDIS_URL": self.redis_url,
            "SURGEWATCH_REDIS_PREFIX": self.name,
            "SURGEWATCH_TOPIC_FOLLOWS": f"{self.name}-follows",
            "SURGEWATCH_TOPIC_COMMENTS": f"{self.name}-comments",
            "SURGEWATCH_TOPIC_SURGES": f"{self.name}-surges",
            "SURGEWATCH_TOPIC_DEAD_LETTERS": f"{self.name}-dead",
            "SURGEWATCH_TOPIC_WAVES": f"{self.name}-waves",
            "SURGEWATCH_METRICS_PORT": "0",
            **self.more,
        }

    @property
    def settings(self) -> Settings:
        """The settings that such a worker reads."""
        return read_settings(self.environ)

    def make_topics(self) -> Self:
        """Create the topics."""
        create_topics(self.settings)
        return self

    def stored_offsets(self, topic: str) -> dict[int, int]:
        """Offsets in Redis by partition; none stored: 0."""
        with sync_client_of(self.settings) as client:
            return {
                number: int(client.hget(f"{self.name}:{{{topic}:{number}}}:meta", "offset") or 0)
                for number in range(self.settings.topic_partitions)
            }

    def holds_back(self) -> bool:
        """Whether records before a stored offset are not counted in Redis yet: they are held."""
        settings = self.settings
        with sync_client_of(settings) as client:
            metas = [
                client.hgetall(f"{self.name}:{{{topic}:{number}}}:meta")
                for topic in (settings.topic_follows, settings.topic_comments)
                for number in range(settings.topic_partitions)
            ]
        return any(meta.get(b"frontier_ms") != meta.get(b"read_watermark_ms") for meta in metas)

    def stored_buckets(self, topic: str, series: str) -> dict[str, Buckets]:
        """Keys and their counts as Redis holds them, read by the layout's description alone."""
        state_bytes = 0 if series in {"unfollows", "post_langs", "creator_langs"} else None
        rows: dict[str, Buckets] = {}
        with sync_client_of(self.settings) as client:
            pattern = f"{self.name}:{{{topic}:*}}:s:{series}:*"
            for key in client.scan_iter(match=pattern, count=1000):
                for name, value in client.hgetall(key).items():
                    assert name.decode() not in rows, "a key stands in one partition and one group"
                    rows[name.decode()] = _buckets_in(value, state_bytes)
        return rows

    async def messages(self, topic: str, wanted: Callable[[list[bytes]], bool]) -> list[bytes]:
        """All messages of a topic once they are as wanted, within 30 s; else what there is."""
        consumer = AIOKafkaConsumer(bootstrap_servers=self.bootstrap, auto_offset_reset="earliest")
        await consumer.start()
        try:
            partitions = [TopicPartition(topic, n) for n in range(self.settings.topic_partitions)]
            consumer.assign(partitions)
            await consumer.seek_to_beginning(*partitions)
            found: list[bytes] = []
            ends = time.monotonic() + 30
            while not wanted(found) and time.monotonic() < ends:
                batch = await consumer.getmany(timeout_ms=200)
                found += [record.value for records in batch.values() for record in records]
            return found
        finally:
            await consumer.stop()

    async def surges(self, wanted: Callable[[list[Surge]], bool]) -> list[Surge]:
        """Announced surges, once they are as wanted."""
        topic = self.settings.topic_surges
        raw = await self.messages(topic, lambda found: wanted([decode_surge(v) for v in found]))
        return [decode_surge(value) for value in raw]

    async def dead_letters(self, count: int) -> list[DeadLetter]:
        """Dead letters, once there are so many."""
        topic = self.settings.topic_dead_letters
        raw = await self.messages(topic, lambda found: len(found) >= count)
        return [decode_dead_letter(value) for value in raw]


def last_day(row: Buckets) -> Buckets:
    """The newest bucket and the 287 before it."""
    oldest = max(row) - WINDOW_BUCKETS + 1
    return {bucket: count for bucket, count in row.items() if bucket >= oldest}


def _buckets_in(value: bytes, state_bytes: int | None) -> Buckets:
    layout, newest = struct.unpack_from("<Bi", value)
    assert layout == 3
    begin = 5 + (WATCH_STATE_DTYPE.itemsize if state_bytes is None else state_bytes)
    entries = struct.iter_unpack("<HI", value[begin:])
    return {newest - back: count for back, count in entries}


class WorkerProcess:
    """A `surgewatch worker`; its log is in the site's folder."""

    arguments: Sequence[str] = ("-c", "from streams.app.cli import main; main()", "worker")

    def __init__(self, site: Site, name: str) -> None:
        self.log = site.folder / f"{name}.log"
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, *self.arguments],
                env={**os.environ, **site.environ},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    @property
    def runs(self) -> bool:
        """Whether the process is there."""
        return self._process.poll() is None

    def signal(self, number: int) -> None:
        """Send a signal."""
        self._process.send_signal(number)

    def kill(self) -> None:
        """End it as `kill -9` does."""
        self._process.kill()
        self._process.wait()

    def stop(self, seconds_max: float = 30.0) -> int:
        """End it with SIGTERM; its exit code."""
        self._process.terminate()
        return self.wait(seconds_max)

    def wait(self, seconds_max: float) -> int:
        """Wait for its end; its exit code."""
        return self._process.wait(seconds_max)

    def text(self) -> str:
        """What it printed."""
        return self.log.read_text()

    def metrics(self) -> dict[str, float]:
        """Its metrics by series, as `/metrics` tells them."""
        found = re.search(r"metrics on (http://\S+)", self.text())
        assert found is not None, "the worker tells where its metrics are"
        with urllib.request.urlopen(found.group(1), timeout=10) as answer:
            lines = answer.read().decode().splitlines()
        pairs = (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
        return {series: float(value) for series, value in pairs}


@dataclass
class Ledger:
    """What was sent and acknowledged, and what must come of it, by plain dictionaries."""

    buckets: dict[str, dict[str, Buckets]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(lambda: defaultdict(int)))
    )
    _water: dict[tuple[str, int], int] = field(default_factory=dict)
    openings: set[tuple[str, int]] = field(default_factory=set)
    _totals: dict[str, int] = field(default_factory=lambda: defaultdict(int))

    def follow(self, creator_id: str, at_ms: int, *, unfollow: bool = False) -> bytes:
        """Book a follow; its record. Openings are right while all lies within 24 hours."""
        series = "unfollows" if unfollow else "follows"
        self.buckets[series][creator_id][at_ms // BUCKET_MS] += 1
        if not unfollow:
            self._totals[creator_id] += 1
            if self._totals[creator_id] == self.threshold:
                self.openings.add((creator_id, at_ms))
        kind = {"kind": "unfollow"} if unfollow else {}
        record = {"creator_id": creator_id, "follower_id": "f-1", "at_ms": at_ms, **kind}
        return msgspec.json.encode(record)

    def comment(self, creator_id: str, post_id: str, at_ms: int, lang: str) -> bytes:
        """Book a comment; its record."""
        bucket = at_ms // BUCKET_MS
        self.buckets["comments"][creator_id][bucket] += 1
        self.buckets["posts"][post_id][bucket] += 1
        self.buckets["post_langs"][f"{post_id}\0{lang}"][bucket] += 1
        self.buckets["creator_langs"][f"{creator_id}\0{lang}"][bucket] += 1
        record = {
            "comment_id": "k-1",
            "post_id": post_id,
            "creator_id": creator_id,
            "commenter_id": "u-1",
            "at_ms": at_ms,
            "lang": lang,
        }
        return msgspec.json.encode(record)

    threshold: int = 500

    def differences(self, series: str, stored: Mapping[str, Buckets]) -> list[str]:
        """First keys that differ, in words; none if all are equal."""
        expected = {key: last_day(row) for key, row in self.buckets[series].items()}
        keys = sorted(expected.keys() | stored.keys())
        wrong = [key for key in keys if expected.get(key) != stored.get(key)]
        return [
            f"{series} {k!r}: sent {expected.get(k)}, stored {stored.get(k)}" for k in wrong[:3]
        ]


def partition_counts(keys: Iterable[bytes], partitions: int) -> dict[int, int]:
    """How many records the default partitioner puts into each partition."""
    counts: dict[int, int] = dict.fromkeys(range(partitions), 0)
    for key in keys:
        counts[partition_of(key, partitions)] += 1
    return counts
