"""What must hold after each round, with every server healthy."""

import asyncio
import time
from dataclasses import dataclass, field

from streams.edges.kafka.topics import input_topics
from tests.chaos.commits import committed_of
from tests.chaos.stage import Stage, stored_in
from tests.sender import SERIES
from tests.workers import Buckets, last_day

RECOVERY_SECONDS_MAX = 30.0
SETTLED_SECONDS_MAX = 180.0
TOLD_SECONDS_MAX = 60.0


class ChaosFailed(Exception):
    """Something does not hold; the message says what, with the first key that differs."""


@dataclass
class Account:
    """What went wrong so far, summed over the rounds; all 0 is the aim."""

    lost: int = 0
    duplicated: int = 0
    surges_missing: int = 0
    surges_contradicting: int = 0
    zombies: int = 0
    wrong: list[str] = field(default_factory=list)


def reading_again(stage: Stage) -> float:
    """Seconds until something more is stored of every partition.

    The producer's own recovery is in it: there must be something to read. Raises ChaosFailed
    after 30 s, with the partitions that are not read.
    """
    began = time.monotonic()
    before = stage.stored()
    stage.stream.owe(2_000)  # at rest too, then, every partition has records
    idle: list[tuple[str, int]] = []

    def reads() -> bool:
        now = stage.stored()
        idle[:] = [place for place, offset in now.items() if offset <= before[place]]
        for place, offset in now.items():
            before[place] = min(before[place], offset)  # taken back to an older moment meanwhile
        return not idle

    if not stage.wait_for(reads, RECOVERY_SECONDS_MAX):
        msg = f"not read within {RECOVERY_SECONDS_MAX:g} s of the fault's end: {idle}"
        raise ChaosFailed(msg)
    return time.monotonic() - began


def settle(stage: Stage) -> None:
    """Wait until all is sent and stored and every worker is ready, then read the topics."""
    stage.stream.per_second = 0
    if not stage.wait_for(lambda: stage.stream.settled, 120):
        msg = "the producer did not come to an end within 120 s"
        raise ChaosFailed(msg)
    stage.truth.read()
    if stage.site.settings.allowed_lateness_ms:
        stage.truth.let_held()
        stage.stream.pause()
    ends = {place: len(sums) for place, sums in stage.truth.sums.items()}
    if not stage.wait_for(
        lambda: all(stage.stored()[p] == e for p, e in ends.items()), SETTLED_SECONDS_MAX
    ):
        behind = {p: (stage.stored()[p], e) for p, e in ends.items() if stage.stored()[p] != e}
        msg = f"not stored to the end within {SETTLED_SECONDS_MAX:g} s (stored, end): {behind}"
        raise ChaosFailed(msg)
    # a partition without records, too, is read again once Redis has gone back: `check` says if not
    stage.wait_for(lambda: not _passed_of(stage), RECOVERY_SECONDS_MAX)


def check(stage: Stage, account: Account) -> None:
    """Hold everything against the ledger. Raises ChaosFailed with all that differs."""
    account.wrong = []
    unsent = stage.truth.unsent(stage.stream.acknowledged)
    stage.stream.acknowledged.clear()
    account.wrong += [f"acknowledged and not in Kafka as sent: {words}" for words in unsent[:3]]
    _wait_counted(stage)
    _check_counts(stage, account)
    _check_told(stage, account)
    _check_zombies(stage, account)
    if account.wrong:
        raise ChaosFailed("\n".join(account.wrong))
    check_commits(stage)


def check_commits(stage: Stage) -> None:
    """No committed offset is past the stored one. Right while Redis has not gone back."""
    passed = _passed_of(stage)
    if passed or stage.commits.passed:
        msg = f"committed past what is stored: {passed or stage.commits.passed[0]}"
        raise ChaosFailed(msg)


def _passed_of(stage: Stage) -> dict[tuple[str, int], tuple[int, int]]:
    """Offsets that are committed past the stored one, and that one."""
    committed = asyncio.run(committed_of(stage.site))
    # later than the commits: it may only be further on
    stored = stored_in(stage.site, input_topics(stage.site.settings))
    return {
        place: (offset, stored[place])
        for place, offset in committed.items()
        if offset > stored[place]
    }


def _wait_counted(stage: Stage) -> None:
    """Wait until what workers hold back is counted, if they do: some time after the last record."""
    site = stage.site
    seconds_max = site.settings.allowed_lateness_ms / 1000 + RECOVERY_SECONDS_MAX
    if site.settings.allowed_lateness_ms:
        stage.wait_for(lambda: not site.holds_back(), seconds_max)


def _check_counts(stage: Stage, account: Account) -> None:
    settings = stage.site.settings
    topics = {"follows": settings.topic_follows, "comments": settings.topic_comments}
    for name, all_series in SERIES.items():
        for series in all_series:
            stored = stage.site.stored_buckets(topics[name], series)
            sent = {k: last_day(row) for k, row in stage.truth.ledger.buckets[series].items()}
            if sent == stored:
                continue
            account.wrong += stage.truth.ledger.differences(series, stored)[:1]
            lost, duplicated = _missing_and_extra(sent, stored)
            account.lost += lost
            account.duplicated += duplicated


def _missing_and_extra(sent: dict[str, Buckets], stored: dict[str, Buckets]) -> tuple[int, int]:
    missing = extra = 0
    nothing: Buckets = {}
    for key in sent.keys() | stored.keys():
        ours, theirs = sent.get(key, nothing), stored.get(key, nothing)
        for bucket in ours.keys() | theirs.keys():
            difference = ours.get(bucket, 0) - theirs.get(bucket, 0)
            missing += max(0, difference)
            extra += max(0, -difference)
    return missing, extra


def _check_told(stage: Stage, account: Account) -> None:
    truth = stage.truth

    def told() -> bool:
        truth.read()
        return not truth.missing_surges() and truth.bad.keys() <= truth.dead.keys()

    stage.wait_for(told, TOLD_SECONDS_MAX)
    missing, strange = truth.missing_surges(), truth.strange_surges()
    account.surges_missing = len(missing)
    account.surges_contradicting = len(truth.contradicting) + len(strange)
    account.wrong += [f"surge not announced: {words}" for words in missing[:1]]
    account.wrong += [f"surge told in two ways: {name}" for name in list(truth.contradicting)[:1]]
    account.wrong += [f"surge that no record implies: {words}" for words in strange[:1]]
    for place, (reason, value) in truth.bad.items():
        letter = truth.dead.get(place)
        if letter is None or letter.reason != reason or not value.startswith(letter.raw_base64):
            account.wrong.append(f"bad record {place} ({reason}) in dead letters: {letter}")
            break
    good = truth.dead.keys() - truth.bad.keys()
    account.wrong += [f"good record in dead letters: {place}" for place in list(good)[:1]]


def _check_zombies(stage: Stage, account: Account) -> None:
    """Every worker is ready and reads; together they read each partition once."""
    partitions = stage.partitions
    owned: dict[str, int] = {}

    def right() -> bool:
        owned.update(stage.fleet.owned())
        return (
            not stage.fleet.unready() and sum(owned.values()) == partitions and all(owned.values())
        )

    owned.clear()
    if not stage.wait_for(right, RECOVERY_SECONDS_MAX):
        unready = stage.fleet.unready()
        idle = [name for name, count in owned.items() if not count]
        account.zombies += max(len(unready), len(idle), 1)
        account.wrong += [f"not ready: {words}" for words in unready]
        account.wrong += [f"partitions read, of {partitions}, by worker: {owned}"]
