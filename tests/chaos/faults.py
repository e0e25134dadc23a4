"""The faults: each begins, is held for a while, and ends with every server healthy again."""

import resource
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from redis import Redis

from tests.chaos.fleet import Worker, owned_by
from tests.chaos.proxy import Proxy
from tests.chaos.stage import SESSION_SECONDS, Stage
from tests.servers import Server

BLACK_SECONDS = 30.0
"""Of each network's first black; the later ones are shorter."""
_TAKEN_OVER_SECONDS_MAX = 10.0


class Fault(Protocol):
    """One fault on a stage. Two with the same target do not overlap, but for workers."""

    target: str
    held_seconds: float

    def begin(self) -> None:
        """Do the harm."""

    def end(self) -> None:
        """Undo it; nothing where the harm is done at once."""


class KillWorker:
    """`kill -9`; the supervisor starts it again."""

    target, held_seconds = "worker", 0.0

    def __init__(self, stage: Stage) -> None:
        self._stage = stage

    def begin(self) -> None:
        """Kill one."""
        self._stage.chance.choice(self._stage.fleet.workers).process.kill()

    def end(self) -> None:
        """Nothing: whoever is left takes over."""


class TermWorker(KillWorker):
    """SIGTERM; the supervisor starts it again. Held until it has gone, as a rule."""

    held_seconds = 2.0

    def begin(self) -> None:
        """Ask one to end."""
        self._stage.chance.choice(self._stage.fleet.workers).process.signal(15)


class PauseWorker:
    """SIGSTOP for longer than the session, until others have all partitions.

    A worker that owned none, or another fault that keeps the others from them, is told apart.
    """

    target = "worker"

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self.held_seconds = SESSION_SECONDS + stage.chance.uniform(0.5, 4)

    def begin(self) -> None:
        """Stop one in its tracks, that is not stopped already if there is one."""
        fleet = self._stage.fleet
        awake = [worker for worker in fleet.workers if not worker.paused]
        self._worker = self._stage.chance.choice(awake or fleet.workers)
        self._owned = owned_by(self._worker)
        fleet.pause(self._worker)

    def end(self) -> None:
        """Wake it once others have its partitions, or after ten seconds more."""
        stage, worker = self._stage, self._worker

        def others_have_all() -> bool:
            return not worker.paused or stage.fleet.owned_awake() == stage.partitions

        taken_over = stage.wait_for(others_have_all, _TAKEN_OVER_SECONDS_MAX)
        if worker.paused:  # nobody killed it meanwhile
            stage.pauses[taken_over and self._owned > 0] += 1
        stage.fleet.resume(worker)


class AddWorker:
    """One more worker for a while."""

    target = "worker"

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self.held_seconds = stage.chance.uniform(3, 10)
        self._worker: Worker

    def begin(self) -> None:
        """Add it."""
        self._worker = self._stage.fleet.add()

    def end(self) -> None:
        """Take it away."""
        self._stage.fleet.stop(self._worker)


class KillServer:
    """`kill -9` of Kafka or Redis, and a restart on what it had written."""

    def __init__(self, stage: Stage, server: Server) -> None:
        self.target, self._server = server.name, server
        self.held_seconds = stage.chance.uniform(0, 12)

    def begin(self) -> None:
        """Kill it."""
        self._server.kill()

    def end(self) -> None:
        """Start it again."""
        self._server.start()


class CutRedis:
    """Redis killed, and its append-only file cut short by about two seconds."""

    target = "redis"

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self.held_seconds = stage.chance.uniform(0, 4)

    def begin(self) -> None:
        """Kill it and cut the file, in the middle of a command as a rule."""
        stage = self._stage
        folder = stage.redis.files
        before = {path: path.stat().st_size for path in folder.glob("*.incr.aof")}
        stage.wait(2.0)
        stage.redis.kill()
        path = max(folder.glob("*.incr.aof"), key=lambda path: path.stat().st_mtime)
        size = min(before.get(path, 0), path.stat().st_size)  # 0: rewritten in these two seconds
        with path.open("r+b") as file:
            file.truncate(max(0, size - stage.chance.randrange(2_000)))

    def end(self) -> None:
        """Start it again."""
        self._stage.redis.start()


