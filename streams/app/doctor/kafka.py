"""What is said of Kafka's own facts: brokers and topics."""

from collections.abc import Mapping, Sequence
from typing import Final

from streams.core.reports.checkup import Finding, error, fine, not_checked, warning
from streams.edges.kafka.facts import KafkaFacts
from streams.edges.kafka.topics import Finding as TopicFinding
from streams.edges.kafka.topics import FindingKind, TopicPlan, findings_of, topic_plans
from streams.edges.process.clock import ClockWrong, allowed_off_ms
from streams.edges.settings.list import Settings

CLOCK_OFF_MS_MAX: Final = 1_000
"""Clocks that are synchronised agree far better than by this."""
_TOPIC_IDS_SINCE: Final = (2, 8)
_CHECK_OF: Final[Mapping[FindingKind, str]] = {
    "missing": "kafka.topics",
    "partitions": "kafka.partitions",
    "cleanup": "kafka.cleanup",
    "retention": "kafka.retention",
    "retention_short": "kafka.retention",
    "times": "kafka.times",
    "message_size": "kafka.message_size",
}
_FINE: Final = {
    "kafka.topics": "all five are there",
    "kafka.partitions": "all have as many as topic_partitions says",
    "kafka.cleanup": "events are deleted by age, surges compacted",
    "kafka.retention": "events are kept for 48 hours or more, dead letters for 30 days or more",
    "kafka.times": "events bear the time at which the broker took them",
    "kafka.message_size": "dead letters may be 4 MiB",
}
_OF_CONFIG: Final = ("kafka.cleanup", "kafka.retention", "kafka.times", "kafka.message_size")
MAY_NOT_ASK: Final = "this user may not ask for it"
_GRANT: Final = "give it the right DescribeConfigs on topics and the cluster"


def kafka_findings(settings: Settings, facts: KafkaFacts) -> list[Finding]:
    """What is said of brokers and topics."""
    plans = topic_plans(settings)
    there = [plan for plan in plans if plan.name in facts.topics]
    where = settings.kafka_bootstrap_servers
    brokers = "1 broker" if facts.brokers == 1 else f"{facts.brokers} brokers"
    return [
        fine("kafka.reachable", f"{where} answers; the cluster has {brokers}"),
        _version(facts),
        _session(settings, facts),
        *_topics(plans, facts),
        *_replication(there, facts),
        *_in_sync(there, facts),
    ]


def _version(facts: KafkaFacts) -> Finding:
    told = ".".join(map(str, facts.version))
    if facts.version < _TOPIC_IDS_SINCE:
        what = (
            f"it speaks as Kafka {told}, which has no topic ids: a topic made anew goes unnoticed"
        )
        return warning("kafka.version", what, "use Kafka 2.8 or newer")
    return fine("kafka.version", f"it speaks as Kafka {told}")


def _session(settings: Settings, facts: KafkaFacts) -> Finding:
    check_id = "kafka.session"
    if facts.broker is None:
        return not_checked(check_id, MAY_NOT_ASK, _GRANT)
    low, high = (facts.broker.get(f"group.{way}.session.timeout.ms") for way in ("min", "max"))
    if low is None or high is None:
        return not_checked(check_id, "this broker does not tell what it allows")
    ours = settings.kafka_session_timeout_ms
    if int(low) <= ours <= int(high):
        return fine(check_id, f"{ours} ms is within what the broker allows, {low} to {high}")
    what = f"kafka_session_timeout_ms = {ours}, and the broker allows {low} to {high}"
    return error(check_id, what, "set it within these, or widen them in server.properties")


def _topics(plans: Sequence[TopicPlan], facts: KafkaFacts) -> list[Finding]:
    """What the worker's own check of the topics says, each under its id."""
    counts = {name: topic.partitions for name, topic in facts.topics.items()}
    told = [_of_topic(one) for one in findings_of(tuple(plans), counts, facts.configs)]
    told += _by_size(plans, facts)
    found = {one.id for one in told}
    unseen = sorted(set(facts.topics) - set(facts.configs))
    for check_id, words in _FINE.items():
        if check_id in found:
            continue
        if check_id != "kafka.topics" and not facts.topics:
            told.append(not_checked(check_id, "there is no topic"))
        elif check_id in _OF_CONFIG and unseen:
            what = f"the configuration of {', '.join(unseen)} cannot be seen"
            told.append(not_checked(check_id, what, _GRANT))
        else:
            told.append(fine(check_id, words))
    return told


def _of_topic(one: TopicFinding) -> Finding:
    tell = error if one.blocks or one.kind == "retention_short" else warning
    return tell(_CHECK_OF[one.kind], f"topic {one.topic}: {one.problem}", one.fix, one.topic)


