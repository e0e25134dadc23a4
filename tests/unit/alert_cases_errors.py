"""Cases of the alerts that tell calls which fail: scraped each 15 s, as errors come."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from tests.unit.alert_case import OF_ONE, ONE, Case

_UNSENT: Final = "prometheus_notifications_errors_total"
_PROMETHEUS: Final = 'job="prometheus",instance="p1",alertmanager="http://a/api/v2/alerts"'
_FAILED: Final = "alertmanager_notifications_failed_total"
_ALERTMANAGER: Final = 'job="alertmanager",instance="a1",integration="webhook"'
_REDIS_FAILS: Final = f'surgewatch_redis_errors_total{{{ONE},operation="write"}}'
_PRODUCE_FAILS: Final = f'surgewatch_kafka_errors_total{{{ONE},operation="produce"}}'
_CONNECT_FAILS: Final = f'surgewatch_kafka_errors_total{{{ONE},operation="connect"}}'
_FETCH_FAILS: Final = f'surgewatch_kafka_errors_total{{{ONE},operation="fetch"}}'
_COMMIT_FAILS: Final = f'surgewatch_kafka_errors_total{{{ONE},operation="commit"}}'
_SLOW: Final = "0x4 1x1 2x1 3x1 4x1 5x1 6x1 7x1 8x1 9x1 10x1 11x1 12x1 13x1 14x60"
"""Every 15 s: an error each half minute from 1m15s on."""
_OVER: Final = ("0x8 2+2x3 8x80", "0x4 1+1x7 8x80")
"""Every 15 s: errors of a minute from 2m15s on, and of two from 1m15s on. Then they are over."""

ERROR_CASES: Final[Mapping[str, Case]] = {
    "SurgewatchStoreFailing": Case(
        {_REDIS_FAILS: "0x4 1+3x80"},
        *(5, [{_REDIS_FAILS: one} for one in ("5x80", *_OVER)]),
        OF_ONE | {"operation": "write"},
        also=[
            ({_REDIS_FAILS: _SLOW}, 5, {}),
            # a worker that starts again and again, with gaps in which it is not there
            ({_REDIS_FAILS: "0x4 1+3x3 stale _ 0+3x3 stale _ 0+3x3 stale _ 0+3x60"}, 5, {}),
        ],
        every="15s",
    ),
    "SurgewatchKafkaUnreachable": Case(
        {_CONNECT_FAILS: "0x4 1+1x80", f'surgewatch_lag_records{{{ONE},topic="follows"}}': "0x80"},
        5,
        [
            *({_CONNECT_FAILS: one} for one in ("5x80", *_OVER)),
            {_FETCH_FAILS: "0x4 1x80"},  # a look that came late
            {_PRODUCE_FAILS: "0+1x80"},
            {_COMMIT_FAILS: "0+1x80"},
        ],
        OF_ONE,
        also=[({_FETCH_FAILS: _SLOW, _CONNECT_FAILS: "0x80"}, 5, {})],
        every="15s",
    ),
    "SurgewatchAnnouncingFails": Case(
        {_PRODUCE_FAILS: "0x4 1+1x80"},
        5,
        [*({_PRODUCE_FAILS: one} for one in ("5x80", *_OVER)), {_FETCH_FAILS: "0+1x80"}],
        OF_ONE,
        also=[({_PRODUCE_FAILS: _SLOW}, 5, {})],
        every="15s",
    ),
    "SurgewatchCommitFailing": Case(
        {_COMMIT_FAILS: "0x4 1+1x120"},
        8,
        [{_COMMIT_FAILS: one} for one in ("5x80", *_OVER, "0x15 1x16 2x16 3x90")],
        OF_ONE,
        every="15s",
    ),
    "SurgewatchAlertsUndelivered": Case(
        {f"{_UNSENT}{{{_PROMETHEUS}}}": "0x4 1+1x80"},
        *(6, [{f"{_UNSENT}{{{_PROMETHEUS}}}": one} for one in ("5x80", *_OVER)]),
        {"job": "prometheus", "instance": "p1", "alertmanager": "http://a/api/v2/alerts"},
        every="15s",
    ),
    "SurgewatchNotificationsFail": Case(
        # one error in five minutes: it gives up once in its default group_interval
        {f"{_FAILED}{{{_ALERTMANAGER}}}": "0x4 1x20 2x20 3x20 4x20 5x20"},
        *(11, [{f"{_FAILED}{{{_ALERTMANAGER}}}": one} for one in ("5x80", *_OVER)]),
        {"job": "alertmanager", "instance": "a1", "integration": "webhook"},
        every="15s",
    ),
}
