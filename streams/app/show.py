"""Tables on stdout: drawn on a terminal, plain lines in a pipe; JSON for machines."""

import sys
from collections.abc import Iterable, Sequence
from typing import Any

import click
import msgspec

from streams.core.report import shown


def print_table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Draw a table on a terminal; elsewhere one line a row, parted by tabs, without the titles."""
    if not sys.stdout.isatty():
        for row in rows:
            click.echo("\t".join(map(shown, row)))
        return
    from rich.console import Console  # noqa: PLC0415 slow to import, and not needed in a pipe
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in titles:
        table.add_column(title, overflow="fold")
    for row in rows:
        table.add_row(*(Text(shown(cell)) for cell in row))
    Console().print(table)


def print_json(value: Any) -> None:
    """Print one JSON value on one line."""
    click.echo(msgspec.json.encode(value))
