"""Connections to Redis: to one server or to a cluster, as the URL's scheme says.

``redis-cluster://`` is a scheme of our own, so that one setting holds where Redis is and how it
is spoken to: a flag beside it could contradict it (a Unix socket, a database other than 0).
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

from redis import ConnectionPool, Redis, RedisCluster
from redis.asyncio import Redis as AsyncRedis
from redis.asyncio import RedisCluster as AsyncRedisCluster
from redis.asyncio.cluster import ClusterNode as AsyncClusterNode
from redis.asyncio.cluster import ClusterPipeline
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import ExponentialWithJitterBackoff
from redis.cluster import ClusterNode
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisClusterException, RedisError
from redis.retry import Retry

from streams.edges.errors import SettingsError
from streams.edges.redis.tls import async_connection_of, redis_context_of, sync_connection_of
from streams.edges.settings.list import Settings
from streams.edges.settings.specs import url_without_password

CLUSTER_SCHEMES: Final = {"redis-cluster": "redis", "rediss-cluster": "rediss"}
_PORT: Final = 6379
_CLUSTER_TRIES: Final = 2
"""Tries of redis-py for one command; who calls it waits and asks again, with a line in the log."""


class _UrlUnfit(ValueError):
    """A URL that says what we cannot do; its words hold no secret."""


@contextmanager
def _closed_meanwhile() -> Iterator[None]:
    """Say what it is when one command closes the connections that another one is using.

    redis-py 8.1 does so when a node is down: the other finds its writer to be None, or its slot
    to be in no table.
    """
    try:
        yield
    except (AttributeError, KeyError) as error:
        if isinstance(error, AttributeError) and error.obj is not None:
            raise
        msg = "its connections were closed as another command found a node down"
        raise RedisConnectionError(msg) from error


class _ClusterPipeline(ClusterPipeline):
    """Pipeline of the cluster client below."""

    async def execute(self, *args: Any, **options: Any) -> list[Any]:
        """Send all; see the base class."""
        with _closed_meanwhile():
            return await super().execute(*args, **options)


class _ClusterClient(AsyncRedisCluster):
    """Cluster client that also follows an ASK to a node which has no slot yet.

    redis-py 8.1 knows nodes by their slots; the empty node that a first slot moves to is none.
    """

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        """Send one command; see the base class."""
        with _closed_meanwhile():
            return await super().execute_command(*args, **options)

    def pipeline(self, transaction: Any = None, shard_hint: Any = None) -> ClusterPipeline:
        """Give a pipeline; see the base class."""
        assert not shard_hint, "a cluster's pipeline has none"
        return _ClusterPipeline(self, transaction)  # type: ignore[abstract]  # only annotated

    def get_node(
        self, host: str | None = None, port: int | None = None, node_name: str | None = None
    ) -> AsyncClusterNode | None:
        """Give a node by host and port, or by its name ``host:port``."""
        found = super().get_node(host, port, node_name)
        if found is None and node_name is not None:
            named_host, _, named_port = node_name.rpartition(":")
            found = AsyncClusterNode(
                named_host, int(named_port), "primary", **self.connection_kwargs
            )
            self.nodes_manager.set_nodes(self.nodes_manager.nodes_cache, {node_name: found})
        return found


class _ClusterReader(RedisCluster):
    """Cluster client of the commands: a node without slots is a reason to ask again later."""

    def get_node(
        self, host: str | None = None, port: int | None = None, node_name: str | None = None
    ) -> ClusterNode:
        """Give a node by host and port, or by its name. Raises RedisClusterException."""
        found = super().get_node(host, port, node_name)  # type: ignore[no-untyped-call]
        if found is None:
            msg = f"a part of it is being moved to {node_name or host}, ask again"
            raise RedisClusterException(msg)
        return found  # type: ignore[no-any-return]


AsyncClient = AsyncRedis | AsyncRedisCluster
SyncClient = Redis | RedisCluster


@dataclass(frozen=True, slots=True)
class RedisNode:
    """One server that takes writes: the only one there is, or a primary of a cluster."""

    name: str
    client: AsyncClient
    target: Mapping[str, Any]

    async def info(self, *sections: str) -> dict[str, Any]:
        """What the server tells of itself. Raises NoPermissionError where that is forbidden."""
        return await self.client.info(*sections, **self.target)

    async def time(self) -> tuple[int, int]:
        """The server's time: seconds since 1970, and microseconds."""
        seconds, micros = await self.client.time(**self.target)
        return int(seconds), int(micros)

    async def setting(self, name: str) -> str | None:
        """A setting of the server; None: it has no such one."""
        found: str | None = (await self.client.config_get(name, **self.target)).get(name)
        return found

    async def rewrite_file(self) -> None:
        """Have the append-only file written anew."""
        await self.client.bgrewriteaof(**self.target)


