"""Runs the check-up: asks Kafka, Redis and Prometheus at once, within limits, then judges."""

import asyncio
import os
import threading
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Final, NamedTuple, TypeVar

import msgspec

from streams.app.certificates import CertificatesInUse
from streams.app.commands.standings import peek, standing_of, timed
from streams.app.doctor.checks import CHECKS
from streams.app.doctor.group import group_findings, lag_findings, retention_findings
from streams.app.doctor.kafka import kafka_clock_finding, kafka_findings
from streams.app.doctor.prometheus import prometheus_findings
from streams.app.doctor.redis import redis_findings, state_findings
from streams.app.doctor.servers import reach_finding, read_server_ends, server_end_findings
from streams.app.doctor.settings import certificate_findings, memory_finding, settings_findings
from streams.core.reports.checkup import Finding, complete, error, not_checked
from streams.core.reports.lag import PartitionLag, lag_of
from streams.edges.errors import (
    DataError,
    RedisRefusesUs,
    SettingsError,
    SurgewatchError,
    UnreachableError,
)
from streams.edges.kafka.admin import admin_client
from streams.edges.kafka.facts import KafkaFacts, read_kafka
from streams.edges.kafka.group import Group, Reach, read_reach
from streams.edges.kafka.peek import Peeked
from streams.edges.kafka.topics import input_topics
from streams.edges.metrics.prometheus_facts import (
    PrometheusFacts,
    read_prometheus,
    shipped_rules,
)
from streams.edges.process.clock import wall_ms
from streams.edges.process.memory_limit import memory_limit_bytes
from streams.edges.redis.facts import RedisFacts, read_redis
from streams.edges.redis.reader import RedisReader, Stand
from streams.edges.settings.list import Settings
from streams.edges.store import Place

T = TypeVar("T")
_ASK_SECONDS_MAX: Final = 8.0
_ALL_SECONDS_MAX: Final = 12.0
"""Together with the start of the program: fifteen seconds at most, whatever is dead."""
_KAFKA_MS_MAX: Final = 3_500
_REDIS_MS_MAX: Final = 3_000
_PROMETHEUS_SECONDS_MAX: Final = 3.0


class Asked(NamedTuple):
    """What the user wants to have looked at; ``now_ms`` is this machine's clock."""

    prometheus_url: str | None = None
    now_ms: Callable[[], int] = wall_ms


class Held(NamedTuple):
    """What Redis holds under our prefix."""

    layout: Mapping[str, str]
    stands: Mapping[Place, Stand]


class Lags(NamedTuple):
    """How far every partition is, and the times of records that were looked at."""

    lags: tuple[PartitionLag, ...]
    peeked: Peeked


def examine(settings: Settings, asked: Asked) -> list[Finding]:
    """Look at everything; what could not be looked at is told as not checked."""
    return asyncio.run(_examine(settings, asked))


def examine_nothing(problem: SettingsError) -> list[Finding]:
    """Findings when not even the settings can be read."""
    fix = "surgewatch config --help tells where they come from; README, Settings lists them"
    found = error("settings.read", str(problem), fix)
    reasons = {check.group: "the settings cannot be read" for check in CHECKS}
    return complete(CHECKS, [found], reasons)


async def _examine(settings: Settings, asked: Asked) -> list[Finding]:
    quick = msgspec.structs.replace(
        settings,
        kafka_timeout_ms=min(settings.kafka_timeout_ms, _KAFKA_MS_MAX),
        redis_timeout_ms=min(settings.redis_timeout_ms, _REDIS_MS_MAX),
    )
    give_up = asyncio.get_running_loop().time() + _ALL_SECONDS_MAX
    found = settings_findings(settings)
    found += certificate_findings(CertificatesInUse(settings).states(), datetime.now(UTC))
    url = asked.prometheus_url
    kafka, redis, prometheus, ends = await asyncio.gather(
        _try(_in_thread(lambda: read_kafka(quick)), _ASK_SECONDS_MAX),
        _try(_ask_redis(quick, asked.now_ms), _ASK_SECONDS_MAX),
        _try(_in_thread(lambda: _ask_prometheus(url)), _ASK_SECONDS_MAX),
        _try(_in_thread(lambda: read_server_ends(quick)), _ASK_SECONDS_MAX),
    )
    if not isinstance(ends, Exception):
        found += server_end_findings(ends, datetime.now(UTC))
    reasons: dict[str, str] = {}
    _book(found, reasons, ("kafka", "group", "lag"), kafka)
    _book(found, reasons, ("redis", "lag"), redis)
    _book(found, reasons, ("prometheus",), prometheus)
    held: Held | None = None
    if not isinstance(redis, Exception):
        facts, held = redis
        if held is None:
            reasons["lag"] = "what Redis holds may not be seen"
        found += redis_findings(settings, facts)
    if not isinstance(kafka, Exception):
        found += kafka_findings(settings, kafka)
        places = _places(settings, kafka)
        found += group_findings(settings, kafka.group, places)
        stands = {} if held is None else held.stands
        seconds = give_up - asyncio.get_running_loop().time()
        read = await _try(_in_thread(lambda: _lags(quick, kafka, places, stands)), seconds)
        if isinstance(read, Exception):
            why = f"offsets and records could not be read: {read}"
            found.append(not_checked("kafka.clock", why))
            reasons.setdefault("lag", why)
        else:
            found += _read(settings, kafka, read, asked.now_ms(), may_lag=bool(held and places))
    if not isinstance(prometheus, Exception):
        if prometheus is None:
            reasons["prometheus"] = "not asked for: --prometheus URL"
        else:
            found += prometheus_findings(prometheus, shipped_rules())
    known = None if isinstance(kafka, Exception) else kafka
    found += _both(settings, known, held)
    return complete(CHECKS, found, reasons)


