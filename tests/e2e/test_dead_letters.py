"""The commands dead-letters list, show and retry, on real Kafka and Redis and a real worker."""

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiokafka import AIOKafkaProducer
from click.testing import CliRunner, Result
from kafka import TopicPartition

from streams.app.cli import main
from streams.core.records.chunks import DeadRecord, Reason
from streams.edges.codec.out import encode_dead_letter
from streams.edges.kafka.admin import admin_client
from streams.edges.kafka.producer import partition_of
from tests.workers import Site, WorkerProcess, wait_until

AT_MS = 1_736_899_200_000
KILLED_BETWEEN = """
import os, signal
from streams.app.dead_letters import retrying
mark = retrying.Retry._mark
async def killed(self, producer, lot, state):
    if state == "done":
        os.kill(os.getpid(), signal.SIGKILL)
    await mark(self, producer, lot, state)
retrying.Retry._mark = killed
from streams.app.cli import main
main()
"""


def follow(**fields: object) -> bytes:
    return msgspec.json.encode({"creator_id": "c-1", "follower_id": "f", "at_ms": AT_MS} | fields)


def without(name: str, record: bytes) -> bytes:
    return msgspec.json.encode(
        {key: value for key, value in json.loads(record).items() if key != name}
    )


@dataclass
class Desk:
    """A site, and the commands as they are typed."""

    site: Site

    def run(self, *arguments: str) -> Result:
        return CliRunner(env=dict(self.site.environ)).invoke(main, ["dead-letters", *arguments])

    def rows(self, *arguments: str) -> list[dict[str, Any]]:
        result = self.run(*arguments, "--json")
        assert result.exit_code == 0, result.output
        return [json.loads(line) for line in result.stdout.splitlines()]

    def letters(self) -> list[dict[str, Any]]:
        return [one for one in self.rows("list") if one["kind"] == "letter"]

    def send(self, topic: str, values: list[bytes], partition: int = 1) -> None:
        asyncio.run(self._send(topic, values, partition))

    async def _send(self, topic: str, values: list[bytes], partition: int) -> None:
        producer = AIOKafkaProducer(bootstrap_servers=self.site.bootstrap)
        await producer.start()
        try:
            for value in values:
                await producer.send_and_wait(topic, value, partition=partition)
        finally:
            await producer.stop()

    def bury(self, *dead: DeadRecord) -> None:
        letters = [encode_dead_letter(one, 900_000) for one in dead]
        self.send(self.site.settings.topic_dead_letters, letters)

    def counted(self, series: str = "follows") -> dict[str, int]:
        topic = self.site.settings.topic_follows
        stored = self.site.stored_buckets(topic, series)
        return {creator: sum(buckets.values()) for creator, buckets in stored.items()}

    def reached(self) -> int:
        settings = self.site.settings
        topics = (settings.topic_follows, settings.topic_comments)
        return sum(sum(self.site.stored_offsets(topic).values()) for topic in topics)


@pytest.fixture
def desk(site_of: Callable[..., Site]) -> Desk:
    return Desk(site_of())


def test_a_bad_record_is_mended_put_back_and_counted_once(
    desk: Desk, start: Callable[[Site, str], WorkerProcess], tmp_path: Path
) -> None:
    site, follows = desk.site, desk.site.settings.topic_follows
    good = [follow(at_ms=AT_MS + n) for n in range(3)]
    bad = [without("creator_id", follow(follower_id="f-7", at_ms=AT_MS + 4)), b"no json"]
    desk.send(follows, [*good, *bad])
    worker = start(site, "worker")
    wait_until(lambda: desk.reached() == 5, 40, worker.text)
    counts = [one for one in desk.rows("list") if one["kind"] == "count"]
    assert [(one["topic"], one["reason"], one["letters"], one["retried"]) for one in counts] == [
        (follows, "creator_missing", 1, 0),
        (follows, "not_json", 1, 0),
    ]
    newest, oldest = desk.letters()
    assert (newest["place"], newest["reason"], newest["retry"]) == ("1:1", "not_json", None)
    shown = desk.run("show", oldest["place"])
    assert shown.exit_code == 0, shown.output
    for words in ("creator_missing: it has no creator_id", "partition 1, offset 3", "f-7", "7b 22"):
        assert words in shown.stdout

    line = {"place": oldest["place"], "record": {"creator_id": "c-2", **json.loads(bad[0])}}
    mended = tmp_path / "mended.ndjson"
    mended.write_text(json.dumps(line) + "\n")
    tried = desk.run("retry", "--mended", str(mended), "--dry-run")
    assert (tried.exit_code, tried.stdout) == (0, "1:0\twould be put back\n"), tried.output
    done = desk.run("retry", "--mended", str(mended))
    assert (done.exit_code, done.stdout) == (0, "1:0\tput back\n"), done.output
    wait_until(lambda: desk.reached() == 6, 40, worker.text)
    assert desk.counted() == {"c-1": 3, "c-2": 1}
    home = partition_of(b"c-2", 4)
    assert site.stored_offsets(follows)[home] == (6 if home == 1 else 1)

    again = desk.run("retry", "--mended", str(mended))
    assert again.exit_code == 4
    assert "1:0\tretried before\tit was put back at " in again.stdout
    assert "1 of 1 were not put back" in again.stderr
    assert [one["retry"] for one in desk.letters()] == [None, "done"]
    forced = desk.run("retry", "--mended", str(mended), "--again")
    assert forced.exit_code == 0, forced.output
    wait_until(lambda: desk.reached() == 7, 40, worker.text)
    assert desk.counted() == {"c-1": 3, "c-2": 1}, "the event_id that it got is the same"
    assert worker.stop() == 0


