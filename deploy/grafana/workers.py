"""Dashboard *Workers*: do they keep up, where does their time go, and what do they wait for."""

from functools import partial
from typing import Final

from grafana_foundation_sdk.models import units

from deploy.grafana.alert_limits import limit_of
from deploy.grafana.frame import Board, Section
from deploy.grafana.panels import WIDE_STAT_SPAN, graph, number
from deploy.grafana.queries import Query, Scope
from deploy.grafana.surges_now import delays_of_surges
from streams.edges.metrics.catalogue import (
    BY_NAME,
    EVENT_TO_STORED,
    KAFKA_ERRORS,
    LAG_RECORDS,
    LAG_SECONDS,
    MEMORY_LIMIT,
    OWNED,
    PARTITIONS,
    PROGRESS,
    REBALANCES,
    RECORDS,
    REDIS_ERRORS,
    REDIS_MAX,
    REDIS_USED,
    SERVER_WAIT,
    STAGE_SECONDS,
    STORE_BYTES,
    STORE_WRITE,
    WATERMARK,
)
from streams.edges.metrics.catalogue_running import MEMORY_ALLOCATED

SCOPE: Final = Scope(("job", "instance", "topic"))
FLEET: Final = Scope(("job",))
QUANTILES: Final = (0.5, 0.95, 0.99)
_RESIDENT: Final = BY_NAME["process_resident_memory_bytes"]
_CPU: Final = BY_NAME["process_cpu_seconds_total"]
_FILES: Final = BY_NAME["process_open_fds"]
_FILES_MAX: Final = BY_NAME["process_max_fds"]


def _worst_share(part: str, whole: str) -> Query:
    """Largest share over the workers; those without a limit, which is 0, have none."""
    return Query(f"max ({part} / ({whole} > 0))", units.PercentUnit)


