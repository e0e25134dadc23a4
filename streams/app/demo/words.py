"""The demo in words: small forms of numbers, lines without a terminal, and the summary."""

import shutil
import textwrap
from collections.abc import Iterable
from itertools import islice
from types import TracebackType
from typing import IO, Final, Self

import click

from streams.app.demo.state import DemoState, SurgeRow
from streams.app.demo.story import STORY_HOURS, Verdict, chapter_at
from streams.core.reports.stored_counts import shown
from streams.core.surges.surge import Surge, seen_words_of, young_words_of
from streams.core.worlds.platform import HOUR_MS

_BLOCKS: Final = "▁▂▃▄▅▆▇█"
_PARTS: Final = " ▏▎▍▌▋▊▉"
_LINE_SECONDS: Final = 5.0


def sparkline(values: Iterable[float], width: int, top_min: float = 0.0) -> str:
    """Draw the last ``width`` values; 0 and below is the lowest block.

    The highest block is the largest of them, ``top_min`` at least.

    >>> sparkline([0, 1, 2, 4], 3)
    '▃▅█'
    """
    kept = list(values)[-width:] if width > 0 else []
    top = max([top_min, *kept])
    if top <= 0:
        return _BLOCKS[0] * len(kept)
    last = len(_BLOCKS) - 1
    return "".join(_BLOCKS[round(max(0.0, value) / top * last)] for value in kept)


def bar(share: float, width: int) -> str:
    """Draw a share as a bar, to an eighth of a cell; below 0 is empty, above 1 is full.

    >>> bar(0.5, 4)
    '██░░'
    """
    eighths = round(min(1.0, max(0.0, share)) * width * 8)
    full, part = divmod(eighths, 8)
    head = "█" * full + (_PARTS[part] if part else "")
    return head + "░" * (width - len(head))


def clock_of(hours: float) -> str:
    """Hours as a clock, rounded down; more than 24 go on.

    >>> clock_of(7.5), clock_of(25.25)
    ('07:30', '25:15')
    """
    minutes = int(hours * 60 + 1e-6)
    return f"{minutes // 60:02d}:{minutes % 60:02d}"


def count_of(count: float | None) -> str:
    """Write a count: whole from 100 on, else one digit more; a dash for the unknown.

    >>> count_of(15.863), count_of(81150.9), count_of(None)
    ('15.9', '81,151', '–')
    """
    if count is None:
        return "–"
    return f"{count:,.0f}" if count >= 100 else f"{count:.1f}"


def ratio_of(ratio: float | None) -> str:
    """Write observed over expected: ``6.0×``; a dash for the unknown.

    >>> ratio_of(5.98), ratio_of(12_000.0)
    ('6.0×', '>999×')
    """
    if ratio is None:
        return "–"
    return ">999×" if ratio >= 999.5 else f"{count_of(ratio)}×"


def seconds_of(seconds: float | None) -> str:
    """Write a time: ``0.4 s``, whole seconds from 10 on; a dash for the unknown."""
    if seconds is None:
        return "–"
    return f"{seconds:.1f} s" if seconds < 9.95 else f"{seconds:.0f} s"


def langs_of(surge: Surge) -> str:
    """Languages of comments and her usual one, what shifts, or how new a wave is; or nothing."""
    if surge.mix is not None:
        mix = surge.mix
        return f"{mix.lang} {mix.share:.0%} of {mix.comments:,} (usually {mix.usual_share:.0%})"
    if surge.wave is not None:
        return young_words_of(surge.wave)
    if not surge.langs:
        return ""
    told = ", ".join(f"{one.lang} {one.share:.0%}" for one in surge.langs if one.share >= 0.02)
    usual = surge.usual_lang
    return told + (f" (her usual: {usual.lang} {usual.share:.0%})" if usual else "")


def surge_line(state: DemoState, row: SurgeRow) -> str:
    """One opened surge in one line."""
    surge = row.opened
    facts = [
        seen_words_of(surge),
        "" if surge.expected_own is None else f"expected {count_of(surge.expected_own)}",
        "" if surge.ratio is None else f"ratio {ratio_of(surge.ratio)}",
        langs_of(surge),
        f"told {seconds_of(row.delay_seconds)} after its record",
    ]
    hour, by = clock_of(state.hours_at(surge.opened_ms)), f"by {surge.trigger}"
    what = shown(state.cast.name_of(surge))
    return f"{hour}  surge {by}: {what}: " + "; ".join(fact for fact in facts if fact)


def progress_line(state: DemoState) -> str:
    """How far it is, in one line."""
    if state.told_to_ms is None:
        return f"demo: {state.phase}"
    rate = sum(islice(reversed(state.rates), 10)) / max(1, min(10, len(state.rates)))
    return (
        f"{clock_of(state.hours)}  {rate:,.0f} records a second, {state.read:,} read, "
        f"lag {state.lag_seen:,}. {chapter_at(state.hours)}"
    )