def test_a_retry_killed_between_put_back_and_mark_counts_once(
    desk: Desk, start: Callable[[Site, str], WorkerProcess]
) -> None:
    site, follows = desk.site, desk.site.settings.topic_follows
    site.more = {**site.more, "SURGEWATCH_RECORD_BYTES_MAX": "200"}
    big = [follow(filler="x" * 300, follower_id="f", event_id=f"e-{n}") for n in range(3)]
    desk.send(follows, [follow(event_id="small"), *big], partition_of(b"c-1", 4))
    small = start(site, "small")
    wait_until(lambda: desk.reached() == 4, 40, small.text)
    assert small.stop() == 0
    refused = desk.run("retry", "--reason", "too_large")
    assert refused.exit_code == 4
    assert refused.stdout.count("refused\ttoo_large: it is longer than record_bytes_max") == 3

    site.more = {**site.more, "SURGEWATCH_RECORD_BYTES_MAX": "2000"}
    arguments = ["-c", KILLED_BETWEEN, "dead-letters", "retry", "--reason", "too_large"]
    killed = subprocess.run(  # noqa: PLW1510
        [sys.executable, *arguments], env=dict(site.environ), capture_output=True, timeout=60
    )
    assert killed.returncode == -9, killed.stderr
    assert [one["retry"] for one in desk.letters()] == ["begun"] * 3
    assert "\tperhaps, " in desk.run("list").stdout
    second = desk.run("retry", "--reason", "too_large", "--since", "1h")
    assert second.exit_code == 0, second.output
    assert [one["retry"] for one in desk.letters()] == ["done"] * 3
    worker = start(site, "worker")  # by its limit it learns the ids of the first three too
    wait_until(lambda: desk.reached() == 10, 40, worker.text)
    assert desk.counted() == {"c-1": 4}
    third = desk.run("retry", "--reason", "too_large")
    assert (third.exit_code, third.stderr) == (0, "surgewatch: 3 retried before\n")
    assert worker.stop() == 0


def test_what_is_not_known_to_be_put_back_is_refused_once_its_event_id_may_be_forgotten(
    desk: Desk,
) -> None:
    follows, dead = desk.site.settings.topic_follows, desk.site.settings.topic_dead_letters
    desk.bury(DeadRecord(follows, 1, 5, follow(), Reason.TOO_LARGE))
    environ = dict(desk.site.environ)
    arguments = ["-c", KILLED_BETWEEN, "dead-letters", "retry", "1:0"]
    killed = subprocess.run(  # noqa: PLW1510
        [sys.executable, *arguments], env=environ, capture_output=True, timeout=60
    )
    assert killed.returncode == -9, killed.stderr
    desk.site.more = {**desk.site.more, "SURGEWATCH_REPEATS_HORIZON_MS": "1"}
    second = desk.run("retry", "1:0")
    assert second.exit_code == 4
    assert "ended before it could say whether it put it back: --again does" in second.stdout
    assert desk.run("retry", "1:0", "--again").exit_code == 0
    assert len(asyncio.run(desk.site.messages(dead, lambda found: len(found) >= 4))) == 4


