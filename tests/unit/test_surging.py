"""What is told as open is what is open, and the alarms asked for are the budget's."""

import asyncio
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
import pytest

from streams.app.jobs import comment_partition_of
from streams.app.worker.pipeline import Pipeline
from streams.core.detection.cohorts import audience_of
from streams.core.partition import FollowPartition
from streams.core.records.texts import Ints
from streams.core.reports.surging import (
    Asked,
    Pages,
    Surging,
    asked_of,
    open_pages_of,
    surging_of,
)
from streams.core.surges.surge import Kind, Severity, Surge
from streams.core.time.buckets import BUCKET_MS
from streams.core.waves.fleet import FleetWaves
from streams.edges.codec.out import decode_surge
from streams.edges.metrics.progress import Silence
from streams.edges.settings.reading import Settings
from streams.edges.store import MemoryStore
from tests.jobs import comment_partition, comments, follow_partition, follows, watch
from tests.unit.test_fleet_waves import BUCKETS, PARTITIONS, reports_cut, told_by
from tests.unit.test_partition import BEGIN_MS
from tests.unit.test_pipeline import FOLLOWS, Loudspeaker, event, many, pipeline_on, run, until

HOUR_MS = 3_600_000


def open_by_records(told: list[Surge]) -> Counter[tuple[Kind, Severity]]:
    """Open surges as somebody counts them who hears every announcement."""
    last = {surge.surge_id: surge for surge in told}
    return Counter((one.kind, one.severity) for one in last.values() if one.closed_ms is None)


def test_open_surges_are_those_that_were_told_and_not_closed() -> None:
    followers, talk, told = follow_partition(5), comment_partition(5), list[Surge]()
    by_model = FollowPartition(watch("follows", "followers", None, alarms_per_day=0.5))
    draw = np.random.default_rng(1)
    most: Counter[tuple[Kind, Severity]] = Counter()
    for hour in range(60):
        at_ms = BEGIN_MS + hour * HOUR_MS
        count = 8 if hour in {30, 50} else 1
        met = [(f"c-{n}", at_ms + 1000 * n, False) for n in range(20) for _ in range(count)]
        told += followers.take(follows(met)).surges
        said = [(f"c-{n}", f"p-{n}", "en", at_ms + 1000 * n) for n in range(9) for _ in "ab"]
        told += talk.take(comments(said)).surges
        few = [(f"d-{n}", at_ms, False) for n in range(30) for _ in range(draw.poisson(3))]
        told += by_model.take(follows(few)).surges
        found = surging_of([followers, talk, by_model])
        assert +found.open == open_by_records(told), hour
        most |= found.open
        of_kind = Counter[Kind]()
        for (kind, _), count in found.notices.items():
            of_kind[kind] += count
        assert of_kind == {
            k: n for (k, severity), n in (+found.open).items() if severity == "notice"
        }
    assert most["followers", "page"] == 20
    assert most["comments", "page"] == 9
    assert most["followers", "notice"] > 0


def test_a_wave_is_open_from_its_opening_to_its_close_and_has_factors_meanwhile() -> None:
    fleet, told = FleetWaves(PARTITIONS), list[Surge]()
    cut = [reports_cut(partition, range(BUCKETS)) for partition in range(PARTITIONS)]
    factors = set[float]()
    for number in range(BUCKETS):
        for reports in cut:
            told += [] if number >= len(reports) else told_by(fleet, [reports[number]])
        found = surging_of([fleet])
        assert +found.open == open_by_records(told)
        opened = [(one.surge_id, one.opened_ms) for one in told[-1:] if one.state != "closed"]
        assert [*open_pages_of(fleet)] == [("wave", one, at + BUCKET_MS) for one, at in opened]
        lifted = found.wave_parts.get("follows", [])
        assert found.open["wave", "page"] or not lifted
        factors |= {part.factor for part in lifted if part.lang == "en"}
    assert told[-1].state == "closed"
    assert 4 < max(factors) < 6, "those with an English audience get five times as much"


def test_notices_are_told_of_the_cohort_whose_audience_surges() -> None:
    partition = FollowPartition(watch("follows", "followers", None, alarms_per_day=0.5))
    for hour in range(60):
        met = [
            (f"{lang}-{creator}", BEGIN_MS + hour * HOUR_MS + creator)
            for lang in ("zh", "en")
            for creator in range(20)
            for _ in range(20 if (hour, lang, creator) == (59, "zh", 7) else 2)
        ]
        met += [("en-0", at_ms + BUCKET_MS) for _, at_ms in met[-1:]]  # closes the bucket
        chunk = follows([(name, at_ms, False) for name, at_ms in met])
        regions = [("zh", "CN") if name[:2] == "zh" else ("en", "US") for name, _ in met]
        audiences = np.array([audience_of(*one) for one in regions], dtype=np.uint64)
        partition.take(replace(chunk, audiences=audiences))
    found = surging_of([partition])
    assert found.notices["followers", ("zh", "CN")] == found.open["followers", "notice"] > 0


