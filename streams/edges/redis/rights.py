"""What a worker's user of Redis must be allowed, and which of it one is refused; nothing is done.

Each command is queued in a transaction that is then discarded: Redis judges the rights when it
queues, and carries nothing out.
"""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from redis.asyncio import RedisCluster as AsyncRedisCluster
from redis.exceptions import NoPermissionError, ResponseError

from streams.edges.redis.client import RedisNode

Command = tuple[str, ...]

_KEY: Final = "{key}"
NEEDED: Final[tuple[Command, ...]] = (
    ("HGETALL", _KEY),
    ("HKEYS", _KEY),
    ("HMGET", _KEY, "field"),
    ("HGET", _KEY, "field"),
    ("HSET", _KEY, "field", "value"),
    ("HSETNX", _KEY, "field", "value"),
    ("HDEL", _KEY, "field"),
    ("HINCRBY", _KEY, "field", "1"),
    ("EXPIRE", _KEY, "60"),
    ("TTL", _KEY),
    ("UNLINK", _KEY),
    ("TIME",),
    ("SCAN", "0", "COUNT", "1"),
    ("EVALSHA", "0" * 40, "1", _KEY),
    ("SCRIPT", "LOAD", "return 1"),
)
"""Commands that a worker and its scripts use; without one it does not work."""
WISHED: Final[tuple[Command, ...]] = (
    ("INFO",),
    ("CONFIG", "GET", "maxmemory"),
    ("BGREWRITEAOF",),
)
"""Without these it works, sees less, and cannot mend an append-only file that was cut."""


class Refused(NamedTuple):
    """Commands that the user may not use; ``keys``: it may not touch keys of our prefix."""

    needed: tuple[str, ...]
    wished: tuple[str, ...]
    keys: bool


async def read_refused(node: RedisNode, prefix: str) -> Refused | None:
    """Ask what the user is refused; None: it may not even begin a transaction.

    Raises RedisError for a connection that fails.
    """
    pool = _pool_of(node)
    connection = await pool.get_connection()
    try:
        if not isinstance(await _answer(connection, ("MULTI",)), bytes):
            return None
        key = f"{prefix}:{{doctor:0}}:meta"
        asked = {
            wanted: await _answer(connection, [key if part == _KEY else part for part in wanted])
            for wanted in (*NEEDED, *WISHED)
        }
        await _answer(connection, ("DISCARD",))
    finally:
        await pool.release(connection)
    refused = {
        wanted: str(answer)
        for wanted, answer in asked.items()
        if isinstance(answer, NoPermissionError)
    }
    keys = any("one of the keys" in words for words in refused.values())
    return Refused(
        tuple(_name(wanted) for wanted in NEEDED if wanted in refused),
        tuple(_name(wanted) for wanted in WISHED if wanted in refused),
        keys,
    )


def _pool_of(node: RedisNode) -> Any:
    """Where single connections to a node come from."""
    if isinstance(node.client, AsyncRedisCluster):
        return _NodePool(node.target["target_nodes"])
    return node.client.connection_pool


class _NodePool:
    """One node of a cluster as a pool."""

    def __init__(self, node: Any) -> None:
        self._node = node

    async def get_connection(self) -> Any:
        connection = self._node.acquire_connection()
        await connection.connect()
        return connection

    async def release(self, connection: Any) -> None:
        await connection.disconnect()
        self._node.release(connection)


async def _answer(connection: Any, command: Sequence[str]) -> Any:
    """Answer to a command; an error of the server's is an answer, too."""
    await connection.send_command(*command)
    try:
        return await connection.read_response()
    except ResponseError as error:
        return error


def _name(command: Command) -> str:
    return " ".join(command[:2]) if command[0] in {"CONFIG", "SCRIPT"} else command[0]
