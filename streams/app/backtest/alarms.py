"""How many alarms a back-test tells, and what other settings would make of them."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from streams.app.backtest.result import BacktestResult
from streams.core.reports.alarm_changes import (
    BANDS,
    DAY_MS,
    AlarmChanges,
    AlarmGroup,
    Kept,
    alarms_of,
    changes_of,
    group_of,
)
from streams.core.surges.surge import Surge
from streams.core.time.buckets import BUCKET_MS
from streams.edges.settings.reading import Settings
from streams.edges.settings.specs import SPECS

_UNSAID: Final = "hidden"
_SHOWN: Final = 10
"""Cohorts that people are told of."""


class AlarmRow(msgspec.Struct, frozen=True, kw_only=True):
    """Alarms of one sort: how many, and a day. ``usual``: events an hour when they were told."""

    kind: str
    trigger: str
    severity: str
    usual: str
    count: int
    per_day: float


class CohortRow(msgspec.Struct, frozen=True, kw_only=True):
    """Alarms of creators and posts whose audience is mostly of a language and region."""

    kind: str
    severity: str
    lang: str
    region: str
    count: int
    per_day: float


class Alarms(msgspec.Struct, frozen=True, kw_only=True):
    """Alarms of a back-test: each surge once, as it opened, with its highest severity.

    ``days`` lie between the first and the last record; ``creators`` by topic.
    """

    days: float
    creators: dict[str, int]
    rows: list[AlarmRow]
    by_cohort: list[CohortRow]


class ComparedRow(msgspec.Struct, frozen=True, kw_only=True):
    """Alarms of one sort under both settings.

    ``kept`` alarms are told by both, ``lost`` and ``gained`` ones by the first or the other alone.
    ``minutes_later``: median by which the other tells what both tell; None: nothing.
    """

    kind: str
    trigger: str
    severity: str
    usual: str
    here_per_day: float
    there_per_day: float
    kept: int
    gained: int
    lost: int
    minutes_later: float | None


class ComparedCohort(msgspec.Struct, frozen=True, kw_only=True):
    """Alarms of a cohort under both settings, as in `ComparedRow`."""

    kind: str
    severity: str
    lang: str
    region: str
    here_per_day: float
    there_per_day: float
    kept: int
    gained: int
    lost: int


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """What other settings change. ``settings``: name to [value here, value there]."""

    settings: dict[str, list[Any]]
    rows: list[ComparedRow]
    by_cohort: list[ComparedCohort]
    alarms: Alarms


def alarms_in(result: BacktestResult, surges: Sequence[Surge]) -> Alarms:
    """Count the alarms of a back-test."""
    days, alarms = _days_of(result), alarms_of(surges)
    counts = Counter(map(group_of, alarms))
    rows = [
        AlarmRow(
            kind=group.kind,
            trigger=group.trigger,
            severity=group.severity,
            usual=group.band,
            count=counts[group],
            per_day=_rounded(counts[group] / days),
        )
        for group in sorted(counts, key=_order)
    ]
    of_cohort = _by_cohort(alarms, result)
    by_cohort = [
        CohortRow(**cohort._asdict(), count=len(mine), per_day=_rounded(len(mine) / days))
        for cohort, mine in sorted(of_cohort.items(), key=lambda one: (-len(one[1]), one[0]))
    ]
    creators = dict(result.creators)
    return Alarms(days=round(days, 3), creators=creators, rows=rows, by_cohort=by_cohort)


class _Cohort(NamedTuple):
    kind: str
    severity: str
    lang: str
    region: str


def _by_cohort(alarms: Iterable[Surge], *results: BacktestResult) -> dict[_Cohort, list[Surge]]:
    """Alarms by whose audience they are of; those of waves are of nobody's."""
    found: dict[_Cohort, list[Surge]] = {}
    for alarm in alarms:
        for result in results:
            if (audience := result.audiences.get(alarm.surge_id)) is not None:
                cohort = _Cohort(alarm.kind, alarm.severity, *audience)
                found.setdefault(cohort, []).append(alarm)
                break
    return found


def changes_in(here: Sequence[Surge], there: Sequence[Surge]) -> AlarmChanges:
    """Alarms gained and lost between the surges of two back-tests of the same records."""
    return changes_of(alarms_of(here), alarms_of(there))


def comparison_of(
    changes: AlarmChanges,
    results: tuple[BacktestResult, BacktestResult],
    alarms: Alarms,
    settings: tuple[Settings, ...],
) -> Comparison:
    """Say what the changes come to; ``alarms`` are those of the other settings."""
    days = _days_of(results[0])
    groups = {group_of(one.here) for one in changes.kept}
    groups |= {group_of(one) for one in (*changes.gained, *changes.lost)}
    rows = []
    for group in sorted(groups, key=_order):
        mine: list[Sequence[Any]] = [
            [one for one in changes.kept if group_of(one.here) == group],
            [one for one in changes.gained if group_of(one) == group],
            [one for one in changes.lost if group_of(one) == group],
        ]
        rows.append(_compared(group, mine, days))
    by_cohort = _compared_cohorts(changes, results, days)
    return Comparison(
        settings=_differences(*settings), rows=rows, by_cohort=by_cohort, alarms=alarms
    )


