"""Has Redis write its append-only file anew when what stands in it may not be what it took.

Two faults of Redis 7.0, both healed by that: a file that ended inside a transaction keeps the
open MULTI, and what is written later is carried out together with that half at a later start;
and where a write to a full disk ended in its middle zeros are left, with which it does not start.
"""

from collections.abc import Callable
from contextlib import suppress
from typing import Final

from streams.edges.redis.client import AsyncClient, RedisNode, nodes_of
from streams.edges.redis.errors import CONNECTION_LOST

_FRESH_START_SECONDS: Final = 600
_AGAIN_SECONDS: Final = 15.0


class AppendOnlyFile:
    """Remembers why the file is due. ``clock`` gives seconds that never go back."""

    def __init__(self, client: AsyncClient, clock: Callable[[], float]) -> None:
        self._client = client
        self._clock = clock
        self._server_runs: dict[str, str] = {}
        self._may_have_started = True
        self._failed = False
        self._asked_seconds = -_AGAIN_SECONDS

    def suspect_start(self) -> None:
        """Redis may have started since: a connection was lost, or it stands at another moment."""
        self._may_have_started = True

    def suspect_failure(self) -> None:
        """Redis could not write its file."""
        self._failed = True

    async def rewrite_if_due(self) -> None:
        """Ask Redis to write it anew; to be called after a write of ours.

        Not before one: a Redis killed while it does this does not start on a file that ends
        inside a transaction. After a full disk four times a minute at most: it has room for few.
        """
        now = self._clock()
        failed = self._failed and now - self._asked_seconds >= _AGAIN_SECONDS
        if not self._may_have_started and not failed:
            return
        with suppress(*CONNECTION_LOST):  # forbidden, or under way already: reading goes on
            nodes = await nodes_of(self._client)
            started = [node for node in nodes if await self._has_started(node)]
            self._may_have_started = False
            if failed:
                self._asked_seconds = now
            for node in nodes if failed else started:
                await node.rewrite_file()
                self._failed = False

    async def _has_started(self, node: RedisNode) -> bool:
        """Whether a server started a short time ago, we had not heard of it, and its file is old.

        One that has rewritten it since is left alone: with ten million creators that is a fork
        of a gigabyte and a core for some seconds, while a worker catches up.
        """
        server = await node.info("server")
        is_new = server["run_id"] != self._server_runs.get(node.name)
        self._server_runs[node.name] = server["run_id"]
        if not is_new or server["uptime_in_seconds"] >= _FRESH_START_SECONDS:
            return False
        persistence = await node.info("persistence")
        rewritten = persistence["aof_last_rewrite_time_sec"] >= 0
        return not (rewritten and persistence["aof_last_bgrewrite_status"] == "ok")
