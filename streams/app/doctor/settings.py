"""What is said of settings alone: time limits, what has no effect, memory."""

from collections.abc import Iterable
from datetime import datetime
from typing import Final

from streams.app.jobs import OWN_DETECTOR, check_detector
from streams.core.reports.checkup import Finding, error, fine, not_checked, warning
from streams.edges.errors import SettingsError
from streams.edges.settings.list import Settings
from streams.edges.tls.certificates import CertificateEnd, FilesState

EXPIRES_DAYS: Final = 14
"""As the alert SurgewatchCertificateExpires has it."""
_SESSION_MS_MAX: Final = 60_000
_WORKER_BYTES: Final = 140_000_000
_KEY_BYTES: Final = 335
"""A worker that met a million creators holds 475 MB, ten million 2,850 (docs/scaling.md)."""
_TLS: Final = ("cafile", "certfile", "keyfile", "key_password")
"""What names of settings of TLS end with."""


def settings_findings(settings: Settings) -> list[Finding]:
    """What is said of settings that could be read."""
    count = len(settings.origins)
    read = fine("settings.read", f"{count} set, the others at their defaults")
    return [read, _detector(settings), *_times(settings), *_unused(settings)]


def _detector(settings: Settings) -> Finding:
    try:
        check_detector(settings)
    except SettingsError as problem:
        fix = "see SURGEWATCH_DETECTOR and detector_parameters"
        return error("settings.detector", str(problem), fix)
    return fine("settings.detector", f"{settings.detector} can be made")


def certificate_findings(states: Iterable[FilesState], now: datetime) -> list[Finding]:
    """What is said of the files of TLS: each that cannot be used, and each that ends soon."""
    check_id = "settings.certificates"
    found = []
    known: list[CertificateEnd] = []
    for state in states:
        known += state.ends
        if state.problem is not None:
            setting = state.problem.partition(" = ")[0]
            fix = "put the right file in its place: a worker does not start with this one"
            found.append(error(check_id, state.problem, fix, setting))
    known.sort(key=lambda one: one.end)
    for one in known:
        days = (one.end - now).total_seconds() / 86_400
        if 0 <= days < EXPIRES_DAYS:
            when = f"{one.end:%Y-%m-%d %H:%M} UTC, in {days:.0f} days"
            fix = "put the renewed file in its place: no restart is needed"
            told = f"{one.setting} = {one.path} ends on {when}"
            found.append(warning(check_id, told, fix, one.setting))
    if known and not found:
        found.append(fine(check_id, f"the first ends on {known[0].end:%Y-%m-%d}"))
    return found or [fine(check_id, "none is named")]


def _times(settings: Settings) -> list[Finding]:
    check_id = "settings.times"
    limits = {
        "kafka_timeout_ms": settings.kafka_timeout_ms,
        "redis_timeout_ms": settings.redis_timeout_ms,
    }
    found = []
    for name, limit_ms in limits.items():
        if 1000 * settings.watchdog_seconds <= limit_ms:
            what = (
                f"watchdog_seconds = {settings.watchdog_seconds} is no longer than {name} = "
                f"{limit_ms}: a worker ends itself while it waits for one answer"
            )
            fix = f"set watchdog_seconds well above {name}, or that lower"
            found.append(warning(check_id, what, fix, name))
        if 1000 * settings.start_seconds_max < limit_ms:
            what = (
                f"start_seconds_max = {settings.start_seconds_max} is shorter than {name} = "
                f"{limit_ms}: a starting worker asks once only"
            )
            fix = f"set start_seconds_max above {name}, or that lower"
            found.append(warning(check_id, what, fix, name))
    session_ms = settings.kafka_session_timeout_ms
    if session_ms > _SESSION_MS_MAX and settings.kafka_instance_id is None:
        what = (
            f"kafka_session_timeout_ms = {session_ms}: partitions of a worker that was killed "
            f"stand still for {session_ms // 1000} s before others get them"
        )
        fix = "set it to 15000 or so, or give each worker a kafka_instance_id of its own"
        found.append(warning(check_id, what, fix, "kafka_session_timeout_ms"))
    if session_ms >= 1000 * settings.watchdog_seconds:
        what = (
            f"kafka_session_timeout_ms = {session_ms} is no shorter than watchdog_seconds = "
            f"{settings.watchdog_seconds}: the watchdog may end workers that only wait until a "
            "killed one's session is over"
        )
        fix = "set watchdog_seconds above the session timeout"
        found.append(warning(check_id, what, fix, "watchdog_seconds"))
    return found or [fine(check_id, "they go together")]


def _unused(settings: Settings) -> list[Finding]:
    protocol = settings.kafka_security_protocol
    useless: dict[str, str] = {}
    if not protocol.startswith("SASL"):
        why = f"kafka_security_protocol = {protocol} has no login"
        names = ("kafka_sasl_mechanism", "kafka_sasl_username", "kafka_sasl_password")
        useless |= dict.fromkeys(names, why)
    if not protocol.endswith("SSL"):
        why = f"kafka_security_protocol = {protocol} has no TLS"
        useless |= dict.fromkeys((f"kafka_ssl_{name}" for name in _TLS), why)
    if not settings.redis_url.startswith("rediss"):
        why = "redis_url does not begin with rediss, which is Redis with TLS"
        useless |= dict.fromkeys((f"redis_ssl_{name}" for name in _TLS), why)
    if settings.detector == OWN_DETECTOR:
        why = f"detector = {OWN_DETECTOR} has budgets instead"
        useless |= dict.fromkeys(("detector_threshold", "detector_keys_max"), why)
    else:
        useless["keys_in_memory_max"] = "a named detector's keys are never let go"
    if not settings.allowed_lateness_ms:
        useless["held_records_max"] = "allowed_lateness_ms = 0 holds nothing"
    if not settings.repeats_horizon_ms:
        useless["repeats_ids_max"] = "repeats_horizon_ms = 0 remembers none"
    found = [
        warning("settings.unused", f"{name} is set and has no effect: {why}", "take it out", name)
        for name, why in useless.items()
        if name in settings.origins
    ]
    return found or [fine("settings.unused", "all that is set has an effect")]


def memory_finding(
    settings: Settings, memory_bytes: int, keys: int | None, workers: int
) -> Finding:
    """What a worker may hold, beside ``memory_bytes``, which it may have (0: not known).

    ``keys`` are at most in Redis (None: not known), shared by ``workers``.
    """
    check_id = "settings.memory"
    if not memory_bytes:
        return not_checked(check_id, "how much memory there is cannot be seen here")
    fit = max(0, (memory_bytes - _WORKER_BYTES) // _KEY_BYTES)
    limit = f"{memory_bytes / 2**20:,.0f} MiB of memory have room for about {fit:,} keys"
    if settings.detector != OWN_DETECTOR or settings.keys_in_memory_max <= fit:
        return fine(check_id, f"{limit}; keys_in_memory_max is {settings.keys_in_memory_max:,}")
    if keys is None:
        return not_checked(check_id, f"{limit}; how many are in Redis is not known")
    share = keys // max(1, workers)
    if share <= fit // 2:
        return fine(check_id, f"{limit}; Redis holds at most {share:,} for each worker")
    what = (
        f"{limit}, Redis holds up to {share:,} for each worker, and keys_in_memory_max = "
        f"{settings.keys_in_memory_max:,} lets a worker hold more than fit"
    )
    fix = f"set keys_in_memory_max to {fit:,} or less, give more memory, or start more workers"
    return warning(check_id, what, fix)
