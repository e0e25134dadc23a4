"""What doctor says of facts: each check's warning and error, and fine when all is well."""

import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import click
import jsonschema
import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from streams.app.doctor.checks import CHECKS
from streams.app.doctor.command import lines_of, report_of
from streams.app.doctor.group import group_findings, lag_findings, retention_findings
from streams.app.doctor.kafka import kafka_clock_finding, kafka_findings
from streams.app.doctor.prometheus import names_in, prometheus_findings
from streams.app.doctor.redis import redis_findings, state_findings
from streams.app.doctor.run import examine_nothing
from streams.app.doctor.settings import certificate_findings, memory_finding, settings_findings
from streams.core.reports.checkup import Finding, complete
from streams.core.reports.lag import Standing, lag_of
from streams.edges.codec.schemas import read_schema
from streams.edges.errors import SettingsError
from streams.edges.kafka.facts import KafkaFacts, TopicFacts
from streams.edges.kafka.group import Group, Member
from streams.edges.kafka.topics import topic_plans
from streams.edges.metrics.prometheus_facts import LoadedRule, PrometheusFacts, Target
from streams.edges.redis.facts import NodeFacts, RedisFacts
from streams.edges.redis.layout import fields_of
from streams.edges.redis.reader import Stand
from streams.edges.redis.rights import Refused
from streams.edges.settings.reading import Settings, read_settings
from streams.edges.store import Place, StoreKind
from streams.edges.tls.certificates import CertificateEnd, FilesState

SETTINGS = Settings()
HOUR_MS = 3_600_000
NOW_MS = 1_800_000_000_000
NOW = datetime.fromtimestamp(NOW_MS / 1000, UTC)
VALIDATOR = jsonschema.Draft202012Validator(read_schema("doctor"))
PLANS = topic_plans(SETTINGS)
PLACES = [Place(topic, n) for topic in ("follows", "comments", "waves") for n in range(4)]
MEMBER = Member("m-1", None, "127.0.0.1", tuple(PLACES))
GROUP = Group("Stable", (MEMBER,))
TOPIC = TopicFacts("id", 4, copies_min=3, leaderless=0, out_of_sync=0)
KAFKA = KafkaFacts(
    version=(4, 3),
    cluster_id="cluster",
    brokers=3,
    broker={"group.min.session.timeout.ms": "6000", "group.max.session.timeout.ms": "1800000"},
    topics={plan.name: TOPIC for plan in PLANS},
    configs={
        plan.name: {**plan.configs, "min.insync.replicas": "2", "retention.bytes": "-1"}
        for plan in PLANS
    },
    group=GROUP,
    committed={},
)
INFO = {
    "redis_version": "7.0.15",
    "role": "master",
    "used_memory": 10_000_000,
    "maxmemory": 100_000_000,
    "maxmemory_policy": "noeviction",
    "aof_enabled": 1,
}
NODE = NodeFacts(
    "",
    INFO,
    {"appendfsync": "everysec", "hash-max-listpack-value": "256"},
    [0.1] * 50,
    Refused((), (), keys=False),
)
LAYOUT = fields_of(StoreKind(4, "surgewatch", "surgewatch", "cluster", (("follows", "id"),)))
STANDS = {place: Stand(7, NOW_MS, torn=False, keys_max=128) for place in PLACES}
LINKS = {"runbook_url": "https://docs/runbooks/A.md", "dashboard_url": "http://grafana/d/a"}
RULES = [LoadedRule("SurgewatchA", "sum(surgewatch_lag_records) > 0", "", firing=False)]
SWITCH = LoadedRule("SurgewatchDeadMansSwitch", "vector(1)", "", firing=True, links=LINKS)
PROMETHEUS = PrometheusFacts(
    targets=[Target("one:9464", "")],
    rules=[*RULES, SWITCH],
    names=frozenset({"surgewatch_lag_records"}),
    alertmanagers=1,
    digests=frozenset({"abc"}),
    versions=frozenset({"0.1.0"}),
)


def settings(**values: Any) -> list[Finding]:
    texts = {f"SURGEWATCH_{name.upper()}": str(value) for name, value in values.items()}
    return settings_findings(read_settings(texts))


def certificates(days: float, problem: str | None = None) -> list[Finding]:
    end = NOW + timedelta(days=days)
    last = CertificateEnd(
        "redis", "authorities", "redis_ssl_cafile", "ca.pem", NOW.replace(year=3000)
    )
    one = CertificateEnd("kafka", "own", "kafka_ssl_certfile", "own.pem", end)
    return certificate_findings(
        [FilesState("redis", None, (last,)), FilesState("kafka", problem, (one,))], NOW
    )


