"""What each alert is held against: series that make it fire and when, and some that must not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from tests.unit.alert_case import OF_JOB, OF_ONE, OF_TOPIC, ONE, TWO, Case, Series
from tests.unit.alert_cases_errors import ERROR_CASES

_TOPIC: Final = f'{ONE},topic="follows"'
_ENDS: Final = "surgewatch_certificate_expiry_timestamp_seconds"
_OWN: Final = f'{ONE},use="redis",part="own"'
_LAG: Final = f'surgewatch_lag_seconds{{{_TOPIC},partition="0"}}'
_LATE: Final = "surgewatch_event_to_stored_seconds"


def _stored(total: str, in_time: str) -> Series:
    return {
        f"{_LATE}_count{{{ONE}}}": total,
        f'{_LATE}_bucket{{{ONE},le="10.0"}}': in_time,
    }


def _surges_told(total: str, in_time: str) -> Series:
    name = "surgewatch_event_to_surge_seconds"
    return {
        f"{name}_count{{{ONE}}}": total,
        f'{name}_bucket{{{ONE},le="300.0"}}': in_time,
    }


def _open(kind: str, severity: str, values: str) -> Series:
    return {f'surgewatch_surges_open{{{ONE},kind="{kind}",severity="{severity}"}}': values}


def _newest(kind: str, values: str) -> Series:
    """A surge told at so many seconds."""
    labels = f'{ONE},kind="{kind}",surge_id="5f0e"'
    return {f"surgewatch_newest_surge_timestamp_seconds{{{labels}}}": values}


def _read(of: str, one: str, two: str) -> Series:
    return {
        f"surgewatch_partitions{{{ONE}}}": of,
        f"surgewatch_partitions_owned{{{ONE}}}": one,
        f"surgewatch_partitions_owned{{{TWO}}}": two,
    }


def _by_model(opened: str, asked: str, kind: str = "followers") -> Series:
    labels = f'{ONE},kind="{kind}",trigger="model",state="opened"'
    return {
        f"surgewatch_surges_total{{{labels}}}": opened,
        f'surgewatch_false_alarms_asked_total{{{ONE},kind="{kind}"}}': asked,
    }


def _traffic(surges: str, counted: str) -> Series:
    return {
        f'surgewatch_surges_total{{{ONE},kind="followers",trigger="rule",state="opened"}}': surges,
        f'surgewatch_records_total{{{_TOPIC},result="counted"}}': counted,
    }


def _used(name: str, limit: str, values: str, most: str) -> Series:
    return {f"{name}{{{ONE}}}": values, f"{limit}{{{ONE}}}": most}


_COHORT: Final = f'{ONE},kind="comments",lang="zh",region="CN"'
_MODERATION: Final = f'surgewatch_moderation_surges_total{{{ONE},lang="zh"}}'
_FACTOR: Final = f'surgewatch_wave_factor{{{ONE},series="follows",lang="zh",region="CN"}}'
_MEMORY: Final = ("process_resident_memory_bytes", "surgewatch_memory_limit_bytes")
_REDIS: Final = ("surgewatch_redis_memory_used_bytes", "surgewatch_redis_memory_max_bytes")

CASES: Final[Mapping[str, Case]] = {
    "SurgewatchWorkerAbsent": Case(
        {f"up{{{ONE}}}": "1 0x20"},
        *(3, [{f"up{{{ONE}}}": "1x20"}], {}),
        fires_without_series=True,
    ),
    "SurgewatchWorkerDown": Case(
        {f"up{{{ONE}}}": "1 0x20", 'up{job="surgewatch",instance="w2"}': "1x20"},
        *(6, [{f"up{{{ONE}}}": "1 0 0 0 0 1x20"}, {'up{job="other",instance="w1"}': "0x20"}]),
        OF_ONE,
    ),
    "SurgewatchPartitionsUnread": Case(
        _read("12x20", "8 8 4 0x20", "4x20"),
        *(7, [_read("12x20", "8 4 4 4 4 8x20", "4x20"), _read("12x20", "12x20", "0x20")], OF_JOB),
        {"$value": "8"},
    ),
    "SurgewatchConsumerStalled": Case(
        {
            f"surgewatch_last_progress_timestamp_seconds{{{ONE}}}": "0x20",
            f'surgewatch_lag_records{{{_TOPIC},partition="0"}}': "7x20",
        },
        3,
        [
            {
                f"surgewatch_last_progress_timestamp_seconds{{{ONE}}}": "0x20",
                f'surgewatch_lag_records{{{_TOPIC},partition="0"}}': "0x20",
            },
            {
                f"surgewatch_last_progress_timestamp_seconds{{{ONE}}}": "0+60x20",
                f'surgewatch_lag_records{{{_TOPIC},partition="0"}}': "7x20",
            },
            {f'surgewatch_lag_records{{{_TOPIC},partition="0"}}': "7x20"},
        ],
        OF_ONE,
        {"$value | humanizeDuration": "3m 0s"},
    ),
    "SurgewatchDataDelayed": Case(
        {_LAG: "0 61x20"},
        6,
        [
            {_LAG: "60x20"},
            {_LAG: "0 600 0 0 0 600 600 0 0 0 600"},
        ],
        OF_TOPIC,
        {"$value | humanizeDuration": "1m 1s"},
        also=[
            (  # its watchdog ends the worker again and again
                {_LAG: "0 99x1 stale 99 0 99 stale 99x9"},
                6,
                {"$value | humanizeDuration": "1m 39s"},
            )
        ],
    ),
    "SurgewatchRestartLoop": Case(
        {f"process_start_time_seconds{{{ONE}}}": "1 1 2 2 3 stale 4 4 5 5x20"},
        8,
        [
            {f"process_start_time_seconds{{{ONE}}}": "1 2 3 4x30"},
            {f"process_start_time_seconds{{{ONE}}}": "1 2 2x13 3 3x13 4 4x13 5"},
            {f"process_start_time_seconds{{{ONE}}}": "1 2 2x3 3x30"},  # two deploys in a row
            {'process_start_time_seconds{job="other",instance="w1"}': "1+1x30"},
        ],
        OF_ONE,
        {"$value": "4"},
        also=[
            (  # under a back-off of five minutes, and a start that fails after half a minute
                {
                    f"process_start_time_seconds{{{ONE}}}": (
                        "1x30 2 stale _x5 3 stale _x5 4 stale _x5 5 stale _x5 6 stale _x5 7"
                    )
                },
                52,
                {"$value": "4"},
            )
        ],
    ),
    "SurgewatchRebalanceLoop": Case(
        {f"surgewatch_rebalances_total{{{ONE}}}": "0+1x30"},
        *(7, [{f"surgewatch_rebalances_total{{{ONE}}}": "0 1 2 3 3x30"}], OF_ONE),
        {"$value | humanize": "7"},
        also=[
            (  # dealt some times before it was scraped
                {f"surgewatch_rebalances_total{{{ONE}}}": "_x20 4 5 6 7x30"},
                23,
                {"$value | humanize": "7"},
            )
        ],
    ),
    "SurgewatchRecordsMissed": Case(
        {f"surgewatch_records_missed_total{{{_TOPIC}}}": "0 0 0 100x20"},
        *(3, [{f"surgewatch_records_missed_total{{{_TOPIC}}}": "100x20"}], OF_TOPIC),
        {"$value | humanize": "100"},
        also=[
            (  # found as the worker starts, beside one that has missed some long ago
                {
                    f"surgewatch_records_missed_total{{{_TOPIC}}}": "_x25 100x20",
                    f"process_start_time_seconds{{{ONE}}}": "_x25 1500x20",
                    f'surgewatch_records_missed_total{{{TWO},topic="follows"}}': "5x45",
                    f"process_start_time_seconds{{{TWO}}}": "0x45",
                },
                25,
                {"$value | humanize": "100"},
            )
        ],
    ),
    "SurgewatchDeadLettersHigh": Case(
        {
            f'surgewatch_records_total{{{_TOPIC},result="dead"}}': "0+2x40",
            f'surgewatch_records_total{{{_TOPIC},result="counted"}}': "0+98x40",
        },
        11,
        [
            {
                f'surgewatch_records_total{{{_TOPIC},result="dead"}}': "0+1x40",
                f'surgewatch_records_total{{{_TOPIC},result="counted"}}': "0+99x40",
            },
            {
                f'surgewatch_records_total{{{_TOPIC},result="dead"}}': "0x40",
                f'surgewatch_records_total{{{_TOPIC},result="counted"}}': "0x40",
            },
        ],
        OF_TOPIC,
        {"$value | humanizePercentage": "2%"},
    ),
    "SurgewatchMemoryNearLimit": Case(
        _used(*_MEMORY, "80 95x20", "100x20"),
        *(6, [_used(*_MEMORY, "90x20", "100x20"), _used(*_MEMORY, "95x20", "0x20")], OF_ONE),
        {"$value | humanizePercentage": "95%"},
    ),
    "SurgewatchRedisNearLimit": Case(
        _used(*_REDIS, "80 90x20", "100x20"),
        *(6, [_used(*_REDIS, "85x20", "100x20"), _used(*_REDIS, "95x20", "0x20")], OF_JOB),
        {"$value | humanizePercentage": "90%"},
    ),
    "SurgewatchClockOff": Case(
        {f"surgewatch_clock_off_seconds{{{ONE}}}": "0 -3600x20"},
        *(6, [{f"surgewatch_clock_off_seconds{{{ONE}}}": "60x20"}], OF_ONE),
        {"$value | humanizeDuration": "1h 0m 0s"},
    ),
    "SurgewatchCertificateExpires": Case(
        # promtool's clock begins at 0; 14 days are 1,209,600 s
        {f"{_ENDS}{{{_OWN}}}": "1209900x60"},
        *(21, [{f"{_ENDS}{{{_OWN}}}": "1300000x60"}, {f"{_ENDS}{{{_OWN}}}": "600x60"}]),
        OF_ONE | {"use": "redis", "part": "own"},
        {"$value | humanizeDuration": "13d 23h 44m 0s"},
    ),
    "SurgewatchCertificateExpired": Case(
        {f"{_ENDS}{{{_OWN}}}": "300x60"},
        *(6, [{f"{_ENDS}{{{_OWN}}}": "1300000x60"}]),
        OF_ONE | {"use": "redis", "part": "own"},
        {"$value | humanizeDuration": "1m 0s"},
    ),
    "SurgewatchTlsFilesUnfit": Case(
        {f'surgewatch_tls_files_unfit{{{ONE},use="kafka"}}': "0 1x20"},
        6,
        [
            {f'surgewatch_tls_files_unfit{{{ONE},use="kafka"}}': "0x20"},
            {f'surgewatch_tls_files_unfit{{{ONE},use="kafka"}}': "1 1 1 0 1 1 1 0 1 1 1 0"},
        ],
        OF_ONE | {"use": "kafka"},
    ),
    "SurgewatchLogLinesLost": Case(
        {f"surgewatch_log_lines_lost_total{{{ONE}}}": "0 0 1x20"},
        *(2, [{f"surgewatch_log_lines_lost_total{{{ONE}}}": "7x20"}], OF_ONE),
    ),
    "SurgewatchSettingsRefused": Case(
        {f'surgewatch_settings_reloads_total{{{ONE},result="refused"}}': "0 0 1x20"},
        2,
        [
            {f'surgewatch_settings_reloads_total{{{ONE},result="refused"}}': "1x20"},
            {f'surgewatch_settings_reloads_total{{{ONE},result="applied"}}': "0+1x20"},
        ],
        OF_ONE,
    ),
    "SurgewatchBadInput": Case(
        {f'surgewatch_bad_input_total{{{ONE},kind="clock_jump"}}': "0 0 1x20"},
        *(2, [{f'surgewatch_bad_input_total{{{ONE},kind="clock_jump"}}': "1x20"}]),
        OF_ONE | {"kind": "clock_jump"},
        also=[
            (  # met as it starts
                {
                    f'surgewatch_bad_input_total{{{ONE},kind="clock_jump"}}': "_x25 1x20",
                    f"process_start_time_seconds{{{ONE}}}": "_x25 1500x20",
                },
                25,
                {},
            )
        ],
    ),
    "SurgewatchSettingsDiffer": Case(
        {
            f'surgewatch_settings_info{{{ONE},hash="aa"}}': "1x40",
            'surgewatch_settings_info{job="surgewatch",instance="w2",hash="bb"}': "1x40",
        },
        15,
        [
            {
                f'surgewatch_settings_info{{{ONE},hash="aa"}}': "1x40",
                'surgewatch_settings_info{job="surgewatch",instance="w2",hash="aa"}': "1x40",
            }
        ],
        OF_JOB,
        {"$value": "2"},
    ),
    "SurgewatchSilentWithTraffic": Case(
        _traffic("3x3000", "0+1000x3000"),
        1500,
        [
            _traffic("0+1x3000", "0+1000x3000"),
            _traffic("3x3000", "0+100x3000"),
            _traffic("_x1000 1x2000", "0+1000x3000"),  # the first of its kind
            {f'surgewatch_records_total{{{_TOPIC},result="counted"}}': "0+1000x3000"},
        ],
        OF_JOB,
    ),
    "SurgewatchFalseAlarmsOverBudget": Case(
        _by_model("0+1x200", "0+0.01x200"),
        83,
        [_by_model("0+1x200", "0+0.1x200"), _by_model("0 9 18 19x200", "0x200")],
        OF_JOB | {"kind": "followers"},
        {"$value | humanize": "83"},
    ),
    "SurgewatchSurgesLate": Case(
        _surges_told("0+5x60", "0+4x60"),
        8,  # three of them are late after three minutes
        [
            _surges_told("0+20x60", "0+19x60"),
            _surges_told("0 5x60", "0 3x60"),  # two
            _surges_told("0+5x60", "0+5x60"),
            _surges_told("0x60", "0x60"),
        ],
        OF_JOB,
        {"$value | humanizePercentage": "20%"},
    ),
    "SurgewatchFreshnessBurnsFast": Case(
        _stored("0+1000x300", "0+980x300"),
        *(3, [_stored("0+1000x300", "0+995x300"), _stored("0x300", "0x300")], OF_JOB),
        {"$value | humanizePercentage": "2%"},
    ),
    "SurgewatchFreshnessBurnsSlowly": Case(
        _stored("0+1000x300", "0+995x300"),
        *(16, [_stored("0+10000x300", "0+9995x300"), _stored("0x300", "0x300")], OF_JOB),
        {"$value | humanizePercentage": "0.5%"},
    ),
    "SurgewatchWaveOpened": Case(
        _newest("wave", "_x3 180x20"),
        *(3, [_newest("wave", "_x20 180x20"), _newest("followers", "_x3 180x20")]),
        OF_JOB | {"kind": "wave", "surge_id": "5f0e"},
    ),
    "SurgewatchWaveOpen": Case(
        _open("wave", "page", "0 0 0 1x20"),
        *(3, [_open("wave", "page", "0x20"), _open("followers", "page", "1x20")], OF_JOB),
        {"$value": "1"},
    ),
    "SurgewatchCreatorSurge": Case(
        _open("followers", "page", "0 0 0 2x20"),
        *(3, [_open("followers", "notice", "2x20"), _open("wave", "page", "1x20")]),
        OF_JOB | {"kind": "followers"},
        {"$value": "2"},
    ),
    "SurgewatchCreatorSurgeOpened": Case(
        _newest("followers", "_x3 180x20"),
        *(3, [_newest("followers", "_x20 180x20"), _newest("wave", "_x3 180x20")]),
        OF_JOB | {"kind": "followers", "surge_id": "5f0e"},
    ),
    "SurgewatchCreatorSurgeNotice": Case(
        {f"surgewatch_notices_open{{{_COHORT}}}": "_ _ _ 4x20"},
        *(
            3,
            [_open("comments", "page", "4x20"), {f"surgewatch_notices_open{{{_COHORT}}}": "0x20"}],
        ),
        OF_JOB | {"kind": "comments", "lang": "zh", "region": "CN"},
        {"$value": "4"},
    ),
    "SurgewatchModerationLoad": Case(
        {_MODERATION: "_x20 1x20"},  # the first of its language: no increase is seen
        *(20, [{_MODERATION: "0x40"}, {_MODERATION: "1x40"}, {_MODERATION: "1 2x40"}]),
        OF_JOB | {"lang": "zh"},
        {"$value | humanize": "1"},
        also=[
            (  # the first of a worker, beside another that had some long ago
                {_MODERATION: "7x60", _MODERATION.replace("w1", "w2"): "_x40 2x20"},
                40,
                {"$value | humanize": "2"},
            )
        ],
    ),
    "SurgewatchWaveLifts": Case(
        {_FACTOR: "_ _ _ 6.5x20"},
        *(3, [{_FACTOR: "0.2x20"}]),
        OF_JOB | {"lang": "zh", "region": "CN"},
        {"$value | humanize": "6.5"},
    ),
    "SurgewatchDeadMansSwitch": Case({}, 0, [], {}, fires_without_series=True),
    **ERROR_CASES,
}
