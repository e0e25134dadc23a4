"""The command ``surgewatch counts``: what Redis holds of creators and posts."""

import heapq
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import click
import msgspec

from streams.app.commands.show import iso_of, print_json, print_table
from streams.core.counting.packing import LayoutUnknown, StateDamaged
from streams.core.reports.stored_counts import (
    Batch,
    CreatorCounts,
    PostCounts,
    StoredCreators,
    StoredRows,
    creators_of,
    post_of,
    shown,
    sum_of_creator,
    sum_of_post,
)
from streams.edges.errors import DataError
from streams.edges.redis.reader import RedisReader, Shelf
from streams.edges.settings.reading import Settings, read_settings
from streams.edges.store import Place

_LANG_SEPARATOR: Final = "\x00"
_TITLES: Final = ("Creator", "Follows 24h", "Unfollows 24h", "Comments 24h", "As of")


class Unknown(DataError):
    """Nothing is held of a creator or post."""

    def __init__(self, what: str, name: str) -> None:
        super().__init__(
            f"no counts of {what} {shown(name)} in Redis: is the id right, and was it active "
            "lately?"
        )


class CountsReader:
    """Counts of creators and posts as the reader finds them."""

    def __init__(self, reader: RedisReader, settings: Settings) -> None:
        self._reader = reader
        self._topics = (settings.topic_follows, settings.topic_comments)
        self._partitions = reader.partition_count()

    def all_creators(self, *, idle: bool) -> Iterator[list[CreatorCounts]]:
        """Counts of all creators in batches, partition by partition."""
        for number in range(self._partitions):
            follows, comments = self._shelves(number)
            rows = self._reader.rows
            stored = StoredCreators(
                rows(follows, "follows"),
                rows(follows, "unfollows"),
                rows(comments, "comments"),
                max(follows.watermark_ms, comments.watermark_ms),
            )
            yield from creators_of(stored, idle=idle)

    def creator(self, creator_id: str) -> CreatorCounts:
        """Counts of one creator, of all partitions that have some."""
        found: dict[int, CreatorCounts] = {}
        for number in range(self._partitions):
            follows, comments = self._shelves(number)
            stored = StoredCreators(
                self._row(follows, "follows", creator_id),
                self._row(follows, "unfollows", creator_id),
                self._row(comments, "comments", creator_id),
                max(follows.watermark_ms, comments.watermark_ms),
            )
            for told in creators_of(stored, idle=True):
                found[number] = told[0]
        if not found:
            what = "creator"
            raise Unknown(what, creator_id)
        self._warn(found, "creator", creator_id)
        return sum_of_creator([*found.values()])

    def post(self, post_id: str) -> PostCounts:
        """Counts of one post, of all partitions that have some."""
        found: dict[int, PostCounts] = {}
        for number in range(self._partitions):
            shelf = self._reader.shelf(Place(self._topics[1], number))
            value = self._reader.value(shelf, "posts", post_id)
            if value is not None:
                prefix = f"{post_id}{_LANG_SEPARATOR}"
                langs = self._reader.values_under(shelf, "post_langs", prefix)
                stored = (value, shelf.is_watched("posts"))
                found[number] = post_of(post_id, stored, langs, shelf.watermark_ms)
        if not found:
            what = "post"
            raise Unknown(what, post_id)
        self._warn(found, "post", post_id)
        return sum_of_post([*found.values()])

    def _warn(self, found: Mapping[int, object], what: str, name: str) -> None:
        if len(found) > 1:
            click.echo(
                f"surgewatch: warning: {what} {shown(name)} is in {len(found)} partitions "
                f"({', '.join(map(str, found))}): this is their sum, but each is judged alone, and "
                "its surges tell of a part. Key records by creator_id, with Kafka's default "
                "partitioner",
                err=True,
            )

    def _shelves(self, number: int) -> tuple[Shelf, Shelf]:
        follows, comments = self._topics
        shelf = self._reader.shelf
        return shelf(Place(follows, number)), shelf(Place(comments, number))

    def _row(self, shelf: Shelf, series: str, key: str) -> StoredRows:
        value = self._reader.value(shelf, series, key)
        batches = [] if value is None else [Batch([key], [value])]
        return StoredRows(batches, shelf.is_watched(series))


