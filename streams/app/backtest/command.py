"""The command ``surgewatch backtest``: files in, surges out, with no servers."""

import os
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import msgspec
from rich.console import Console

from streams.app.backtest.alarms import (
    Alarms,
    Comparison,
    alarms_in,
    changes_in,
    comparison_of,
    lines_of_alarms,
    lines_of_comparison,
)
from streams.app.backtest.result import BacktestResult
from streams.app.backtest.run import Backtest
from streams.app.commands.pace import progress_bar
from streams.app.commands.show import iso_of, print_json
from streams.app.jobs import check_detector
from streams.core.records.chunks import DeadRecord
from streams.core.reports.alarm_changes import AlarmChanges
from streams.core.reports.stored_counts import shown
from streams.core.surges.surge import Surge
from streams.core.worlds.truth import TrueSurge, Truth
from streams.edges.codec.out import encode_dead_letter, encode_surge
from streams.edges.errors import DataError, Interrupted
from streams.edges.files.records import OutputFile, RecordFile
from streams.edges.kafka.topics import DEAD_LETTER_BYTES_MAX
from streams.edges.settings.reading import Settings, read_settings


@dataclass(frozen=True, slots=True, kw_only=True)
class BacktestTask:
    """What to read, and where to write; None: not."""

    follows: Path | None = None
    comments: Path | None = None
    surges: Path | None = None
    dead: Path | None = None
    truth: Path | None = None
    compare: Path | None = None
    changes: Path | None = None
    processes: int | None = None


class SurgeCount(msgspec.Struct, frozen=True):
    """How many surge records of one kind were told."""

    kind: str
    trigger: str
    state: str
    count: int


class TruthRow(msgspec.Struct, frozen=True):
    """One surge by a rule that the truth holds, and whether it opened at its very record."""

    kind: str
    creator_id: str
    post_id: str | None
    opened_ms: int
    found: bool


