"""The command ``surgewatch score``: a series of counts in, score and alerts out."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import msgspec

from streams.app.commands.show import print_json
from streams.core.detection.budget import BudgetError, alarms_per_day_of
from streams.core.detection.series import (
    DAY_MS,
    RowVerdict,
    SeriesError,
    SeriesRow,
    SeriesWatch,
    increases_of,
    step_ms_of,
)
from streams.edges.errors import SettingsError
from streams.edges.files.records import FileBroken, OutputFile
from streams.edges.files.series_csv import (
    HEADER,
    VALUE,
    SeriesBroken,
    SeriesLine,
    encode_row,
    read_series,
)
from streams.edges.files.series_picture import check_plot, draw_series


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreTask:
    """What to score and where to; None: not."""

    series: Path
    out: Path
    plot: Path | None = None
    budget: str = "1 in 6 days"
    column: str = VALUE
    running_total: bool = False


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """A row that is told of: a surge's alert, or a jump of the counter."""

    line: int
    timestamp: str
    count: float | None
    expected: float
    score: float
    told_line: int
    """Line at which it was told: of a jump, the next known one."""


class ScoreSummary(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a series."""

    rows: int
    days: float
    step_seconds: float
    windows_rows: tuple[int, int, int]
    rows_a_day: int
    budget_per_day: float
    alerts_per_day: float
    missing: int
    """Rows that the step asks for and the file has not."""
    unknown: int
    """Rows without a usable count: none, below 0, or an increase that cannot be known."""
    unknown_line: int | None
    """The first of them."""
    undecided_line: int | None
    """A last row that alarms and may be a jump: the row after it would have said."""
    alerts: list[Told]
    jumps: list[Told]


def run_score(task: ScoreTask) -> ScoreSummary:
    """Score a series and write it. Raises a SurgewatchError; then nothing is written."""
    try:
        budget = alarms_per_day_of(task.budget)
    except BudgetError as error:
        raise SettingsError(str(error)) from error
    if task.plot is not None:
        check_plot()
    lines = read_series(task.series, task.column)
    try:
        step_ms = step_ms_of([line.row.at_ms for line in lines])
        rows = [line.row for line in lines]
        rows = list(increases_of(rows, step_ms)) if task.running_total else rows
        watch = SeriesWatch(step_ms, budget)
        verdicts = [watch.take(row) for row in rows]
    except SeriesError as error:
        raise SeriesBroken(task.series, lines[error.row].line_no, error.why) from error
    if all(row.count is None or row.count < 0 for row in rows):
        raise FileBroken(task.series, "no row has a count of 0 or more")
    with OutputFile(task.out) as out:
        out.write_lines([HEADER, *map(encode_row, lines, verdicts)])
        if task.plot is not None:
            draw_series(task.plot, lines, [row.count for row in rows], verdicts)
    return _summary(lines, rows, verdicts, watch)


def _summary(
    lines: list[SeriesLine], rows: list[SeriesRow], verdicts: list[RowVerdict], watch: SeriesWatch
) -> ScoreSummary:
    span_ms = rows[-1].at_ms - rows[0].at_ms + watch.step_ms
    unknown = [n for n, row in enumerate(rows) if row.count is None or row.count < 0]
    alerts = [_told(lines, rows, verdicts, (n, n)) for n, one in enumerate(verdicts) if one.alert]
    jumps = [_told(lines, rows, verdicts, pair) for pair in _jumps_of(verdicts)]
    return ScoreSummary(
        rows=len(rows),
        days=round(span_ms / DAY_MS, 3),
        step_seconds=watch.step_ms / 1000,
        windows_rows=watch.policy.window_buckets,
        rows_a_day=watch.policy.buckets_per_day,
        budget_per_day=watch.policy.alarms_per_day,
        alerts_per_day=len(alerts) * DAY_MS / span_ms,
        missing=watch.missing,
        unknown=len(unknown),
        unknown_line=lines[unknown[0]].line_no if unknown else None,
        undecided_line=lines[watch.held_row].line_no if watch.held_row is not None else None,
        alerts=alerts,
        jumps=jumps,
    )


def _jumps_of(verdicts: list[RowVerdict]) -> Iterator[tuple[int, int]]:
    """(row of the jump, row that told it)."""
    held = 0
    for row, verdict in enumerate(verdicts):
        if verdict.jump_before:
            yield held, row
        if verdict.held:
            held = row


def _told(
    lines: list[SeriesLine],
    rows: list[SeriesRow],
    verdicts: list[RowVerdict],
    places: tuple[int, int],
) -> Told:
    row, told_row = places
    return Told(
        line=lines[row].line_no,
        timestamp=lines[row].time_text,
        count=rows[row].count,
        expected=verdicts[row].expected,
        score=verdicts[row].score,
        told_line=lines[told_row].line_no,
    )


def lines_of(summary: ScoreSummary) -> list[str]:
    """Lines that tell people what came of it."""
    alerts, jumps = summary.alerts, summary.jumps
    asked = f"one in {1 / summary.budget_per_day:.4g} days asked for"
    seen = f", one in {1 / summary.alerts_per_day:.3g} days seen" if alerts else ""
    short, middle, long = summary.windows_rows
    lines = [
        f"{_counted(summary.rows, 'row', 'rows')} in {summary.days:,.4g} days, "
        f"one every {summary.step_seconds:g} s; windows of {short}, {middle} and {long} rows",
        f"{_counted(len(alerts), 'alert', 'alerts')} ({asked}{seen})",
    ]
    lines += [f"surge: {_words_of(one)}" for one in alerts]
    lines += [
        f"jump of the counter, no surge: {_words_of(one)}; told at line {one.told_line}"
        for one in jumps
    ]
    if summary.missing:
        missing = _counted(summary.missing, "row is", "rows are")
        lines.append(f"{missing} missing: taken as unknown, not as 0")
    if summary.unknown:
        lines.append(
            f"{_counted(summary.unknown, 'row has', 'rows have')} no count that can be known "
            f"(first: line {summary.unknown_line}): nothing was learnt there"
        )
    if summary.undecided_line is not None:
        lines.append(
            f"line {summary.undecided_line} alarms and may be a jump of the counter: the row after "
            "it will say"
        )
    return lines


def _counted(number: int, one: str, more: str) -> str:
    return f"{number:,} {one if number == 1 else more}"


def _words_of(told: Told) -> str:
    return (
        f"line {told.line}, {told.timestamp}: {told.count:,.6g} where {told.expected:,.3g} were "
        f"expected, score {told.score:.3g}"
    )


_PATH = click.Path(path_type=Path)


@click.command(
    epilog='Example: surgewatch score series.csv --out scored.csv --budget "1 in 30 days"'
)
@click.argument("series", type=_PATH, metavar="SERIES.csv")
@click.option("--out", type=_PATH, required=True, help="CSV file; .gz is gzipped.")
@click.option("--budget", default="1 in 6 days", show_default=True, help="False alarms wanted.")
@click.option("--plot", type=_PATH, help="Picture (PNG, SVG or PDF) of it.")
@click.option("--column", default=VALUE, show_default=True, help="Name of the counts' column.")
@click.option("--running-total", is_flag=True, help="Counts are totals: score their increase.")
@click.option("--json", "as_json", is_flag=True, help="Summary as one JSON object.")
def score(*, as_json: bool, **options: Any) -> None:
    """Score a series of counts in a CSV file: its surges.

    SERIES.csv has the columns timestamp,value and one constant step of a second to a day; OUT has
    timestamp,value,expected,score,alert. A score of 1 or more is rarer than the budget; alert is 1
    where one alarm opens, then 24 hours are quiet. A row's score knows the rows before it and the
    row itself.
    """
    summary = run_score(ScoreTask(**options))
    if as_json:
        print_json(summary)
    else:
        click.echo("\n".join(lines_of(summary)))
