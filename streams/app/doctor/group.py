"""What is said of the workers' group and of how far the counts are behind."""

from collections.abc import Mapping, Sequence
from typing import Final

from streams.app.doctor.kafka import MAY_NOT_ASK
from streams.core.reports.checkup import Finding, error, fine, not_checked, warning
from streams.core.reports.lag import PartitionLag, sum_of
from streams.edges.kafka.group import Group
from streams.edges.kafka.topics import input_topics
from streams.edges.settings.list import Settings
from streams.edges.store import Place

LAG_SECONDS_MAX: Final = 60.0
"""As the alert SurgewatchDataDelayed has it."""
_OF_MEMBERS: Final = ("group.partitions", "group.topics")
_DEALING: Final = frozenset({"PreparingRebalance", "CompletingRebalance"})
_GRANT: Final = "give it the right Describe on the group"


def group_findings(
    settings: Settings, group: Group | None, partitions: Sequence[Place]
) -> list[Finding]:
    """What is said of the members; ``partitions`` are those that must be read."""
    if group is None:
        return [not_checked(one, MAY_NOT_ASK, _GRANT) for one in ("group.workers", *_OF_MEMBERS)]
    name = settings.kafka_group
    if not group.members:
        what = f"no worker runs in group {name}: nothing is counted"
        found = warning("group.workers", what, "start one: surgewatch worker")
        return [found, *(not_checked(one, "no worker runs") for one in _OF_MEMBERS)]
    count = len(group.members)
    workers = "1 worker" if count == 1 else f"{count} workers"
    if group.state in _DEALING:
        what = f"{workers}, and partitions are being dealt ({group.state})"
        fix = "ask again; if it lasts, see docs/runbooks/SurgewatchRebalanceLoop.md"
        found = warning("group.workers", what, fix)
        return [found, *(not_checked(one, "partitions are being dealt") for one in _OF_MEMBERS)]
    return [
        _workers(group, workers),
        _partitions(group, partitions),
        _other_topics(settings, group),
    ]


def _workers(group: Group, workers: str) -> Finding:
    idle = [member.name for member in group.members if not member.places]
    if idle:
        what = f"{workers}, of which {', '.join(idle)} has no partition"
        fix = "run as many workers as there are partitions, or fewer"
        return warning("group.workers", what, fix, idle[0])
    return fine("group.workers", f"{workers}, state {group.state}")


def _partitions(group: Group, partitions: Sequence[Place]) -> Finding:
    nobodys = [place for place in partitions if place not in group.holders]
    if not partitions:
        return not_checked("group.partitions", "there is no topic")
    if nobodys:
        what = f"nobody reads {_listed(nobodys)}, though workers run"
        fix = (
            "do all workers have the same topics in their settings? Start again those that have "
            "others"
        )
        return error("group.partitions", what, fix)
    return fine("group.partitions", f"each of the {len(partitions)} has a worker")


def _other_topics(settings: Settings, group: Group) -> Finding:
    ours = set(input_topics(settings))
    others = sorted({place.topic for place in group.holders} - ours)
    if others:
        what = f"members of group {settings.kafka_group} read {', '.join(others)} too"
        fix = "give each fleet a kafka_group of its own"
        return error("group.topics", what, fix)
    return fine("group.topics", f"members read {', '.join(sorted(ours))} and nothing else")


def lag_findings(
    settings: Settings,
    lags: Sequence[PartitionLag],
    committed: Mapping[Place, int] | None,
) -> list[Finding]:
    """What is said of the offsets of all partitions."""
    return [
        *_behind(lags),
        *_lost(settings, lags),
        *_beyond(settings, lags),
        *_committed(lags, committed),
    ]


def _behind(lags: Sequence[PartitionLag]) -> list[Finding]:
    total = sum_of(lags)
    if any(one.lag_seconds is None for one in lags):
        what = f"{total.lag_records:,} records wait, and their times could not be read in time"
        return [not_checked("lag.behind", what, "ask again: surgewatch lag")]
    found = []
    for topic in dict.fromkeys(one.topic for one in lags):
        some = sum_of(lags, topic)
        if (some.lag_seconds or 0) > LAG_SECONDS_MAX:
            what = (
                f"topic {topic}: {some.lag_records:,} records wait, {some.lag_seconds:,.0f} s of "
                "event time"
            )
            fix = (
                "surgewatch lag --watch tells whether it falls; else see "
                "docs/runbooks/SurgewatchDataDelayed.md"
            )
            found.append(warning("lag.behind", what, fix, topic))
    seconds = total.lag_seconds or 0.0
    return found or [
        fine("lag.behind", f"{total.lag_records:,} records wait, {seconds:.1f} s of event time")
    ]


