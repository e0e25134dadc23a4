"""Every setting: type, range, default and meaning, in one list.

A setting is one line of :class:`Settings`; the file reader, the variables, the messages, the
table of ``surgewatch config`` and the README's table are all made from it.
"""

from typing import Annotated, Final, Literal

import msgspec

_PORT: Final = (
    r"(6553[0-5]|655[0-2]\d|65[0-4]\d\d|6[0-4]\d{3}|[1-5]\d{4}|[1-9]\d{0,3})"  # 1 to 65535
)
_SERVER: Final = rf"(\[[0-9A-Fa-f:.]+\]|[^\s,:/\[\]]+):{_PORT}"


_AUTHORITIES: Final = "PEM file of the authorities to trust; none: the system's"
_CERTIFICATE: Final = "PEM file of our own certificate, and its chain,"
_KEY: Final = "PEM file of its key; none: it is in the certificate's file"
_KEY_PASSWORD: Final = "Password of that key, if it is encrypted"  # noqa: S105 what it means


def _int(low: int, high: int, meaning: str) -> msgspec.Meta:
    return msgspec.Meta(ge=low, le=high, description=meaning)


def _text(pattern: str, allowed: str, meaning: str, *, secret: bool = False) -> msgspec.Meta:
    extra = {"allowed": allowed, "secret": secret}
    return msgspec.Meta(pattern=pattern, description=meaning, extra=extra)


def _filled(meaning: str, *, secret: bool = False) -> msgspec.Meta:
    return _text(r"^[^\x00]+\Z", "text that is not empty", meaning, secret=secret)


def _said(meaning: str, allowed: str | None = None) -> msgspec.Meta:
    return msgspec.Meta(description=meaning, extra={"allowed": allowed} if allowed else None)


def _budget(meaning: str, example: str) -> msgspec.Meta:
    allowed = f'a number above 0, below 1, or words: "{example}"'
    extra = {"allowed": allowed, "budget": True}
    return msgspec.Meta(gt=0, lt=1, description=meaning, extra=extra)


def _topic(meaning: str) -> msgspec.Meta:
    pattern = r"^(?!\.{1,2}$)[A-Za-z0-9._-]{1,249}\Z"
    return _text(pattern, "1 to 249 letters, digits, dots, dashes, underscores", meaning)