def _places(settings: Settings, facts: KafkaFacts) -> list[Place]:
    """Partitions that workers must read."""
    topics = [topic for topic in input_topics(settings) if topic in facts.topics]
    return [Place(topic, n) for topic in topics for n in range(facts.topics[topic].partitions)]


def _read(
    settings: Settings, facts: KafkaFacts, read: Lags, now_ms: int, *, may_lag: bool
) -> list[Finding]:
    """What is said of offsets and times; ``may_lag``: what is stored is known."""
    newest = [times.append_ms for times in read.peeked.newest.values()]
    newest_ms = max((at_ms for at_ms in newest if at_ms is not None), default=None)
    found = [kafka_clock_finding(settings, newest_ms, now_ms)]
    if not may_lag:
        return found
    found += lag_findings(settings, read.lags, facts.committed)
    waiting_ms = {
        place: times.append_ms
        for place, times in read.peeked.waiting.items()
        if times.append_ms is not None
    }
    retentions_ms = {
        topic: int(config["retention.ms"])
        for topic, config in facts.configs.items()
        if "retention.ms" in config
    }
    found += retention_findings(read.lags, waiting_ms, retentions_ms, now_ms)
    return found


def _lags(
    settings: Settings, facts: KafkaFacts, places: Iterable[Place], stands: Mapping[Place, Stand]
) -> Lags:
    with admin_client(settings) as admin:
        reach: Mapping[Place, Reach] = read_reach(admin, places)
    group = facts.group or Group("", ())
    nothing = Stand(None, None, torn=False, keys_max=0)
    known = [
        standing_of(place, {place: stands.get(place, nothing)}, reach, facts.committed or {}, group)
        for place in reach
    ]
    peeked = peek(settings, known)
    return Lags(tuple(lag_of(one) for one in timed(known, peeked)), peeked)


def _both(settings: Settings, kafka: KafkaFacts | None, held: Held | None) -> list[Finding]:
    """What is said of things that more than one server tells of."""
    limit = memory_limit_bytes() or _machine_bytes()
    members = 0 if kafka is None or kafka.group is None else len(kafka.group.members)
    keys = None if held is None else sum(stand.keys_max for stand in held.stands.values())
    found = [memory_finding(settings, limit, keys, members)]
    if held is not None:
        cluster_id = None if kafka is None else kafka.cluster_id
        topics = {} if kafka is None else kafka.topics
        ids = [
            (topic, topics[topic].topic_id or "")
            for topic in sorted(input_topics(settings))
            if topic in topics and topics[topic].topic_id
        ]
        found += state_findings(settings, held.layout, held.stands, (cluster_id, ids))
    return found


async def _ask_redis(
    settings: Settings, now_ms: Callable[[], int]
) -> tuple[RedisFacts, Held | None]:
    """What the servers say, and what they hold; None: we may not see it, as their facts tell."""
    facts = await read_redis(settings, now_ms)
    places = [
        Place(topic, number)
        for topic in input_topics(settings)
        for number in range(settings.topic_partitions)
    ]

    def held() -> Held:
        with RedisReader(settings) as reader:
            return Held(reader.layout(), reader.stands(places))

    try:
        return facts, await _in_thread(held)
    # a right is missing, or it is a node of a cluster: its facts say which
    except (DataError, RedisRefusesUs, SettingsError):
        return facts, None


def _ask_prometheus(url: str | None) -> PrometheusFacts | None:
    return None if url is None else read_prometheus(url, _PROMETHEUS_SECONDS_MAX)


def _book(
    found: list[Finding], reasons: dict[str, str], groups: tuple[str, ...], answer: object
) -> None:
    """Tell of a server that could not be asked, and why what hangs on it was not checked."""
    if not isinstance(answer, SurgewatchError):
        return
    server = groups[0]
    finding = reach_finding(server, answer, found)
    if finding is not None:
        found.append(finding)
    for group in groups:
        reasons.setdefault(group, f"{server.capitalize()} could not be asked")


async def _try(question: Awaitable[T], seconds_max: float) -> T | SurgewatchError:
    """Answer to a question, or why there is none."""
    try:
        async with asyncio.timeout(seconds_max):
            return await question
    except TimeoutError:
        return UnreachableError(f"it did not answer all questions within {seconds_max:g} s")
    except SurgewatchError as problem:
        return problem


async def _in_thread(ask: Callable[[], T]) -> T:
    """Ask in a thread that does not keep the program from ending when it hangs."""
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[T] = loop.create_future()

    def told(value: T | None, problem: BaseException | None) -> None:
        if answer.done():
            return
        if problem is not None:
            answer.set_exception(problem)
        else:
            answer.set_result(value)  # type: ignore[arg-type]  # None only where T has it

    def run() -> None:
        value, problem = None, None
        try:
            value = ask()
        except BaseException as error:  # whatever it is, it is raised where it was asked for
            problem = error
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(told, value, problem)

    threading.Thread(target=run, daemon=True).start()
    return await answer


def _machine_bytes() -> int:
    """Memory of this machine; 0: not known."""
    names = ("SC_PHYS_PAGES", "SC_PAGE_SIZE")
    if not all(name in os.sysconf_names for name in names):
        return 0
    pages, size = (os.sysconf(name) for name in names)
    return max(0, pages * size)