def _lost(settings: Settings, lags: Sequence[PartitionLag]) -> list[Finding]:
    lost = [one for one in lags if one.records_missed]
    if not lost:
        return [fine("lag.lost", "Kafka has every record that is not counted")]
    count = sum(one.records_missed for one in lost)
    where = _listed([Place(one.topic, one.partition) for one in lost])
    what = f"{count:,} records of {where} were deleted by Kafka before they were counted"
    keep = "let Kafka keep records for longer than workers may be away"
    if settings.on_records_gone == "skip":
        what += "; workers go on without them, and counts are too low by them for 24 hours"
        return [warning("lag.lost", what, keep)]
    fix = (
        "set on_records_gone = skip to go on without them (counts are too low by them for 24 "
        "hours), or another redis_prefix to count anew what Kafka has; and " + keep
    )
    return [error("lag.lost", what, fix)]


def _beyond(settings: Settings, lags: Sequence[PartitionLag]) -> list[Finding]:
    beyond = [one for one in lags if one.beyond_end]
    if not beyond:
        return [fine("lag.beyond", "no stored offset is past the end of its partition")]
    where = _listed([Place(one.topic, one.partition) for one in beyond])
    what = (
        f"the stored offset of {where} is past the end: the topic was deleted and made again, or "
        "lost its end (unclean leader election)"
    )
    fix = f"set another redis_prefix than {settings.redis_prefix!r} to count what it holds now"
    return [error("lag.beyond", what, fix)]


def _committed(
    lags: Sequence[PartitionLag], committed: Mapping[Place, int] | None
) -> list[Finding]:
    check_id = "lag.committed"
    if committed is None:
        return [not_checked(check_id, MAY_NOT_ASK, _GRANT)]
    ahead = [
        Place(one.topic, one.partition)
        for one in lags
        if (one.committed_offset or 0) > (one.stored_offset or 0)
    ]
    if ahead:
        what = (
            f"the group committed more of {_listed(ahead)} than is counted in Redis: Redis went "
            "back to an earlier moment or was emptied, or redis_prefix is another one"
        )
        fix = (
            "workers count again what lies between, from Kafka; see that Redis keeps an "
            "append-only file, and that redis_prefix is right"
        )
        return [warning(check_id, what, fix)]
    return [fine(check_id, "no committed offset is ahead of what is counted")]


def retention_findings(
    lags: Sequence[PartitionLag],
    waiting_ms: Mapping[Place, int],
    retentions_ms: Mapping[str, int],
    now_ms: int,
) -> list[Finding]:
    """How near what waits is to being deleted; ``waiting_ms`` is when Kafka took it."""
    check_id = "lag.retention"
    found = []
    for one in lags:
        taken_ms = waiting_ms.get(Place(one.topic, one.partition))
        keeps_ms = retentions_ms.get(one.topic, -1)
        if taken_ms is None or keeps_ms < 0 or 2 * (now_ms - taken_ms) <= keeps_ms:
            continue
        what = (
            f"{one.topic}/{one.partition}: the first record that waits is "
            f"{(now_ms - taken_ms) / 3_600_000:,.1f} hours old, and Kafka keeps it for "
            f"{keeps_ms / 3_600_000:,.1f}"
        )
        fix = "start workers, or raise retention.ms until they have caught up"
        found.append(warning(check_id, what, fix, f"{one.topic}/{one.partition}"))
    waits = {Place(one.topic, one.partition) for one in lags if one.lag_records}
    if not waits:
        return [fine(check_id, "nothing waits")]
    if not found and not waits <= set(waiting_ms):
        return [not_checked(check_id, "when Kafka took what waits is not known")]
    if not found and not {place.topic for place in waits} <= set(retentions_ms):
        return [not_checked(check_id, "how long Kafka keeps it is not known")]
    return found or [fine(check_id, "what waits is far younger than it is kept")]


def _listed(places: Sequence[Place]) -> str:
    """First partitions by name, and how many more."""
    told = ", ".join(f"{place.topic}/{place.partition}" for place in places[:6])
    return told if len(places) <= 6 else f"{told} and {len(places) - 6} more"
