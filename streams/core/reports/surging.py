"""What is surging now in the partitions of a worker, and how many false alarms were asked for."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from streams.core.partition import Partition
from streams.core.records.texts import Texts
from streams.core.surges.surge import Kind, Severity, Surge, Trigger, WavePart
from streams.core.time.buckets import BUCKET_MS
from streams.core.waves.fleet import FleetWaves

Audience = tuple[str, str]
"""Language and region of a cohort; "" for the region where only the language is known."""
Pages = dict[tuple[Kind, Trigger], list[str]]
"""Surges that became pages, by kind and what told them: their surge_ids."""


@dataclass(frozen=True, slots=True)
class Surging:
    """Open surges by kind and severity, and the cohorts that open waves lift, by series.

    ``notices``: those of the open ones that are notices, by whose audience surges.
    """

    open: Counter[tuple[Kind, Severity]] = field(default_factory=Counter)
    notices: Counter[tuple[Kind, Audience]] = field(default_factory=Counter)
    wave_parts: dict[str, list[WavePart]] = field(default_factory=dict)


def surging_of(jobs: Iterable[Partition | FleetWaves]) -> Surging:
    """Look at all jobs of a worker: some 100 ns for each open surge."""
    found = Surging()
    for job in jobs:
        if isinstance(job, FleetWaves):
            found.open["wave", "page"] += job.open_count
            found.wave_parts.update(job.lifted)
            continue
        for watch in job.watches.values():
            for severity, count in watch.life.book.open_by_severity().items():
                found.open[watch.policy.kind, severity] += count
            for cohort, count in watch.life.notices_by_cohort().items():
                found.notices[watch.policy.kind, job.cohorts.names[cohort]] += count
        if job.mixes is not None:
            for lang in job.mixes.open_langs:
                found.open["mix", "notice"] += 1
                found.notices["mix", (lang, "")] += 1
    return found


def audiences_of(job: Partition, surges: Sequence[Surge]) -> dict[str, Audience]:
    """Language and region of whose audience surges of a job are, by ``surge_id``, as of now.

    "und" where nobody's is known.
    """
    found: dict[str, Audience] = {}
    creators = next(iter(job.watches.values()))
    posts = job.watches.get("posts", creators)
    for watch, mine in (
        (creators, [one for one in surges if one.post_id is None]),
        (posts, [one for one in surges if one.post_id is not None]),
    ):
        keys = Texts.of([one.post_id or one.creator_id for one in mine])
        for surge, cohort in zip(mine, watch.life.cohorts_of(keys), strict=True):
            found[surge.surge_id] = job.cohorts.names[cohort]
    return found


def take_paged(job: Partition | FleetWaves) -> Pages:
    """Surges of a job's creators and posts that became pages since the last call."""
    pages: Pages = {}
    if not isinstance(job, FleetWaves):
        for watch in job.watches.values():
            for trigger, paged in watch.life.book.paged.items():
                if paged:
                    pages.setdefault((watch.policy.kind, trigger), []).extend(paged)
                    paged.clear()
    return pages


def open_pages_of(job: Partition | FleetWaves) -> Iterator[tuple[Kind, str, int]]:
    """Open pages and waves: kind, surge_id, and since when (event time).

    A wave's time is the end of the bucket that it opened in: before that none is told.
    """
    if isinstance(job, FleetWaves):
        yield from (("wave", name, opened_ms + BUCKET_MS) for name, opened_ms in job.open_waves)
        return
    for watch in job.watches.values():
        for surge in watch.life.book.open_pages():
            yield watch.policy.kind, surge.surge_id, surge.paged_ms


class Asked(NamedTuple):
    """False alarms by the model, and of these pages, that budgets allow, by kind."""

    alarms: dict[Kind, float]
    pages: dict[Kind, float]


def asked_of(job: Partition | FleetWaves, days: float) -> Asked:
    """What a job's budgets allow in so many days of event time."""
    alarms, pages = dict[Kind, float](), dict[Kind, float]()
    if isinstance(job, FleetWaves):
        return Asked(alarms, pages)
    for watch in job.watches.values():
        policy, lived = watch.policy, (len(watch.keys) + len(watch.directory)) * days
        alarms[policy.kind] = alarms.get(policy.kind, 0.0) + policy.false_alarm_rate * lived
        if policy.page is not None:
            rate = policy.false_alarm_rate / policy.page.bar
            pages[policy.kind] = pages.get(policy.kind, 0.0) + rate * lived
        if job.mixes is not None:  # of the same creators and posts
            alarms["mix"] = alarms.get("mix", 0.0) + job.mixes.policy.alarms_per_day * lived
    return Asked(alarms, pages)