def test_the_alarms_asked_for_are_the_rate_times_keys_and_days() -> None:
    followers = follow_partition(5)
    assert asked_of(followers, 10.0).alarms == {"followers": 0.0}
    followers.take(follows([(f"c-{n}", BEGIN_MS, False) for n in range(50)]))
    assert asked_of(followers, 10.0).alarms == {"followers": pytest.approx(0.001 * 50 * 10)}
    talk = comment_partition(5)
    talk.take(comments([("ann", f"p-{n}", "en", BEGIN_MS) for n in range(4)]))
    expected = pytest.approx(0.001 * (1 + 4) * 2)
    assert asked_of(talk, 2.0).alarms == {"comments": expected, "mix": expected}
    assert asked_of(FleetWaves(4), 2.0) == Asked({}, {})


def test_the_pages_asked_for_are_those_of_their_own_budget() -> None:
    settings = Settings()
    talk = comment_partition_of(settings)
    talk.take(comments([("ann", f"p-{n}", "en", BEGIN_MS) for n in range(4)]))
    of_pages = settings.budget_pages_per_creator_day * (1 + 4) * 2
    assert asked_of(talk, 2.0).pages == {"comments": pytest.approx(of_pages)}


class Heard(Silence):
    """Keeps what the pipeline tells of what is open."""

    def __init__(self) -> None:
        self.open: list[tuple[int, int]] = []
        self.alarms = 0.0
        self.pages: Pages = {}
        self.found: list[tuple[Kind, str, int]] = []
        self.ages: list[int] = []

    def surging(self, surging: Surging, outbox: int) -> None:
        self.open.append((surging.open["followers", "page"], outbox))

    def paged(self, pages: Pages) -> None:
        for of, surge_ids in pages.items():
            self.pages.setdefault(of, []).extend(surge_ids)

    def found_open(self, pages: Iterable[tuple[Kind, str, int]]) -> None:
        self.found += pages

    def asked(self, asked: Asked) -> None:
        self.alarms += sum(asked.alarms.values())

    def told_of(self, at_ms: Sequence[Ints]) -> None:
        self.ages += [int(at) for times in at_ms for at in times]


def heard_pipeline(
    speaker: Loudspeaker, store: MemoryStore | None = None
) -> tuple[Pipeline, Heard]:
    heard = Heard()
    return pipeline_on(store or MemoryStore(), speaker, progress=heard), heard


def test_what_waits_for_its_announcement_is_told_until_kafka_has_it() -> None:
    async def body() -> None:
        speaker = Loudspeaker()
        pipeline, heard = heard_pipeline(speaker)
        await pipeline.take_over({FOLLOWS}, 1)
        speaker.open.clear()
        await pipeline.take(event(0, many("ann", 12)))
        flushes = asyncio.create_task(pipeline.run_flushes())
        await until(lambda: bool(pipeline.lanes[FOLLOWS].resend))
        pipeline.tell({}, {})
        assert heard.open[-1] == (1, len(pipeline.lanes[FOLLOWS].resend))
        assert (heard.ages, heard.pages) == ([], {}), "nothing is told yet"
        speaker.open.set()
        await until(lambda: bool(heard.ages))
        pipeline.tell({}, {})
        assert heard.open[-1] == (1, 0)
        assert heard.ages == [BEGIN_MS + n for n in range(12)]
        assert len(speaker.announced) == 1
        flushes.cancel()
        await pipeline.give_up({FOLLOWS})
        assert len(speaker.announced) == 1, "it is announced once"
        surge_id = decode_surge(speaker.announced[0]).surge_id
        assert heard.pages == {("followers", "rule"): [surge_id]}

    run(body)


def test_an_open_page_is_found_by_who_takes_over_with_the_time_when_it_became_one() -> None:
    """Whoever told it may have ended before anybody asked for its metrics."""

    async def body() -> None:
        speaker, store = Loudspeaker(), MemoryStore()
        first, heard = heard_pipeline(speaker, store)
        await first.take_over({FOLLOWS}, 1)
        assert heard.found == []
        await first.take(event(0, many("ann", 12)))
        await first.give_up({FOLLOWS})
        page = decode_surge(speaker.announced[0])
        next_owner, hears = heard_pipeline(speaker, store)
        await next_owner.take_over({FOLLOWS}, 2)
        assert hears.found == [("followers", page.surge_id, page.at_ms)]
        assert hears.pages == {}, "it became one before"

    run(body)


def test_the_alarms_asked_for_follow_event_time_and_not_a_restart() -> None:
    async def body() -> None:
        pipeline, heard = heard_pipeline(Loudspeaker())
        await pipeline.take_over({FOLLOWS}, 1)
        pipeline.tell({}, {})
        await pipeline.take(event(0, many("ann", 2)))
        pipeline.tell({}, {})
        assert heard.alarms == 0.0, "the first records tell no time that passed"
        await pipeline.take(event(2, many("bob", 2, BEGIN_MS + 24 * HOUR_MS)))
        pipeline.tell({}, {})
        pipeline.tell({}, {})
        assert heard.alarms == pytest.approx(0.001 * 2, rel=1e-6)

    run(body)
