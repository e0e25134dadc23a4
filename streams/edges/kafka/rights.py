"""Which rights a worker's user lacks in Kafka (ACLs), asked before it begins.

Without this each right would be missed at another moment, some only when the first surge is told.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from streams.edges.errors import KafkaRefusesUs
from streams.edges.kafka.admin import KafkaAdminClient, KafkaError, admin_client, kafka_errors
from streams.edges.settings.list import Settings

ASK_RIGHTS: Final = "docs/security.md has the kafka-acls lines that give them"


def needed_rights(settings: Settings) -> Mapping[str, frozenset[str]]:
    """Operations that a worker needs on each topic; on its group it needs READ."""
    read, write = frozenset({"READ"}), frozenset({"WRITE"})
    return {
        settings.topic_follows: read,
        settings.topic_comments: read,
        settings.topic_waves: read | write,
        settings.topic_surges: write,
        settings.topic_dead_letters: write,
    }


def check_rights(settings: Settings) -> None:
    """Raise KafkaRefusesUs with every right that is lacking; KafkaUnreachable.

    Without a login or a certificate nothing is asked: everybody there is the same user.
    """
    if settings.kafka_security_protocol == "PLAINTEXT":
        return
    needed = needed_rights(settings)
    with admin_client(settings) as admin:
        described = admin.describe_topics(sorted(needed))
        lacking = list(lacking_in(described, needed))
        if not _may_join(admin, settings.kafka_group):
            lacking.append(f"Read on group {settings.kafka_group}")
    if lacking:
        cause = f"the user of this worker lacks rights ({', '.join(lacking)}): {ASK_RIGHTS}"
        raise KafkaRefusesUs(settings.kafka_bootstrap_servers, cause)


def lacking_in(
    described: Iterable[Mapping[str, Any]], needed: Mapping[str, frozenset[str]]
) -> Iterable[str]:
    """Rights that are lacking, in words; of a topic of which the broker tells none, nothing.

    >>> told = [{"name": "surges", "authorized_operations": ["DESCRIBE", "READ"]}]
    >>> list(lacking_in(told, {"surges": frozenset({"WRITE"})}))
    ['Write on topic surges']
    """
    for topic in described:
        held = topic.get("authorized_operations")
        is_hidden = topic.get("error_code") == kafka_errors.TopicAuthorizationFailedError.errno
        if held or is_hidden:
            lacking = needed[topic["name"]] - set(held or ())
            yield from (f"{one.capitalize()} on topic {topic['name']}" for one in sorted(lacking))


def _may_join(admin: KafkaAdminClient, group: str) -> bool:
    try:
        answer = admin.describe_groups([group], include_authorized_operations=True)
    except kafka_errors.GroupAuthorizationFailedError:
        return False
    except KafkaError:  # a broker that does not know the request: joining will tell
        return True
    told = answer.get(group, {}) if isinstance(answer, dict) else answer[0]
    held = told.get("authorized_operations")
    if told.get("error_code") == kafka_errors.GroupAuthorizationFailedError.errno:
        return False
    return not held or "READ" in held