Servers = Annotated[
    str,
    _text(
        rf"^{_SERVER}(,{_SERVER})*\Z",
        "host:port, several joined by commas",
        "Kafka brokers to begin with",
    ),
]
RedisUrl = Annotated[
    str,
    _text(
        r"^(rediss?(-cluster)?://[^\s]+|unix:///[^\s]+)\Z",
        "redis://host:port/database, redis-cluster://host:port,…, rediss://…, rediss-cluster://… "
        "or unix:///path",
        "Redis that keeps the state",
    ),
]
DetectorName = Annotated[
    str,
    _text(
        r"^(surgewatch|[A-Za-z_]\w*(\.[A-Za-z_]\w*)+)\Z",
        "surgewatch, or a dotted path such as river.anomaly.GaussianScorer",
        "Detector that scores every creator and post",
    ),
]
Prefix = Annotated[
    str,
    _text(
        r"^[A-Za-z0-9._-]{1,64}\Z",
        "1 to 64 letters, digits, dots, dashes, underscores",
        "First part of every key in Redis",
    ),
]


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Settings in force; frozen. ``Settings()`` is all defaults; made by ``read_settings``.

    ``origins`` says where each came from: ``default``, the file's path or the variable's name.
    """

    kafka_bootstrap_servers: Servers = "127.0.0.1:9092"
    kafka_group: Annotated[str, _filled("Consumer group of the workers")] = "surgewatch"
    kafka_instance_id: (
        Annotated[str, _topic("Name of this worker for static membership; none: dynamic")] | None
    ) = None
    kafka_security_protocol: Annotated[
        Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"], _said("How to speak to Kafka")
    ] = "PLAINTEXT"
    kafka_sasl_mechanism: Annotated[
        Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"], _said("How to log in to Kafka")
    ] = "PLAIN"
    kafka_sasl_username: Annotated[str, _filled("User name for Kafka")] | None = None
    kafka_sasl_password: Annotated[str, _filled("Password for Kafka", secret=True)] | None = None
    kafka_ssl_cafile: Annotated[str, _filled(_AUTHORITIES)] | None = None
    kafka_ssl_certfile: Annotated[str, _filled(f"{_CERTIFICATE} for Kafka")] | None = None
    kafka_ssl_keyfile: Annotated[str, _filled(_KEY)] | None = None
    kafka_ssl_key_password: Annotated[str, _filled(_KEY_PASSWORD, secret=True)] | None = None
    kafka_session_timeout_ms: Annotated[
        int, _int(6_000, 1_800_000, "A worker silent for so long loses its partitions")
    ] = 15_000
    kafka_timeout_ms: Annotated[
        int, _int(1_000, 600_000, "Longest wait for one answer from Kafka")
    ] = 10_000

    topic_follows: Annotated[str, _topic("Topic of the follows")] = "follows"
    topic_comments: Annotated[str, _topic("Topic of the comments")] = "comments"
    topic_surges: Annotated[str, _topic("Topic of the surge records")] = "surges"
    topic_dead_letters: Annotated[str, _topic("Topic of the records that cannot be used")] = (
        "dead-letters"
    )
    topic_waves: Annotated[
        str, _topic("Topic of what partitions report of their closed buckets, for waves")
    ] = "waves"
    topic_partitions: Annotated[
        int, _int(1, 10_000, "Partitions of each topic, when it is created and checked")
    ] = 4
    topic_replication: Annotated[
        int, _int(1, 32_767, "Copies of each partition, when a topic is created")
    ] = 1

    redis_url: RedisUrl = "redis://127.0.0.1:6379/0"
    redis_username: Annotated[str, _filled("User name for Redis (ACL)")] | None = None
    redis_password: Annotated[str, _filled("Password for Redis", secret=True)] | None = None
    redis_ssl_cafile: Annotated[str, _filled(_AUTHORITIES)] | None = None
    redis_ssl_certfile: Annotated[str, _filled(f"{_CERTIFICATE} for Redis")] | None = None
    redis_ssl_keyfile: Annotated[str, _filled(_KEY)] | None = None
    redis_ssl_key_password: Annotated[str, _filled(_KEY_PASSWORD, secret=True)] | None = None
    redis_prefix: Prefix = "surgewatch"
    redis_expiry_days: Annotated[
        int, _int(2, 3_650, "A creator unseen for so long is forgotten")
    ] = 35
    redis_timeout_ms: Annotated[
        int, _int(100, 600_000, "Longest wait for one answer from Redis")
    ] = 5_000

    on_records_gone: Annotated[
        Literal["stop", "skip"],
        _said("What to do when Kafka has deleted records before they were counted"),
    ] = "stop"
    check_interval_ms: Annotated[
        int, _int(100, 3_600_000, "Topics and Redis are checked again so often while running")
    ] = 5_000

    rule_followers_24h: Annotated[
        int, _int(1, 2**53, "Follows of a creator in 24 hours that always open a surge")
    ] = 50_000
    rule_comments_24h: Annotated[
        int, _int(1, 2**53, "Comments on a post in 24 hours that always open a surge")
    ] = 4_000

    detector: DetectorName = "surgewatch"
    detector_parameters: Annotated[
        dict[str, bool | int | float | str],
        _said("Parameters that the detector is made with", "a table (a variable: a JSON object)"),
    ] = {}
    detector_keys_max: Annotated[
        int, _int(1, 10_000_000, "Most active creators that a named River detector watches")
    ] = 1_000
    detector_threshold: Annotated[
        float,
        msgspec.Meta(gt=0, le=1e9, description="Score from which a named River detector alarms"),
    ] = 1.0
    budget_notices_per_creator_day: Annotated[
        float, _budget("False alarms asked for, per creator and day", "1 in 1,000 creators a day")
    ] = 0.001
    budget_pages_per_creator_day: Annotated[
        float,
        _budget("False pages asked for, per creator and day", "1 in a million creators a day"),
    ] = 0.000_001
    page_excess_min: Annotated[
        int, _int(0, 1_000_000_000, "A page has so many events in an hour above the expected ones")
    ] = 10
    page_ratio_min: Annotated[
        float,
        msgspec.Meta(ge=1, le=1e6, description="A page has so many times the expected events"),
    ] = 3.0

    chunk_records_max: Annotated[
        int, _int(1, 1_000_000, "Records taken from one fetch at once")
    ] = 64_000
    record_bytes_max: Annotated[
        int, _int(128, 2_097_152, "A longer record goes to dead letters")
    ] = 65_536
    future_skew_ms: Annotated[
        int, _int(0, 86_400_000, "How far a record's time may be ahead of when Kafka took it")
    ] = 600_000
    keys_in_memory_max: Annotated[
        int,
        _int(
            1_000,
            1_000_000_000,
            "Creators, posts and so on that a worker holds; the others are read when they come",
        ),
    ] = 20_000_000
    repeats_horizon_ms: Annotated[
        int,
        _int(
            0,
            86_400_000,
            "An event_id that comes again within so long (event time) counts once; 0: counts again",
        ),
    ] = 600_000
    repeats_ids_max: Annotated[
        int, _int(1_000, 2_000_000_000, "Event ids remembered, for each partition")
    ] = 1_000_000
    allowed_lateness_ms: Annotated[
        int,
        _int(
            0,
            86_400_000,
            "Records are counted in the order of their time, which waits so long (event time) for "
            "late ones; 0: as they come",
        ),
    ] = 0
    held_records_max: Annotated[
        int, _int(1_000, 100_000_000, "Records that wait so, for each partition; then fewer wait")
    ] = 1_000_000
    flush_interval_ms: Annotated[
        int, _int(1, 60_000, "Changed states are written to Redis at least so often")
    ] = 200
    flush_creators_max: Annotated[
        int,
        _int(1, 10_000_000, "Changed states are written once so many records of a partition wait"),
    ] = 80_000

    dead_letters_share_max: Annotated[
        float,
        msgspec.Meta(gt=0, le=1, description="A larger share of unusable records stops the worker"),
    ] = 0.5
    dead_letters_window: Annotated[
        int, _int(1, 10_000_000, "Latest records of which that share is taken")
    ] = 10_000
    dead_letters_row_max: Annotated[
        int, _int(1, 10_000_000, "So many unusable records in a row stop the worker")
    ] = 1_000

    metrics_host: Annotated[str, _filled("Address on which metrics and health are served")] = (
        "127.0.0.1"
    )
    metrics_port: Annotated[
        int, _int(-1, 65_535, "Port of metrics and health; 0: any free one, -1: none")
    ] = 9_464
    metrics_ssl_certfile: (
        Annotated[str, _filled("PEM file of the certificate to serve metrics with; none: no TLS")]
        | None
    ) = None
    metrics_ssl_keyfile: Annotated[str, _filled(_KEY)] | None = None
    metrics_ssl_key_password: Annotated[str, _filled(_KEY_PASSWORD, secret=True)] | None = None
    metrics_username: (
        Annotated[
            str, _text(r"^[^\x00:]+\Z", "text without a colon", "User who may ask for metrics")
        ]
        | None
    ) = None
    metrics_password: Annotated[str, _filled("Password of that user", secret=True)] | None = None
    traces_endpoint: (
        Annotated[
            str,
            _text(
                r"^https?://[^\s/]+/\S*\Z",
                "a whole URL: http://collector:4318/v1/traces",
                "Where traces of chunks are sent by OTLP/HTTP; none: no traces",
            ),
        ]
        | None
    ) = None
    traces_sample_share: Annotated[
        float, msgspec.Meta(gt=0, le=1, description="Share of chunks that are traced")
    ] = 0.01
    start_seconds_max: Annotated[
        int, _int(0, 3_600, "A starting worker waits so long for Kafka and Redis")
    ] = 30
    watchdog_seconds: Annotated[
        int, _int(5, 86_400, "A worker with lag and no progress for so long ends itself")
    ] = 120
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"], _said("Least weighty message to print")
    ] = "info"
    log_format: Annotated[Literal["text", "json"], _said("Form of the messages")] = "text"

    origins: dict[str, str] = {}

    def __repr__(self) -> str:
        """Name only: a settings object printed by mistake must not show a password."""
        return f"Settings({len(self.origins)} set)"
