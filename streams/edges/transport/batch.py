"""The batch transport: Faust's aiokafka transport with one event for each fetched chunk.

URL scheme ``surgewatch-batch``. An event's value is a ``RawChunk``. Assignment, rebalance, flow
control and the commit timer stay Faust's; what is read, from where, and what is committed is
decided here. Four rules hold at every moment:

- nothing is handed to an agent before the partition's owner has said where to begin;
- chunks of a partition follow each other without a hole, or the worker stops (``ReadGap``,
  ``ReadBack``, ``RecordsGone``);
- a commit never passes a chunk that is not acked, and one that failed is tried again;
- every wait has a limit.
"""

from typing import Any, Final

from faust.tables.manager import TableManager
from faust.transport.drivers import TRANSPORTS
from faust.transport.drivers import aiokafka as stock

from streams.edges.transport.consumer import Consumer
from streams.edges.transport.contract import (
    OffsetBeyondEnd,
    PartitionOwner,
    ReadBack,
    ReadGap,
    RecordsGone,
    TakeOverFailed,
    TransportOptions,
)
from streams.edges.transport.message import ChunkMessage

__all__ = [
    "SCHEME",
    "ChunkMessage",
    "Consumer",
    "OffsetBeyondEnd",
    "PartitionOwner",
    "ReadBack",
    "ReadGap",
    "RecordsGone",
    "TakeOverFailed",
    "Transport",
    "TransportOptions",
    "broker_url_of",
    "faust_settings",
    "register",
]

SCHEME: Final = "surgewatch-batch"


class Transport(stock.Transport):  # type: ignore[misc]  # untyped
    """Faust's aiokafka transport, a chunk at a time."""

    Consumer = Consumer


class QuickTables(TableManager):  # type: ignore[misc]  # untyped
    """Faust's table manager without its second of waiting at the start: there are no tables."""

    async def on_start(self) -> None:
        """Call when the manager starts."""
        await self._update_channels()
        await self.recovery.start()


def register() -> None:
    """Make the URL scheme known where the package's entry points are not installed."""
    TRANSPORTS.aliases.setdefault(SCHEME, "streams.edges.transport.batch:Transport")


def broker_url_of(bootstrap_servers: str) -> str:
    """Faust's URL for a list of servers.

    >>> broker_url_of("one:9092, two:9092")
    'surgewatch-batch://one:9092;surgewatch-batch://two:9092'
    """
    servers = [server.strip() for server in bootstrap_servers.split(",") if server.strip()]
    return ";".join(f"{SCHEME}://{server}" for server in servers)


def faust_settings(bootstrap_servers: str, datadir: str) -> dict[str, Any]:
    """Faust settings for the batch transport, with the shortest start and rebalance."""
    register()
    return {
        "broker": broker_url_of(bootstrap_servers),
        "datadir": datadir,  # Faust makes the folder even without tables
        "key_serializer": "raw",
        "value_serializer": "raw",  # a chunk reaches the agent as it is
        "stream_buffer_maxsize": 16,  # counts chunks, for each topic
        "stream_recovery_delay": 0.0,  # no tables to recover, so nothing to collect first
        "stream_wait_empty": True,  # calls Consumer.wait_empty, which gives up and commits
        "broker_commit_interval": 1.0,  # only lag tools look at it
        "broker_heartbeat_interval": 1.0,  # a rebalance is noticed by the next heartbeat
        "broker_session_timeout": 15.0,  # until a killed worker's partitions move
        "broker_rebalance_timeout": 45.0,  # more than giving up and committing may take
        "consumer_max_fetch_size": 2**22,  # a partition's share of a fetch, bytes
        "topic_disable_leader": True,  # no topic for leader election
        "topic_allow_declare": False,  # topics are made by a command, not by a worker
        "table_standby_replicas": 0,
        "TableManager": QuickTables,
        "web_enabled": False,  # the exporter is our own
    }
