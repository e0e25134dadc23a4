"""The command ``surgewatch simulate``: a seeded platform into Kafka, or into files."""

import asyncio
import os
import re
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import click
import msgspec
from rich.console import Console

from streams.app.commands.pace import Bar, Pace, progress_bar
from streams.app.commands.show import iso_of
from streams.app.simulate.world import series_written, world_lines_of, worlds_help
from streams.core.records.chunks import RawChunk
from streams.core.worlds.counts import count_world_of
from streams.core.worlds.events import EventWorld, event_world_of, steps_of
from streams.core.worlds.plans import STORY, WORLDS
from streams.core.worlds.platform import HOUR_MS, PolicyOutOfRange, World, WorldPolicy, world_of
from streams.core.worlds.simulated_delivery import WorldStep
from streams.core.worlds.truth import Truth, TruthLedger
from streams.edges.codec.simulated import SimulatedJson
from streams.edges.errors import Interrupted
from streams.edges.files.records import OutputFile
from streams.edges.files.timeline import merged_by_time
from streams.edges.kafka.producer import RecordProducer, aiokafka_quiet
from streams.edges.settings.reading import Settings, read_settings

_DEFAULT: Final = WorldPolicy()
_START: Final = "2025-01-13T00:00:00Z"
_AGO: Final = re.compile(r"now-(\d{1,3})h")


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulateTask:
    """What to simulate and where to; with neither output file it goes to Kafka.

    ``live``: nothing goes to Kafka before its event time.
    """

    world: World | EventWorld
    speed: float | None = None
    live: bool = False
    follows_out: Path | None = None
    comments_out: Path | None = None
    truth_out: Path | None = None

    @property
    def to_files(self) -> bool:
        """Whether files are written instead of Kafka."""
        return self.follows_out is not None or self.comments_out is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulateSummary:
    """What was simulated, in how many seconds of real time."""

    truth: Truth
    records: int
    seconds: float


Told = Callable[[WorldStep], None]


def run_simulate(task: SimulateTask, settings: Settings, console: Console) -> SimulateSummary:
    """Simulate to the end. Raises a SurgewatchError; Interrupted when the user ends it."""
    begin = time.monotonic()
    world = task.world
    ledger = TruthLedger(world, settings.rule_followers_24h, settings.rule_comments_24h)
    records = 0

    def told(step: WorldStep, bar: Bar) -> None:
        nonlocal records
        ledger.take(step)
        records += len(step.follows) + len(step.comments)
        done = (step.end_ms - world.start_ms) / (world.end_ms - world.start_ms)
        bar.show(done, f"{records:,} records")

    with ExitStack() as outs:
        truth_out = _output(outs, task.truth_out)
        try:
            with progress_bar(console, "simulate") as bar:
                if task.to_files:
                    write_world(task, lambda step: told(step, bar))
                else:
                    asyncio.run(_send(task, settings, lambda step: told(step, bar)))
        except KeyboardInterrupt as error:
            done = "no file was written" if task.to_files else f"{records:,} records were sent"
            message = f"interrupted: {done}"
            raise Interrupted(message) from error
        truth = ledger.truth()
        if truth_out is not None:
            truth_out.write(msgspec.json.format(msgspec.json.encode(truth), indent=2) + b"\n")
    return SimulateSummary(truth=truth, records=records, seconds=time.monotonic() - begin)


def write_world(task: SimulateTask, told: Told) -> None:
    """Write the records to NDJSON files; they appear when all of them is there."""
    encoder = SimulatedJson(task.world)
    with ExitStack() as outs:
        follows = _output(outs, task.follows_out)
        comments = _output(outs, task.comments_out)
        for step in steps_of(task.world):
            if follows is not None:
                follows.write_lines(encoder.encode_follows(step.follows))
            if comments is not None:
                comments.write_lines(encoder.encode_comments(step.comments))
            told(step)


def _output(outs: ExitStack, path: Path | None) -> OutputFile | None:
    return None if path is None else outs.enter_context(OutputFile(path))


