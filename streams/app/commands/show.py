"""Tables on stdout: drawn on a terminal, lines with tabs elsewhere; JSON for machines."""

import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import click
import msgspec

from streams.core.reports.stored_counts import shown


def print_table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Draw a table on a terminal; elsewhere a line of titles and one a row, parted by tabs.

    Without rows nothing is told elsewhere.
    """
    if not sys.stdout.isatty():  # kubectl exec without -t, for one: a person may read it
        for number, row in enumerate(rows):
            if not number:
                click.echo("\t".join(titles))
            click.echo("\t".join(map(shown, row)))
        return
    from rich.console import Console  # noqa: PLC0415 slow to import, and not needed in a pipe
    from rich.table import Table  # noqa: PLC0415 as above
    from rich.text import Text  # noqa: PLC0415 as above

    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in titles:
        table.add_column(title, overflow="fold")
    for row in rows:
        table.add_row(*(Text(shown(cell)) for cell in row))
    Console().print(table)


def print_json(value: Any) -> None:
    """Print one JSON value on one line."""
    click.echo(msgspec.json.encode(value))


def iso_of(at_ms: int) -> str:
    """Time as people read it, UTC, whole seconds.

    >>> iso_of(1_736_899_200_000)
    '2025-01-15T00:00:00Z'
    """
    return datetime.fromtimestamp(at_ms // 1000, tz=UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
