"""Kafka changed under the workers: each change is told, and nothing wrong is counted."""

import asyncio
import re
import signal
from collections.abc import Callable, Iterable

import pytest
from redis import Redis

from streams.core.surges.surge import Surge
from streams.edges.kafka.admin import admin_client
from streams.edges.kafka.producer import partition_of
from streams.edges.kafka.topics import create_topics
from tests.e2e.desk import FollowsDesk
from tests.e2e.told_worker import ToldWorker, assert_plain
from tests.servers import KafkaServer
from tests.workers import Site, wait_until

OLD = [f"old-{number % 40}" for number in range(200)]
NEW = [f"new-{number % 60}" for number in range(600)]
QUICK = {"SURGEWATCH_CHECK_INTERVAL_MS": "300"}
ONE = "creator-1"
PLACE = partition_of(ONE.encode(), 4)
FIRST_OF_PLACE = {partition_of(f"c-{n}".encode(), 4): f"c-{n}" for n in reversed(range(40))}
NAMES_OF_ALL_PLACES = [name for name in FIRST_OF_PLACE.values() for _ in range(100)]


def wait_told(worker: ToldWorker, words: str) -> None:
    wait_until(lambda: words in worker.text(), 40, worker.text)


def of_rule(surges: Iterable[Surge]) -> list[Surge]:
    return [one for one in surges if (one.trigger, one.state) == ("rule", "opened")]


def name_of(surge: Surge) -> str | None:
    return surge.creator_id


@pytest.mark.parametrize("is_busy", [True, False], ids=["busy", "idle"])
def test_more_partitions_stop_a_running_worker_before_it_counts_a_record_sent_since(
    site_of: Callable[..., Site], told: Callable[[Site, str], ToldWorker], is_busy: bool
) -> None:
    desk = FollowsDesk(site_of(**QUICK))
    desk.send(desk.follows(OLD, counted=True))
    worker = told(desk.site, "worker")
    desk.wait_stored(worker, len(OLD))
    desk.add_partitions(6)
    if is_busy:
        desk.send(desk.follows(OLD + NEW, counted=False, partitions=6))
    assert worker.wait(30) == 4, worker.text()
    assert_plain(worker, "has 6 partitions now and had 4", "SURGEWATCH_TOPIC_PARTITIONS=6")
    assert worker.counters()["bad_input:partitions_changed"] == 1
    assert desk.differences() == []
    with Redis.from_url(desk.site.redis_url) as client:
        prefix = f"{desk.site.name}:{{{desk.topic}"
        assert not client.exists(f"{prefix}:4}}:meta", f"{prefix}:5}}:meta")


@pytest.mark.parametrize("count", [10, 600], ids=["shorter than before", "longer than before"])
def test_a_topic_made_again_under_a_running_worker_is_never_counted_on_top_of_the_old_one(
    site_of: Callable[..., Site], told: Callable[[Site, str], ToldWorker], count: int
) -> None:
    desk = FollowsDesk(site_of(**QUICK))
    desk.send(desk.follows(OLD, counted=True))
    worker = told(desk.site, "worker")
    desk.wait_stored(worker, len(OLD))
    desk.make_again()
    desk.send(desk.follows(NEW[:count], counted=False))
    assert worker.wait(40) == 4, worker.text()
    assert_plain(worker, "was deleted and made again", "another SURGEWATCH_REDIS_PREFIX")
    assert worker.counters()["bad_input:topic_replaced"] == 1
    assert desk.differences() == []


@pytest.mark.parametrize("count", [10, 600], ids=["shorter than before", "longer than before"])
def test_a_topic_made_again_while_no_worker_ran_is_refused_and_counted_under_another_prefix(
    site_of: Callable[..., Site], told: Callable[[Site, str], ToldWorker], count: int
) -> None:
    desk = FollowsDesk(site_of())
    desk.send(desk.follows(OLD, counted=True))
    first = told(desk.site, "first")
    desk.wait_stored(first, len(OLD))
    assert first.stop() == 0
    desk.make_again()
    desk.send(desk.follows(NEW[:count], counted=False))
    second = told(desk.site, "second")
    assert second.wait(40) == 4, second.text()
    assert_plain(second, "was deleted and made again", "another SURGEWATCH_REDIS_PREFIX")
    assert second.counters()["bad_input:topic_replaced"] == 1
    assert desk.differences() == []

    prefix = f"{desk.site.name}-anew"
    desk.site.more = {**desk.site.more, "SURGEWATCH_REDIS_PREFIX": prefix}
    third = told(desk.site, "third")
    anew = Site(desk.site.bootstrap, desk.site.redis_url, prefix, desk.site.folder)
    wait_until(lambda: sum(anew.stored_offsets(desk.topic).values()) == count, 40, third.text)
    desk.ledger = type(desk.ledger)()
    desk.follows(NEW[:count], counted=True)
    stored = anew.stored_buckets(desk.topic, "follows")
    assert desk.ledger.differences("follows", stored) == []
    assert third.stop() == 0