async def _send(task: SimulateTask, settings: Settings, told: Told) -> None:
    with aiokafka_quiet([]):
        async with RecordProducer(settings) as producer:
            topics = (settings.topic_follows, settings.topic_comments)
            for topic in topics:
                await producer.open_topic(topic)
            pace = Pace(task.speed, now_ms if task.live else None)
            await send_world(task.world, producer, topics, pace, told)


async def send_world(
    world: World | EventWorld,
    producer: RecordProducer,
    topics: tuple[str, str],
    pace: Pace,
    told: Told,
) -> None:
    """Send a world's follows and comments to their topics at a pace.

    The topics are open already. ``told`` is called with each step of five minutes that is sent.
    """
    encoder = SimulatedJson(world)
    for step in steps_of(world):
        keys = (encoder.keys(step.follows), encoder.keys(step.comments))
        values = (encoder.encode_follows(step.follows), encoder.encode_comments(step.comments))
        if not pace.holds:
            for number, topic in enumerate(topics):
                await producer.send(topic, keys[number], values[number])
        else:
            sources = [iter([_chunk_of(t, v)]) for t, v in zip(topics, values, strict=True)]
            for start_ms, number, timed in merged_by_time(sources, pace.slice_before(step.end_ms)):
                await pace.wait(start_ms)
                first, after = timed.chunk.offsets[0], timed.chunk.next_offset
                await producer.send(topics[number], keys[number][first:after], timed.chunk.values)
                await producer.push()
        told(step)


def _chunk_of(topic: str, values: list[bytes]) -> RawChunk:
    after = len(values)
    return RawChunk(topic, 0, values, range(after), after, -1, after)


def lines_of(summary: SimulateSummary) -> list[str]:
    """Lines that tell people what was simulated."""
    truth = summary.truth
    rate = summary.records / max(summary.seconds, 1e-3)
    lines = [
        f"{summary.records:,} records in {summary.seconds:.1f} s ({rate:,.0f} a second): "
        f"{truth.follows:,} follows, {truth.unfollows:,} unfollows, {truth.comments:,} comments",
        *(
            f"rule: {surge.post_id or surge.creator_id} reaches {surge.threshold:,} "
            f"{surge.kind} in 24 h at {iso_of(surge.opened_ms)}"
            for surge in truth.surges
        ),
    ]
    if truth.bad_records:
        lines.append(f"spoilt: {truth.bad_records:,} records")
    if truth.wave is not None:
        wave = truth.wave
        lines.append(
            f"wave: {wave.users:,} new users from {wave.region}, {iso_of(wave.start_ms)} "
            f"to {iso_of(wave.end_ms)}"
        )
    if truth.world is not None:
        lines += world_lines_of(truth.world)
    return lines


def now_ms() -> int:
    """What this machine's clock says, in milliseconds since 1970."""
    return time.time_ns() // 1_000_000


@dataclass(frozen=True, slots=True)
class _Start:
    """Event time of the begin, and whether it was told from now on."""

    at_ms: int
    live: bool


def _start_of(context: click.Context, parameter: click.Parameter, text: str) -> _Start:
    ago = _AGO.fullmatch(text)
    if ago is not None:
        return _Start(now_ms() - int(ago.group(1)) * HOUR_MS, live=True)
    return _Start(_start_ms_of(context, parameter, text), live=False)


def _start_ms_of(context: click.Context, parameter: click.Parameter, text: str) -> int:
    try:
        start = datetime.fromisoformat(text)
    except ValueError as error:
        message = f"{text!r} is no time: write it like {_START} or now-24h"
        raise click.BadParameter(message, context, parameter) from error
    start = start if start.tzinfo else start.replace(tzinfo=UTC)
    start_ms = int(start.timestamp()) * 1000
    if not 946_684_800_000 <= start_ms < 4_000_000_000_000:
        message = f"{text!r} must lie in the years 2000 to 2095"
        raise click.BadParameter(message, context, parameter)
    return start_ms


_OUT = click.Path(dir_okay=False, path_type=Path)
_COUNT = click.IntRange(min=0)


