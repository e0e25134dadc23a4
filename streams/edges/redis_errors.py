"""What redis-py raises, in our words: what passes and is asked again, and what does not."""

from typing import Final

from redis.exceptions import (
    AskError,
    AuthenticationError,
    ClusterDownError,
    ClusterError,
    MasterDownError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisClusterException,
    RedisError,
    ResponseError,
    TryAgainError,
)

from streams.edges.errors import (
    DataError,
    RedisRefuses,
    RedisUnreachable,
    SettingsError,
    SurgewatchError,
)

CONNECTION_LOST: Final = (RedisError, RedisClusterException, OSError, RuntimeError)
"""RuntimeError: what uvloop raises when the server closed the connection before a request."""
_PASSING: Final = (
    ClusterDownError,
    MasterDownError,
    OutOfMemoryError,
    ReadOnlyError,
    TryAgainError,
)
_PASSING_CODES: Final = ("MISCONF", "NOREPLICAS", "BUSY", "LOADING")
"""Refusals that pass (a full disk, too few replicas, another's script): worth asking again."""
_FULL: Final = (
    "its memory is full (maxmemory): raise maxmemory (redis-cli CONFIG SET, and redis.conf) or "
    "make room; writes wait until then, and nothing is lost"
)
_NO_CLUSTER: Final = "Cluster mode is not enabled"
_MOVING: Final = "TTL exhausted"


def unreachable_of(url_shown: str, error: Exception) -> SurgewatchError:
    """Error for a Redis that cannot be spoken to; the URL is shown without secrets."""
    cause = str(error) or type(error).__name__
    if _NO_CLUSTER in cause:
        msg = (
            f"Redis at {url_shown} is one server and no cluster: begin SURGEWATCH_REDIS_URL with "
            "redis:// instead of redis-cluster://"
        )
        return SettingsError(msg)
    if isinstance(error, ClusterError) and _MOVING in cause:
        return RedisRefuses(url_shown, "a part of the cluster is being moved to another node")
    refused = isinstance(error, AuthenticationError) or isinstance(
        error.__cause__, AuthenticationError
    )
    if refused:
        cause = "wrong or missing password: see SURGEWATCH_REDIS_PASSWORD"
    unreachable = RedisUnreachable(url_shown, cause)
    unreachable.retry = not refused
    return unreachable


def refused_of(url_shown: str, error: ResponseError) -> SurgewatchError:
    """Error for a Redis that answers with one: RedisRefuses if that may pass, else DataError."""
    if isinstance(error, OutOfMemoryError):
        return RedisRefuses(url_shown, _FULL)
    if isinstance(error, _PASSING) or str(error).startswith(_PASSING_CODES):
        return RedisRefuses(url_shown, str(error))
    if isinstance(error, AskError):  # MOVED too
        return SettingsError(node_of_cluster(url_shown))
    return DataError(f"Redis at {url_shown} refuses a write or a read: {error}")


def node_of_cluster(url_shown: str) -> str:
    """Words for a cluster that is spoken to as if it were one server."""
    return (
        f"Redis at {url_shown} is a node of a cluster: begin SURGEWATCH_REDIS_URL with "
        "redis-cluster:// instead of redis://"
    )
