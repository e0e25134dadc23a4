"""A worker whose clock jumps by hours judges records by the steadier clocks."""

import asyncio
import time
from collections.abc import Callable

from redis import Redis

from streams.core.records.chunks import Reason
from streams.edges.kafka.producer import partition_of
from tests.e2e.desk import FollowsDesk
from tests.e2e.told_worker import ToldWorker, assert_plain
from tests.workers import Ledger, Site, wait_until

HOUR_MS = 3_600_000
CREATOR = "c-1"
PLACE = partition_of(CREATOR.encode(), 4)


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def test_a_clock_that_jumps_by_hours_buries_no_good_record_and_lets_no_future_one_in(
    site_of: Callable[..., Site], told: Callable[[Site, str], ToldWorker]
) -> None:
    desk = FollowsDesk(site_of())
    good, future = desk.ledger, Ledger()
    worker = told(desk.site, "worker")
    sent = 0

    def send(ledger: Ledger, count: int, ahead_ms: int = 0) -> None:
        nonlocal sent
        at_ms = now_ms() + ahead_ms
        desk.send([(PLACE, ledger.follow(CREATOR, at_ms)) for _ in range(count)])
        sent += count
        desk.wait_stored(worker, sent)

    def jump(by_ms: int, words: str) -> None:
        worker.shift_clock(by_ms)
        wait_until(lambda: words in worker.text(), 20, worker.text)

    send(good, 20)
    jump(-3 * HOUR_MS, "jumped back by 10800 s; records are judged by its monotonic clock")
    send(good, 20)  # three hours ahead of the wall clock
    send(future, 1, HOUR_MS)
    jump(3 * HOUR_MS, "jumped forward by 21600 s; records are judged by its monotonic clock")
    send(future, 1, HOUR_MS)  # two hours behind the wall clock
    send(good, 20)
    jump(0, "jumped back by 10800 s and is believed")
    send(good, 20)
    send(future, 1, HOUR_MS)

    assert desk.differences() == []
    with Redis.from_url(desk.site.redis_url) as client:
        key = f"{desk.site.name}:{{{desk.topic}:{PLACE}}}:meta"
        assert int(client.hget(key, "watermark_ms") or 0) <= now_ms()
    letters = asyncio.run(desk.site.dead_letters(3))
    assert [letter.reason for letter in letters] == [Reason.AT_MS_IN_FUTURE] * 3
    assert {letter.offset for letter in letters} == {40, 41, 82}
    assert worker.stop() == 0
    assert worker.counters()["bad_input:clock_jump"] == 3
    assert worker.counters()["dead_letters:at_ms_in_future"] == 3


def test_one_bad_clock_in_a_backlog_closes_nobodys_window_however_late_it_is_read(
    site_of: Callable[..., Site], told: Callable[[Site, str], ToldWorker]
) -> None:
    desk = FollowsDesk(site_of())
    worker = told(desk.site, "worker")
    wait_until(lambda: "reading" in worker.text(), 40, worker.text)
    # as if it had been away for three days: all that comes is a backlog
    worker.shift_clock(72 * HOUR_MS, 72 * HOUR_MS)
    begin_ms = now_ms()

    def send(ledger: Ledger, count: int, at_ms: int) -> None:
        desk.send([(PLACE, ledger.follow(CREATOR, at_ms)) for _ in range(count)])

    send(desk.ledger, 10, begin_ms)
    send(Ledger(), 1, begin_ms + 48 * HOUR_MS)
    send(desk.ledger, 100, begin_ms + 60_000)
    desk.wait_stored(worker, 111)
    assert desk.differences() == []
    with Redis.from_url(desk.site.redis_url) as client:
        for key in client.scan_iter(match=f"{desk.site.name}:*", count=1_000):
            client.delete(key)  # so all is read, and judged, once more
    send(desk.ledger, 1, begin_ms + 60_000)
    desk.wait_stored(worker, 112)
    assert desk.differences() == []
    letters = asyncio.run(desk.site.dead_letters(2))
    assert [(one.offset, one.reason) for one in letters] == [(10, Reason.AT_MS_IN_FUTURE)] * 2
    assert worker.stop() == 0
    assert worker.counters()[f"late_records:{desk.topic}"] == 0


def test_where_producers_put_the_times_on_records_the_worker_says_what_that_means(
    site_of: Callable[..., Site], told: Callable[[Site, str], ToldWorker]
) -> None:
    desk = FollowsDesk(site_of(SURGEWATCH_FUTURE_SKEW_MS="0"))
    desk.set_config("message.timestamp.type", "CreateTime")
    worker = told(desk.site, "worker")
    wait_until(lambda: "reading" in worker.text(), 40, worker.text)
    assert f"topic {desk.topic}: message.timestamp.type is CreateTime" in worker.text()
    assert "make the other records of its partition late" in worker.text()
    worker.shift_clock(HOUR_MS, HOUR_MS)
    desk.send([(PLACE, desk.ledger.follow(CREATOR, now_ms() + HOUR_MS // 2))])
    desk.wait_stored(worker, 1)
    assert desk.differences() == [], "judged by when it is read"
    desk.set_config("message.timestamp.type", "LogAppendTime")  # under the running worker
    desk.send([(PLACE, Ledger().follow(CREATOR, now_ms() + HOUR_MS // 2))])
    desk.wait_stored(worker, 2)
    assert desk.differences() == [], "judged by when the broker took it"
    assert worker.stop() == 0
    assert worker.counters()["dead_letters:at_ms_in_future"] == 1


def test_a_clock_that_is_wrong_at_the_start_is_refused_before_a_record_is_judged_by_it(
    site_of: Callable[..., Site], told: Callable[..., ToldWorker]
) -> None:
    desk = FollowsDesk(site_of(SURGEWATCH_FUTURE_SKEW_MS="600000"))
    desk.send([(PLACE, desk.ledger.follow(CREATOR, now_ms())) for _ in range(10)])
    for name, by_ms, words in (
        ("behind", -HOUR_MS, "3600 s behind Redis"),
        ("ahead", HOUR_MS, "3600 s ahead of Redis"),
    ):
        worker = told(desk.site, name, by_ms)
        assert worker.wait(40) == 4, worker.text()
        assert_plain(worker, words, "SURGEWATCH_FUTURE_SKEW_MS")
        assert worker.counters()["bad_input:clock_wrong"] == 1
    worker = told(desk.site, "near", -300_000)
    desk.wait_stored(worker, 10)
    assert worker.stop() == 0
    assert desk.differences() == []
