"""Everything a run of chaos stands on: servers behind proxies, workers, producer, ledger."""

import random
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from time import monotonic
from typing import Self

from streams.edges.kafka.topics import input_topics
from tests.chaos.commits import CommitWatch
from tests.chaos.fleet import Fleet
from tests.chaos.proxy import Proxy
from tests.chaos.records import LONG_SPAN_MS, SPAN_MS, Records
from tests.chaos.repair import MendedRedis
from tests.chaos.stream import Stream
from tests.chaos.truth import Truth
from tests.servers import KafkaServer
from tests.workers import Site

SESSION_SECONDS = 6.0
_KEYS_IN_MEMORY = (3_000, 10_000_000)
"""So few that most are let go and read back again and again, or so many that none is."""
_ROUND_STEPS = 45_000
"""Of event time, about what a round takes: a record is one step, 25 of a burst are one."""
_SETTINGS = {
    "SURGEWATCH_KAFKA_SESSION_TIMEOUT_MS": str(int(SESSION_SECONDS * 1000)),
    "SURGEWATCH_RULE_FOLLOWERS_24H": "500",
    "SURGEWATCH_RULE_COMMENTS_24H": "100",
}


@dataclass
class Stage:
    """What the faults and the checks act on."""

    site: Site
    kafka: KafkaServer
    redis: MendedRedis
    kafka_net: Proxy
    redis_net: Proxy
    fleet: Fleet
    stream: Stream
    truth: Truth
    chance: random.Random
    commits: CommitWatch
    kept: ExitStack
    were_black: set[str] = field(default_factory=set)
    """Networks that have been black for long."""
    pauses: Counter[bool] = field(default_factory=Counter)
    """Workers woken after a pause, by whether others had all partitions by then."""

    @classmethod
    def built(cls, folder: Path, seed: int, rounds: int, lateness_seconds: int = 0) -> Self:
        """Start it all; workers reach both servers through a proxy, checks go straight."""
        with ExitStack() as stack:
            kafka_net, redis_net = Proxy(seed), Proxy(seed + 1)
            for net in (kafka_net, redis_net):
                net.start()
                stack.callback(net.stop)
            address = f"PLAINTEXT://127.0.0.1:{kafka_net.port}"
            kafka = KafkaServer(folder / "kafka", settings={"advertised.listeners": address})
            redis = MendedRedis(folder / "redis")
            stack.callback(redis.stop)  # its disk is there
            for server, net in ((kafka, kafka_net), (redis, redis_net)):
                stack.callback(server.stop)
                server.start()
                net.target_port = server.port
            chance = random.Random(seed)
            more = {
                **_SETTINGS,
                "SURGEWATCH_ALLOWED_LATENESS_MS": str(1000 * lateness_seconds),
                "SURGEWATCH_KEYS_IN_MEMORY_MAX": str(chance.choice(_KEYS_IN_MEMORY)),
                "SURGEWATCH_KAFKA_BOOTSTRAP_SERVERS": f"127.0.0.1:{kafka_net.port}",
                "SURGEWATCH_REDIS_URL": f"redis://127.0.0.1:{redis_net.port}/0",
            }
            site = Site(kafka.bootstrap, redis.url, "chaos", folder, more).make_topics()
            fleet = Fleet(site)
            stack.callback(fleet.kill)
            for _ in range(chance.choice((2, 3))):
                fleet.add()
            settings = site.settings
            topics = {"follows": settings.topic_follows, "comments": settings.topic_comments}
            # an odd seed's events go on for longer than a day
            span_ms = LONG_SPAN_MS if seed % 2 else SPAN_MS
            records = Records(seed, span_ms, rounds * _ROUND_STEPS, later=not lateness_seconds)
            stream = Stream(kafka.bootstrap, topics, settings.topic_partitions, records)
            stack.callback(stream.stop)
            commits = CommitWatch(site, lambda: stored_in(site, input_topics(settings)))
            stack.callback(commits.stop)
            return cls(
                site, kafka, redis, kafka_net, redis_net, fleet, stream, Truth(site), chance,
                commits, stack.pop_all(),
            )  # fmt: skip

    def stored(self) -> dict[tuple[str, int], int]:
        """Offsets in Redis by partition of the topics of events."""
        settings = self.site.settings
        return stored_in(self.site, (settings.topic_follows, settings.topic_comments))

    @property
    def partitions(self) -> int:
        """Of all topics that workers read."""
        settings = self.site.settings
        return len(input_topics(settings)) * settings.topic_partitions

    def wait_for(self, done: Callable[[], bool], seconds_max: float) -> bool:
        """Wait for a condition, workers tended; whether it came true in time."""
        ends = monotonic() + seconds_max
        while not done():
            if monotonic() > ends:
                return False
            self.wait(0.1)
        return True

    def wait(self, seconds: float) -> None:
        """Let time pass; ended workers are started again."""
        ends, never = monotonic() + seconds, Event()
        while (left := ends - monotonic()) > 0:
            self.fleet.tend()
            never.wait(min(left, 0.1))


def stored_in(site: Site, topics: Iterable[str]) -> dict[tuple[str, int], int]:
    """Offsets in Redis by topic and partition; none stored: 0."""
    return {
        (topic, number): offset
        for topic in topics
        for number, offset in site.stored_offsets(topic).items()
    }
