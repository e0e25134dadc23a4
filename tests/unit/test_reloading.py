"""What SIGHUP reads is told and applied, and what is wrong changes nothing."""

import asyncio
from collections.abc import Callable

import pytest

from streams.app.jobs import check_detector
from streams.app.worker.reloading import Reloading
from streams.edges.errors import SettingsError
from streams.edges.settings.list import Settings
from streams.edges.settings.reload import AT_ONCE, OF_JOBS, changes_of, taken_up
from streams.edges.settings.specs import SPECS

OLD = Settings(origins={"rule_followers_24h": "a.toml", "kafka_group": "a.toml"})


class Worker:
    """What a reload asks of a worker."""

    def __init__(self, read: Callable[[], Settings]) -> None:
        self.applied: list[tuple[Settings, bool]] = []
        self.results: list[str] = []
        self.reloading = Reloading(OLD, read, check_detector, self.apply, self.results.append)

    async def apply(self, new: Settings, jobs_change: bool) -> None:
        self.applied.append((new, jobs_change))


def test_rules_and_budgets_are_applied_with_new_jobs_and_the_rest_without(
    caplog: pytest.LogCaptureFixture,
) -> None:
    found = [Settings(rule_followers_24h=7), Settings(rule_followers_24h=7, log_level="debug")]
    worker = Worker(lambda: found.pop(0))
    with caplog.at_level("INFO"):
        assert asyncio.run(worker.reloading.reload()) == "applied"
        assert asyncio.run(worker.reloading.reload()) == "applied"
    assert [(new.rule_followers_24h, new.log_level, jobs) for new, jobs in worker.applied] == [
        (7, "info", True),
        (7, "debug", False),
    ]
    assert "rule_followers_24h is changed while running: 50000 → 7" in caplog.messages
    assert "log_level is changed while running: info → debug" in caplog.messages


def test_what_needs_a_restart_is_told_each_time_and_stays_as_it_was(
    caplog: pytest.LogCaptureFixture,
) -> None:
    worker = Worker(lambda: Settings(kafka_group="new", redis_password="hunter2"))
    with caplog.at_level("INFO"):
        assert asyncio.run(worker.reloading.reload()) == "unchanged"
        assert asyncio.run(worker.reloading.reload()) == "unchanged"
    told = "kafka_group is new now and needs a restart: surgewatch stays in force"
    assert caplog.messages.count(told) == 2
    assert "hunter2" not in caplog.text
    assert worker.reloading.settings is OLD
    assert worker.applied == []


def test_settings_that_are_wrong_or_do_not_go_together_change_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def unreadable() -> Settings:
        msg = "a.toml: is not TOML"
        raise SettingsError(msg)

    worker = Worker(unreadable)
    assert asyncio.run(worker.reloading.reload()) == "refused"
    assert "the old ones stay in force: a.toml: is not TOML" in caplog.text
    assert (worker.applied, worker.reloading.settings) == ([], OLD)


def test_a_sighup_that_comes_while_one_is_at_work_is_not_forgotten() -> None:
    async def run() -> list[str]:
        asked = asyncio.Event()
        numbers = iter((1, 2))
        worker = Worker(lambda: Settings(page_excess_min=next(numbers)))

        async def apply(new: Settings, jobs_change: bool) -> None:
            if new.page_excess_min == 1:
                asked.set()

        worker.reloading._apply = apply
        asked.set()
        running = asyncio.create_task(worker.reloading.run(asked))
        async with asyncio.timeout(20):
            while len(worker.results) < 2:
                await asyncio.sleep(0.001)
        running.cancel()
        return worker.results

    assert asyncio.run(run()) == ["applied", "applied"]


def test_what_is_taken_up_says_where_it_comes_from_and_the_rest_is_as_before() -> None:
    new = Settings(
        rule_followers_24h=7,
        page_excess_min=3,
        kafka_group="new",
        origins={"page_excess_min": "b.toml", "kafka_group": "b.toml"},
    )
    taken = taken_up(OLD, new)
    assert (taken.rule_followers_24h, taken.page_excess_min, taken.kafka_group) == (
        *(7, 3),
        "surgewatch",
    )
    assert taken.origins == {"kafka_group": "a.toml", "page_excess_min": "b.toml"}
    assert [change.name for change in changes_of(OLD, taken)] == [
        "rule_followers_24h",
        "page_excess_min",
    ]
    assert changes_of(taken, taken) == []


def test_every_setting_that_is_taken_up_is_one() -> None:
    assert SPECS.keys() >= OF_JOBS | AT_ONCE
    assert not OF_JOBS & AT_ONCE
