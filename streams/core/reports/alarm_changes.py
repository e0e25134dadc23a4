"""Alarms of the same records under two settings: kept, gained and lost."""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from msgspec.structs import replace

from streams.core.surges.surge import Severity, Surge

DAY_MS: Final = 86_400_000
_HOUR_MS: Final = 3_600_000
BANDS: Final = ("new", "below 1", "1 to 10", "10 to 100", "100 or more")
"""What was usual an hour when an alarm was told; of those that are new nothing is known yet."""
_EDGES: Final = (1.0, 10.0, 100.0)


class Kept(NamedTuple):
    """An alarm that both settings tell."""

    here: Surge
    there: Surge


class AlarmChanges(NamedTuple):
    """Alarms that both settings tell, those of the other alone, and those of the first alone."""

    kept: list[Kept]
    gained: list[Surge]
    lost: list[Surge]


class AlarmGroup(NamedTuple):
    """What alarms are counted by."""

    kind: str
    trigger: str
    severity: Severity
    band: str


def alarms_of(surges: Iterable[Surge]) -> list[Surge]:
    """Each surge once, as it opened, with the highest severity that was told of it."""
    opened: dict[str, Surge] = {}
    for surge in surges:
        if surge.state == "opened":
            opened[surge.surge_id] = surge
        elif surge.severity == "page" and surge.surge_id in opened:
            first = opened[surge.surge_id]
            if first.severity != "page":
                opened[surge.surge_id] = replace(first, severity="page")
    return [*opened.values()]


def band_of(surge: Surge) -> str:
    """How much was usual in an hour when a surge opened: one of `BANDS`."""
    if surge.expected_own is None:
        return BANDS[0]
    an_hour = surge.expected_own * _HOUR_MS / surge.window_ms
    return BANDS[1 + sum(an_hour >= edge for edge in _EDGES)]


def group_of(alarm: Surge) -> AlarmGroup:
    """What an alarm is counted by."""
    return AlarmGroup(alarm.kind, alarm.trigger, alarm.severity, band_of(alarm))


def changes_of(here: Sequence[Surge], there: Sequence[Surge]) -> AlarmChanges:
    """Pair the alarms of two settings.

    Two are the same when they are of one creator or post, trigger and severity, and opened
    within a day; each is paired once, with the nearest that is left, in order of time.
    """
    left: dict[tuple[str | None, ...], list[Surge]] = {}
    for alarm in sorted(there, key=_opening):
        left.setdefault(_subject(alarm), []).append(alarm)
    kept, lost = [], []
    for alarm in sorted(here, key=_opening):
        near = _nearest(left.get(_subject(alarm), []), alarm.opened_ms)
        if near is None:
            lost.append(alarm)
        else:
            left[_subject(alarm)].remove(near)
            kept.append(Kept(alarm, near))
    gained = sorted((alarm for alarms in left.values() for alarm in alarms), key=_opening)
    return AlarmChanges(kept, gained, lost)


def _nearest(alarms: Sequence[Surge], opened_ms: int) -> Surge | None:
    place = bisect_left(alarms, opened_ms, key=lambda alarm: alarm.opened_ms)
    near = min(
        alarms[max(place - 1, 0) : place + 1],
        key=lambda alarm: abs(alarm.opened_ms - opened_ms),
        default=None,
    )
    return near if near is not None and abs(near.opened_ms - opened_ms) < DAY_MS else None


def _subject(alarm: Surge) -> tuple[str | None, ...]:
    return alarm.kind, alarm.trigger, alarm.severity, alarm.creator_id, alarm.post_id


def _opening(alarm: Surge) -> tuple[int, str]:
    return alarm.opened_ms, alarm.surge_id
