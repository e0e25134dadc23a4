"""The command counts on a real Redis, against counts made with plain dictionaries."""

import asyncio
import json
import random
import time
import uuid
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from click.testing import CliRunner, Result
from redis import Redis
from redis.asyncio import Redis as AsyncRedis

from streams.app.cli import main
from streams.edges.kafka.producer import partition_of
from streams.edges.redis.store import RedisStore, RedisStorePolicy
from streams.edges.store import Place, StoreKind, Write
from tests.jobs import (
    Comment,
    FollowKind,
    comment_partition,
    comments,
    follow_partition,
    follows,
)
from tests.servers import RedisServer

PARTITIONS = 4
BUCKET_MS = 300_000
DAY_MS = 86_400_000
BEGIN_MS = 1_736_899_200_000


@dataclass
class Desk:
    """A prefix in a real Redis, what was written under it, and the command that reads it."""

    server: RedisServer
    prefix: str
    follows: list[FollowKind] = field(default_factory=list)
    comments: list[Comment] = field(default_factory=list)

    def fill(self, partition: Callable[[str], int] | None = None) -> None:
        asyncio.run(self._fill(partition or number_of))

    async def _fill(self, partition: Callable[[str], int]) -> None:
        rows = [*(one[0] for one in self.follows), *(one[0] for one in self.comments)]
        await self.fill_dealt([partition(creator) for creator in rows])

    async def fill_dealt(self, numbers: list[int]) -> None:
        """Fill; the partition of each follow, then of each comment, is given."""
        placed = [
            [*zip(some, numbers[begin:], strict=False)]
            for some, begin in ((self.follows, 0), (self.comments, len(self.follows)))
        ]
        policy = RedisStorePolicy(self.prefix, 86_400, self.server.url)
        store = RedisStore(AsyncRedis.from_url(self.server.url), policy, time.monotonic)
        await store.check(StoreKind(PARTITIONS, "surgewatch", "g"))
        for number in range(PARTITIONS):
            mine: list[Any] = [one for one, place in placed[0] if place == number]
            told: list[Any] = [one for one, place in placed[1] if place == number]
            following, commenting = follow_partition(10**9), comment_partition(10**9)
            following.take(follows(mine))
            commenting.take(comments(told))
            for topic, change, after in (
                ("follows", following.drain(), len(mine)),
                ("comments", commenting.drain(), len(told)),
            ):
                if after:
                    place = Place(topic, number)
                    fence = await store.claim(place, 1)
                    await store.write(place, fence, Write(change, None, after))
        await store.close()

    def run(self, *arguments: str) -> Result:
        env = {"SURGEWATCH_REDIS_URL": self.server.url, "SURGEWATCH_REDIS_PREFIX": self.prefix}
        return CliRunner(env=env).invoke(main, ["counts", *arguments])

    def told(self, *arguments: str) -> dict[str, dict[str, object]]:
        result = self.run(*arguments, "--json")
        assert result.exit_code == 0, result.output
        rows = [json.loads(line) for line in result.stdout.splitlines()]
        by_creator = {row["creator_id"]: row for row in rows}
        assert len(by_creator) == len(rows), "no creator is told twice"
        return by_creator

    def expected(self) -> dict[str, dict[str, object]]:
        """The same, counted with dictionaries."""
        as_of: dict[int, int] = defaultdict(int)
        for creator, at_ms in [
            *((one[0], one[1]) for one in self.follows),
            *((one[0], one[3]) for one in self.comments),
        ]:
            as_of[number_of(creator)] = max(as_of[number_of(creator)], at_ms)
        counts: dict[str, dict[str, Counter[int]]] = defaultdict(lambda: defaultdict(Counter))
        for creator, at_ms, gone in self.follows:
            name = "unfollow_buckets" if gone else "buckets"
            counts[creator][name][at_ms - at_ms % BUCKET_MS] += 1
        for creator, _, _, at_ms in self.comments:
            counts[creator]["comment_buckets"][at_ms - at_ms % BUCKET_MS] += 1
        told: dict[str, dict[str, object]] = {}
        for creator, columns in counts.items():
            end_ms = as_of[number_of(creator)]
            oldest_ms = end_ms - end_ms % BUCKET_MS - DAY_MS + BUCKET_MS
            row: dict[str, object] = {"creator_id": creator, "as_of_ms": end_ms}
            for name, total in (
                ("buckets", "follows_24h"),
                ("unfollow_buckets", "unfollows_24h"),
                ("comment_buckets", "comments_24h"),
            ):
                kept = [[s, n] for s, n in sorted(columns[name].items()) if s >= oldest_ms]
                row |= {name: kept, total: sum(n for _, n in kept)}
            told[creator] = row
        return told


