"""Asking the store: for as long as it takes, and what is said when its answer cannot be read."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import msgspec

from streams.core.counting.packing import LayoutUnknown
from streams.core.detection.block_state import DetectorStateError
from streams.core.detection.river_models import RiverStateError
from streams.edges.errors import DataError, RedisUnreachable
from streams.edges.logs.lines import logger_of
from streams.edges.metrics.progress import Progress
from streams.edges.metrics.worker import RedisOperation
from streams.edges.store import FencedOff, Place

UNREADABLE: Final = (
    LayoutUnknown,
    DetectorStateError,
    RiverStateError,
    msgspec.DecodeError,
)
_RETRY_SECONDS_MAX: Final = 5.0

Answer = TypeVar("Answer")

log = logger_of(__name__)


async def patiently(
    ask: Callable[[], Awaitable[Answer]], operation: RedisOperation, progress: Progress
) -> Answer:
    """Ask the store until it answers; says what it waits for."""
    wait_seconds = 0.1
    while True:
        try:
            return await ask()
        except RedisUnreachable as error:
            progress.redis_failed(operation, error)
            log.warning("store_waited_for", "waiting for the store: {error}", error=error)
        except FencedOff as error:
            if operation != "connect":
                raise
            log.warning("partition_waited_for", "waiting for the partition: {error}", error=error)
        await asyncio.sleep(wait_seconds)
        wait_seconds = min(2 * wait_seconds, _RETRY_SECONDS_MAX)


def cannot_be_read(place: Place, error: Exception) -> DataError:
    """Say which partition's state cannot be read, and the ways out."""
    return DataError(
        f"{place.topic}[{place.partition}]: the state in the store cannot be read: {error}. "
        "Remove this prefix's keys, or set another SURGEWATCH_REDIS_PREFIX: the worker then "
        "counts what Kafka still has"
    )