@click.command(
    help=worlds_help(),
    epilog="Example: surgewatch simulate --seed 7 --follows-out follows.ndjson.gz "
    "--comments-out comments.ndjson.gz --truth truth.json",
)
@click.option(
    "--world",
    "name",
    type=click.Choice(list(WORLDS)),
    default=STORY,
    show_default=True,
    metavar="NAME",
    help="What is simulated, of the list above.",
)
@click.option("--seed", type=_COUNT, default=7, show_default=True, help="Same seed, same records.")
@click.option("--creators", type=int, help=f"Absent: {_DEFAULT.creators}; other worlds 2000.")
@click.option("--hours", type=int, help=f"Event time. Absent: {_DEFAULT.hours}; other worlds 48.")
@click.option(
    "--follows-per-day",
    type=_COUNT,
    help=f"Usual follows of the whole platform (story). Absent: {_DEFAULT.follows_per_day}.",
)
@click.option("--wave-users", type=_COUNT, help=f"Story. Absent: {_DEFAULT.wave_users}.")
@click.option("--bad-share", type=float, default=0.0, help="Share of spoilt records, 0 to 1.")
@click.option(
    "--start", default=_START, show_default=True, callback=_start_of,
    help="Event time of the begin, ISO 8601; or now-24h: what is to come then goes to Kafka when "
    "it comes.",
)  # fmt: skip
@click.option(
    "--speed", type=click.FloatRange(min=0, min_open=True),
    help="Event time over real time; as quick as it goes when absent.",
)  # fmt: skip
@click.option("--follows-out", type=_OUT, help="File instead of Kafka; .gz is gzipped.")
@click.option("--comments-out", type=_OUT, help="File instead of Kafka; .gz is gzipped.")
@click.option("--truth", "truth_out", type=_OUT, help="JSON file: who surges, and when.")
@click.option(
    "--series",
    "series_out",
    type=_OUT,
    help="Write one series of the world (timestamp,value) instead of records.",
)
@click.pass_context
def simulate(context: click.Context, /, **options: Any) -> None:
    """Simulate a world into Kafka, into files, or as one series."""
    name, series_out = options.pop("name"), options.pop("series_out")
    names = ("creators", "hours", "follows_per_day", "wave_users", "bad_share")
    given = {key: value for key in names if (value := options.pop(key)) is not None}
    seed, start = options.pop("seed"), options.pop("start")
    if name != STORY and {"follows_per_day", "wave_users"} & set(given):
        message = f"--follows-per-day and --wave-users are for --world {STORY}"
        raise click.UsageError(message, context)
    try:
        if series_out is not None:
            _end_series(context, name, (seed, start.at_ms, given), (series_out, options))
            return
        world = _world_of(name, given, seed, start.at_ms)
    except PolicyOutOfRange as error:
        raise click.BadParameter(str(error), context) from error
    task = SimulateTask(world=world, live=start.live, **options)
    if task.to_files and task.speed is not None:
        message = "--speed is for Kafka: a file is written as quick as it goes"
        raise click.UsageError(message, context)
    settings = context.find_object(Settings) or read_settings(os.environ)
    summary = run_simulate(task, settings, Console(stderr=True))
    for line in lines_of(summary):
        click.echo(line)


def _world_of(name: str, given: dict[str, Any], seed: int, start_ms: int) -> World | EventWorld:
    if name == STORY:
        return world_of(WorldPolicy(**given), seed, start_ms)
    policy = WorldPolicy(**{"creators": 2_000, "hours": 48, **given})
    return event_world_of(WORLDS[name], policy, seed, start_ms)


def _end_series(
    context: click.Context, name: str, drawn: tuple[Any, ...], outs: tuple[Path, dict[str, Any]]
) -> None:
    (seed, start_ms, given), (series_out, others) = drawn, outs
    if any(others[key] is not None for key in ("speed", "follows_out", "comments_out")):
        message = "--series is written instead of records: leave the other outputs out"
        raise click.UsageError(message, context)
    world = count_world_of(
        WORLDS[name],
        seed=seed,
        start_ms=start_ms,
        creators=given.get("creators", 2_000),
        hours=given.get("hours"),
    )
    for line in series_written(world, series_out, others["truth_out"]):
        click.echo(line)