class PlainView:
    """Lines for a pipe, a file or a log: progress every five seconds, each surge as it opens.

    With ``surges_out`` every announcement goes there as one line of JSON.
    """

    def __init__(self, lines_out: IO[str], surges_out: IO[bytes] | None = None) -> None:
        self._lines_out = lines_out
        self._surges_out = surges_out
        self._phase = ""
        self._due_seconds = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Nothing to put back."""

    def show(self, state: DemoState) -> None:
        """Print a line when the phase changes, and every five seconds of the story."""
        due = state.story_seconds >= self._due_seconds and state.told_to_ms is not None
        if state.phase != self._phase or due:
            self._phase = state.phase
            self._due_seconds = state.story_seconds + _LINE_SECONDS
            click.echo(progress_line(state), file=self._lines_out)

    def hear(self, state: DemoState, row: SurgeRow, value: bytes) -> None:
        """Print a surge: its JSON, or a line when it opens."""
        if self._surges_out is not None:
            click.echo(value, file=self._surges_out)
        elif row.latest is row.opened:
            click.echo(surge_line(state, row), file=self._lines_out)


_SEEN: Final = (
    "A rule opens a surge at the very record with which 24 hours reach its number. The model "
    "knows no number: it alarms when a count is too high for what is usual for this creator or "
    "post, and asks for some history first."
)


def summary_lines(state: DemoState, verdict: Verdict) -> list[str]:
    """What was seen, whether it was true, and what to try next."""
    signs = state.signs
    rate = state.sent / max(state.story_seconds, 1e-3)
    lines = [
        f"The demo told {clock_of(state.hours)} hours in {state.story_seconds:.0f} s: "
        f"{state.sent:,} records, {rate:,.0f} a second."
    ]
    if signs is not None and signs.records:
        cost = signs.cpu_seconds / signs.records * 1e6
        lines.append(
            f"One worker read these and its reports of waves, {signs.records:,} in all, of "
            f"{signs.creators:,} creators; with its start it "
            f"took {cost:.1f} µs of CPU a record and {signs.resident_bytes / 1e6:,.0f} MB."
        )
    opened = sorted(state.rows.values(), key=lambda row: row.opened.opened_ms)
    lines += ["", "Surges told:" if opened else "No surge was told."]
    lines += [f"  {surge_line(state, row)}" for row in opened if state.cast.plays(row.opened)]
    if verdict.on_others:
        lines.append(f"  and {verdict.on_others:,} alarms of the model for creators of no story")
    return [*lines, "", *_truth_lines(state, verdict), _SEEN, "", *_next_lines()]


def _truth_lines(state: DemoState, verdict: Verdict) -> list[str]:
    delays = [
        row.delay_seconds
        for row in state.rows.values()
        if row.opened.trigger == "rule" and row.delay_seconds is not None
    ]
    line = f"truth: {len(verdict.told)} of {len(verdict.true)} surges by rule told"
    if verdict.told and verdict.holds:
        line += f", each at its very record, at most {max(delays, default=0.0):.1f} s after it"
    missed = [surge for surge in verdict.true if surge not in verdict.told]
    lines = [line, *(f"  not told: {state.cast.name_of(surge)}" for surge in missed)]
    lines += [f"  told and not true: {state.cast.name_of(surge)}" for surge in verdict.untrue]
    if verdict.lead_ms is not None:
        lead = clock_of(verdict.lead_ms / HOUR_MS)
        lines.append(f"The model told Mei's post {lead} hours before the rule.")
    wave_told = any(row.opened.kind == "wave" for row in state.rows.values())
    if state.hours >= STORY_HOURS and not wave_told:
        lines.append("The wave itself is not told: it comes as slowly as a morning does, and what")
        lines.append("a morning brings is known after a week of records, not after hours.")
    return lines


def _next_lines() -> list[str]:
    return [
        "Everything that the demo started is ended. To go on:",
        "  surgewatch simulate --follows-out f.gz --comments-out c.gz",
        "  surgewatch backtest --follows f.gz --comments c.gz --surges s.ndjson",
        "or see the days after the story, five minutes of them: surgewatch demo --for 300",
    ]


def print_lines(lines: Iterable[str], out: IO[str]) -> None:
    """Print lines for people; on a terminal they are wrapped between words."""
    width = min(shutil.get_terminal_size().columns, 100)
    for line in lines:
        if not out.isatty() or len(line) <= width:
            click.echo(line, file=out)
            continue
        indent = " " * (9 if line.startswith("  ") else 0)
        for part in textwrap.wrap(line, width, subsequent_indent=indent):
            click.echo(part, file=out)
