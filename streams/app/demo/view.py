"""The demo's live view: one frame of the state, sized to the terminal, no line ever wrapped."""

from collections.abc import Sequence
from types import TracebackType
from typing import Final, Self

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from streams.app.demo.state import TELLING, DemoState, SurgeRow
from streams.app.demo.story import STORY_HOURS, chapter_at
from streams.app.demo.words import (
    bar,
    clock_of,
    count_of,
    langs_of,
    ratio_of,
    seconds_of,
    sparkline,
)
from streams.core.reports.stored_counts import shown
from streams.core.surges.surge import seen_words_of

WIDTH_MAX: Final = 100
_LABEL: Final = 14
_LAG_TOP: Final = 20_000.0
"""A lag below it is drawn low: a few thousand records are a tenth of a second."""
_FOOT_LINES: Final = 3
_COLUMNS: Final = (("observed", 15), ("usual", 8), ("ratio", 6), ("after", 6))
_RIGHT: Final = sum(size for _, size in _COLUMNS)
_PLAIN: Final = str.maketrans("█▉▊▋▌▍▎▏░▁▂▃▄▅▆▇×·–…", "####----._..--==x.-.")


class LiveView:
    """Draws frames on the terminal's second screen; what stood before comes back at the end."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, screen=True, auto_refresh=False, transient=True)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._live.stop()

    def show(self, state: DemoState) -> None:
        """Draw the state as it is now."""
        width, height = self._console.size
        lines = frame_of(state, min(width, WIDTH_MAX), height)
        if not self._console.encoding.lower().startswith("utf"):
            lines = [plain_glyphs(line) for line in lines]
        self._live.update(Group(*lines), refresh=True)

    def hear(self, state: DemoState, row: SurgeRow, value: bytes) -> None:
        """Nothing: the next frame has it."""


def plain_glyphs(line: Text) -> Text:
    """Give the same line for a terminal that knows no blocks; as long as it was."""
    plain = line.copy()
    plain.plain = line.plain.translate(_PLAIN).encode("ascii", "replace").decode()
    return plain


def frame_of(state: DemoState, width: int, height: int) -> list[Text]:
    """Lines of one frame: at most ``height``, each at most ``width`` wide."""
    lines = [*_head(state, width), Text(""), *_rates(state, width), Text("")]
    lines += [*_bars(state, width), Text("")]
    room = height - len(lines) - _FOOT_LINES
    lines += _surges(state, width, room)
    lines += [Text("")] * (height - len(lines) - 2)
    lines = lines[: max(0, height - 2)] + _foot(state)
    for line in lines:
        line.no_wrap = True
        line.truncate(width)
    return lines[:height]


def _head(state: DemoState, width: int) -> list[Text]:
    hours = min(state.hours, STORY_HOURS)
    clock = f"hour {clock_of(state.hours)} of {STORY_HOURS}"
    title = Text("Surgewatch demo", style="bold reverse")
    title.append("  " + clock, style="not reverse bold cyan")
    title.append("  ", style="not reverse")
    room = width - len(title.plain)
    title.append(bar(hours / STORY_HOURS, max(0, room)), style="not reverse not bold cyan")
    happens = chapter_at(state.hours) if state.phase == TELLING else f"({state.phase} …)"
    return [title, Text(happens, style="bold")]


def _rates(state: DemoState, width: int) -> list[Text]:
    room = max(8, width - _LABEL - 11 - 2)
    rate = state.rates[-1] if state.rates else 0.0
    creators = state.signs.creators if state.signs else 0
    reached = state.signs.watermark_ms if state.signs else None
    rows = [
        _labelled("records/s", f"{rate:,.0f}", sparkline(state.rates, room), "green"),
        _labelled(
            "lag, records", f"{state.lag:,}", sparkline(state.lags, room, _LAG_TOP), "yellow"
        ),
    ]
    hour = clock_of(state.hours_at(reached)) if reached is not None else "–"
    facts = Text(f"{'counted':<{_LABEL}}", style="dim")
    facts.append(f"{state.read:>11,}  ", style="not dim bold")
    facts.append(f"records of {creators:,} creators, up to hour {hour}", style="not dim")
    return [*rows, facts]


def _labelled(label: str, number: str, graph: str, style: str) -> Text:
    line = Text(f"{label:<{_LABEL}}", style="dim")
    line.append(f"{number:>11}  ", style="not dim bold")
    line.append(graph, style=f"not dim {style}")
    return line


def _bars(state: DemoState, width: int) -> list[Text]:
    totals: dict[str, int] = {story.kind: story.total for story in state.truth().stories}
    rules = state.settings
    rows: list[tuple[str, float, str, str]] = []
    for kind, label, target, style in (
        ("followers", "Lin followers", rules.rule_followers_24h, "magenta"),
        ("comments", "Mei comments", rules.rule_comments_24h, "blue"),
    ):
        total = totals.get(kind, 0)
        words = f"{total:,} of {target:,}" + (" reached" if total >= target else "")
        rows.append((label, total / target, words, style))
    share = state.wave_share
    lift = f", follows ×{1 / (1 - share):.1f}" if share < 1 else ""
    rows.append(("wave", share, f"new users {share:.0%}{lift}", "cyan"))
    room = max(8, width - _LABEL - 30)
    lines = []
    for label, part, words, style in rows:
        line = Text(f"{label:<{_LABEL}}", style="dim")
        line.append(bar(part, room), style=f"not dim {style}")
        line.append(f"  {words}", style="not dim")
        lines.append(line)
    return lines


def _surges(state: DemoState, width: int, room: int) -> list[Text]:
    """Newest last; the eldest fall out when there is no room."""
    head = _columns("hour", "told by, what", [name for name, _ in _COLUMNS], width)
    head.stylize("dim")
    if not state.rows:
        return [head, Text("none yet", style="dim")][:room]
    lines: list[Text] = []
    for row in reversed(_sorted_rows(state)):
        block = _row_lines(state, row, width)
        if 1 + len(lines) + len(block) > room:
            break
        lines = block + lines
    return [head, *lines] if room > 0 else []


def _sorted_rows(state: DemoState) -> list[SurgeRow]:
    """Rows in order of their opening; those of the story last of all when many others alarm."""
    return sorted(
        state.rows.values(),
        key=lambda row: (state.cast.plays(row.opened), row.opened.opened_ms, row.opened.surge_id),
    )


def _row_lines(state: DemoState, row: SurgeRow, width: int) -> list[Text]:
    surge = row.opened
    what = f"{surge.trigger:<5} {shown(state.cast.name_of(surge))}"
    cells = [
        seen_words_of(surge),
        count_of(surge.expected_own),
        ratio_of(surge.ratio),
        seconds_of(row.delay_seconds),
    ]
    first = _columns(clock_of(state.hours_at(surge.opened_ms)), what, cells, width)
    first.stylize("bold red" if surge.trigger == "rule" else "yellow", 0, width - _RIGHT)
    became = {"opened": "", "grown": f"grown {row.grown}×", "closed": "over"}[row.state]
    late = f"{row.latest.late_records:,} late" if row.latest.late_records else ""
    words = ", ".join(part for part in (langs_of(surge), became, late) if part)
    return [first, Text(f"{'':12}{words}", style="dim")] if words else [first]


def _columns(hour: str, what: str, cells: Sequence[str], width: int) -> Text:
    right = "".join(
        f" {cell:>{size - 1}}"[:size] for cell, (_, size) in zip(cells, _COLUMNS, strict=True)
    )
    room = width - 6 - _RIGHT
    return Text(f"{hour:<6}{what[: max(0, room)]:<{max(0, room)}}{right}")


def _foot(state: DemoState) -> list[Text]:
    """Where else to look while it runs."""
    ends = "with the story" if state.world.policy.hours == STORY_HOURS else "as --for says"
    metrics = f"metrics: http://{state.address}/metrics   " if state.address else ""
    return [
        Text("usual: expected by the model; after: from a record's sending to its surge.", "dim"),
        Text(f"{metrics}Ends {ends}; Ctrl-C: now.", style="dim"),
    ]
