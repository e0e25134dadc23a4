"""The servers themselves: how long their certificates are valid, and what to do if one fails us."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from datetime import datetime
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from streams.app.doctor.checks import CHECKS
from streams.app.doctor.settings import EXPIRES_DAYS
from streams.core.reports.checkup import Finding, error, fine, warning
from streams.edges.errors import (
    DataError,
    KafkaRefusesUs,
    KafkaUnreachable,
    RedisRefusesUs,
    RedisUnreachable,
    SettingsError,
    SurgewatchError,
)
from streams.edges.kafka.login import kafka_context_of
from streams.edges.metrics.prometheus_facts import PrometheusUnreachable
from streams.edges.redis.tls import redis_context_of
from streams.edges.settings.list import Settings
from streams.edges.tls.contexts import RenewingContext
from streams.edges.tls.peers import peer_end_of

_STEP_SECONDS_MAX: Final = 2.0
_REDIS_PORT: Final = 6379
_KAFKA_PORT: Final = 9092
_REACH: Final = {
    "kafka": "does it run, and are kafka_bootstrap_servers and the login right?",
    "redis": "does it run, and are redis_url and redis_password right?",
    "prometheus": "does it run, and is the URL after --prometheus right?",
}
_REFUSES: Final = (
    (
        ("its certificate has expired", "its certificate is not valid yet"),
        "it runs: renew its certificate there, or have the clocks set; workers need no restart",
    ),
    (
        ("its certificate is for another host name",),
        "it runs: give its address by another name, or have that name in its certificate",
    ),
    (("signed by an authority",), "it runs: have the authority that signed its certificate there"),
    (("user name or password",), "it runs: mend the login, here or there"),
    (("lacks",), "it runs: give this user its rights (docs/security.md)"),
)
_REFUSES_OTHERWISE: Final = (
    "it runs, and will not have us so: docs/security.md says how to set it up"
)


class ServerEnd(NamedTuple):
    """When the certificate of a server ends; ``setting`` has its ``address``, host and port."""

    setting: str
    address: str
    end: datetime


def read_server_ends(settings: Settings) -> list[ServerEnd]:
    """Of the first address of each server that is spoken to with TLS; what fails is left out."""
    found = []
    for setting, netloc, port, context_of in _servers(settings):
        with suppress(SettingsError, ValueError):  # either is told as such elsewhere
            context, parts = context_of(settings), urlsplit(f"//{netloc.split(',')[0]}")
            if context is None or parts.hostname is None:
                continue
            address = (parts.hostname, parts.port or port)
            end = peer_end_of(context, address, _STEP_SECONDS_MAX)
            if end is not None:
                found.append(ServerEnd(setting, f"{address[0]}:{address[1]}", end))
    return found


def _servers(
    settings: Settings,
) -> Iterator[tuple[str, str, int, Callable[[Settings], RenewingContext | None]]]:
    kafka, redis = settings.kafka_bootstrap_servers, urlsplit(settings.redis_url).netloc
    yield "kafka_bootstrap_servers", kafka, _KAFKA_PORT, kafka_context_of
    yield "redis_url", redis.rpartition("@")[2], _REDIS_PORT, redis_context_of


def server_end_findings(ends: Iterable[ServerEnd], now: datetime) -> list[Finding]:
    """What is said of the certificates that servers show."""
    found = []
    for one in ends:
        days = (one.end - now).total_seconds() / 86_400
        what = (
            f"{one.setting}: the certificate of {one.address} ends on {one.end:%Y-%m-%d %H:%M} UTC"
        )
        if days < EXPIRES_DAYS:
            fix = "renew it there: after that no worker connects"
            told = f"{what}, in {days:.0f} days"
            found.append(warning("settings.certificates", told, fix, one.setting))
        else:
            found.append(fine("settings.certificates", what, one.setting))
    return found


def reach_finding(server: str, answer: SurgewatchError, found: Iterable[Finding]) -> Finding | None:
    """Tell of a server that could not be asked; None: its cause is ``found`` already."""
    problem = str(answer)
    if problem in {one.what for one in found}:
        return None
    kinds = {SettingsError: "url", DataError: "rights"}
    name = next((name for kind, name in kinds.items() if isinstance(answer, kind)), "reachable")
    check_id = f"{server}.{name}"
    if check_id not in {check.id for check in CHECKS}:
        check_id = f"{server}.reachable"
    if isinstance(answer, (KafkaUnreachable, RedisUnreachable, PrometheusUnreachable)):
        problem = f"cannot be reached: {answer.cause}"
    fix = _REACH[server]
    if isinstance(answer, (KafkaRefusesUs, RedisRefusesUs)):
        problem = f"cannot be used: {answer.cause}"
        fixes = (fix for marks, fix in _REFUSES if any(mark in answer.cause for mark in marks))
        fix = next(fixes, _REFUSES_OTHERWISE)
    return error(check_id, problem, fix)