_fact = partial(number, span=WIDE_STAT_SPAN)
_OVERVIEW: Final = Section(
    "Overview",
    [
        _fact(
            "Workers that are up",
            Query(f"sum (up{{{SCOPE.matchers(())}}}) or vector(0)", units.Short),
            limit=limit_of("SurgewatchWorkerAbsent", 0.0, is_least=True),
            description="Workers whose metrics Prometheus can read.",
        ),
        _fact(
            "Workers that are down",
            Query(f"count (up{{{SCOPE.matchers(())}}} == 0) or vector(0)", units.Short),
            limit=limit_of("SurgewatchWorkerDown"),
            description="Workers that Prometheus knows and cannot read.",
        ),
        _fact(
            "Partitions that no worker reads",
            Query(
                f"max ({FLEET.series(PARTITIONS)}) - sum ({FLEET.series(OWNED)})",
                units.Short,
                specs=(PARTITIONS, OWNED),
            ),
            limit=limit_of("SurgewatchPartitionsUnread"),
            description="Of all workers that Prometheus reads, whichever are chosen above. For "
            "seconds while partitions are dealt anew; for minutes nobody counts their records.",
        ),
        _fact("Lag", SCOPE.most(LAG_SECONDS), limit=limit_of("SurgewatchDataDelayed")),
        _fact(
            "Since the last progress",
            SCOPE.age(PROGRESS),
            limit=limit_of("SurgewatchConsumerStalled"),
            description="Of the worker that stored nothing for the longest time. One that has "
            "nothing to do writes every 5 seconds.",
        ),
        _fact(
            "Memory, of what it may be",
            _worst_share(SCOPE.series(_RESIDENT), SCOPE.series(MEMORY_LIMIT)),
            limit=limit_of("SurgewatchMemoryNearLimit"),
            description="Of the worker nearest to its limit.",
            none="no limit",
        ),
        _fact(
            "Redis, of its maxmemory",
            _worst_share(SCOPE.series(REDIS_USED), SCOPE.series(REDIS_MAX)),
            limit=limit_of("SurgewatchRedisNearLimit"),
            description="Of the fullest server. When it is full no state can be stored.",
            none="no limit",
        ),
    ],
)
_WORK: Final = Section(
    "Work",
    [
        graph("Records", [SCOPE.rate(RECORDS, "result")], stacked=True),
        graph(
            "Records by worker",
            [SCOPE.rate(RECORDS, "instance")],
            stacked=True,
            description="Records that each worker reads a second, whatever became of them.",
        ),
        graph(
            "Lag in seconds",
            [SCOPE.most(LAG_SECONDS, "topic")],
            limit=limit_of("SurgewatchDataDelayed"),
        ),
        graph("Lag in records", [SCOPE.total(LAG_RECORDS, "topic")]),
        graph(
            "Where a worker's time goes",
            [SCOPE.rate(STAGE_SECONDS, "stage", how="avg")],
            stacked=True,
            most=1.0,
        ),
        graph(
            "Event time reached, behind the clock",
            [SCOPE.age(WATERMARK, "topic")],
            description="Clock minus the watermark of the partition that is furthest back. It "
            "grows too where no record comes, which is no lag.",
        ),
    ],
)
_DELAY: Final = Section(
    "Delay",
    [
        graph(
            "From event to stored",
            [SCOPE.quantile(share, EVENT_TO_STORED) for share in QUANTILES],
        ),
        graph("From event to surge", delays_of_surges(SCOPE)),
    ],
)
_SERVERS: Final = Section(
    "Redis and Kafka",
    [
        graph(
            "Time of a write to Redis", [SCOPE.quantile(share, STORE_WRITE) for share in QUANTILES]
        ),
        graph("Waiting for them", [SCOPE.rate(SERVER_WAIT, "server", how="avg")]),
        graph("State sent to Redis", [SCOPE.rate(STORE_BYTES, "instance")], stacked=True),
        graph(
            "Calls that failed in 5 minutes",
            [
                SCOPE.increase(REDIS_ERRORS, "5m", "operation").named("Redis: {{operation}}"),
                SCOPE.increase(KAFKA_ERRORS, "5m", "operation").named("Kafka: {{operation}}"),
            ],
            limit=limit_of("SurgewatchStoreFailing"),
            description="Calls that failed in the five minutes before each point; they are tried "
            "again. Some are no harm; for five minutes on end they are.",
        ),
    ],
)
_GROUP: Final = Section(
    "Group and processes",
    [
        graph(
            "Rebalances in 15 minutes",
            [SCOPE.grown(REBALANCES, "15m", "instance")],
            limit=limit_of("SurgewatchRebalanceLoop"),
        ),
        graph(
            "Memory",
            [
                SCOPE.most(_RESIDENT, "instance"),
                SCOPE.most(MEMORY_ALLOCATED, "instance").named("in use by {{instance}}"),
                SCOPE.most(MEMORY_LIMIT, "instance").named("limit of {{instance}}"),
            ],
            description="Resident memory of each worker, what of it is in use and not freed and "
            "kept, and what its control group allows it; 0: there is no limit.",
        ),
        graph(
            "Processor time",
            [SCOPE.rate(_CPU, "instance")],
            description="Of each worker; 100 % is one processor. Its loop uses one, sending and "
            "receiving some of another: at 100 % add workers.",
        ),
        graph(
            "Open files, of as many as may be",
            [SCOPE.most(_FILES, "instance").share_of(SCOPE.most(_FILES_MAX, "instance"))],
            description="File descriptors that each worker has open, of the most that it may have.",
        ),
        graph(
            "Memory of Redis",
            [
                SCOPE.most(REDIS_USED).named("used"),
                SCOPE.most(REDIS_MAX).named("maxmemory; 0: none"),
            ],
            description="Of the fullest server: what it uses and its maxmemory.",
        ),
    ],
)

BOARD: Final = Board(
    "surgewatch-workers",
    "Surgewatch: workers",
    "Whether the workers keep up, where their time goes, and what they wait for.",
    SCOPE,
    [_OVERVIEW, _WORK, _DELAY, _SERVERS, _GROUP],
)