def kafka(**facts: Any) -> list[Finding]:
    return kafka_findings(SETTINGS, KAFKA._replace(**facts))


def topic(**facts: Any) -> list[Finding]:
    return kafka(topics={**KAFKA.topics, "follows": TOPIC._replace(**facts)})


def config(name: str, **values: str) -> list[Finding]:
    told = {key.replace("_", "."): value for key, value in values.items()}
    return kafka(configs={**KAFKA.configs, name: {**KAFKA.configs[name], **told}})


def clock(behind_ms: int) -> list[Finding]:
    return [kafka_clock_finding(SETTINGS, NOW_MS + behind_ms, NOW_MS)]


def group(state: str = "Stable", *members: Member) -> list[Finding]:
    return group_findings(SETTINGS, Group(state, members), PLACES)


def lag(on_records_gone: str = "stop", **values: Any) -> list[Finding]:
    one = {
        "topic": "follows", "partition": 0, "stored_offset": 10, "committed_offset": 10,
        "first_offset": 5, "end_offset": 20, "waiting_ms": 1_000, "newest_ms": 2_000,
        **values,
    }  # fmt: skip
    chosen = msgspec.structs.replace(SETTINGS, on_records_gone=on_records_gone)
    return lag_findings(chosen, [lag_of(Standing(**one))], {})


def retention(age_ms: int) -> list[Finding]:
    one = Standing(
        topic="follows", partition=0, stored_offset=1, committed_offset=1, first_offset=0,
        end_offset=9,
    )  # fmt: skip
    waiting = {Place("follows", 0): NOW_MS - age_ms}
    return retention_findings([lag_of(one)], waiting, {"follows": 48 * HOUR_MS}, NOW_MS)


def redis(off_ms: int = 0, unserved: str | None = None, **facts: Any) -> list[Finding]:
    node = NODE._replace(**facts)
    return redis_findings(SETTINGS, RedisFacts((node,), off_ms, unserved))


def info(**values: Any) -> list[Finding]:
    return redis(info={**INFO, **values})


def state(torn: bool = False, **layout: str) -> list[Finding]:
    stands = {**STANDS, PLACES[0]: Stand(7, NOW_MS, torn=torn, keys_max=128)}
    return state_findings(SETTINGS, {**LAYOUT, **layout}, stands, ("cluster", [("follows", "id")]))


def prometheus(**facts: Any) -> list[Finding]:
    return prometheus_findings(
        PROMETHEUS._replace(**facts), [rule.name for rule in PROMETHEUS.rules]
    )


def rule(**facts: Any) -> list[Finding]:
    return prometheus(rules=[RULES[0]._replace(**facts), SWITCH])


def links(**changed: str) -> list[Finding]:
    return prometheus(rules=[*RULES, SWITCH._replace(links={**LINKS, **changed})])


def memory(limit_mb: int, keys: int | None = 10_000_000) -> list[Finding]:
    return [memory_finding(SETTINGS, limit_mb * 2**20, keys, 1)]