def print_lines(batches: Iterable[list[CreatorCounts]], *, as_json: bool) -> None:
    """Print a line a creator, batch by batch: a million are never held at once."""
    encoder = msgspec.json.Encoder()
    on_terminal = sys.stdout.isatty() and not as_json
    if on_terminal:
        click.echo(_padded(_TITLES))
    elif not as_json:
        click.echo("\t".join(_TITLES))
    for batch in batches:
        if as_json:
            click.echo(encoder.encode_lines(batch), nl=False)
        else:
            rows = map(_cells, batch)
            lines = map(_padded, rows) if on_terminal else map("\t".join, rows)
            click.echo("".join(f"{line}\n" for line in lines), nl=False)


def _cells(one: CreatorCounts) -> tuple[str, ...]:
    numbers = (one.follows_24h, one.unfollows_24h, one.comments_24h)
    return (shown(one.creator_id), *map(str, numbers), iso_of(one.as_of_ms))


def _padded(cells: tuple[str, ...]) -> str:
    name, *numbers, as_of = cells
    return " ".join([f"{name:<24}", *(f"{number:>14}" for number in numbers), f" {as_of}"])


def print_creator(one: CreatorCounts, *, as_json: bool) -> None:
    """Print a creator's totals, then the buckets."""
    if as_json:
        print_json(one)
        return
    print_table(_TITLES, [_cells(one)])
    by_start: dict[int, list[int]] = {}
    for column, buckets in enumerate((one.buckets, one.unfollow_buckets, one.comment_buckets)):
        for start_ms, count in buckets:
            by_start.setdefault(start_ms, [0, 0, 0])[column] = count
    click.echo()
    rows = [(iso_of(start), *map(str, counts)) for start, counts in sorted(by_start.items())]
    print_table(("Bucket of 5 minutes", "Follows", "Unfollows", "Comments"), rows)


def print_post(one: PostCounts, *, as_json: bool) -> None:
    """Print a post's total and its languages."""
    if as_json:
        print_json(one)
        return
    cells = (one.post_id, str(one.comments_24h), iso_of(one.as_of_ms))
    print_table(("Post", "Comments 24h", "As of"), [cells])
    click.echo()
    print_table(("Language", "Comments 24h"), [(lang, str(n)) for lang, n in one.langs.items()])


@click.command(epilog="Example: surgewatch counts --creator c-000017 --json")
@click.option("--creator", "creator_id", metavar="ID", help="One creator.")
@click.option("--post", "post_id", metavar="ID", help="One post, its comments by language.")
@click.option("--all", "every", is_flag=True, help="Every creator with something in the 24 hours.")
@click.option("--top", type=click.IntRange(min=1), metavar="N", help="The N most followed.")
@click.option("--idle", is_flag=True, help="With --all: creators with nothing in the 24 hours too.")
@click.option("--json", "as_json", is_flag=True, help="NDJSON, one object a creator.")
@click.pass_context
def counts(context: click.Context, /, **options: Any) -> None:
    """Show the counts that Redis holds.

    Follows, unfollows and comments of the rolling 24 hours, which end with the 5-minute bucket
    of the latest record that the creator's partition has met.
    """
    chosen = [options[name] for name in ("creator_id", "post_id", "top")]
    if sum(one is not None for one in chosen) + options["every"] != 1:
        message = "say what to show: one of --creator, --post, --top, --all"
        raise click.UsageError(message, context)
    if options["idle"] and not options["every"]:
        message = "--idle goes with --all"
        raise click.UsageError(message, context)
    settings = context.find_object(Settings) or read_settings(os.environ)
    with RedisReader(settings) as reader:
        try:
            _show(CountsReader(reader, settings), options)
        except (LayoutUnknown, StateDamaged) as error:
            message = f"Redis holds what no worker wrote: {error}"
            raise DataError(message) from error


def _show(reader: CountsReader, options: dict[str, Any]) -> None:
    as_json: bool = options["as_json"]
    if options["creator_id"] is not None:
        print_creator(reader.creator(options["creator_id"]), as_json=as_json)
    elif options["post_id"] is not None:
        print_post(reader.post(options["post_id"]), as_json=as_json)
    elif options["top"] is not None:
        rows = (one for batch in reader.all_creators(idle=False) for one in batch)
        most = heapq.nsmallest(
            options["top"], rows, key=lambda one: (-one.follows_24h, one.creator_id)
        )
        print_lines([most], as_json=as_json)
    else:
        print_lines(reader.all_creators(idle=options["idle"]), as_json=as_json)