class BacktestSummary(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a back-test; ``truth`` is None when there was none to compare with.

    So is ``compared`` without other settings.
    """

    records: dict[str, int]
    counted: int
    late: int
    repeated: int
    dead: dict[str, int]
    surges: list[SurgeCount]
    alarms: Alarms
    compared: Comparison | None
    seconds: float
    records_per_second: float
    truth: list[TruthRow] | None


def run_backtest(task: BacktestTask, settings: Settings, console: Console) -> BacktestSummary:
    """Back-test to the end. Raises a SurgewatchError; Interrupted when the user ends it."""
    other = None if task.compare is None else read_settings(os.environ, task.compare)
    for each in (settings, other):
        if each is not None:
            check_detector(each)
    truth = None if task.truth is None else _truth_in(task.truth)
    begin = time.monotonic()
    with ExitStack() as stack:
        files = [
            stack.enter_context(RecordFile(path, topic))
            for path, topic in (
                (task.follows, settings.topic_follows),
                (task.comments, settings.topic_comments),
            )
            if path is not None
        ]
        surges_out, dead_out, changes_out = (
            None if path is None else stack.enter_context(OutputFile(path))
            for path in (task.surges, task.dead, task.changes)
        )
        try:
            both = settings, other
            found = _take_all(files, both, task.processes, (dead_out, console))
        except KeyboardInterrupt as error:
            message = "interrupted: no file was written"
            raise Interrupted(message) from error
        surges = found.result.surges()
        if surges_out is not None:
            surges_out.write_lines([encode_surge(surge) for surge in surges])
        compared = None
        if other is not None and found.other is not None:
            there = found.other.surges()
            changes = changes_in(surges, there)
            alarms = alarms_in(found.other, there)
            results = found.result, found.other
            compared = comparison_of(changes, results, alarms, (settings, other))
            if changes_out is not None:
                changes_out.write_lines(_lines_of_changes(changes))
    return _summary(found.result, surges, truth, (time.monotonic() - begin, compared))


def _lines_of_changes(changes: AlarmChanges) -> list[bytes]:
    return [
        b'{"change":"%s","surge":%s}' % (change, encode_surge(alarm))
        for change, alarms in ((b"gained", changes.gained), (b"lost", changes.lost))
        for alarm in alarms
    ]


def _take_all(
    files: list[RecordFile],
    settings: tuple[Settings, Settings | None],
    processes: int | None,
    out: tuple[OutputFile | None, Console],
) -> Backtest:
    dead_out, console = out
    size_bytes = max(1, sum(file.size_bytes for file in files))

    def bury(dead: list[DeadRecord]) -> None:
        if dead_out is not None:
            dead_out.write_lines([encode_dead_letter(one, DEAD_LETTER_BYTES_MAX) for one in dead])

    backtest = Backtest(settings[0], bury, other=settings[1], processes=processes)
    with progress_bar(console, "backtest") as bar:

        def told() -> None:
            done = backtest.read_bytes / size_bytes
            bar.show(done, f"{sum(backtest.result.records.values()):,} records")

        for file in files:
            backtest.take(file, told)
    return backtest


def _summary(
    result: BacktestResult,
    surges: list[Surge],
    truth: Truth | None,
    found: tuple[float, Comparison | None],
) -> BacktestSummary:
    seconds, compared = found
    kinds = Counter((surge.kind, surge.trigger, surge.state) for surge in surges)
    return BacktestSummary(
        records=result.records,
        counted=result.counted,
        late=result.late,
        repeated=result.repeated,
        dead={str(reason): count for reason, count in sorted(result.dead.items())},
        surges=[SurgeCount(*kind, count) for kind, count in sorted(kinds.items())],
        alarms=alarms_in(result, surges),
        compared=compared,
        seconds=round(seconds, 3),
        records_per_second=round(sum(result.records.values()) / max(seconds, 1e-3)),
        truth=None if truth is None else _compared(truth.surges, surges),
    )


def _compared(true_surges: list[TrueSurge], surges: list[Surge]) -> list[TruthRow]:
    opened = {
        (surge.kind, surge.creator_id, surge.post_id, surge.opened_ms)
        for surge in surges
        if surge.trigger == "rule" and surge.state == "opened"
    }
    rows = []
    for true in true_surges:
        name = (true.kind, true.creator_id, true.post_id, true.opened_ms)
        rows.append(TruthRow(*name, name in opened))
    return rows


def _truth_in(path: Path) -> Truth:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Truth)
    except FileNotFoundError as error:
        message = f"{path}: no such file"
        raise DataError(message) from error
    except OSError as error:
        message = f"{path}: cannot be read: {error.strerror or error}"
        raise DataError(message) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        message = f"{path}: is not a truth that surgewatch simulate wrote: {error}"
        raise DataError(message) from error


def lines_of(summary: BacktestSummary) -> list[str]:
    """Lines that tell people what came of it."""
    total = sum(summary.records.values())
    parts = ", ".join(f"{count:,} {topic}" for topic, count in summary.records.items())
    lines = [
        f"{total:,} records in {summary.seconds:.1f} s ({summary.records_per_second:,.0f} a "
        f"second): {parts}",
        f"{summary.counted:,} counted, {summary.late:,} late, {summary.repeated:,} repeated, "
        f"{sum(summary.dead.values()):,} that cannot be used",
    ]
    lines += [f"cannot be used: {count:,} {reason}" for reason, count in summary.dead.items()]
    lines += [
        f"surges: {one.count:,} {one.kind} {one.state} by {one.trigger}" for one in summary.surges
    ]
    if not summary.surges:
        lines.append("surges: none")
    lines += lines_of_alarms(summary.alarms)
    if summary.compared is not None:
        lines += lines_of_comparison(summary.compared)
    for row in summary.truth or []:
        name = shown(row.post_id or row.creator_id)
        found = "found at its record" if row.found else "MISSED"
        lines.append(f"truth: {name} {row.kind} at {iso_of(row.opened_ms)}: {found}")
    return lines


_PATH = click.Path(path_type=Path)


@click.command(
    epilog="Example: surgewatch backtest --follows follows.ndjson.gz --comments "
    "comments.ndjson.gz --surges surges.ndjson"
)
@click.option("--follows", type=_PATH, help="NDJSON (gzipped or not) or Parquet.")
@click.option("--comments", type=_PATH, help="NDJSON (gzipped or not) or Parquet.")
@click.option("--surges", type=_PATH, help="NDJSON file of the surges; .gz is gzipped.")
@click.option("--dead", type=_PATH, help="NDJSON file of the records that cannot be used.")
@click.option("--truth", type=_PATH, help="Truth of surgewatch simulate to compare with.")
@click.option(
    "--compare",
    type=_PATH,
    metavar="OTHER.toml",
    help="Settings to compare with: alarms gained and lost.",
)
@click.option("--changes", type=_PATH, help="NDJSON file of the alarms gained and lost.")
@click.option(
    "--processes",
    type=click.IntRange(1, 64),
    help="Processes that count; without it one for each processor, and one for a small file.",
)
@click.option("--json", "as_json", is_flag=True, help="Summary as one JSON object.")
@click.pass_context
def backtest(context: click.Context, /, *, as_json: bool, **options: Any) -> None:
    """Find the surges in files, with no servers.

    The same work as the worker's, so the same surges. Records that cannot be used are counted,
    and kept with --dead; no record counts as being in the future. With --compare the same
    records are counted under other settings too, as a worker with --config OTHER.toml would.
    """
    task = BacktestTask(**options)
    if task.follows is None and task.comments is None:
        message = "nothing to read: give --follows, --comments or both"
        raise click.UsageError(message, context)
    if task.changes is not None and task.compare is None:
        message = "--changes are those of --compare: give it too"
        raise click.UsageError(message, context)
    settings = context.find_object(Settings) or read_settings(os.environ)
    summary = run_backtest(task, settings, Console(stderr=True))
    if as_json:
        print_json(summary)
    else:
        click.echo("\n".join(lines_of(summary)))
