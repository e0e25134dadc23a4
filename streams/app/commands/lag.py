"""The command ``surgewatch lag``: how far behind the counts are, partition by partition."""

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import click
import msgspec

from streams.app.commands.show import iso_of, print_json, print_table
from streams.app.commands.standings import Standings, read_standings
from streams.core.reports.lag import LagSum, PartitionLag, lag_of, sum_of
from streams.edges.process.clock import wall_ms
from streams.edges.settings.reading import Settings, read_settings

_TITLES: Final = ("Topic", "Partition", "Stored", "End", "Lag", "Seconds", "Missed", "Held by")
_END_SECONDS_MAX: Final = 5.0
_INTERRUPTED_CODE: Final = 130
_CLEAR: Final = "\x1b[H\x1b[2J\x1b[3J"


class LagReport(msgspec.Struct, frozen=True, kw_only=True):
    """What the command tells, as JSON has it; the schema is ``schemas/lag.json``."""

    version: int = 1
    at_ms: int
    group: str
    group_state: str
    members: int
    total: LagSum
    topics: list[LagSum]
    partitions: list[PartitionLag]


def report_of(settings: Settings, standings: Standings, at_ms: int) -> LagReport:
    """What is told of the fleet."""
    lags = [lag_of(one) for one in standings.partitions]
    return LagReport(
        at_ms=at_ms,
        group=settings.kafka_group,
        group_state=standings.group.state,
        members=len(standings.group.members),
        total=sum_of(lags),
        topics=[sum_of(lags, topic) for topic in dict.fromkeys(one.topic for one in lags)],
        partitions=lags,
    )


@click.command(epilog="Example: surgewatch lag --watch")
@click.option("--json", "as_json", is_flag=True, help="One JSON object; with --watch one a line.")
@click.option("--watch", is_flag=True, help="Ask again and again, until it is interrupted.")
@click.option(
    "--every", type=click.FloatRange(min=0.1), default=2.0, show_default=True, metavar="SECONDS",
    help="With --watch: how long to wait in between.",
)  # fmt: skip
@click.pass_context
def lag(context: click.Context, /, **options: Any) -> None:
    """Show how far behind the counts are, by topic and partition.

    Stored is the offset in Redis up to which records are counted: the truth, also while no worker
    runs. Seconds are event time, from the first record that waits to the newest.
    """
    settings = context.find_object(Settings) or read_settings(os.environ)
    if not options["watch"]:
        _tell(settings, as_json=options["as_json"])
        return
    with _interruptible() as interrupted:
        while not interrupted.is_set():
            _tell(settings, as_json=options["as_json"], anew=sys.stdout.isatty())
            sys.stdout.flush()
            time.sleep(options["every"])
    raise KeyboardInterrupt


@contextmanager
def _interruptible() -> Iterator[threading.Event]:
    """Ctrl-C ends what is within, also where a library swallows it.

    A thread of a library that will not end must not keep the program: it has some seconds.
    """
    interrupted = threading.Event()
    last_resort = threading.Timer(_END_SECONDS_MAX, os._exit, [_INTERRUPTED_CODE])
    last_resort.daemon = True

    def end(*_: object) -> None:
        if not interrupted.is_set():
            interrupted.set()
            last_resort.start()
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, end)
    try:
        yield interrupted
    finally:
        signal.signal(signal.SIGINT, before)


def _tell(settings: Settings, *, as_json: bool, anew: bool = False) -> None:
    report = report_of(settings, read_standings(settings), wall_ms())
    if as_json:
        print_json(report)
    else:
        click.echo(_CLEAR if anew else "", nl=False)
        _print(report)


def _print(report: LagReport) -> None:
    rows = [_cells(one) for one in report.partitions]
    rows += [_sum_cells(one) for one in (*report.topics, report.total)]
    print_table(_TITLES, rows)
    click.echo(
        f"group {report.group}: {report.group_state}, {_counted(report.members, 'worker')}, "
        f"as of {iso_of(report.at_ms)}"
    )


def _cells(one: PartitionLag) -> tuple[str, ...]:
    stored = "none" if one.stored_offset is None else str(one.stored_offset)
    if one.beyond_end:
        stored += " (past the end: see surgewatch doctor)"
    seconds = _seconds(one.lag_seconds)
    numbers = (str(one.end_offset), str(one.lag_records), seconds, str(one.records_missed))
    return (one.topic, str(one.partition), stored, *numbers, one.member or "nobody")


def _sum_cells(one: LagSum) -> tuple[str, ...]:
    name = "all" if one.topic is None else f"all of {one.topic}"
    numbers = (str(one.lag_records), _seconds(one.lag_seconds), str(one.records_missed))
    return (name, str(one.partitions), "", "", *numbers, f"{one.held} held")


def _seconds(found: float | None) -> str:
    return "unknown" if found is None else f"{found:.1f}"


def _counted(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