def _by_size(plans: Sequence[TopicPlan], facts: KafkaFacts) -> list[Finding]:
    found = []
    for plan in plans:
        limit = facts.configs.get(plan.name, {}).get("retention.bytes", "-1")
        if plan.role == "input" and limit != "-1":
            what = (
                f"topic {plan.name}: retention.bytes is {limit}: a partition that grows beyond it "
                "loses records before their time, however long retention.ms is"
            )
            fix = (
                "set it with: kafka-configs.sh --alter --entity-type topics --entity-name "
                f"{plan.name} --add-config retention.bytes=-1"
            )
            found.append(warning("kafka.retention", what, fix, plan.name))
    return found


def _replication(plans: Sequence[TopicPlan], facts: KafkaFacts) -> list[Finding]:
    check_id = "kafka.replication"
    copies = {plan.name: facts.topics[plan.name].copies_min for plan in plans}
    found = [one for topic in copies for one in _needed(topic, copies[topic], facts)]
    alone = [topic for topic, count in copies.items() if count == 1]
    if alone:
        what = (
            f"one copy only of {', '.join(alone)}: records are away with its broker, and lost with "
            "its disk"
        )
        fix = (
            "fine for a trial; else use three brokers and three copies (topic_replication = 3 when "
            "topics are created, later kafka-reassign-partitions.sh)"
        )
        found.append(warning(check_id, what, fix))
    if found:
        return found
    if not plans:
        return [not_checked(check_id, "there is no topic")]
    if not all(plan.name in facts.configs for plan in plans):
        return [not_checked(check_id, MAY_NOT_ASK, _GRANT)]
    return [fine(check_id, "a broker may be away: records stay, and are taken")]


def _needed(topic: str, copies: int, facts: KafkaFacts) -> list[Finding]:
    """How many copies must have a record before it is acknowledged."""
    check_id = "kafka.replication"
    needed = int(facts.configs.get(topic, {}).get("min.insync.replicas", "0"))
    change = (
        f"set it with: kafka-configs.sh --alter --entity-type topics --entity-name {topic} "
        "--add-config min.insync.replicas="
    )
    if needed > copies:
        what = (
            f"topic {topic}: min.insync.replicas is {needed} and there are {copies} copies: no "
            "record that wants all acknowledgements is taken"
        )
        return [error(check_id, what, f"{change}{copies}", topic)]
    if copies > 1 and needed == 1:
        what = f"topic {topic}: min.insync.replicas is 1 of {copies}: one copy may be all there is"
        fix = f"{change}{copies - 1}" if copies > 2 else "use three copies, and two of them in sync"
        return [warning(check_id, what, fix, topic)]
    if copies > 1 and needed == copies:
        what = f"topic {topic}: min.insync.replicas is all {copies}: no broker may be away"
        fix = f"{change}{copies - 1}" if copies > 2 else "use three brokers and three copies"
        return [warning(check_id, what, fix, topic)]
    return []


def _in_sync(plans: Sequence[TopicPlan], facts: KafkaFacts) -> list[Finding]:
    check_id = "kafka.in_sync"
    found = []
    for plan in plans:
        topic = facts.topics[plan.name]
        if topic.leaderless:
            what = f"topic {plan.name}: {topic.leaderless} partitions have no leader"
            fix = "start the brokers that are away"
            found.append(error(check_id, what, fix, plan.name))
        elif topic.out_of_sync:
            what = f"topic {plan.name}: {topic.out_of_sync} partitions have a copy that is behind"
            fix = "see whether a broker is away, or slow: kafka-topics.sh --describe"
            found.append(warning(check_id, what, fix, plan.name))
    if not plans:
        return [not_checked(check_id, "there is no topic")]
    return found or [fine(check_id, "every partition has a leader and all its copies")]


def kafka_clock_finding(settings: Settings, newest_ms: int | None, now_ms: int) -> Finding:
    """Compare this machine's clock with the broker's time of its newest record (None: not known).

    The broker's clock is at that time or later, so only a clock that is behind can be seen.
    """
    check_id = "kafka.clock"
    if newest_ms is None:
        return not_checked(check_id, "no record bears the broker's time (message.timestamp.type)")
    behind_ms = newest_ms - now_ms
    if behind_ms > allowed_off_ms(settings):
        wrong = ClockWrong(-behind_ms, allowed_off_ms(settings), "Kafka's")
        return error(check_id, wrong.problem, wrong.fix)
    if behind_ms > CLOCK_OFF_MS_MAX:
        what = f"this machine's clock is {behind_ms / 1000:.1f} s or more behind Kafka's"
        return warning(check_id, what, "have time synchronised on both machines")
    return fine(
        check_id,
        f"not behind: the newest record was taken {max(0, -behind_ms) / 1000:.1f} s ago",
    )