WELL: dict[str, Callable[[], Sequence[Finding]]] = {
    "settings": lambda: [*settings(), *certificates(15.0), *memory(64_000)],
    "kafka": lambda: [*kafka(), *clock(-500)],
    "group": lambda: group("Stable", MEMBER),
    "lag": lambda: [*lag(), *retention(HOUR_MS)],
    "redis": lambda: [*redis(), *state()],
    "prometheus": prometheus,
}
CASES: list[tuple[str, str, Callable[[], Sequence[Finding]]]] = [
    ("settings.read", "error", lambda: examine_nothing(SettingsError("rule_x: unknown"))),
    ("settings.detector", "error", lambda: settings(detector="river.anomaly.Nothing")),
    ("settings.times", "warning", lambda: settings(
        watchdog_seconds=10, kafka_session_timeout_ms=6_000
    )),
    ("settings.times", "warning", lambda: settings(watchdog_seconds=15)),
    ("settings.times", "warning", lambda: settings(start_seconds_max=4)),
    ("settings.times", "warning", lambda: settings(kafka_session_timeout_ms=61_000)),
    ("settings.unused", "warning", lambda: settings(kafka_sasl_username="ann")),
    ("settings.unused", "warning", lambda: settings(held_records_max=5_000)),
    ("settings.unused", "warning", lambda: settings(redis_ssl_cafile="ca.pem")),
    ("settings.certificates", "warning", lambda: certificates(13.9)),
    ("settings.certificates", "error", lambda: certificates(15, "x_keyfile = f: is not the key")),
    ("settings.memory", "warning", lambda: memory(2_000)),
    ("kafka.version", "warning", lambda: kafka(version=(2, 7))),
    ("kafka.session", "error", lambda: kafka(
        broker={"group.min.session.timeout.ms": "20000", "group.max.session.timeout.ms": "30000"}
    )),
    ("kafka.topics", "error", lambda: kafka(topics={"follows": TOPIC})),
    ("kafka.partitions", "error", lambda: topic(partitions=3)),
    ("kafka.cleanup", "error", lambda: config("follows", cleanup_policy="compact")),
    ("kafka.cleanup", "warning", lambda: config("surges", cleanup_policy="delete")),
    ("kafka.retention", "error", lambda: config("follows", retention_ms=str(23 * HOUR_MS))),
    ("kafka.retention", "warning", lambda: config("follows", retention_ms=str(30 * HOUR_MS))),
    ("kafka.retention", "warning", lambda: config("comments", retention_bytes="1000000")),
    ("kafka.retention", "warning", lambda: config("dead-letters", retention_ms="1")),
    ("kafka.times", "warning", lambda: config("waves", message_timestamp_type="CreateTime")),
    ("kafka.message_size", "warning", lambda: config("dead-letters", max_message_bytes="1048588")),
    ("kafka.replication", "error", lambda: config("surges", min_insync_replicas="4")),
    ("kafka.replication", "warning", lambda: config("surges", min_insync_replicas="3")),
    ("kafka.replication", "warning", lambda: config("surges", min_insync_replicas="1")),
    ("kafka.in_sync", "error", lambda: topic(leaderless=1)),
    ("kafka.in_sync", "warning", lambda: topic(out_of_sync=2)),
    ("kafka.clock", "error", lambda: clock(700_000)),
    ("kafka.clock", "warning", lambda: clock(2_000)),
    ("group.workers", "warning", lambda: group("Empty")),
    ("group.workers", "warning", lambda: group("PreparingRebalance", MEMBER)),
    ("group.workers", "warning", lambda: group("Stable", MEMBER, MEMBER._replace(places=()))),
    ("group.partitions", "error", lambda: group("Stable", MEMBER._replace(places=(PLACES[0],)))),
    ("group.topics", "error", lambda: group(
        "Stable", MEMBER._replace(places=(*PLACES, Place("other", 0)))
    )),
    ("lag.behind", "warning", lambda: lag(newest_ms=62_000)),
    ("lag.lost", "error", lambda: lag(first_offset=12)),
    ("lag.lost", "warning", lambda: lag("skip", first_offset=12)),
    ("lag.beyond", "error", lambda: lag(stored_offset=21)),
    ("lag.retention", "warning", lambda: retention(25 * HOUR_MS)),
    ("lag.committed", "warning", lambda: lag(committed_offset=11)),
    ("redis.version", "warning", lambda: info(redis_version="6.2.1")),
    ("redis.role", "error", lambda: info(role="slave", master_host="one")),
    ("redis.role", "error", lambda: redis(unserved="one:7000 says fail")),
    ("redis.url", "error", lambda: info(cluster_enabled=1)),
    ("redis.rights", "error", lambda: redis(refused=Refused(("HSET",), (), keys=False))),
    ("redis.rights", "error", lambda: redis(refused=Refused(("HSET",), (), keys=True))),
    ("redis.rights", "warning", lambda: redis(refused=Refused((), ("INFO",), keys=False))),
    ("redis.eviction", "error", lambda: info(maxmemory_policy="allkeys-lru")),
    ("redis.eviction", "warning", lambda: info(evicted_keys=3)),
    ("redis.memory", "warning", lambda: info(used_memory=95_000_000)),
    ("redis.memory", "warning", lambda: info(used_memory=99_999_999)),
    ("redis.memory", "error", lambda: info(used_memory=100_000_000)),
    ("redis.memory", "warning", lambda: info(maxmemory=0)),
    ("redis.persistence", "error", lambda: info(aof_last_write_status="err")),
    ("redis.persistence", "warning", lambda: info(aof_enabled=0)),
    ("redis.persistence", "warning", lambda: redis(settings={"appendfsync": "no"})),
    ("redis.packing", "warning", lambda: redis(settings={"hash-max-listpack-value": "64"})),
    ("redis.latency", "warning", lambda: redis(answer_ms=[0.1] * 49 + [101.0])),
    ("redis.latency", "warning", lambda: redis(answer_ms=[11.0] * 50)),
    ("redis.clock", "error", lambda: redis(off_ms=-700_000)),
    ("redis.clock", "warning", lambda: redis(off_ms=2_000)),
    ("redis.state", "error", lambda: state(group="others")),
    ("redis.state", "error", lambda: state(layout="2")),
    ("redis.state", "warning", lambda: state(torn=True)),
    ("prometheus.targets", "error", lambda: prometheus(targets=[])),
    ("prometheus.targets", "warning", lambda: prometheus(targets=[Target("one:1", "refused")])),
    ("prometheus.rules", "error", lambda: prometheus(rules=[])),
    ("prometheus.rules", "error", lambda: rule(problem="many-to-many")),
    ("prometheus.metrics", "error", lambda: rule(query="surgewatch_lag_records_old > 1")),
    ("prometheus.metrics", "warning", lambda: prometheus(names=frozenset())),
    ("prometheus.alertmanager", "error", lambda: prometheus(alertmanagers=0)),
    ("prometheus.links", "warning", lambda: links(runbook_url="/runbooks/A.md")),
    ("prometheus.links", "warning", lambda: links(dashboard_url="<no value>/d/a")),
    ("prometheus.settings", "warning", lambda: prometheus(digests=frozenset({"a", "b"}))),
    ("prometheus.alerts", "warning", lambda: rule(firing=True)),
]  # fmt: skip
BY_READING = {("kafka.reachable", "error"), ("redis.reachable", "error"),
              ("prometheus.reachable", "error")}  # fmt: skip
