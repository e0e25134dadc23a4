"""Every check of ``surgewatch doctor``; ``docs/doctor.md`` has its table from here."""

from typing import Final

from streams.core.reports.checkup import Check

SETTINGS: Final = 2
UNREACHABLE: Final = 3
DATA: Final = 4

CHECKS: Final[tuple[Check, ...]] = (
    Check(
        *("settings.read", SETTINGS, "file and variables"),
        errs="one is unreadable, unknown, out of range, or contradicts another; nothing else is "
        "checked then",
    ),
    Check(
        *("settings.detector", SETTINGS, "the detector and its parameters"),
        errs="it cannot be made",
    ),
    Check(
        *("settings.times", SETTINGS, "time limits beside each other"),
        warns="the watchdog or the start gives up before one answer of a server may take, or a "
        "dynamic member's session is longer than a minute",
    ),
    Check(
        *("settings.unused", SETTINGS, "settings that are set"),
        warns="one has no effect beside the others",
    ),
    Check(
        *(
            "settings.certificates",
            SETTINGS,
            "the files of TLS, read as a worker does, and what servers show",
        ),
        warns="a certificate ends within 14 days, ours or a server's",
        errs="one cannot be read, holds no certificate or key, does not fit the other, has ended "
        "or is not valid yet: a worker does not start",
    ),
    Check(
        *("settings.memory", SETTINGS, "what a worker may hold, beside the memory it may have"),
        warns="`keys_in_memory_max` lets it grow beyond, and the keys in Redis are near that",
    ),
    Check("kafka.reachable", UNREACHABLE, "the brokers", errs="none answers, or the login fails"),
    Check(
        *("kafka.version", DATA, "the brokers' version"),
        warns="before 2.8: a topic that was deleted and made again is not noticed",
    ),
    Check(
        *("kafka.session", SETTINGS, "`kafka_session_timeout_ms` beside what brokers allow"),
        errs="it is outside `group.min.session.timeout.ms` to `group.max.session.timeout.ms`: no "
        "worker can join",
    ),
    Check("kafka.topics", DATA, "the five topics", errs="one does not exist"),
    Check(
        *("kafka.partitions", DATA, "their partition counts"),
        errs="they differ from each other or from `topic_partitions`",
    ),
    Check(
        *("kafka.cleanup", DATA, "`cleanup.policy`"),
        warns="surges are not compacted, or dead letters are",
        errs="follows, comments or waves are compacted: records are lost before they are counted",
    ),
    Check(
        *("kafka.retention", DATA, "`retention.ms` and `retention.bytes`"),
        warns="events are kept for less than 48 hours, or up to a size only; dead letters for "
        "less than 30 days",
        errs="events are kept for less than the 24 hours that are counted",
    ),
    Check(
        *("kafka.times", DATA, "`message.timestamp.type`"),
        warns="it is not `LogAppendTime`: what is from the future is judged by the worker's clock",
    ),
    Check(
        *("kafka.message_size", DATA, "`max.message.bytes` of dead letters"),
        warns="it is less than 4 MiB: large unusable records do not fit",
    ),
    Check(
        *("kafka.replication", DATA, "copies of each partition, and `min.insync.replicas`"),
        warns="one copy only; or one is enough for a record to be acknowledged; or all are needed",
        errs="more are needed than there are: nothing can be announced",
    ),
    Check(
        *("kafka.in_sync", DATA, "leaders and copies as they are now"),
        warns="a copy is behind or away",
        errs="a partition has no leader",
    ),
    Check(
        *("kafka.clock", DATA, "this machine's clock beside the time of the newest record"),
        warns="it is behind by more than a second",
        errs="it is behind by more than a worker allows at its start",
    ),
    Check(
        *("group.workers", DATA, "members of the consumer group"),
        warns="there is none; partitions are being dealt; or one has no partition",
    ),
    Check(
        *("group.partitions", DATA, "partitions that are read"),
        errs="workers run, and nobody has one",
    ),
    Check(
        *("group.topics", DATA, "what members read"),
        errs="a member reads other topics: two fleets share one `kafka_group`",
    ),
    Check(
        *("lag.behind", DATA, "event time that waits to be counted"),
        warns="more than a minute",
    ),
    Check(
        *("lag.lost", DATA, "the stored offset beside the first record that Kafka has"),
        warns="records were deleted before they were counted, and `on_records_gone` is `skip`",
        errs="the same, and it is `stop`: workers do not go on",
    ),
    Check(
        *("lag.beyond", DATA, "the stored offset beside the end"),
        errs="it is past the end: the topic is another one, or lost its end",
    ),
    Check(
        *("lag.retention", DATA, "age of the first record that waits"),
        warns="more than half of the topic's retention",
    ),
    Check(
        *("lag.committed", DATA, "the committed offset beside the stored one"),
        warns="it is ahead: Redis went back to an earlier moment, or was emptied",
    ),
    Check("redis.reachable", UNREACHABLE, "the server", errs="it does not answer, or refuses us"),
    Check(
        *("redis.version", DATA, "its version"),
        warns="before 7.0, with which nothing is tested",
    ),
    Check(
        *("redis.role", DATA, "what it is"),
        errs="a replica, or a cluster of which slots are not served",
    ),
    Check(
        *("redis.url", SETTINGS, "`redis_url` beside whether it is a cluster"),
        errs="a node of a cluster is spoken to alone, or a single one as a cluster",
    ),
    Check(
        *("redis.rights", DATA, "what its user may do"),
        warns="it may not ask for memory, settings and time, or have the file written anew",
        errs="it may not do what a worker does",
    ),
    Check(
        *("redis.eviction", DATA, "`maxmemory-policy`"),
        warns="keys were evicted since it started",
        errs="it may evict keys",
    ),
    Check(
        *("redis.memory", DATA, "memory used beside `maxmemory`, and room for creators"),
        warns="it is used to 90 %, or there is no limit",
        errs="it is full: it takes no writes, and workers wait",
    ),
    Check(
        *("redis.persistence", DATA, "the append-only file"),
        warns="there is none, or nobody syncs it",
        errs="it cannot be written",
    ),
    Check(
        *("redis.packing", DATA, "`hash-max-listpack-value`"),
        warns="it is below 256: a creator takes about a quarter more memory",
    ),
    Check(
        *("redis.latency", DATA, "how long its answers to TIME take: 200, or those of a second"),
        warns="the median is above 10 ms, or the 99th percentile above 100 ms",
    ),
    Check(
        *("redis.clock", DATA, "this machine's clock beside Redis'"),
        warns="they differ by more than a second",
        errs="they differ by more than a worker allows at its start",
    ),
    Check(
        *("redis.state", DATA, "what is stored under `redis_prefix`"),
        warns="half of a write stands in a partition: a worker counts it anew",
        errs="it is of another version, detector, group, Kafka or topic",
    ),
    Check("prometheus.reachable", UNREACHABLE, "Prometheus' API", errs="it does not answer"),
    Check(
        *("prometheus.targets", DATA, 'workers that it scrapes as `job="surgewatch"`'),
        warns="one is not up",
        errs="there is none",
    ),
    Check(
        *("prometheus.rules", DATA, "the rules of `deploy/prometheus`"),
        errs="one is not loaded, or cannot be evaluated",
    ),
    Check(
        *("prometheus.metrics", DATA, "metrics that its rules use"),
        warns="one has no series though workers are up",
        errs="one is not in this version",
    ),
    Check(
        *("prometheus.alertmanager", DATA, "the Alertmanagers that it sends to"),
        errs="there is none: nobody is told",
    ),
    Check(
        *("prometheus.links", DATA, "links in what fires: the external labels"),
        warns="`docs_url` or `grafana_url` is not set: links lead nowhere",
    ),
    Check(
        *("prometheus.settings", DATA, "digests of the workers' settings, and versions"),
        warns="they differ",
    ),
    Check(*("prometheus.alerts", DATA, "alerts that fire now"), warns="one of ours fires"),
)


def checks_markdown() -> str:
    """Write the table of all checks."""
    lines = [
        "| id | looks at | warning | error | exit code |",
        "|---|---|---|---|--:|",
    ]
    lines += [
        f"| `{check.id}` | {check.looks_at} | {check.warns or '–'} | {check.errs or '–'} | "
        f"{check.exit_code if check.errs else 0} |"
        for check in CHECKS
    ]
    return "\n".join(lines) + "\n"
