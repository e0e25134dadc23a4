"""The command ``surgewatch replay``: files of records into Kafka, as they are, at a pace."""

import asyncio
import os
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from streams.app.commands.pace import Bar, Pace, progress_bar
from streams.edges.errors import Interrupted
from streams.edges.files.records import FileBroken, RecordFile
from streams.edges.files.timeline import key_of, merged_by_time
from streams.edges.kafka.producer import RecordProducer, aiokafka_quiet
from streams.edges.settings.reading import Settings, read_settings


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayTask:
    """Which files to replay, at what speed (event time over real time; None: at once)."""

    follows: Path | None = None
    comments: Path | None = None
    speed: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplaySummary:
    """What was sent; ``unkeyed`` records name no creator that could be found."""

    records: dict[str, int]
    unkeyed: int
    seconds: float


class _Run:
    """One replay, with what it has sent so far."""

    def __init__(self, task: ReplayTask, settings: Settings, bar: Bar) -> None:
        self._task = task
        self._settings = settings
        self._bar = bar
        self.records: dict[str, int] = {}
        self.unkeyed = 0

    async def send_all(self) -> None:
        """Send every record; what was read before a broken place is sent too."""
        with aiokafka_quiet([]), ExitStack() as opened:
            files = [
                opened.enter_context(RecordFile(path, topic))
                for path, topic in (
                    (self._task.follows, self._settings.topic_follows),
                    (self._task.comments, self._settings.topic_comments),
                )
                if path is not None
            ]
            async with RecordProducer(self._settings) as producer:
                for file in files:
                    await producer.open_topic(file.topic)
                    self.records[file.topic] = 0
                try:
                    await self._send(producer, files)
                except FileBroken:
                    await producer.flush()
                    raise

    async def _send(self, producer: RecordProducer, files: list[RecordFile]) -> None:
        pace = Pace(self._task.speed)
        size_bytes = sum(file.size_bytes for file in files)
        merged = merged_by_time([file.chunks() for file in files], pace.slice_ms)
        for start_ms, number, timed in merged:
            await pace.wait(start_ms)
            values = timed.chunk.values
            keys = [key_of(value) if value else None for value in values]
            await producer.send(files[number].topic, keys, values)
            if pace.speed is not None:
                await producer.push()
            self.unkeyed += keys.count(None)
            self.records[files[number].topic] += len(values)
            done = sum(file.position_bytes for file in files) / max(1, size_bytes)
            self._bar.show(done, f"{producer.records_sent:,} records")


def run_replay(task: ReplayTask, settings: Settings, console: Console) -> ReplaySummary:
    """Replay to the end. Raises a SurgewatchError; Interrupted when the user ends it."""
    begin = time.monotonic()
    with progress_bar(console, "replay") as bar:
        run = _Run(task, settings, bar)
        try:
            asyncio.run(run.send_all())
        except KeyboardInterrupt as error:
            message = f"interrupted: {sum(run.records.values()):,} records were sent"
            raise Interrupted(message) from error
        except FileBroken:
            console.print(f"{sum(run.records.values()):,} records before it were sent")
            raise
    return ReplaySummary(records=run.records, unkeyed=run.unkeyed, seconds=time.monotonic() - begin)


def lines_of(summary: ReplaySummary) -> list[str]:
    """Lines that tell people what was sent."""
    total = sum(summary.records.values())
    rate = total / max(summary.seconds, 1e-3)
    parts = ", ".join(f"{count:,} to {topic}" for topic, count in summary.records.items())
    lines = [f"{total:,} records in {summary.seconds:.1f} s ({rate:,.0f} a second): {parts}"]
    if summary.unkeyed:
        lines.append(f"{summary.unkeyed:,} of them name no creator: look in the dead letters")
    return lines


_IN = click.Path(path_type=Path)


@click.command(
    epilog="Example: surgewatch replay --follows follows.ndjson.gz --comments comments.ndjson.gz "
    "--speed 3600"
)
@click.option("--follows", type=_IN, help="NDJSON (gzipped or not) or Parquet.")
@click.option("--comments", type=_IN, help="NDJSON (gzipped or not) or Parquet.")
@click.option(
    "--speed", type=click.FloatRange(min=0, min_open=True),
    help="Event time over real time; as quick as it goes when absent.",
)  # fmt: skip
@click.pass_context
def replay(context: click.Context, /, **options: Any) -> None:
    """Replay files of records into Kafka, in the order of their event time.

    Each record is sent as it is, those that cannot be used too: they show in the dead letters.
    """
    task = ReplayTask(**options)
    if task.follows is None and task.comments is None:
        message = "nothing to replay: give --follows, --comments or both"
        raise click.UsageError(message, context)
    settings = context.find_object(Settings) or read_settings(os.environ)
    for line in lines_of(run_replay(task, settings, Console(stderr=True))):
        click.echo(line)