"""Told when a server cannot be asked: tests/e2e/test_doctor.py."""


def assert_told(findings: Sequence[Finding]) -> None:
    """They are such as the catalogue and the schema promise."""
    checks = {check.id: check for check in CHECKS}
    for one in findings:
        assert one.status != "warning" or checks[one.id].warns, one
        assert one.status != "error" or checks[one.id].errs, one
    report = report_of(complete(CHECKS, findings, {}), NOW_MS, 1.0)
    VALIDATOR.validate(json.loads(msgspec.json.encode(report)))


@pytest.mark.parametrize("name", WELL)
def test_what_is_well_is_fine_and_nothing_of_it_is_left_out(name: str) -> None:
    findings = WELL[name]()
    assert [one for one in findings if one.status != "ok"] == []
    assert {one.id for one in findings} == {check.id for check in CHECKS if check.group == name}
    assert_told(findings)


@pytest.mark.parametrize(
    ("check_id", "status", "told"), CASES, ids=[f"{case[0]}-{case[1]}" for case in CASES]
)
def test_what_is_wrong_is_told_once_with_what_to_do(
    check_id: str, status: str, told: Callable[[], Sequence[Finding]]
) -> None:
    findings = told()
    found = [one for one in findings if one.id == check_id]
    assert {one.status for one in found} == {status}
    assert all(one.fix for one in found)
    bad = {one.id for one in findings if one.status in {"warning", "error"}}
    assert bad == {check_id}
    assert_told(findings)


def test_every_warning_and_error_of_the_catalogue_has_a_case() -> None:
    promised = {(check.id, "warning") for check in CHECKS if check.warns}
    promised |= {(check.id, "error") for check in CHECKS if check.errs}
    assert promised == {(check_id, status) for check_id, status, _ in CASES} | BY_READING


def test_all_that_fires_is_told_each_with_its_runbook_and_a_full_redis_ends_with_code_4() -> None:
    other = RULES[0]._replace(name="SurgewatchB", firing=True)
    findings = prometheus_findings(
        PROMETHEUS._replace(rules=[RULES[0]._replace(firing=True), other, SWITCH]),
        ["SurgewatchA", "SurgewatchB", SWITCH.name],
    )
    (found,) = (one for one in findings if one.id == "prometheus.alerts")
    assert found.what == "SurgewatchA, SurgewatchB fire"
    assert found.fix == "see docs/runbooks/SurgewatchA.md, docs/runbooks/SurgewatchB.md"
    full = complete(CHECKS, info(used_memory=100_000_001), {})
    assert report_of(full, NOW_MS, 1.0).exit_code == 4