class CutRedisAndKill(CutRedis):
    """The same, and killed again soon: a half of a write that was left is carried out then.

    In between workers may not have the file written anew, by which the half would be gone.
    """

    def end(self) -> None:
        """Start it, let workers write, kill it and start it again."""
        super().end()
        with Redis.from_url(self._stage.redis.url) as client:
            client.execute_command("ACL", "SETUSER", "default", "-bgrewriteaof")
        self._stage.wait(self._stage.chance.uniform(0.1, 3))
        self._stage.redis.kill()
        super().end()


class EmptyRedis:
    """FLUSHALL: all counts must come from Kafka again."""

    target, held_seconds = "redis", 0.0

    def __init__(self, stage: Stage) -> None:
        self._stage = stage

    def begin(self) -> None:
        """Empty it."""
        with Redis.from_url(self._stage.redis.url) as client:
            client.flushall()

    def end(self) -> None:
        """Nothing."""


class FullDisk:
    """Redis's disk is full; where it has none of its own, its files can grow no further."""

    target = "redis"

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self.held_seconds = stage.chance.uniform(4, 12)

    def begin(self) -> None:
        """Leave no room on the disk, or limit the size of the files to what they have."""
        redis = self._stage.redis
        if redis.disk is not None:
            redis.disk.fill()
        else:
            self._limit(max(path.stat().st_size for path in redis.files.glob("*.aof")) + 50)

    def end(self) -> None:
        """Give it room again."""
        if self._stage.redis.disk is not None:
            self._stage.redis.disk.empty()
        else:
            self._limit(resource.RLIM_INFINITY)

    def _limit(self, size_bytes: int) -> None:
        pid = self._stage.redis.pid
        assert pid is not None, "Redis runs"
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (size_bytes, resource.RLIM_INFINITY))


@dataclass
class Network:
    """The way to one server is bad for a while."""

    target: str
    held_seconds: float
    harm: Callable[[], None]
    net: Proxy

    def begin(self) -> None:
        """Spoil it."""
        self.harm()

    def end(self) -> None:
        """Clear it."""
        self.net.clear()


def _slow(target: str) -> Callable[[Stage], Fault]:
    def build(stage: Stage) -> Fault:
        net, chance = _net(stage, target), stage.chance
        delay_seconds = chance.choice((0.05, 0.3, 1.0))
        return Network(
            f"{target} network", chance.uniform(3, 10), lambda: net.slow(delay_seconds), net
        )

    return build


def _cut(target: str) -> Callable[[Stage], Fault]:
    def build(stage: Stage) -> Fault:
        net = _net(stage, target)
        return Network(f"{target} network", stage.chance.uniform(2, 6), net.cut, net)

    return build


def _black(target: str) -> Callable[[Stage], Fault]:
    def build(stage: Stage) -> Fault:
        net = _net(stage, target)
        first = target not in stage.were_black
        held_seconds = BLACK_SECONDS if first else stage.chance.choice((4.0, 10.0))

        def harm() -> None:
            stage.were_black.add(target)
            net.black()

        return Network(f"{target} network", held_seconds, harm, net)

    return build


def _net(stage: Stage, target: str) -> Proxy:
    return stage.kafka_net if target == "kafka" else stage.redis_net


KINDS: Mapping[str, Callable[[Stage], Fault]] = {
    "worker killed": KillWorker,
    "worker ended": TermWorker,
    "worker paused": PauseWorker,
    "worker added and taken away": AddWorker,
    "Kafka killed": lambda stage: KillServer(stage, stage.kafka),
    "Redis killed": lambda stage: KillServer(stage, stage.redis),
    "Redis cut short": CutRedis,
    "Redis cut short and killed": CutRedisAndKill,
    "Redis emptied": EmptyRedis,
    "Redis's disk full": FullDisk,
    "network to Redis slow": _slow("redis"),
    "network to Redis cut": _cut("redis"),
    "network to Redis black": _black("redis"),
    "network to Kafka slow": _slow("kafka"),
    "network to Kafka cut": _cut("kafka"),
    "network to Kafka black": _black("kafka"),
}