def test_a_topic_that_is_gone_stops_the_worker_with_what_it_counted(
    site_of: Callable[..., Site], told: Callable[[Site, str], ToldWorker]
) -> None:
    desk = FollowsDesk(site_of(**QUICK))
    desk.send(desk.follows(OLD, counted=True))
    worker = told(desk.site, "worker")
    desk.wait_stored(worker, len(OLD))
    desk.delete()
    assert worker.wait(40) == 4, worker.text()
    assert_plain(worker, "does not exist any more", "surgewatch topics create")
    assert worker.counters()["bad_input:topic_gone"] == 1
    assert desk.differences() == []


def test_another_partition_count_while_no_worker_runs_is_refused_and_counted(
    site_of: Callable[..., Site], told: Callable[[Site, str], ToldWorker]
) -> None:
    desk = FollowsDesk(site_of())
    desk.add_partitions(6)
    worker = told(desk.site, "worker")
    assert worker.wait(40) == 4, worker.text()
    assert_plain(worker, "it has 6 partitions, not 4")
    assert worker.counters()["bad_input:partitions_changed"] == 1


@pytest.mark.parametrize("is_restarted", [False, True], ids=["waits", "killed"])
def test_output_topics_gone_and_made_again_under_a_worker_are_told_and_nothing_told_is_lost(
    site_of: Callable[..., Site], told: Callable[[Site, str], ToldWorker], is_restarted: bool
) -> None:
    desk = FollowsDesk(site_of(**QUICK, SURGEWATCH_RULE_FOLLOWERS_24H="100"))
    outputs = [desk.site.settings.topic_surges, desk.site.settings.topic_dead_letters]
    worker = told(desk.site, "worker")
    desk.send(desk.follows(OLD, counted=True))
    desk.wait_stored(worker, len(OLD))
    for output in outputs:
        desk.delete(output)
    for output in outputs:
        wait_told(worker, f"topic {output} does not exist any more")
    desk.send(desk.follows([ONE] * 150, counted=True))
    wait_until(lambda: desk.stored() > len(OLD), 40, worker.text)  # with the surge, in the outbox
    desk.send([(PLACE, b"junk"), *desk.follows([ONE] * 10, counted=True)])
    if is_restarted:
        worker.kill()
        refused = told(desk.site, "refused")
        assert refused.wait(40) == 4, refused.text()
        assert_plain(refused, "it does not exist", "surgewatch topics create")
        assert refused.counters()["bad_input:topic_gone"] == 1
    create_topics(desk.site.settings)
    if is_restarted:
        worker = told(desk.site, "again")
    else:
        for output in outputs:
            wait_told(worker, f"topic {output} was deleted and made again")
    desk.wait_stored(worker, len(OLD) + 161)
    surges = asyncio.run(desk.site.surges(lambda found: any(of_rule(found))))
    assert {(one.creator_id, one.observed) for one in of_rule(surges)} == {(ONE, 100)}
    letters = asyncio.run(desk.site.dead_letters(1))
    assert {(one.topic, one.raw_base64) for one in letters} == {(desk.topic, b"junk")}
    assert desk.differences() == []
    assert worker.stop() == 0
    if not is_restarted:
        assert worker.counters()["bad_input:topic_gone"] == 2
        assert worker.counters()["bad_input:topic_replaced"] == 2


def test_surges_made_again_with_too_few_partitions_are_told_and_nothing_is_lost(
    site_of: Callable[..., Site], told: Callable[[Site, str], ToldWorker]
) -> None:
    desk = FollowsDesk(site_of(**QUICK, SURGEWATCH_RULE_FOLLOWERS_24H="100"))
    surges = desk.site.settings.topic_surges
    worker = told(desk.site, "worker")
    desk.send(desk.follows(OLD, counted=True))
    desk.wait_stored(worker, len(OLD))
    desk.delete(surges)
    with admin_client(desk.site.settings) as admin:
        admin.create_topics({surges: {"num_partitions": 1, "replication_factor": 1}})
    wait_told(worker, f"topic {surges} has 1 partitions now, not 4")
    desk.send(desk.follows(NAMES_OF_ALL_PLACES, counted=True))
    wait_until(lambda: desk.stored() > len(OLD), 40, worker.text)
    with admin_client(desk.site.settings) as admin:
        admin.create_partitions({surges: 4})
    desk.wait_stored(worker, len(OLD) + len(NAMES_OF_ALL_PLACES))
    found = asyncio.run(desk.site.surges(lambda found: len({*map(name_of, of_rule(found))}) == 4))
    assert {*map(name_of, of_rule(found))} == {*NAMES_OF_ALL_PLACES}
    assert worker.stop() == 0
    assert worker.counters()["bad_input:partitions_changed"] == 1


