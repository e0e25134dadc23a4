"""Records out of order on real Kafka and Redis, a worker killed: the surges are those of order."""

import asyncio
import random
from collections.abc import Callable

import pytest

from streams.app.backtest.run import Backtest
from streams.core.surges.surge import Surge
from streams.edges.files.records import RecordFile
from streams.edges.kafka.producer import RecordProducer
from tests.workers import Ledger, Site, WorkerProcess, wait_until

BEGIN_MS = 1_736_899_200_000
RECORDS = 24_000
ALLOWED_MS = 10_000


def records_of(ledger: Ledger) -> list[tuple[int, bytes, bytes]]:
    """One follow a second of event time; some creators have far more than others."""
    chance, made = random.Random(7), []
    for number in range(RECORDS):
        creator, at_ms = f"c-{int(60 * chance.random() ** 3)}", BEGIN_MS + 1000 * number
        unfollow = chance.random() < 0.05
        made.append((at_ms, creator.encode(), ledger.follow(creator, at_ms, unfollow=unfollow)))
    return made


async def send(site: Site, records: list[tuple[int, bytes, bytes]]) -> None:
    async with RecordProducer(site.settings) as producer:
        await producer.open_topic(site.settings.topic_follows)
        await producer.open_topic(site.settings.topic_comments)
        keys, values = [key for _, key, _ in records], [value for _, _, value in records]
        await producer.send(site.settings.topic_follows, keys, values)


def reached(site: Site) -> int:
    return sum(site.stored_offsets(site.settings.topic_follows).values())


def differences(site: Site, ledger: Ledger) -> list[str]:
    topic = site.settings.topic_follows
    return [
        difference
        for series in ("follows", "unfollows")
        for difference in ledger.differences(series, site.stored_buckets(topic, series))
    ]


def revisions(surges: list[Surge]) -> dict[tuple[str, int], Surge]:
    found: dict[tuple[str, int], Surge] = {}
    for surge in surges:
        assert found.setdefault((surge.surge_id, surge.revision), surge) == surge
    return found


def without_servers(site: Site, records: list[tuple[int, bytes, bytes]]) -> list[Surge]:
    """Surges that the back-test finds in the records."""
    path = site.folder / "follows.ndjson"
    path.write_bytes(b"\n".join(value for _, _, value in records) + b"\n")
    run = Backtest(site.settings, lambda dead: None)
    with RecordFile(path, site.settings.topic_follows) as file:
        run.take(file)
    return run.result.surges()


@pytest.mark.slow
def test_records_shuffled_around_a_kill_9_give_the_counts_and_surges_of_order(
    site_of: Callable[..., Site], start: Callable[[Site, str], WorkerProcess]
) -> None:
    ledger, site = Ledger(), site_of(SURGEWATCH_ALLOWED_LATENESS_MS=str(ALLOWED_MS))
    records = records_of(ledger)
    chance = random.Random(11)
    shuffled = sorted(records, key=lambda one: one[0] + chance.randrange(ALLOWED_MS))
    assert shuffled != records
    expected = revisions(without_servers(site, records))
    assert len(expected) > 10
    assert revisions(without_servers(site, shuffled)) == expected
    asyncio.run(send(site, shuffled[: RECORDS // 2]))
    first = start(site, "first")
    wait_until(lambda: reached(site) > 3_000, 60, lambda: f"begun; {first.text()[-2000:]}")
    first.kill()
    asyncio.run(send(site, shuffled[RECORDS // 2 :]))
    second = start(site, "second")
    wait_until(lambda: reached(site) == RECORDS, 60, lambda: f"read; {second.text()[-2000:]}")
    wait_until(lambda: not differences(site, ledger), 60, "what was held is let through")
    label = f'{{topic="{site.settings.topic_follows}"}}'
    wait_until(lambda: second.metrics()[f"surgewatch_held_records{label}"] == 0, 10, "none held")
    assert second.metrics()[f"surgewatch_beyond_lateness_records_total{label}"] == 0
    assert second.stop() == 0
    found = asyncio.run(site.surges(lambda found: revisions(found).keys() >= expected.keys()))
    assert revisions(found) == expected
