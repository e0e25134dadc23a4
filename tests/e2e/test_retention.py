"""What Kafka's retention took of what is to be read a second time is told."""

from collections.abc import Callable

from redis import Redis

from streams.edges.kafka.producer import partition_of
from tests.e2e.desk import FollowsDesk
from tests.e2e.told_worker import ToldWorker
from tests.workers import Site

ONE = "creator-1"
PLACE = partition_of(ONE.encode(), 4)


def empty(site: Site) -> None:
    with Redis.from_url(site.redis_url) as client:
        client.delete(*client.scan_iter(f"{site.name}:*"))


def test_records_deleted_before_their_event_ids_were_learnt_again_are_told(
    site_of: Callable[..., Site], told: Callable[[Site, str], ToldWorker]
) -> None:
    desk = FollowsDesk(site_of())
    desk.send(desk.follows([ONE] * 100, counted=True))
    first = told(desk.site, "first")
    desk.wait_stored(first, 100)
    assert first.stop() == 0
    assert first.counters()["bad_input:ids_gone"] == 0
    desk.delete_records_before(PLACE, 60)
    second = told(desk.site, "second")
    desk.send(desk.follows([ONE] * 10, counted=True))
    desk.wait_stored(second, 110)
    assert desk.differences() == []
    assert second.stop() == 0
    assert "60 records whose event ids were to be learnt again were deleted" in second.text()
    assert second.counters()["bad_input:ids_gone"] == 1
    assert second.counters()[f"event_ids_gone:{desk.topic}"] == 60


def test_a_count_anew_that_lacks_what_kafka_deleted_is_told(
    site_of: Callable[..., Site], told: Callable[[Site, str], ToldWorker]
) -> None:
    desk = FollowsDesk(site_of())
    desk.send(desk.follows([ONE] * 60, counted=False))
    desk.send(desk.follows([ONE] * 40, counted=True))
    first = told(desk.site, "first")
    desk.wait_stored(first, 100)
    assert first.stop() == 0
    empty(desk.site)
    second = told(desk.site, "second")
    desk.wait_stored(second, 100)
    assert second.stop() == 0
    assert second.counters()["bad_input:counts_gone"] == 0, "Kafka has all of it"
    empty(desk.site)
    desk.delete_records_before(PLACE, 60)
    third = told(desk.site, "third")
    desk.wait_stored(third, 100)
    assert desk.differences() == []
    assert third.stop() == 0
    assert "the first 60 records were deleted by Kafka's retention" in third.text()
    assert third.counters()["bad_input:counts_gone"] == 1
    assert third.counters()[f"records_missed:{desk.topic}"] == 60


def test_a_new_group_on_a_topic_that_lost_its_beginning_has_nothing_to_miss(
    site_of: Callable[..., Site], told: Callable[[Site, str], ToldWorker]
) -> None:
    desk = FollowsDesk(site_of())
    desk.send(desk.follows([ONE] * 60, counted=False))
    desk.send(desk.follows([ONE] * 40, counted=True))
    desk.delete_records_before(PLACE, 60)
    worker = told(desk.site, "worker")
    desk.wait_stored(worker, 100)
    assert worker.stop() == 0
    assert desk.differences() == []
    assert worker.counters()["bad_input:counts_gone"] == 0