UNSEEN: list[tuple[str, Callable[[], Sequence[Finding]]]] = [
    ("kafka.session", lambda: kafka(broker=None)),
    ("kafka.retention", lambda: kafka(configs={})),
    ("kafka.replication", lambda: kafka(configs={})),
    ("kafka.partitions", lambda: kafka(topics={})),
    ("kafka.clock", lambda: [kafka_clock_finding(SETTINGS, None, NOW_MS)]),
    ("group.workers", lambda: group_findings(SETTINGS, None, PLACES)),
    ("lag.behind", lambda: lag(waiting_ms=None)),
    ("lag.committed", lambda: lag_findings(SETTINGS, [], None)),
    ("redis.version", lambda: redis(info=None)),
    ("redis.role", lambda: redis(info=None)),
    ("redis.packing", lambda: redis(settings=None)),
    ("redis.persistence", lambda: redis(settings=None)),
    ("redis.latency", lambda: redis(answer_ms=None)),
    ("redis.rights", lambda: redis(refused=None)),
    ("redis.clock", lambda: redis_findings(SETTINGS, RedisFacts((NODE,), None, None))),
    ("settings.memory", lambda: memory(2_000, None)),
    ("settings.memory", lambda: memory(0)),
    ("prometheus.metrics", lambda: prometheus(targets=[Target("one:1", "refused")])),
    ("prometheus.links", lambda: prometheus(rules=RULES)),
]


@pytest.mark.parametrize(("check_id", "told"), UNSEEN, ids=[case[0] for case in UNSEEN])
def test_what_may_not_be_asked_is_never_fine(
    check_id: str, told: Callable[[], Sequence[Finding]]
) -> None:
    findings = told()
    assert {one.status for one in findings if one.id == check_id} == {"not_checked"}
    assert_told(findings)


NUMBERS = st.none() | st.integers(0, 3_000)


@given(
    stored=NUMBERS, committed=NUMBERS, first=st.integers(0, 3_000), more=st.integers(0, 3_000),
    waiting=st.none() | st.integers(0, 200_000), newest=st.none() | st.integers(0, 200_000),
)  # fmt: skip
@example(stored=1, committed=1, first=0, more=9, waiting=0, newest=60_000)
@example(stored=1, committed=1, first=0, more=9, waiting=0, newest=60_001)
def test_whatever_the_offsets_what_is_lost_or_late_is_told(
    stored: int | None, committed: int | None, first: int, more: int,
    waiting: int | None, newest: int | None,
) -> None:  # fmt: skip
    findings = lag(
        stored_offset=stored, committed_offset=committed, first_offset=first,
        end_offset=first + more, waiting_ms=waiting, newest_ms=newest,
    )  # fmt: skip
    assert_told(findings)
    status = {one.id: one.status for one in findings}
    assert (status["lag.lost"] == "error") == (stored is not None and stored < first)
    assert (status["lag.beyond"] == "error") == (stored is not None and stored > first + more)
    assert (status["lag.committed"] == "warning") == ((committed or 0) > (stored or 0))
    if max(stored or 0, first) >= first + more:
        assert status["lag.behind"] == "ok"
    elif waiting is None or newest is None:
        assert status["lag.behind"] == "not_checked"
    else:
        assert (status["lag.behind"] == "warning") == (newest - waiting > 60_000)


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ('sum(rate(surgewatch_records_total{result="surgewatch_x"}[5m]))', ["records_total"]),
        ("job:surgewatch_events_late:ratio_rate5m > 0.1", []),
        ("surgewatch_a / on (job) (surgewatch_b > 0)", ["a", "b"]),
        ('up{job="surgewatch"} == 0', []),
    ],
)
def test_metrics_that_a_query_uses(query: str, names: list[str]) -> None:
    assert [*names_in(query)] == [f"surgewatch_{name}" for name in names]


def test_lines_for_people_have_the_worst_first_and_what_to_do() -> None:
    topics = {**KAFKA.topics, "follows": TOPIC._replace(leaderless=1)}
    findings = complete(CHECKS, kafka(broker=None, topics=topics), {})
    report = report_of(findings, NOW_MS, 2.0)
    lines = [click.unstyle(line) for line in lines_of(report, every=False)]
    place = lines.index("kafka: 1 error, 2 not checked, 9 fine")
    assert lines[place + 1].startswith("  ERROR  kafka.in_sync: topic follows: 1 partitions have")
    assert lines[place + 2] == "         to do: start the brokers that are away"
    assert lines[place + 3].startswith("  not checked  kafka.session: this user may not ask")
    assert "  not checked  5 checks: what it needs is not known" in lines
    assert not any(line.startswith("  ok") for line in lines)
    assert lines[-1].startswith("it does not work as it is")
    every = [click.unstyle(line) for line in lines_of(report, every=True)]
    assert sum(line.startswith("  ok") for line in every) == 9