def test_records_deleted_while_no_worker_ran_stop_it_and_are_counted_as_missed(
    site_of: Callable[..., Site], told: Callable[[Site, str], ToldWorker]
) -> None:
    desk = FollowsDesk(site_of())
    desk.send(desk.follows([ONE] * 100, counted=True))
    first = told(desk.site, "first")
    desk.wait_stored(first, 100)
    assert first.stop() == 0
    desk.send(desk.follows([ONE] * 150, counted=False))
    desk.send(desk.follows([ONE] * 50, counted=True))
    desk.delete_records_before(PLACE, 250)
    second = told(desk.site, "second")
    assert second.wait(40) == 4, second.text()
    assert_plain(second, "150 records (offsets 100 to 249)", "SURGEWATCH_ON_RECORDS_GONE=skip")
    counters = second.counters()
    assert counters["bad_input:records_gone"] == 1
    assert counters[f"records_missed:{desk.topic}"] == 150
    assert sum(desk.site.stored_offsets(desk.topic).values()) == 100

    desk.site.more = {**desk.site.more, "SURGEWATCH_ON_RECORDS_GONE": "skip"}
    third = told(desk.site, "third")
    desk.wait_stored(third, 300)
    assert desk.differences() == []
    assert third.stop() == 0
    assert third.counters()[f"records_missed:{desk.topic}"] == 150


def test_held_records_that_are_deleted_while_no_worker_runs_are_missed_too(
    site_of: Callable[..., Site], told: Callable[[Site, str], ToldWorker]
) -> None:
    desk = FollowsDesk(site_of(SURGEWATCH_ALLOWED_LATENESS_MS="600000"))
    desk.send(desk.follows([ONE] * 100, counted=False))
    first = told(desk.site, "first")
    desk.wait_stored(first, 100)
    assert first.stop() == 0
    assert desk.site.stored_buckets(desk.topic, "follows") == {}, "all are held"
    desk.delete_records_before(PLACE, 60)
    second = told(desk.site, "second")
    assert second.wait(40) == 4, second.text()
    assert_plain(second, "60 records (offsets 0 to 59)", "SURGEWATCH_ON_RECORDS_GONE=skip")
    assert second.counters()["bad_input:records_gone"] == 1


@pytest.mark.parametrize("way", ["stop", "skip"])
def test_records_deleted_under_a_running_worker_are_never_passed_over_in_silence(
    site_of: Callable[..., Site], told: Callable[[Site, str], ToldWorker], way: str
) -> None:
    desk = FollowsDesk(site_of(SURGEWATCH_ON_RECORDS_GONE=way, SURGEWATCH_CHUNK_RECORDS_MAX="10"))
    desk.send(desk.follows([ONE] * 100, counted=True))
    worker = told(desk.site, "worker")
    desk.wait_stored(worker, 100)
    worker.signal(signal.SIGSTOP)  # as long as a fetch that is under way may take, not a session
    for _ in range(40):  # batches: a fetch under way is answered with the first
        desk.send(desk.follows([ONE] * 10, counted=False))
    desk.delete_records_before(PLACE, 490)
    desk.send(desk.follows([ONE] * 10, counted=False))
    worker.signal(signal.SIGCONT)
    if way == "stop":
        assert worker.wait(40) == 4, worker.text()
        assert_plain(worker, "were deleted by Kafka's retention", "another SURGEWATCH_REDIS_PREFIX")
    else:
        desk.wait_stored(worker, 510)
        assert worker.stop() == 0
    (told_missed,) = re.findall(r"(\d+) records (?:\(|were deleted)", worker.text())
    missed = worker.counters()[f"records_missed:{desk.topic}"]
    counted = sum(desk.site.stored_buckets(desk.topic, "follows")[ONE].values())
    assert worker.counters()["bad_input:records_gone"] == 1
    assert missed == int(told_missed) > 300
    stored = desk.site.stored_offsets(desk.topic)[PLACE]
    if way == "skip":
        assert (stored, counted) == (510, 510 - missed)
    else:  # what was read and not stored when it stopped is read again
        assert 100 <= stored == counted <= 490 - missed


def test_a_group_of_the_same_name_on_another_kafka_is_refused(
    site_of: Callable[..., Site],
    told: Callable[[Site, str], ToldWorker],
    kafka_factory: Callable[..., KafkaServer],
) -> None:
    desk = FollowsDesk(site_of())
    desk.send(desk.follows(OLD, counted=True))
    first = told(desk.site, "first")
    desk.wait_stored(first, len(OLD))
    other = FollowsDesk(
        Site(
            kafka_factory().bootstrap,
            desk.site.redis_url,
            desk.site.name,
            desk.site.folder,
            desk.site.more,
        ).make_topics()
    )
    other.send(other.follows(NEW, counted=False))
    second = told(other.site, "second")
    assert second.wait(40) == 4, second.text()
    assert_plain(second, "Kafka cluster", "SURGEWATCH_KAFKA_BOOTSTRAP_SERVERS")
    assert second.counters()["bad_input:other_kafka"] == 1
    assert desk.differences() == []
    assert first.stop() == 0
