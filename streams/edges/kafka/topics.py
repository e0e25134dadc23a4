"""The five topics in Kafka: create them, and say what differs from what they must be."""

import contextlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Final, Literal

from streams.edges.errors import DataError
from streams.edges.kafka.admin import (
    ConfigResource,
    ConfigResourceType,
    KafkaAdminClient,
    KafkaError,
    admin_client,
    kafka_errors,
)
from streams.edges.settings.list import Settings

HOUR_MS: Final = 3_600_000
INPUT_RETENTION_MS_MIN: Final = 48 * HOUR_MS
"""Inputs are kept for at least two days: a worker that was away must find its 24 hours."""
COUNTED_MS: Final = 24 * HOUR_MS
INPUT_RETENTION_MS: Final = 168 * HOUR_MS
DEAD_LETTER_RETENTION_MS: Final = 720 * HOUR_MS
DEAD_LETTER_BYTES_MAX: Final = 4_194_304

_TIMES: Final = "message.timestamp.type"

Role = Literal["input", "surges", "dead_letters"]
FindingKind = Literal[
    "missing", "partitions", "times", "cleanup", "retention", "retention_short", "message_size"
]

_KINDS: Final[Mapping[str, FindingKind]] = MappingProxyType(
    {_TIMES: "times", "cleanup.policy": "cleanup", "max.message.bytes": "message_size"}
)
_CONFIGS: Final[Mapping[Role, Mapping[str, str]]] = MappingProxyType(
    {
        "input": {
            "cleanup.policy": "delete",
            "retention.ms": str(INPUT_RETENTION_MS),
            # The broker's clock says when a record arrived; at_ms says when it happened.
            _TIMES: "LogAppendTime",
        },
        "surges": {"cleanup.policy": "compact"},
        "dead_letters": {
            "cleanup.policy": "delete",
            "retention.ms": str(DEAD_LETTER_RETENTION_MS),
            "max.message.bytes": str(DEAD_LETTER_BYTES_MAX),
        },
    }
)


@dataclass(frozen=True, slots=True)
class TopicPlan:
    """What one topic must be."""

    name: str
    role: Role
    partitions: int
    replication: int

    @property
    def configs(self) -> Mapping[str, str]:
        """Settings that the topic is created with."""
        return _CONFIGS[self.role]


@dataclass(frozen=True, slots=True)
class TopicMade:
    """What ``create_topics`` did about one topic: it made it, or found it there."""

    topic: str
    created: bool
    partitions: int


@dataclass(frozen=True, slots=True)
class Finding:
    """One difference, in plain words. ``blocks``: a worker must not start with it.

    ``kind`` "times": records do not bear the broker's own time; "retention_short": not even the
    24 hours that are counted are kept.
    """

    topic: str
    problem: str
    fix: str
    blocks: bool
    kind: FindingKind

    def __str__(self) -> str:
        return f"topic {self.topic}: {self.problem}; {self.fix}"


def topic_plans(settings: Settings) -> tuple[TopicPlan, ...]:
    """List what the five topics must be: follows, comments, surges, dead letters, wave reports."""
    roles: tuple[tuple[str, Role], ...] = (
        (settings.topic_follows, "input"),
        (settings.topic_comments, "input"),
        (settings.topic_surges, "surges"),
        (settings.topic_dead_letters, "dead_letters"),
        (settings.topic_waves, "input"),
    )
    partitions, replication = settings.topic_partitions, settings.topic_replication
    return tuple(TopicPlan(name, role, partitions, replication) for name, role in roles)


def input_topics(settings: Settings) -> tuple[str, str, str]:
    """Topics that a worker reads: of the events, and of what partitions report."""
    return settings.topic_follows, settings.topic_comments, settings.topic_waves


def output_topics(settings: Settings) -> tuple[str, str]:
    """Topics that a worker only writes to."""
    return settings.topic_surges, settings.topic_dead_letters


def create_topics(settings: Settings) -> list[TopicMade]:
    """Create the topics that are not there; those that are stay as they are.

    Raises ``KafkaUnreachable``, and ``DataError`` when Kafka refuses to make one (no right to,
    more copies asked for than there are brokers).
    """
    plans = topic_plans(settings)
    with admin_client(settings) as admin:
        before = partition_counts(admin, [plan.name for plan in plans])
        missing = [plan for plan in plans if plan.name not in before]
        made = {plan.name for plan in missing if _create(admin, plan)}
        if made:
            admin.wait_for_topics(sorted(made), timeout_ms=settings.kafka_timeout_ms)
        after = partition_counts(admin, [plan.name for plan in plans])
    return [
        TopicMade(plan.name, plan.name in made, after.get(plan.name, plan.partitions))
        for plan in plans
    ]


def check_topics(settings: Settings) -> list[Finding]:
    """Say what differs from what the topics must be; nothing: all is right.

    Raises ``KafkaUnreachable``.
    """
    plans = topic_plans(settings)
    with admin_client(settings) as admin:
        counts = partition_counts(admin, [plan.name for plan in plans])
        configs = topic_configs(admin, sorted(counts))
    findings = findings_of(plans, counts, configs)
    if settings.kafka_security_protocol == "PLAINTEXT":
        return findings
    return [_or_unseen(finding) for finding in findings]


def _or_unseen(finding: Finding) -> Finding:
    """A topic that a user may not describe does not exist for it."""
    if finding.kind != "missing":
        return finding
    fix = f"{finding.fix}; or this user may not see it: docs/security.md has the rights"
    return replace(finding, fix=fix)


