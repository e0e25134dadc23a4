"""Whether creators' records are in the partitions that Kafka's default partitioner chooses."""

from typing import Final

from streams.core.records.chunks import CommentChunk, FollowChunk, RawChunk
from streams.edges.kafka.partitioner import partitions_of
from streams.edges.logs.lines import logger_of
from streams.edges.metrics.worker import Metrics

_LOOKED_AT: Final = 64
"""Creators of each chunk that are looked at: records without a key are found at once."""

log = logger_of(__name__)


class Placement:
    """One worker's look at where records stand; says so once a topic."""

    def __init__(self, partitions: int, metrics: Metrics) -> None:
        self._partitions = partitions
        self._metrics = metrics
        self._told: set[str] = set()

    def look(self, raw: RawChunk, chunk: FollowChunk | CommentChunk) -> None:
        """Look at the first creators of a chunk."""
        if raw.topic in self._told:
            return
        chosen = partitions_of(chunk.creator_ids[:_LOOKED_AT], self._partitions)
        elsewhere = sum(number != raw.partition for number in chosen)
        if not elsewhere:
            return
        self._told.add(raw.topic)
        self._metrics.add_trouble("other_partition")
        log.warning(
            "creators_in_other_partition",
            "{topic}/{partition}: {elsewhere} of {looked_at} records are of creators that Kafka's "
            "default partitioner puts into other partitions: have producers key records by "
            "creator_id. Counts and surges are right only if all records of a creator are in one "
            "partition",
            topic=raw.topic,
            partition=raw.partition,
            elsewhere=elsewhere,
            looked_at=len(chosen),
        )
