"""What redis-py raises, in our words: what passes and is asked again, and what does not."""

from typing import Final

from redis.exceptions import (
    AskError,
    AuthenticationError,
    ClusterDownError,
    ClusterError,
    MasterDownError,
    NoPermissionError,
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
    RedisRefusesUs,
    RedisUnreachable,
    SettingsError,
    SurgewatchError,
)
from streams.edges.redis.tls import redis_tls_cause_of

CONNECTION_LOST: Final = (RedisError, RedisClusterException, OSError, RuntimeError)
"""RuntimeError: what uvloop raises when the server closed the connection before a request."""
_PASSING: Final = (
    ClusterDownError,
    MasterDownError,
    OutOfMemoryError,
    ReadOnlyError,
    TryAgainError,
)
_PASSING_CODES: Final = ("NOREPLICAS", "BUSY", "LOADING")
"""Refusals that pass (too few replicas, another's script): worth asking again."""
_FULL: Final = (
    "its memory is full (maxmemory): raise maxmemory (redis-cli CONFIG SET, and redis.conf) or "
    "make room; writes wait until then, and nothing is lost"
)
_NO_ROOM: Final = ("No space left on device", "Disk quota exceeded")
WRONG_LOGIN: Final = (
    "wrong or missing user name or password: see SURGEWATCH_REDIS_USERNAME and "
    "SURGEWATCH_REDIS_PASSWORD"
)
_NO_CLUSTER: Final = "Cluster mode is not enabled"
_NO_RIGHT_IN_SCRIPT: Final = "user executing the script can't run"
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
    refusal = _refusal_of(error)
    if refusal is not None:
        return RedisRefusesUs(url_shown, refusal)
    return RedisUnreachable(url_shown, cause)


def _refusal_of(error: BaseException) -> str | None:
    """Why Redis will not have us so, in plain words; None: it is something else."""
    told: BaseException | None = error
    while told is not None:  # a cluster's client tells of the last node's error by its cause alone
        if isinstance(told, AuthenticationError):
            return WRONG_LOGIN
        if isinstance(told, NoPermissionError):
            return no_right_of(told)
        told = told.__cause__
    return redis_tls_cause_of(str(error))


def no_right_of(error: ResponseError) -> str:
    """Which right the user lacks."""
    said = str(error).rstrip(".")
    return f"its user lacks a right ({said}): docs/security.md has the line that gives them all"


def no_right_to_import(commands: str) -> str:
    """Which commands the user lacks to put a backup back."""
    return (
        f"its user may not use {commands}, which state import needs: docs/security.md has the "
        "line that gives them for so long"
    )


def refused_of(url_shown: str, error: ResponseError) -> SurgewatchError:
    """Error for a Redis that answers with one: RedisRefuses if that may pass, else DataError."""
    if isinstance(error, OutOfMemoryError):
        return RedisRefuses(url_shown, _FULL, says_all=True)
    if str(error).startswith("MISCONF"):
        return RedisRefuses(url_shown, _disk_words(str(error)), says_all=True)
    if isinstance(error, NoPermissionError) or _NO_RIGHT_IN_SCRIPT in str(error):
        return RedisRefusesUs(url_shown, no_right_of(error))
    if isinstance(error, _PASSING) or str(error).startswith(_PASSING_CODES):
        return RedisRefuses(url_shown, str(error))
    if isinstance(error, AskError):  # MOVED too
        return SettingsError(node_of_cluster(url_shown))
    return DataError(f"Redis at {url_shown} refuses a write or a read: {error}")


def _disk_words(said: str) -> str:
    """What keeps Redis from writing its files, and the way out: Redis itself names no way."""
    said, _, _ = said.partition(" script: ")  # of ours: its hash and line
    full = any(words in said for words in _NO_ROOM)
    what = "its disk is full: make room" if full else "its disk takes nothing: mend it"
    return (
        f"{what} where its files are (redis-cli CONFIG GET dir); writes wait until then, and "
        f"nothing is lost ({said})"
    )


def node_of_cluster(url_shown: str) -> str:
    """Words for a cluster that is spoken to as if it were one server."""
    return (
        f"Redis at {url_shown} is a node of a cluster: begin SURGEWATCH_REDIS_URL with "
        "redis-cluster:// instead of redis://"
    )