async def nodes_of(client: AsyncClient) -> list[RedisNode]:
    """Every server that takes writes, as the client knows the cluster now."""
    if not isinstance(client, AsyncRedisCluster):
        return [RedisNode("", client, {})]
    await client.initialize()
    return [RedisNode(node.name, client, {"target_nodes": node}) for node in client.get_primaries()]


def is_cluster(redis_url: str) -> bool:
    """Whether the URL names a cluster.

    >>> is_cluster("redis-cluster://one:7000,two:7000"), is_cluster("redis://one:6379/0")
    (True, False)
    """
    return urlsplit(redis_url).scheme in CLUSTER_SCHEMES


def async_client_of(settings: Settings) -> AsyncClient:
    """Client of the worker; connects with its first command. Raises SettingsError."""
    options, context = _options(settings), redis_context_of(settings)
    try:
        if not is_cluster(settings.redis_url):
            client = AsyncRedis.from_url(settings.redis_url, **options)
            if context is not None:
                client.connection_pool.connection_class = async_connection_of(context)
            return client
        url, nodes = cluster_nodes_of(settings.redis_url)
        cluster = _ClusterClient.from_url(
            url,
            startup_nodes=[AsyncClusterNode(host, port) for host, port in nodes],
            retry=AsyncRetry(_backoff(), _CLUSTER_TRIES),
            **options,
        )
    except (ValueError, RedisError, RedisClusterException) as error:
        raise _wrong_url(settings, error) from None
    if context is not None:
        kind = async_connection_of(context)
        cluster.connection_kwargs["connection_class"] = kind  # of nodes that are found by asking
        for node in cluster.startup_nodes:
            node.connection_class = kind
    return cluster


def sync_client_of(settings: Settings) -> SyncClient:
    """Client of the commands that read; a cluster is asked for its nodes at once.

    Raises SettingsError, and RedisError or RedisClusterException when no node answers.
    """
    options, context = _options(settings), redis_context_of(settings)

    def pool_of(**pool_options: Any) -> ConnectionPool:
        if context is not None:
            pool_options["connection_class"] = sync_connection_of(context)
        return ConnectionPool(**pool_options)

    try:
        if not is_cluster(settings.redis_url):
            client = Redis.from_url(settings.redis_url, **options)
            if context is not None:
                client.connection_pool.connection_class = sync_connection_of(context)
            return client
        url, nodes = cluster_nodes_of(settings.redis_url)
    except ValueError as error:  # a port or database that is no number
        raise _wrong_url(settings, error) from None
    return _ClusterReader.from_url(
        url,
        startup_nodes=[ClusterNode(host, port) for host, port in nodes],  # type: ignore[no-untyped-call]
        retry=Retry(_backoff(), _CLUSTER_TRIES),
        connection_pool_class=pool_of,
        **options,
    )


def cluster_nodes_of(redis_url: str) -> tuple[str, list[tuple[str, int]]]:
    """redis-py's URL of the first node, and all nodes that are named. Raises ValueError.

    >>> cluster_nodes_of("redis-cluster://ann:word@one:7000,two")
    ('redis://ann:word@one:7000', [('one', 7000), ('two', 6379)])
    """
    parts = urlsplit(redis_url)
    login, at, hosts = parts.netloc.rpartition("@")
    nodes = [_host_and_port(one) for one in hosts.split(",")]
    database = parts.path.strip("/")
    if database not in {"", "0"}:
        msg = f"a cluster has no database {database}, only 0"
        raise _UrlUnfit(msg)
    first = hosts.split(",")[0]
    scheme = CLUSTER_SCHEMES[parts.scheme]
    return urlunsplit((scheme, f"{login}{at}{first}", "", parts.query, "")), nodes


def _host_and_port(text: str) -> tuple[str, int]:
    named = urlsplit(f"//{text}")
    if not named.hostname:
        msg = "a node is host:port, several are joined by commas"
        raise _UrlUnfit(msg)
    return named.hostname, named.port or _PORT


def _backoff() -> ExponentialWithJitterBackoff:
    return ExponentialWithJitterBackoff(cap=0.5, base=0.05)


def _options(settings: Settings) -> dict[str, Any]:
    timeout_seconds = settings.redis_timeout_ms / 1000
    login = {"username": settings.redis_username, "password": settings.redis_password}
    return {
        **{name: word for name, word in login.items() if word},
        "socket_timeout": timeout_seconds,
        "socket_connect_timeout": timeout_seconds,
    }


def _wrong_url(settings: Settings, error: Exception) -> SettingsError:
    """What is wrong with the URL; a part of a password may stand in another's error."""
    words = (
        str(error)
        if isinstance(error, _UrlUnfit)
        else "it cannot be read: a port is a number; what is special in a password (/ ? # @ : %) "
        "is written as %2F and so on, or the password set by SURGEWATCH_REDIS_PASSWORD_FILE"
    )
    return SettingsError(f"redis_url = {url_without_password(settings.redis_url)}: {words}")
