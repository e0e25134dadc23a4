"""The commands ``surgewatch state``: a backup of partitions' state, and putting it back."""

import asyncio
import os
from pathlib import Path
from typing import Any

import click

from streams.app.commands.show import print_json
from streams.app.state.backup import ImportTask, Tell, export_states, import_states
from streams.core.reports.stored_counts import shown
from streams.edges.errors import Interrupted
from streams.edges.files.state_file import PlaceSum
from streams.edges.settings.reading import Settings, read_settings

_PARTITION = click.option(
    "--partition", "partitions", type=click.IntRange(min=0), multiple=True, metavar="N",
    help="Only this partition of each topic; may be given several times. Else all.",
)  # fmt: skip
_JSON = click.option("--json", "as_json", is_flag=True, help="NDJSON, one object a partition.")


@click.group(epilog="Example: surgewatch state export --out state.backup")
def state() -> None:
    """Back up partitions' state with their offsets, and put a backup back if it fits."""


@state.command(name="export", epilog="Example: surgewatch state export --out state.backup")
@click.option(
    "--out", type=click.Path(path_type=Path), required=True, metavar="FILE",
    help="File to write; one that is there is never written over.",
)  # fmt: skip
@_PARTITION
@_JSON
@click.pass_context
def export(
    context: click.Context, /, *, out: Path, partitions: tuple[int, ...], as_json: bool
) -> None:
    """Write what Redis holds into one file, each partition as of one offset.

    A worker may run: a partition that it writes meanwhile is read again, at most five times. A
    large one under load is only exported when its worker has ended.
    """
    settings = _settings(context)
    wanted = frozenset(partitions) or None
    size_bytes = _run(export_states(settings, out, wanted, _teller(as_json)), f"{out} is not there")
    click.echo(f"surgewatch: {out}: {size_bytes:,} bytes", err=True)


@state.command(name="import", epilog="Example: surgewatch state import state.backup --dry-run")
@click.argument("file", type=click.Path(path_type=Path))
@_PARTITION
@click.option("--force", is_flag=True, help="Also where Redis holds newer state.")
@click.option("--dry-run", is_flag=True, help="Say whether it fits, and change nothing.")
@_JSON
@click.pass_context
def import_state(
    context: click.Context,
    /,
    *,
    file: Path,
    partitions: tuple[int, ...],
    force: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Put a backup in the place of what Redis holds, each partition in one step.

    Refused if it is damaged, of another Kafka, topic, partition count or layout, if Kafka has not
    the records after it any more, if Redis holds newer state, and while a worker writes. End the
    workers first; those that start then count on from the backup's offsets.
    """
    settings = _settings(context)
    task = ImportTask(file, frozenset(partitions) or None, force=force, dry_run=dry_run)
    _run(
        import_states(settings, task, _teller(as_json)),
        "partitions that were told are put back, the others are as they were",
    )
    click.echo(f"surgewatch: {file} {'fits' if dry_run else 'is put back'}", err=True)


def _run(work: Any, interrupted: str) -> Any:
    try:
        return asyncio.run(work)
    except KeyboardInterrupt as error:
        message = f"interrupted: {interrupted}"
        raise Interrupted(message) from error


def _teller(as_json: bool) -> Tell:
    def tell(found: PlaceSum) -> None:
        begins = found.begins
        if as_json:
            print_json(
                {
                    "topic": begins.topic,
                    "partition": begins.partition,
                    "offset": begins.offset,
                    "keys": found.keys,
                    "hashes": found.hashes,
                }
            )
        else:
            cells = (
                f"{shown(begins.topic)}[{begins.partition}]",
                f"offset {begins.offset}",
                f"{found.keys} keys",
            )
            click.echo("\t".join(cells))

    return tell


def _settings(context: click.Context) -> Settings:
    return context.find_object(Settings) or read_settings(os.environ)
