"""The floor: what the detector must reach, row by row, and whether it does."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from rich import box
from rich.console import Console
from rich.table import Table


@dataclass(frozen=True, slots=True)
class Row:
    """A measure that must lie within ``low`` and ``high``; None: no bound on that side."""

    key: str
    """Name by which a part hands in its figure."""
    what: str
    low: float | None
    high: float | None
    aim: str

    @property
    def floor(self) -> str:
        """The bounds in words."""
        if self.low is None:
            return f"≤ {self.high:g}"
        return f"≥ {self.low:g}" if self.high is None else f"{self.low:g} to {self.high:g}"

    def holds(self, reached: float | None) -> bool | None:
        """Whether the floor is reached; None: not measured."""
        if reached is None:
            return None
        return (self.low is None or reached >= self.low) and (
            self.high is None or reached <= self.high
        )


def _power(key: str, world: str) -> tuple[Row, ...]:
    at = f"at 0.1 to 1 a bucket, {world} world,"
    return (
        Row(f"{key}_30", f"× 30 {at} one in 30 days: % in 45 min", 95, None, "100"),
        Row(f"{key}_10", f"× 10 {at} page budget: % within a day", 95, None, "95"),
        Row(f"{key}_10_minutes", "the same: median minutes", None, 100, "75"),
    )


_SEEN: Final = "seen over asked, bursty world, past the first day:"
_BAND: Final = "the same, bands of size, at each of the three, where 10 or more were asked:"
_FIRST: Final = "a creator's first day, nothing special: seen over asked at"
_STORY: Final = "the story, page budget,"
_MIX: Final = "languages of a post, 3 % to 40 % at 100 comments an hour:"
_POST: Final = "a real post's reshares as a new post's comments, notice:"
_MASTODON: Final = "Mastodon's hourly new users:"
ROWS: Final = (
    Row("nab_six", "NAB score of five real series, one in 6 days", 78, None, "84"),
    Row("nab_mean", "NAB score, mean of one in 4, 5, 6, 7, 8 days", 76, None, "81"),
    Row("rate_30", f"{_SEEN} one in 30 days", 0.3, 1.5, "0.5 to 1.25"),
    Row("rate_1e3", f"{_SEEN} 1 in 1,000", 0.3, 1.5, "0.5 to 1.25"),
    Row("rate_1e4", f"{_SEEN} 1 in 10,000", 0.3, 1.5, "0.5 to 1.25"),
    Row("rate_band_low", f"{_BAND} lowest", 0.3, None, "0.5"),
    Row("rate_band_high", f"{_BAND} highest", None, 1.5, "1.25"),
    Row("pages", "pages in ten million creator-days, one per million asked", None, 20, "5 to 15"),
    Row("first_1e4", f"{_FIRST} 1 in 10,000", None, 2, "1.2"),
    Row("first_1e5", f"{_FIRST} 1 in 100,000", None, 2, "1.2"),
    Row("story_old_minutes", f"{_STORY} 25 days of history: minutes", None, 10, "5"),
    Row("story_new_minutes", f"{_STORY} no history: minutes", None, 10, "5"),
    Row("story_share", f"{_STORY} followers in when told, %", None, 1.5, "first bucket"),
    *_power("power", "bursty"),
    *_power("power_steady", "steady"),
    Row("wave_paged", "uneven wave: creators paged of 60,000 without a surge", None, 1, "0"),
    Row("wave_own", "own surges of × 20 inside that wave: % found", 100, None, "100"),
    Row("wave_own_minutes", "the same: median minutes", None, 15, "10"),
    Row("wave_minutes", "the wave itself, told as one incident: minutes", None, 15, "10"),
    Row(
        "newcomers_minutes",
        "a wave of newcomers, 4,000 and 20,000 creators, told as one incident: minutes, slowest",
        *(None, 15, "10"),
    ),
    Row(
        "arrival_minutes",
        "the wave of newcomers of the simulated story, told as one incident: minutes, slowest",
        *(None, 15, "10"),
    ),
    Row("told_most", "announcements of one surge or wave, most", None, 5, "3"),
    Row("waves_false", "waves told where there is none, in 30 days of a platform", None, 1, "0"),
    Row(
        "young_false",
        "the same by usual young accounts, platforms of 300 to 30,000 comers a bucket",
        *(None, 1, "0"),
    ),
    Row("mix_share", f"{_MIX} % told within 15 minutes", 95, None, "100"),
    Row("mix_minutes", f"{_MIX} median minutes", None, 15, ""),
    Row(
        "mix_rate", "shifts of languages told where there is none, seen over asked", None, 1.5, "1"
    ),
    Row("post_minutes", f"{_POST} minutes, median", None, 10, "5"),
    Row("post_comments", "the same: comments in when told, median", None, 300, ""),
    Row("post_rate", "ordinary posts' first days, notices seen over asked", None, 1.5, "1"),
    Row("mastodon_waves", f"{_MASTODON} waves of 3 told on their first day", 3, None, "3"),
    Row("mastodon_jumps", f"{_MASTODON} artefacts of 3 named as jumps", 3, None, "3"),
    Row("mastodon_false", f"{_MASTODON} artefacts told as surges that day", None, 0, "0"),
    Row("mastodon_rate", f"{_MASTODON} alarms seen over asked, waves included", 0.3, 1.5, "1"),
    Row("scalar_us", "cost, scalar, score and learn: µs", None, 8, "4"),
    Row("block_us", "cost, block of 10,000, score and learn: µs a creator", None, 1, "0.5"),
    Row("block_bytes", "state of a creator: bytes", None, 64, "44"),
)


def as_dicts(reached: Mapping[str, float]) -> list[dict[str, Any]]:
    """For JSON. ``holds`` and ``reached`` are None where nothing was measured.

    What never happened was reached "never": JSON has no infinity.
    """
    return [
        {
            "what": row.what,
            "floor": row.floor,
            "aim": row.aim,
            "reached": _said(reached.get(row.key)),
            "holds": row.holds(reached.get(row.key)),
        }
        for row in ROWS
    ]


def _said(reached: float | None) -> float | str | None:
    return "never" if reached == math.inf else reached


def print_rows(console: Console, reached: Mapping[str, float]) -> None:
    """Print the floor as a table."""
    table = Table(box=box.MARKDOWN)
    for column in ("measure", "floor", "aim", "reached", "holds"):
        table.add_column(column, justify="left" if column == "measure" else "right")
    for row in as_dicts(reached):
        found = row["reached"]
        shown = "not measured" if found is None else found if found == "never" else f"{found:.4g}"
        holds = {True: "yes", False: "NO", None: "-"}[row["holds"]]
        table.add_row(row["what"], row["floor"], row["aim"], shown, holds)
    console.print(table)
