"""A real Redis Cluster for tests: some servers on loopback, one of them with no slots."""

import time
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from redis import Redis
from redis.crc import key_slot

from streams.edges.process.child import free_port
from tests.servers import RedisServer

SLOTS = 16_384
_SECONDS_MAX = 30.0


class RedisCluster:
    """Primaries that share the slots evenly, and one more that has none yet.

    ``servers`` are in the order of their slots; the last is the one without.
    """

    def __init__(self, folder: Path, primaries: int = 3) -> None:
        self._stack = ExitStack()
        self._bus_ports = [free_port() for _ in range(primaries + 1)]
        self.servers = [
            RedisServer(
                folder / f"node-{number}",
                settings={
                    "cluster-enabled": "yes",
                    "cluster-port": str(bus_port),
                    "cluster-node-timeout": "2000",
                },
            )
            for number, bus_port in enumerate(self._bus_ports)
        ]

    @property
    def url(self) -> str:
        """URL of two of the nodes; the others are found by asking."""
        first, second = (server.port for server in self.servers[:2])
        return f"redis-cluster://127.0.0.1:{first},127.0.0.1:{second}"

    def __enter__(self) -> Self:
        for server in self.servers:
            self._stack.callback(server.stop)
            server.start()
        primaries = len(self.servers) - 1
        for number, server in enumerate(self.servers[:-1]):
            low, high = SLOTS * number // primaries, SLOTS * (number + 1) // primaries - 1
            self._ask(server, "CLUSTER ADDSLOTSRANGE", low, high)
        for number, server in enumerate(self.servers):
            self._ask(server, "CLUSTER SET-CONFIG-EPOCH", number + 1)
        for server, bus_port in zip(self.servers[1:], self._bus_ports[1:], strict=True):
            self._ask(self.servers[0], "CLUSTER MEET", "127.0.0.1", server.port, bus_port)
        self.wait_whole()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    def wait_whole(self) -> None:
        """Wait until every node knows all others and all slots are served."""
        ends = time.monotonic() + _SECONDS_MAX
        while not all(self.is_whole(server) for server in self.servers):
            assert time.monotonic() < ends, "the cluster did not form"

    def owner_of(self, key: str) -> RedisServer:
        """Server that has a key's slot."""
        slot = key_slot(key.encode())
        for low, high, primary, *_ in self._ask(self.servers[0], "CLUSTER SLOTS"):
            if low <= slot <= high:
                return next(one for one in self.servers if one.port == primary[1])
        msg = f"nobody has slot {slot}"
        raise AssertionError(msg)

    def begin_move(self, key: str, target: RedisServer) -> "Move":
        """Begin to move a key's slot, as ``redis-cli --cluster reshard`` does."""
        return Move(self, key_slot(key.encode()), self.owner_of(key), target)

    def id_of(self, server: RedisServer) -> str:
        """Node id."""
        return str(self._ask(server, "CLUSTER MYID"), "ascii")

    def is_whole(self, server: RedisServer) -> bool:
        """Whether a node knows all others and takes the cluster to be up."""
        info = self._ask(server, "CLUSTER INFO")
        told = dict(line.split(":") for line in str(info, "ascii").split() if ":" in line)
        return told["cluster_state"] == "ok" and int(told["cluster_known_nodes"]) == len(
            self.servers
        )

    def _ask(self, server: RedisServer, command: str, *arguments: object) -> Any:
        return ask(server, *command.split(), *arguments)


class Move:
    """One slot on its way between two nodes."""

    def __init__(
        self, cluster: RedisCluster, slot: int, source: RedisServer, target: RedisServer
    ) -> None:
        self._cluster = cluster
        self._slot = slot
        self._source = source
        self._target = target
        source_id, self._target_id = cluster.id_of(source), cluster.id_of(target)
        self._set("IMPORTING", source_id, target)
        self._set("MIGRATING", self._target_id, source)

    @property
    def keys_left(self) -> int:
        """Keys that are still at the source."""
        return int(ask(self._source, "CLUSTER", "COUNTKEYSINSLOT", self._slot))

    def move(self, keys_max: int) -> None:
        """Move some keys."""
        keys = ask(self._source, "CLUSTER", "GETKEYSINSLOT", self._slot, keys_max)
        port = self._target.port
        if keys:
            ask(self._source, "MIGRATE", "127.0.0.1", port, "", 0, 5_000, "KEYS", *keys)

    def finish(self) -> None:
        """Move what is left, and tell all nodes whose the slot is."""
        while self.keys_left:
            self.move(100)
        others = [one for one in self._cluster.servers if one not in {self._source, self._target}]
        for server in (self._target, self._source, *others):
            self._set("NODE", self._target_id, server)

    def _set(self, state: str, node_id: str, server: RedisServer) -> None:
        ask(server, "CLUSTER", "SETSLOT", self._slot, state, node_id)


def ask(server: RedisServer, *command: object) -> Any:
    """Ask one node. Its answers are raw: none is turned into anything."""
    with Redis(port=server.port, socket_timeout=10) as client:
        client.response_callbacks.clear()
        return client.execute_command(*command)
