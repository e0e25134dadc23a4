"""What is said of Redis: the servers, the user's rights, and what is stored."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from streams.app.doctor.kafka import CLOCK_OFF_MS_MAX, MAY_NOT_ASK
from streams.core.reports.checkup import Finding, error, fine, not_checked, warning
from streams.edges.process.clock import ClockWrong, allowed_off_ms
from streams.edges.redis.facts import NodeFacts, RedisFacts
from streams.edges.redis.layout import difference_of, fields_of
from streams.edges.redis.reader import Stand
from streams.edges.redis.servers import NEAR_FULL, PACKED, eviction_words, memory_of
from streams.edges.settings.list import Settings
from streams.edges.settings.specs import url_without_password
from streams.edges.store import Place, StoreKind

_VERSION_MIN: Final = (7, 0)
_CREATOR_BYTES: Final = 143
"""Of a creator with a day's history, with Redis' default packing (README, Speed and memory)."""
_MEDIAN_MS_MAX: Final = 10.0
_P99_MS_MAX: Final = 100.0
_GRANT: Final = "let its user run INFO and CONFIG GET (ACL +info +config|get)"


def redis_findings(settings: Settings, facts: RedisFacts) -> list[Finding]:
    """What is said of the servers."""
    where = url_without_password(settings.redis_url)
    count = len(facts.nodes)
    servers = "1 server takes" if count == 1 else f"{count} servers take"
    return [
        fine("redis.reachable", f"{where} answers; {servers} writes"),
        *_role(facts),
        *_of_node(facts),
        _clock(settings, facts.clock_off_ms),
    ]


def _of_node(facts: RedisFacts) -> list[Finding]:
    """Findings of each server; of those that say the same of all, one is enough."""
    found: list[Finding] = []
    for node in facts.nodes:
        told = [_rights(node), _latency(node)]
        if node.info is None:
            seen = ("redis.version", "redis.eviction", "redis.memory", "redis.persistence")
            told += [not_checked(check_id, MAY_NOT_ASK, _GRANT) for check_id in seen]
        else:
            told += [_version(node, node.info), *_memory(node, node.info)]
            told += [*_persistence(node, node.info)]
        told.append(_packing(node))
        found += told
    bad = {one.id for one in found if one.status in {"warning", "error"}}
    kept: list[Finding] = []
    for one in found:
        doubled = one.status == "ok" and any(one.id == other.id for other in kept)
        if not doubled and not (one.status == "ok" and one.id in bad):
            kept.append(one)
    return kept


def _role(facts: RedisFacts) -> list[Finding]:
    infos = [node.info for node in facts.nodes]
    if None in infos:
        return [not_checked(one, MAY_NOT_ASK, _GRANT) for one in ("redis.url", "redis.role")]
    known = [info for info in infos if info is not None]
    alone = not facts.nodes[0].name
    if alone and known[0].get("cluster_enabled"):
        what = "redis_url names one node of a cluster, and others hold what it lacks"
        fix = "begin SURGEWATCH_REDIS_URL with redis-cluster:// instead of redis://"
        return [error("redis.url", what, fix)]
    found = [fine("redis.url", "redis_url speaks to it as what it is")]
    replicas = [info for info in known if info.get("role") != "master"]
    if facts.unserved is not None:
        fix = "see redis-cli --cluster check: start the nodes that are away, or fix the slots"
        found.append(error("redis.role", f"the cluster does not serve all: {facts.unserved}", fix))
    elif replicas:
        what = f"it is a replica of {replicas[0].get('master_host')} and takes no writes"
        fix = "set redis_url to the primary"
        found.append(error("redis.role", what, fix))
    else:
        found.append(fine("redis.role", "it takes writes"))
    return found


def _rights(node: NodeFacts) -> Finding:
    check_id = "redis.rights"
    refused = node.refused
    if refused is None:
        fix = "let its user begin a transaction (ACL +@transaction), which is how rights are seen"
        return not_checked(check_id, "the user may not run MULTI", fix)
    if refused.keys:
        what = "the user may not touch keys that begin with redis_prefix"
        return error(check_id, what, "give it the keys: ACL ~PREFIX:*", _name(node))
    if refused.needed:
        what = f"the user may not run {', '.join(refused.needed)}, without which no worker works"
        return error(check_id, what, "give it these commands (ACL SETUSER)", _name(node))
    if refused.wished:
        what = (
            f"the user may not run {', '.join(refused.wished)}: a worker works and sees less, or "
            "cannot mend an append-only file that was cut"
        )
        return warning(check_id, what, "give it these commands (ACL SETUSER)", _name(node))
    return fine(check_id, "the user may do all that a worker does")


def _version(node: NodeFacts, info: Mapping[str, Any]) -> Finding:
    told = str(info.get("valkey_version") or info.get("redis_version", "0"))
    name = "Valkey" if "valkey_version" in info else "Redis"
    parts = tuple(int(part) for part in told.split(".")[:2] if part.isdigit())
    if parts < _VERSION_MIN:
        what = f"{name} {told}, and nothing before 7.0 is tested"
        return warning("redis.version", what, "use Redis 7 or Valkey", _name(node))
    return fine("redis.version", f"{name} {told}")


def _memory(node: NodeFacts, info: Mapping[str, Any]) -> list[Finding]:
    memory = memory_of(info)
    found = []
    if memory.may_evict:
        problem, fix = eviction_words(memory)
        found.append(error("redis.eviction", f"it {problem}", fix, _name(node)))
    elif memory.evicted_keys:
        what = f"it has evicted {memory.evicted_keys:,} keys since it started, by an earlier policy"
        fix = "if they were ours, set another redis_prefix to count anew what Kafka still has"
        found.append(warning("redis.eviction", what, fix, _name(node)))
    else:
        found.append(fine("redis.eviction", f"never evicts ({memory.policy})"))
    used = f"{memory.used_bytes / 2**20:,.0f} MiB used"
    if not memory.max_bytes:
        what = f"{used}, and maxmemory is not set: the system ends a Redis that takes all memory"
        fix = "set maxmemory to what the machine can spare, with maxmemory-policy noeviction"
        return [*found, warning("redis.memory", what, fix, _name(node))]
    room = max(0, memory.max_bytes - memory.used_bytes) // _CREATOR_BYTES
    told = f"{used} of {memory.max_bytes / 2**20:,.0f}, room for about {room:,} more creators"
    if memory.share >= 1:
        what = f"it is full, {used} of {memory.max_bytes / 2**20:,.0f}: it takes no writes"
        fix = "raise maxmemory; until then workers wait, and nothing is lost"
        return [*found, error("redis.memory", what, fix, _name(node))]
    if memory.share >= NEAR_FULL:
        fix = "raise maxmemory: full, it takes no writes, and workers wait"
        return [*found, warning("redis.memory", told, fix, _name(node))]
    return [*found, fine("redis.memory", told)]


def _persistence(node: NodeFacts, info: Mapping[str, Any]) -> list[Finding]:
    check_id = "redis.persistence"
    if not info.get("aof_enabled"):
        what = "no append-only file: a restart forgets all counts, and a day has to be read again"
        fix = "redis-cli CONFIG SET appendonly yes, and in redis.conf"
        return [warning(check_id, what, fix, _name(node))]
    if info.get("aof_last_write_status", "ok") != "ok":
        fix = "make room on its disk; it takes no writes until then"
        return [error(check_id, "it cannot write its append-only file", fix, _name(node))]
    fsync = (node.settings or {}).get("appendfsync")
    if fsync == "no":
        what = "appendfsync is no: what was counted in half a minute may be lost with the machine"
        fix = "redis-cli CONFIG SET appendfsync everysec, and in redis.conf"
        return [warning(check_id, what, fix, _name(node))]
    if fsync is None:
        return [not_checked(check_id, "there is an append-only file; how it is synced "
                "cannot be seen", _GRANT)]  # fmt: skip
    return [fine(check_id, f"append-only file, appendfsync {fsync}")]


def _packing(node: NodeFacts) -> Finding:
    check_id = "redis.packing"
    ((name, wanted),) = PACKED.items()
    found = (node.settings or {}).get(name)
    if found is None:
        return not_checked(check_id, f"{name} cannot be seen", _GRANT)
    if int(found) < int(wanted):
        what = f"{name} is {found}: a creator takes about a quarter more memory than with {wanted}"
        fix = f"redis-cli CONFIG SET {name} {wanted}, and in redis.conf"
        return warning(check_id, what, fix, _name(node))
    return fine(check_id, f"{name} is {found}")


def _latency(node: NodeFacts) -> Finding:
    times = node.answer_ms
    if times is None:
        return not_checked("redis.latency", MAY_NOT_ASK, "let its user run TIME (ACL +time)")
    median, p99 = times[len(times) // 2], times[(99 * len(times) - 1) // 100]
    told = (
        f"of {len(times)} answers the median took {median:.1f} ms, the 99th percentile {p99:.1f} ms"
    )
    if median > _MEDIAN_MS_MAX or p99 > _P99_MS_MAX:
        fix = "have Redis near the workers; redis-cli --latency and SLOWLOG GET tell what keeps it"
        return warning("redis.latency", told, fix, _name(node))
    return fine("redis.latency", told)


def _clock(settings: Settings, off_ms: int | None) -> Finding:
    check_id = "redis.clock"
    if off_ms is None:
        return not_checked(check_id, MAY_NOT_ASK, "let its user run TIME (ACL +time)")
    if abs(off_ms) > allowed_off_ms(settings):
        wrong = ClockWrong(off_ms, allowed_off_ms(settings))
        return error(check_id, wrong.problem, wrong.fix)
    told = f"this machine's clock and Redis' differ by {abs(off_ms) / 1000:.1f} s"
    if abs(off_ms) > CLOCK_OFF_MS_MAX:
        return warning(check_id, told, "have time synchronised on both machines")
    return fine(check_id, told)


def state_findings(
    settings: Settings,
    layout: Mapping[str, str],
    stands: Mapping[Place, Stand],
    kafka: tuple[str | None, Sequence[tuple[str, str]]],
) -> list[Finding]:
    """What is stored, beside what this fleet would store there.

    ``kafka`` is the cluster's id, and names and ids of the topics that are read.
    """
    check_id = "redis.state"
    prefix = settings.redis_prefix
    if not layout:
        return [fine(check_id, f"nothing is stored under {prefix!r} yet")]
    cluster_id, topic_ids = kafka
    kind = StoreKind(
        settings.topic_partitions,
        settings.detector,
        settings.kafka_group,
        cluster_id,
        tuple(topic_ids),
    )
    wanted = {name: value for name, value in fields_of(kind).items() if name in layout}
    differs = difference_of(wanted, layout, prefix, url_without_password(settings.redis_url))
    if differs is not None:
        name, words = differs
        fix = f"set another redis_prefix than {prefix!r}, or go back to what it holds"
        return [error(check_id, words, fix, name)]
    torn = [place for place, stand in stands.items() if stand.torn]
    if torn:
        what = (
            f"half of a write stands in {len(torn)} partitions, first {'/'.join(map(str, torn[0]))}"
        )
        fix = "start a worker: it counts them anew from Kafka"
        return [warning(check_id, what, fix)]
    held = sum(stand.offset is not None for stand in stands.values())
    return [fine(check_id, f"{prefix!r} holds {held} partitions of this fleet")]


def _name(node: NodeFacts) -> str | None:
    return node.name or None