def number_of(creator: str) -> int:
    return partition_of(creator.encode(), PARTITIONS)


@pytest.fixture
def desk(redis_server: RedisServer, fresh_name: Callable[[str], str]) -> Desk:
    return Desk(redis_server, fresh_name("counts"))


@pytest.fixture(scope="module")
def busy_desk(redis_server: RedisServer) -> Desk:
    """Thirty hours of 400 creators: most follow and comment, some do one of the two."""
    desk = Desk(redis_server, f"counts-{uuid.uuid4().hex[:8]}")
    rng = random.Random(7)
    times = sorted(BEGIN_MS + rng.randrange(30 * 3_600_000) for _ in range(20_000))
    jittered = [at_ms - rng.randrange(1_200_000) for at_ms in times]
    desk.follows = [
        (f"c-{min(int(rng.paretovariate(0.5)), 350)}", at_ms, rng.random() < 0.1)
        for at_ms in jittered[::2]
    ]
    desk.follows += [(f"unfollowed-{n}", jittered[-1], True) for n in range(9)]
    desk.comments = [
        (f"c-{rng.randrange(100, 400)}", f"p-{rng.randrange(30)}", rng.choice("ab"), at_ms)
        for at_ms in jittered[1::2]
    ]
    desk.comments += [(desk.comments[0][0], "p-x", lang, jittered[-1]) for lang in "aab"]
    desk.fill()
    return desk


def test_counts_of_all_are_those_of_a_dictionary(busy_desk: Desk) -> None:
    expected = busy_desk.expected()
    active = {
        creator: row
        for creator, row in expected.items()
        if row["buckets"] or row["unfollow_buckets"] or row["comment_buckets"]
    }
    assert 300 < len(active) < len(expected)
    assert busy_desk.told("--all") == active
    assert busy_desk.told("--all", "--idle") == expected


def test_counts_of_one_creator_are_its_line_of_all(busy_desk: Desk) -> None:
    expected = busy_desk.expected()
    for creator in ("c-1", "c-120", "c-399", "unfollowed-3"):
        assert busy_desk.told("--creator", creator) == {creator: expected[creator]}


def test_top_are_the_most_followed_in_order(busy_desk: Desk) -> None:
    rows = busy_desk.expected().values()
    ranked = sorted(rows, key=lambda row: (-int(str(row["follows_24h"])), str(row["creator_id"])))
    assert list(busy_desk.told("--top", "5").values()) == ranked[:5]


def test_creator_in_a_partition_that_is_not_its_own_is_found(desk: Desk) -> None:
    desk.follows = [("c-1", BEGIN_MS, False)]
    desk.fill(lambda creator: (number_of(creator) + 1) % PARTITIONS)
    assert desk.told("--creator", "c-1")["c-1"]["follows_24h"] == 1


def test_a_creator_whose_records_are_in_several_partitions_is_told_as_their_sum(
    desk: Desk,
) -> None:
    desk.follows = [("c-1", BEGIN_MS + n * BUCKET_MS, n == 3) for n in range(4)]
    desk.follows.append(("c-1", BEGIN_MS - DAY_MS, False))
    desk.comments = [("c-1", "p-1", lang, BEGIN_MS) for lang in "aab"]
    numbers = iter([0, 1, 2, 2, 3, 0, 1, 1])  # as records without a key are dealt
    dealt = [*(next(numbers) for _ in desk.follows), *(next(numbers) for _ in desk.comments)]
    asyncio.run(desk.fill_dealt(dealt))
    told = desk.run("--creator", "c-1", "--json")
    row = json.loads(told.stdout)
    assert (row["follows_24h"], row["unfollows_24h"], row["comments_24h"]) == (3, 1, 3)
    assert row["buckets"] == [[BEGIN_MS + n * BUCKET_MS, 1] for n in range(3)]
    assert "creator c-1 is in 4 partitions (0, 1, 2, 3): this is their sum" in told.stderr
    post = json.loads(desk.run("--post", "p-1", "--json").stdout)
    assert (post["comments_24h"], post["langs"]) == (3, {"a": 2, "b": 1})


