"""What a Kafka says of itself, of our topics and of the workers' group; nothing is changed."""

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple, TypeVar

from streams.edges.kafka.admin import (
    ConfigResource,
    ConfigResourceType,
    KafkaAdminClient,
    admin_client,
    kafka_errors,
)
from streams.edges.kafka.group import Group, read_committed, read_group
from streams.edges.kafka.topics import topic_configs, topic_plans
from streams.edges.settings.list import Settings
from streams.edges.store import Place

T = TypeVar("T")
_FORBIDDEN: Final = (
    kafka_errors.AuthorizationError,
    kafka_errors.UnsupportedVersionError,
    kafka_errors.IncompatibleBrokerVersion,
)


class TopicFacts(NamedTuple):
    """One topic as it stands now.

    ``copies_min`` are the copies of the partition that has the fewest; ``leaderless`` and
    ``out_of_sync`` count partitions without a leader, and those of which a copy is behind.
    """

    topic_id: str | None
    partitions: int
    copies_min: int
    leaderless: int
    out_of_sync: int


class KafkaFacts(NamedTuple):
    """All that was asked; None: we may not ask, or this Kafka cannot say.

    ``broker`` is the configuration of one of ``brokers``. Topics that do not exist are missing.
    """

    version: tuple[int, ...]
    cluster_id: str | None
    brokers: int
    broker: Mapping[str, str] | None
    topics: Mapping[str, TopicFacts]
    configs: Mapping[str, Mapping[str, str]]
    group: Group | None
    committed: Mapping[Place, int] | None


def read_kafka(settings: Settings) -> KafkaFacts:
    """Ask one broker after the other question. Raises KafkaUnreachable."""
    names = [plan.name for plan in topic_plans(settings)]
    with admin_client(settings) as admin:
        cluster = admin.describe_cluster()
        brokers = [one["broker_id"] for one in cluster["brokers"]]
        # Listing first: asking about a topic may create it where brokers create them by themselves.
        present = sorted(set(names) & set(admin.list_topics()))
        described = admin.describe_topics(present) if present else []
        group = settings.kafka_group
        return KafkaFacts(
            version=tuple(admin.get_broker_version_data(brokers[0]).broker_version),
            cluster_id=cluster["cluster_id"],
            brokers=len(brokers),
            broker=_allowed(lambda: _broker_config(admin, brokers[0])),
            topics={one["name"]: _topic_of(one) for one in described},
            configs=topic_configs(admin, present),
            group=_allowed(lambda: read_group(admin, group)),
            committed=_allowed(lambda: read_committed(admin, group)),
        )


def _topic_of(told: Mapping[str, Any]) -> TopicFacts:
    partitions = told["partitions"]
    return TopicFacts(
        topic_id=told.get("topic_id"),
        partitions=len(partitions),
        copies_min=min((len(one["replica_nodes"]) for one in partitions), default=0),
        leaderless=sum(one["leader_id"] < 0 for one in partitions),
        out_of_sync=sum(len(one["isr_nodes"]) < len(one["replica_nodes"]) for one in partitions),
    )


def _broker_config(admin: KafkaAdminClient, broker: int) -> dict[str, str]:
    resource = ConfigResource(ConfigResourceType.BROKER, str(broker))
    told = admin.describe_configs([resource], config_filter="all")["broker"][str(broker)]
    return {key: str(entry["value"]) for key, entry in told.items()}


def _allowed(ask: Callable[[], T]) -> T | None:
    """Answer to a question; None: we may not ask it. Raises other KafkaErrors."""
    try:
        return ask()
    except _FORBIDDEN:
        return None