def findings_of(
    plans: tuple[TopicPlan, ...],
    counts: Mapping[str, int],
    configs: Mapping[str, Mapping[str, str]],
) -> list[Finding]:
    """Compare plans with what is there: partitions by topic, configuration by topic."""
    findings: list[Finding] = []
    for plan in plans:
        if plan.name not in counts:
            fix = "make it with: surgewatch topics create"
            problem = "it does not exist"
            findings.append(Finding(plan.name, problem, fix, blocks=True, kind="missing"))
            continue
        if counts[plan.name] != plan.partitions:
            problem = f"it has {counts[plan.name]} partitions, not {plan.partitions}"
            fix = _count_fix(plan, counts)
            findings.append(Finding(plan.name, problem, fix, blocks=True, kind="partitions"))
        findings += _config_findings(plan, configs.get(plan.name, {}))
    return findings


def _count_fix(plan: TopicPlan, counts: Mapping[str, int]) -> str:
    """What to do about a topic's partition count."""
    there = counts[plan.name]
    adopt = (
        f"set SURGEWATCH_TOPIC_PARTITIONS={there} and another SURGEWATCH_REDIS_PREFIX, since "
        "creators' records go to other partitions than those that were counted"
    )
    if len(set(counts.values())) == 1:
        return f"end the workers, then {adopt}"
    if there > max(count for name, count in counts.items() if name != plan.name):
        return (
            "all five topics need one count: end the workers, give the others "
            f"{there} too (kafka-topics.sh --alter --partitions {there} --topic NAME), then {adopt}"
        )
    return (
        "all five topics need one count: give it as many as the others have (kafka-topics.sh "
        f"--alter --partitions {max(counts.values())} --topic {plan.name})"
    )


def _config_findings(plan: TopicPlan, config: Mapping[str, str]) -> list[Finding]:
    found = []
    for key, wanted in plan.configs.items():
        value = config.get(key)
        if value is None or _is_enough(plan.role, key, value):
            continue
        fix = (
            f"set it with: kafka-configs.sh --alter --entity-type topics --entity-name {plan.name} "
            f"--add-config {key}={wanted}"
        )
        # Compaction keeps one record a creator: follows would be lost before they are counted.
        blocks = plan.role == "input" and key == "cleanup.policy"
        problem, kind = f"{key} is {value}, not {wanted}", _kind_of(plan.role, key, value)
        found.append(Finding(plan.name, problem, fix, blocks=blocks, kind=kind))
    return found


def _kind_of(role: Role, key: str, value: str) -> FindingKind:
    if key == "retention.ms":
        short = role == "input" and int(value) < COUNTED_MS
        return "retention_short" if short else "retention"
    return _KINDS[key]


def _is_enough(role: Role, key: str, value: str) -> bool:
    """Whether a topic's configuration serves; more than is asked for does."""
    if key == "retention.ms":
        asked = INPUT_RETENTION_MS_MIN if role == "input" else DEAD_LETTER_RETENTION_MS
        return int(value) == -1 or int(value) >= asked
    if key == "max.message.bytes":
        return int(value) >= DEAD_LETTER_BYTES_MAX
    if key == "cleanup.policy" and role == "surges":
        return "compact" in value.split(",")
    return value == _CONFIGS[role][key]


def _create(admin: KafkaAdminClient, plan: TopicPlan) -> bool:
    """Create one topic; False: another made it first."""
    options = {
        "num_partitions": plan.partitions,
        "replication_factor": plan.replication,
        "configs": dict(plan.configs),
    }
    answer = admin.create_topics({plan.name: options}, raise_errors=False)
    result: dict[str, Any] = answer["topics"][0]
    error = kafka_errors.for_code(result["error_code"])
    if error is kafka_errors.TopicAlreadyExistsError:
        return False
    if result["error_code"]:
        reason = result.get("error_message") or error.__name__
        hint = {
            kafka_errors.TopicAuthorizationFailedError: "give the user the right to create topics",
            kafka_errors.PolicyViolationError: "the cluster's policy forbids it",
        }.get(error, "see topic_partitions and topic_replication")
        message = f"Kafka did not create topic {plan.name} ({reason}): {hint}"
        raise DataError(message)
    return True


def partition_counts(admin: KafkaAdminClient, names: Iterable[str]) -> dict[str, int]:
    """Partitions of each of these topics that is there. Raises KafkaError."""
    # Listing first: asking about a topic may create it where brokers create topics by themselves.
    present = sorted(set(names) & set(admin.list_topics()))
    if not present:
        return {}
    return {topic["name"]: len(topic["partitions"]) for topic in admin.describe_topics(present)}


def topic_configs(admin: KafkaAdminClient, names: Iterable[str]) -> dict[str, dict[str, str]]:
    """Configuration of each of these topics; nothing where we may not ask for it."""
    resources = [ConfigResource(ConfigResourceType.TOPIC, name) for name in names]
    described: dict[str, Any] = {}
    # A broker without this request (the demo's) or a user without the right to ask: the
    # partitions are checked all the same.
    with contextlib.suppress(KafkaError):
        if resources:
            answer = admin.describe_configs(resources, config_filter="all")
            described = answer.get("topic", {})
    return {
        name: {key: str(entry["value"]) for key, entry in config.items()}
        for name, config in described.items()
    }
