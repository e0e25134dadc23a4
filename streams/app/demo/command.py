"""The command ``surgewatch demo``: the story being caught live, with servers of its own."""

import os
import sys
import time
from datetime import UTC, datetime
from typing import Final

import click
from rich.console import Console

from streams.app.demo.run import DemoPlan, run_demo
from streams.app.demo.state import DemoState
from streams.app.demo.story import Verdict, story_policy
from streams.app.demo.view import LiveView
from streams.app.demo.words import PlainView, print_lines, summary_lines
from streams.core.time.buckets import BUCKET_MS
from streams.core.worlds.platform import HOUR_MS, world_of
from streams.edges.errors import Interrupted, SettingsError, SurgewatchError
from streams.edges.settings.reading import Settings, read_settings

_START_MS_MIN: Final = 946_684_800_000
_EPILOG: Final = """\b
Example:
  surgewatch demo
  surgewatch demo --json --seed 3 > surges.ndjson
"""


class StoryMissed(SurgewatchError):
    """What was told is not what is true: a bug."""

    def __init__(self, verdict: Verdict) -> None:
        self.verdict = verdict
        super().__init__(
            f"{len(verdict.told)} of {len(verdict.true)} true surges were told, and "
            f"{len(verdict.untrue)} that are not true: this is a bug"
        )


@click.command(epilog=_EPILOG)
@click.option(
    "--for", "seconds", type=click.FloatRange(min=5, max=86_400), metavar="SECONDS",
    help="End after so long; else when the story is told, within a minute.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Surges as NDJSON on stdout, nothing else.")
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    default=7,
    show_default=True,
    help="Same seed and --start, same day.",
)
@click.option(
    "--start", type=str, metavar="TIME",
    help="Event time of the begin, ISO 8601; else so that the story ends now.",
)  # fmt: skip
@click.pass_context
def demo(
    context: click.Context, seconds: float | None, as_json: bool, seed: int, start: str | None
) -> None:
    """Watch the story being caught live: no servers, no Docker, no Java.

    Starts a small Kafka-protocol broker, a Valkey and a worker on free ports of this machine, tells
    them 24 hours of a platform in 36 seconds, and ends them all.
    """
    plan = DemoPlan(seconds)
    user = context.find_object(Settings) or read_settings(os.environ)
    now_ms = time.time_ns() // 1_000_000
    world = world_of(story_policy(plan.hours), seed, start_ms_of(start, now_ms, plan.hours))
    view = _view_of(as_json)
    try:
        state, verdict = run_demo(plan, world, user, view)
    except KeyboardInterrupt as error:
        message = "interrupted: everything that the demo started is ended"
        raise Interrupted(message) from error
    _sum_up(state, verdict, as_json)


def start_ms_of(start: str | None, now_ms: int, hours: int) -> int:
    """Event time of the begin: as told, or such that the last hour ends at the present bucket.

    Raises SettingsError when it is no time, or when the last hour would lie in the future.
    """
    last_ms = now_ms - now_ms % BUCKET_MS - hours * HOUR_MS
    if start is None:
        return last_ms
    try:
        at = datetime.fromisoformat(start)
    except ValueError as error:
        message = f"--start {start!r} is no time: write it like 2025-01-13T00:00:00Z"
        raise SettingsError(message) from error
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    start_ms = int(at.timestamp()) * 1000
    if not _START_MS_MIN <= start_ms <= last_ms:
        message = (
            f"--start {start!r} must lie in the years from 2000, {hours} hours ago at the latest"
        )
        raise SettingsError(message)
    return start_ms


def _view_of(as_json: bool) -> LiveView | PlainView:
    if as_json:
        return PlainView(sys.stderr, sys.stdout.buffer)
    console = Console()
    if console.is_terminal and not console.is_dumb_terminal:
        return LiveView(console)
    return PlainView(sys.stdout)


def _sum_up(state: DemoState, verdict: Verdict, as_json: bool) -> None:
    print_lines(summary_lines(state, verdict), sys.stderr if as_json else sys.stdout)
    if not verdict.holds:
        raise StoryMissed(verdict)
