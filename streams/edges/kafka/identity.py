"""Which topic it is that we read: its id and its partition count, asked of Kafka in one request.

A topic that was deleted and made again has its old name and another id (KIP-516); aiokafka 0.14
asks with requests that do not carry it, so the request is our own: metadata, version 10, of which
only the first few fields are read. A broker that does not know it gives the count alone.
"""

import asyncio
import uuid
from collections.abc import Mapping, Sequence
from io import BytesIO
from typing import Any, ClassVar, Final, NamedTuple

from aiokafka.client import AIOKafkaClient
from aiokafka.errors import (
    IncompatibleBrokerVersion,
    KafkaError,
    NodeNotReadyError,
    UnknownTopicOrPartitionError,
    for_code,
)
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.metadata import MetadataRequest
from aiokafka.protocol.types import (
    Boolean,
    CompactArray,
    CompactString,
    Int16,
    Int32,
    Schema,
    TaggedFields,
    UnsignedVarInt32,
)

_NO_ID: Final = bytes(16)


class TopicIdentity(NamedTuple):
    """One topic as Kafka has it now; ``topic_id`` None: this Kafka does not tell."""

    topic_id: str | None
    partitions: int


class Source(NamedTuple):
    """Where records come from: the cluster (None: it has no name), and topics by name.

    A topic that does not exist is missing.
    """

    cluster_id: str | None
    topics: Mapping[str, TopicIdentity]


class _Bytes16:
    """A UUID on the wire."""

    @classmethod
    def encode(cls, value: bytes) -> bytes:
        return value

    @classmethod
    def decode(cls, data: BytesIO) -> bytes:
        return data.read(16)


class _Length:
    """Length of a compact array of which nothing else is read."""

    @classmethod
    def decode(cls, data: BytesIO) -> int:
        length: int = UnsignedVarInt32.decode(data)
        return max(0, length - 1)


class _OneTopicResponse(Response):  # type: ignore[misc]  # aiokafka has no types
    """Begin of a metadata response to a question about one topic; the rest is not read."""

    API_KEY: int = 3
    API_VERSION: int = 10
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "brokers",
            CompactArray(
                ("node_id", Int32),
                ("host", CompactString("utf-8")),
                ("port", Int32),
                ("rack", CompactString("utf-8")),
                ("tags", TaggedFields),
            ),
        ),
        ("cluster_id", CompactString("utf-8")),
        ("controller_id", Int32),
        ("topics", _Length),
        ("error_code", Int16),
        ("name", CompactString("utf-8")),
        ("topic_id", _Bytes16),
        ("is_internal", Boolean),
        ("partitions", _Length),
    )


class _OneTopicRequest(RequestStruct):  # type: ignore[misc]
    API_KEY: ClassVar[int] = 3
    API_VERSION: ClassVar[int] = 10
    FLEXIBLE_VERSION: ClassVar[bool] = True
    RESPONSE_TYPE = _OneTopicResponse
    SCHEMA = Schema(
        (
            "topics",
            CompactArray(
                ("topic_id", _Bytes16), ("name", CompactString("utf-8")), ("tags", TaggedFields)
            ),
        ),
        ("allow_auto_topic_creation", Boolean),
        ("include_cluster_authorized_operations", Boolean),
        ("include_topic_authorized_operations", Boolean),
        ("tags", TaggedFields),
    )


class _OneTopic(Request[_OneTopicRequest]):  # type: ignore[misc]
    API_KEY: ClassVar[int] = 3

    def __init__(self, topic: str) -> None:
        self._topic = topic

    def build(self, request_struct_class: type[_OneTopicRequest]) -> _OneTopicRequest:
        return request_struct_class([(_NO_ID, self._topic, {})], False, False, False, {})


async def source_of(client: AIOKafkaClient, topics: Sequence[str]) -> Source:
    """Ask one broker, with one short request a topic. Raises KafkaError."""
    node = client.get_random_node()
    if node is None:
        raise NodeNotReadyError
    answers = await asyncio.gather(*(_ask(client, node, topic) for topic in topics))
    clusters = [cluster for cluster, _ in answers if cluster]
    found = {
        topic: identity
        for topic, (_, identity) in zip(topics, answers, strict=True)
        if identity is not None
    }
    return Source(clusters[0] if clusters else None, found)


async def _ask(
    client: AIOKafkaClient, node: Any, topic: str
) -> tuple[str | None, TopicIdentity | None]:
    try:
        answer = await client.send(node, _OneTopic(topic))
    except (NotImplementedError, IncompatibleBrokerVersion):
        return await _ask_plainly(client, node, topic)
    if not _exists(answer.error_code):
        return answer.cluster_id, None
    raw = answer.topic_id
    topic_id = None if raw == _NO_ID else str(uuid.UUID(bytes=raw))
    return answer.cluster_id, TopicIdentity(topic_id, answer.partitions)


async def _ask_plainly(
    client: AIOKafkaClient, node: Any, topic: str
) -> tuple[str | None, TopicIdentity | None]:
    """As ``_ask``, of a broker before Kafka 2.8: it has no ids."""
    answer = await client.send(node, MetadataRequest([topic], False))
    error_code, *_, partitions = answer.topics[0]
    cluster_id = getattr(answer, "cluster_id", None)
    if not _exists(error_code):
        return cluster_id, None
    return cluster_id, TopicIdentity(None, len(partitions))


def _exists(error_code: int) -> bool:
    """Whether the topic is there. Raises KafkaError for what may pass (no leader yet, no right)."""
    error = for_code(error_code)
    if error is UnknownTopicOrPartitionError:
        return False
    if error_code:
        raise error() if issubclass(error, KafkaError) else KafkaError(error_code)
    return True