def test_table_for_people_has_totals_and_buckets(busy_desk: Desk) -> None:
    row = busy_desk.expected()["c-1"]
    result = busy_desk.run("--creator", "c-1")
    titles, totals, empty, *buckets = result.stdout.splitlines()
    assert titles.startswith("Creator\t")
    assert totals.split("\t")[:2] == ["c-1", str(row["follows_24h"])]
    assert empty == ""
    assert len(buckets) > 200
    lines = busy_desk.run("--all").stdout.splitlines()
    assert sum(line.startswith("c-1\t") for line in lines) == 1


def test_post_is_told_by_language(busy_desk: Desk) -> None:
    result = busy_desk.run("--post", "p-x", "--json")
    told = json.loads(result.stdout)
    assert (told["comments_24h"], told["langs"]) == (3, {"a": 2, "b": 1})
    assert busy_desk.run("--post", "p-x").stdout.splitlines()[1].startswith("p-x\t3\t")
    assert busy_desk.run("--post", "p").exit_code == 4


@pytest.mark.parametrize("option", ["--creator", "--post"])
def test_unknown_id_is_one_line_and_exit_code_4(busy_desk: Desk, option: str) -> None:
    result = busy_desk.run(option, "nobody\x1b[2J")
    assert (result.exit_code, result.stdout) == (4, "")
    assert result.stderr.count("\n") == 1
    assert r"nobody\x1b[2J in Redis" in result.stderr


def test_redis_without_counts_says_so(desk: Desk) -> None:
    result = desk.run("--all")
    assert result.exit_code == 4
    assert "holds no counts" in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_partition_that_holds_half_of_a_write_is_not_counted_on(desk: Desk) -> None:
    desk.follows = [("ann", BEGIN_MS, False)]
    desk.fill()
    with Redis.from_url(desk.server.url) as client:
        client.hincrby(f"{desk.prefix}:{{follows:{number_of('ann')}}}:meta", "begun", 1)
    result = desk.run("--all")
    assert result.exit_code == 4
    assert "holds half of a write in follows[" in result.stderr
    assert result.stderr.count("\n") == 1


def test_redis_of_another_layout_says_so(desk: Desk) -> None:
    with Redis.from_url(desk.server.url) as client:
        client.hset(f"{desk.prefix}:layout", mapping={"layout": 9, "partitions": 4})
    result = desk.run("--all")
    assert result.exit_code == 4
    assert "holds layout 9" in result.stderr


def test_counts_without_redis_say_so_and_hide_the_password() -> None:
    env = {"SURGEWATCH_REDIS_URL": "redis://u:secret@127.0.0.1:1/0"}
    result = CliRunner(env=env).invoke(main, ["counts", "--all"])
    assert result.exit_code == 3
    assert "cannot reach Redis at redis://u:***@127.0.0.1:1/0" in result.stderr
    assert result.stderr.count("\n") == 1


def test_redis_url_that_is_none_is_a_line_about_the_setting() -> None:
    env = {"SURGEWATCH_REDIS_URL": "redis://127.0.0.1:port/0"}
    result = CliRunner(env=env).invoke(main, ["counts", "--all"])
    assert result.exit_code == 2
    assert "redis_url = redis://127.0.0.1:***: " in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_hundred_thousand_creators_are_told_in_seconds(desk: Desk) -> None:
    desk.follows = [(f"c-{n:06d}", BEGIN_MS + n * 10, False) for n in range(100_000)] * 2
    desk.comments = [(f"c-{n:06d}", "p", "a", BEGIN_MS + n) for n in range(0, 100_000, 4)]
    desk.fill()
    begin = time.monotonic()
    result = desk.run("--all", "--json")
    seconds = time.monotonic() - begin
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    assert len(rows) == 100_000
    assert sum(row["follows_24h"] for row in rows) == 200_000
    assert sum(row["comments_24h"] for row in rows) == 25_000
    assert seconds < 15, "measured: about 1 s"