def test_each_record_that_cannot_be_put_back_is_told_with_its_reason_and_the_others_are(
    desk: Desk, start: Callable[[Site, str], WorkerProcess], tmp_path: Path
) -> None:
    settings = desk.site.settings
    follows, comments = settings.topic_follows, settings.topic_comments
    now_ms = time.time_ns() // 1_000_000
    home = partition_of(b"c-1", 4)
    desk.send(follows, [follow(at_ms=AT_MS)], home)
    worker = start(desk.site, "worker")
    wait_until(lambda: desk.reached() == 1, 40, worker.text)
    cut = DeadRecord(follows, 1, 2, b"y" * 2_000_000, Reason.TOO_LARGE)
    comment = {"comment_id": "k", "post_id": "p", "creator_id": "c-1", "commenter_id": "u"}
    desk.bury(
        DeadRecord(settings.topic_waves, 0, 9, b"{}", Reason.FIELD_INVALID),
        cut,
        DeadRecord(follows, 1, 3, follow(at_ms=AT_MS - 86_400_000), Reason.AT_MS_IN_FUTURE),
        DeadRecord(follows, 1, 4, follow(at_ms=now_ms + 90_000_000), Reason.AT_MS_IN_FUTURE),
        DeadRecord(follows, 1, 5, follow(at_ms=AT_MS - 86_100_000), Reason.AT_MS_IN_FUTURE),
        DeadRecord(comments, 1, 6, msgspec.json.encode(comment), Reason.AT_MS_MISSING),
    )
    lines = [{"place": "1:5", "record": comment | {"at_ms": AT_MS}}]
    mended = tmp_path / "mended.ndjson"
    mended.write_text("".join(json.dumps(one) + "\n" for one in lines))
    told = desk.run("retry", *(f"1:{n}" for n in range(5)))
    assert told.exit_code == 4
    rows = dict(line.split("\t", 1) for line in told.stdout.splitlines())
    assert rows.pop("1:4") == "put back"
    for place, words in (
        ("1:0", f"it came from {settings.topic_waves}, and only follows and comments"),
        ("1:1", "of its 2000000 bytes only 6"),
        ("1:2", "too late: its at_ms is 2025-01-14T00:00:00Z"),
        ("1:3", "at_ms_in_future: its at_ms is later than it can be"),
    ):
        assert words in rows.pop(place)
    assert rows == {}
    assert "4 of 5 were not put back" in told.stderr
    assert desk.run("retry", "--mended", str(mended)).exit_code == 0
    wait_until(lambda: desk.reached() == 3, 40, worker.text)
    assert desk.counted() == {"c-1": 2}
    assert worker.stop() == 0


def test_a_place_that_has_no_letter_is_one_line_and_nothing_is_sent(desk: Desk) -> None:
    settings = desk.site.settings
    dead = [DeadRecord(settings.topic_follows, 1, n, follow(), Reason.NOT_JSON) for n in range(3)]
    desk.bury(*dead)
    assert desk.run("retry", "1:2").exit_code == 0
    with admin_client(settings) as admin:
        admin.delete_records({TopicPartition(settings.topic_dead_letters, 1): 1})
    for place, words in (
        ("4:0", "the topic has 4 partitions, the first one is 0"),
        ("1:0", "Kafka's retention took it, the partition begins at offset 1 now"),
        ("1:99", "the partition ends at offset 5"),
        ("1:3", "a mark of a retry"),
    ):
        for command in (["show", place], ["retry", "1:1", place]):
            result = desk.run(*command)
            assert (result.exit_code, result.stdout) == (4, ""), (command, result.output)
            assert f"no dead letter at {place}: " in result.stderr
            assert words in result.stderr
            assert result.stderr.count("\n") == 1
    assert [one["retry"] for one in desk.letters()] == ["done", None]


def test_a_letter_written_twice_is_counted_and_put_back_once_and_others_records_are_told(
    desk: Desk,
) -> None:
    settings = desk.site.settings
    one = DeadRecord(settings.topic_follows, 1, 7, follow(), Reason.NOT_JSON)
    desk.bury(one, one, replace(one, raw=follow(creator_id="of a topic made again")))
    desk.send(settings.topic_dead_letters, [b"something else"])
    listed = desk.run("list")
    assert listed.stdout.splitlines()[1] == f"{settings.topic_follows}\tnot_json\t2\t0"
    assert "1 records of" in listed.stderr
    done = desk.run("retry", "--reason", "not_json")
    assert (done.exit_code, done.stdout) == (0, "1:0\tput back\n1:2\tput back\n"), done.output
    (_, row) = desk.run("list", "--limit", "0").stdout.splitlines()
    assert row == f"{settings.topic_follows}\tnot_json\t2\t2"
    assert "put back" in desk.run("show", "1:1").stdout.lower()
    assert desk.rows("list", "--since", "2099-01-01") == []
    none = desk.run("list", "--since", "2099-01-01")
    assert (none.exit_code, none.stdout) == (0, "")
    words = f"there are no such dead letters in topic {settings.topic_dead_letters}\n"
    assert none.stderr.endswith(words)


def test_kafka_down_and_a_topic_that_is_not_there_are_one_line(desk: Desk) -> None:
    desk.site.more = {**desk.site.more, "SURGEWATCH_TOPIC_DEAD_LETTERS": "nowhere"}
    for command in (["list"], ["show", "0:0"], ["retry", "0:0"]):
        result = desk.run(*command)
        assert result.exit_code == 4, result.output
        assert "topic nowhere does not exist" in result.stderr
    desk.site.bootstrap = "127.0.0.1:1"
    for command in (["list"], ["show", "0:0"], ["retry", "0:0"]):
        result = desk.run(*command)
        assert result.exit_code == 3, result.output
        assert "cannot reach Kafka at 127.0.0.1:1" in result.stderr
        assert result.stderr.count("\n") == 1
