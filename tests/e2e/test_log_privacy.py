"""What a worker prints while it reads, debugging and not: nobody's ids but those of surges."""

import asyncio
import json
import re
import time
from collections.abc import Callable

import pytest
from aiokafka import AIOKafkaProducer

from tests.workers import Site, WorkerProcess, wait_until

MARK = "zq9privat"
"""In every follower, commenter, comment, event id and text that is sent, and nowhere else."""
QUIET_CREATOR = "quietcreator"
LOUD_CREATOR = "loudcreator"
FOLLOWS = 600
COMMENTS = 300


def rows(now_ms: int) -> tuple[list[bytes], list[bytes]]:
    """Follows and comments of a loud creator and a quiet one, and what cannot be used."""

    def follow(creator_id: str, number: int) -> dict[str, object]:
        return {
            "follower_id": f"f-{MARK}-{number}",  # first: what prints a batch cuts it short
            "creator_id": creator_id,
            "event_id": f"e-{MARK}-{number}",
            "at_ms": now_ms - 1000 + number,
        }

    def comment(creator_id: str, number: int) -> dict[str, object]:
        return {
            **follow(creator_id, number),
            "post_id": f"p-{creator_id}",
            "comment_id": f"k-{MARK}-{number}",
            "commenter_id": f"u-{MARK}-{number}",
            "text": f"words of {MARK}",
            "lang": "en",
        }

    follows = [follow(LOUD_CREATOR, n) for n in range(FOLLOWS)] + [follow(QUIET_CREATOR, 1)] * 2
    comments = [comment(LOUD_CREATOR, n) for n in range(COMMENTS)] + [comment(QUIET_CREATOR, 1)]
    broken = [f"{{{MARK}".encode(), json.dumps({"follower_id": MARK}).encode()]
    broken += [json.dumps({**follow(QUIET_CREATOR, 1), "at_ms": MARK}).encode()]
    return (
        [json.dumps(one).encode() for one in follows] + broken,
        [json.dumps(one).encode() for one in comments] + broken,
    )


async def send(site: Site, follows: list[bytes], comments: list[bytes]) -> None:
    """Send them as they are: compressed, a fetched batch would not show what it holds."""
    producer = AIOKafkaProducer(bootstrap_servers=site.bootstrap, compression_type=None)
    await producer.start()
    try:
        for topic, values in (
            (site.settings.topic_follows, follows),
            (site.settings.topic_comments, comments),
        ):
            for value in values:
                await producer.send(topic, value, partition=1)
        await producer.flush()
    finally:
        await producer.stop()


@pytest.mark.parametrize(("level", "form"), [("debug", "json"), ("info", "text")])
def test_no_follower_no_text_and_creators_only_where_they_surge(
    site_of: Callable[..., Site],
    start: Callable[[Site, str], WorkerProcess],
    level: str,
    form: str,
) -> None:
    site = site_of(SURGEWATCH_LOG_LEVEL=level, SURGEWATCH_LOG_FORMAT=form)
    follows, comments = rows(time.time_ns() // 1_000_000)
    asyncio.run(send(site, follows, comments))
    worker = start(site, "worker")
    settings = site.settings

    def all_stored() -> bool:
        return sum(site.stored_offsets(settings.topic_follows).values()) == len(follows) and sum(
            site.stored_offsets(settings.topic_comments).values()
        ) == len(comments)

    wait_until(all_stored, 60, worker.text)
    wait_until(lambda: LOUD_CREATOR in worker.text(), 20, worker.text)
    assert worker.stop() == 0
    said = worker.text()
    assert MARK not in said
    of_creators = [line for line in said.splitlines() if "creator" in line and LOUD_CREATOR in line]
    assert of_creators
    elsewhere = [line for line in of_creators if not re.search("opened|grown|closed", line)]
    assert elsewhere == []
    assert QUIET_CREATOR not in said
    if form == "json":
        lines = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
        assert len(lines) == len(said.splitlines())
        assert "ended" in {line.get("event") for line in lines}
        names = {line["worker"] for line in lines}
        assert len(names) == 1
        assert re.fullmatch(r".+:\d+", names.pop())
        pages = [line for line in lines if line.get("event") == "surge_page"]
        assert {(one["topic"], one["kind"]) for one in pages} >= {
            (settings.topic_follows, "followers"),
        }
        assert all(one["partition"] in range(4) and one["offset"] >= 0 for one in pages)
    else:
        assert f"opened by rule: followers of {LOUD_CREATOR}, 500 in 24 h" in said
        assert "ended in order: what was counted is stored" in said.splitlines()[-1]
        assert "Flush producer buffer" not in said
