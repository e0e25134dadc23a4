"""What kind of state Redis holds: settled by the first worker, compared by every other."""

from collections.abc import Mapping

from streams.core.counting.packing import LAYOUT_VERSION
from streams.edges.store import StoreKind

_TOPIC = "topic_id:"


def fields_of(kind: StoreKind) -> dict[str, str]:
    """Fields of the layout's hash; what Kafka does not tell is not there."""
    fields = {
        "layout": str(LAYOUT_VERSION),
        "partitions": str(kind.partitions),
        "detector": kind.detector,
        "group": kind.group,
    }
    if kind.cluster_id is not None:
        fields["kafka_cluster"] = kind.cluster_id
    return fields | {f"{_TOPIC}{topic}": topic_id for topic, topic_id in kind.topic_ids}


def difference_of(
    wanted: Mapping[str, str], held: Mapping[str, str], prefix: str, url_shown: str
) -> tuple[str, str] | None:
    """Field that differs, and what is wrong and what to do; None: all is as wanted."""
    for field, value in wanted.items():
        if held[field] != value:
            return field, _words(field, (held[field], value), prefix, url_shown)
    return None


def _words(field: str, pair: tuple[str, str], prefix: str, url_shown: str) -> str:
    held, wanted = pair
    if field.startswith(_TOPIC):
        return topic_replaced(field.removeprefix(_TOPIC), pair)
    if field == "kafka_cluster":
        return (
            f"Redis at {url_shown} holds counts of the Kafka cluster {held} under {prefix!r}, and "
            f"these brokers are the cluster {wanted}: set another SURGEWATCH_REDIS_PREFIX for "
            "this cluster, or see SURGEWATCH_KAFKA_BOOTSTRAP_SERVERS"
        )
    return (
        f"Redis at {url_shown} holds state with {field} {held} under {prefix!r}, but {field} "
        f"{wanted} is wanted: set another SURGEWATCH_REDIS_PREFIX and let the worker count anew, "
        f"or go back to {field} {held}"
    )


def topic_replaced(topic: str, ids: tuple[str, str]) -> str:
    """Words for a topic that is another than the one that was counted."""
    return (
        f"topic {topic} was deleted and made again (id {ids[1]} instead of {ids[0]}): the stored "
        "counts and offsets are the old one's, so nothing of the new one is counted. Set another "
        "SURGEWATCH_REDIS_PREFIX to count what the new one holds and keep the old counts, or "
        "remove this prefix's keys to count anew under it"
    )