def _compared_cohorts(
    changes: AlarmChanges, results: tuple[BacktestResult, BacktestResult], days: float
) -> list[ComparedCohort]:
    """The changes by whose audience they are of, the most alarms first."""
    kept = _by_cohort((one.here for one in changes.kept), *results)
    gained, lost = _by_cohort(changes.gained, *results), _by_cohort(changes.lost, *results)
    rows = []
    for cohort in kept.keys() | gained.keys() | lost.keys():
        stays, comes, goes = (len(some.get(cohort, ())) for some in (kept, gained, lost))
        row = ComparedCohort(
            **cohort._asdict(),
            here_per_day=_rounded((stays + goes) / days),
            there_per_day=_rounded((stays + comes) / days),
            kept=stays,
            gained=comes,
            lost=goes,
        )
        rows.append((-(stays + comes + goes), cohort, row))
    return [row for *_, row in sorted(rows, key=lambda one: one[:2])]


def _compared(group: AlarmGroup, mine: Sequence[Sequence[Any]], days: float) -> ComparedRow:
    kept, gained, lost = mine
    return ComparedRow(
        kind=group.kind,
        trigger=group.trigger,
        severity=group.severity,
        usual=group.band,
        here_per_day=_rounded((len(kept) + len(lost)) / days),
        there_per_day=_rounded((len(kept) + len(gained)) / days),
        kept=len(kept),
        gained=len(gained),
        lost=len(lost),
        minutes_later=_later(kept),
    )


def _later(kept: Sequence[Kept]) -> float | None:
    delays = sorted(one.there.opened_ms - one.here.opened_ms for one in kept)
    return round(delays[len(delays) // 2] / 60_000, 1) if delays else None


def _differences(here: Settings, there: Settings) -> dict[str, list[Any]]:
    found = {}
    for name, spec in SPECS.items():
        values = [getattr(here, name), getattr(there, name)]
        if values[0] != values[1]:
            found[name] = [_UNSAID, _UNSAID] if spec.secret else values
    return found


def _days_of(result: BacktestResult) -> float:
    return max(result.last_ms - result.first_ms, BUCKET_MS) / DAY_MS


def _order(group: AlarmGroup) -> tuple[str, str, str, int]:
    return group.kind, group.trigger, group.severity, BANDS.index(group.band)


def _rounded(value: float) -> float:
    return float(f"{value:.4g}")


def lines_of_alarms(alarms: Alarms) -> list[str]:
    """Lines for people: alarms a day, and of whom."""
    creators = ", ".join(
        f"{count:,} creators of {topic}" for topic, count in alarms.creators.items()
    )
    lines = [f"alarms in {alarms.days:.2f} days of {creators}:"]
    lines += [f"  {row.per_day:,.4g} a day: {_sort_of(row)}" for row in alarms.rows]
    lines += _of_cohorts(
        [f"{row.per_day:,.4g} a day: {_cohort_of(row)}" for row in alarms.by_cohort]
    )
    return lines if alarms.rows else [lines[0][:-1] + ": none"]


def _of_cohorts(rows: list[str]) -> list[str]:
    """Lines of the cohorts with the most alarms."""
    if not rows:
        return []
    lines = ["by the language and region of the audience:", *(f"  {row}" for row in rows[:_SHOWN])]
    more = len(rows) - _SHOWN
    return [*lines, f"  and {more:,} more: --json has them"] if more > 0 else lines


def _cohort_of(row: CohortRow | ComparedCohort) -> str:
    return f"{row.kind}, {row.severity}, {row.lang} {row.region}"


def lines_of_comparison(compared: Comparison) -> list[str]:
    """Lines for people: what is set otherwise, and what comes of it."""
    lines = [
        f"set otherwise: {name} {_shown(here)} -> {_shown(there)}"
        for name, (here, there) in compared.settings.items()
    ] or ["set otherwise: nothing"]
    for row in compared.rows:
        later = "" if row.minutes_later is None else f", kept ones {_minutes(row.minutes_later)}"
        lines.append(
            f"  {row.here_per_day:,.4g} -> {row.there_per_day:,.4g} a day (+{row.gained:,} "
            f"-{row.lost:,}{later}): {_sort_of(row)}"
        )
    return lines + _of_cohorts(
        [
            f"{row.here_per_day:,.4g} -> {row.there_per_day:,.4g} a day (+{row.gained:,} "
            f"-{row.lost:,}): {_cohort_of(row)}"
            for row in compared.by_cohort
        ]
    )


def _minutes(later: float) -> str:
    if not later:
        return "at the same time"
    return f"{abs(later):g} min {'later' if later > 0 else 'earlier'}"


def _sort_of(row: AlarmRow | ComparedRow) -> str:
    usual = "new" if row.usual == BANDS[0] else f"usually {row.usual} an hour"
    return f"{row.kind}, {row.severity} by {row.trigger}, {usual}"


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
