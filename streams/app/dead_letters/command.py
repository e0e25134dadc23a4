"""The commands ``surgewatch dead-letters``: what could not be used, and putting it back."""

import asyncio
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import click

from streams.app.commands.show import iso_of, print_json, print_table
from streams.app.commands.since import Since
from streams.app.dead_letters.letter_list import Letters, count_letters
from streams.app.dead_letters.retrying import Choice, Retried, Retry, RetryTask
from streams.app.jobs import limits_of
from streams.core.records.chunks import Reason
from streams.core.reports.stored_counts import shown
from streams.edges.errors import DataError, Interrupted
from streams.edges.files.mended import WORDS, Judge, place_of, read_mended
from streams.edges.kafka.dead_letters import DeadLetterReader, FoundLetter, LetterPlace
from streams.edges.kafka.retry_marks import RetryMark, mark_key_of
from streams.edges.kafka.topic_reader import Span
from streams.edges.settings.reading import Settings, read_settings

_TEXT_CHARACTERS_MAX: Final = 4_000
_HEX_BYTES_MAX: Final = 1_024
_HEX_ROW: Final = 16


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


class _Place(click.ParamType):
    name = "place"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> LetterPlace:
        try:
            return place_of(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


_REASON = click.option(
    "--reason",
    type=click.Choice([one.value for one in Reason]),
    help="Only letters of this reason.",
)
_TOPIC = click.option("--topic", metavar="NAME", help="Only records of this topic.")
_SINCE = click.option(
    "--since", "since_ms", type=Since(_now_ms), metavar="WHEN",
    help="Only letters written since: 30m, 2h, 7d ago, or a time (2025-01-15T00:00:00Z).",
)  # fmt: skip
_JSON = click.option("--json", "as_json", is_flag=True, help="NDJSON, one object a line.")
_PLACE: Final = _Place()


@click.group(name="dead-letters", epilog="Example: surgewatch dead-letters list --since 2h")
def dead_letters() -> None:
    """List the records that could not be used, and put them back when they are mended."""


@dead_letters.command(
    name="list", epilog="Example: surgewatch dead-letters list --reason not_json --limit 5"
)
@_REASON
@_TOPIC
@_SINCE
@click.option(
    "--limit", type=click.IntRange(min=0), default=20, show_default=True, metavar="N",
    help="So many of the newest are told one by one.",
)  # fmt: skip
@_JSON
@click.pass_context
def list_letters(context: click.Context, /, *, limit: int, as_json: bool, **choice: Any) -> None:
    """Count letters by topic and reason, and tell the newest.

    A letter that a worker wrote twice is counted once. The whole topic is read.
    """
    settings = _settings(context)
    letters = asyncio.run(count_letters(settings, _choice_of(choice), limit))
    if letters.unknown:
        click.echo(
            f"surgewatch: warning: {letters.unknown} records of {settings.topic_dead_letters} are "
            "no dead letters: who else writes there?",
            err=True,
        )
    if not letters.counts:
        chosen = any(value is not None for value in choice.values())
        what = "no such dead letters" if chosen else "no dead letters"
        where = f"in topic {settings.topic_dead_letters}"
        click.echo(f"surgewatch: there are {what} {where}", err=True)
    if as_json:
        for counted in letters.counts:
            print_json({"kind": "count"} | counted._asdict())
        for found, mark in letters.newest:
            print_json({"kind": "letter"} | _fields_of(found, mark))
        return
    _print_list(letters)


def _print_list(letters: Letters) -> None:
    rows = [(one.topic, one.reason, str(one.letters), str(one.retried)) for one in letters.counts]
    print_table(("Topic", "Reason", "Letters", "Retried"), rows)
    if letters.newest:
        click.echo()
        titles = ("Place", "Written", "Record", "Reason", "Bytes", "Put back")
        print_table(titles, [_cells_of(*pair) for pair in letters.newest])


def _cells_of(found: FoundLetter, mark: RetryMark | None) -> tuple[str, ...]:
    letter = found.letter
    return (
        str(found.place),
        _time_of(found),
        f"{letter.topic}[{letter.partition}]:{letter.offset}",
        letter.reason,
        str(letter.raw_bytes),
        _words_of(mark),
    )


def _fields_of(found: FoundLetter, mark: RetryMark | None) -> dict[str, Any]:
    letter = found.letter
    return {
        "place": str(found.place),
        "written_ms": found.written_ms if found.written_ms >= 0 else None,
        **{name: getattr(letter, name) for name in letter.__struct_fields__},
        "retry": None if mark is None else mark.retry,
        "retry_at_ms": None if mark is None else mark.at_ms,
    }


@dead_letters.command(epilog="Example: surgewatch dead-letters show 3:17")
@click.argument("place", type=_PLACE, metavar="PARTITION:OFFSET")
@_JSON
@click.pass_context
def show(context: click.Context, /, *, place: LetterPlace, as_json: bool) -> None:
    """Show one letter: what is wrong with it, its bytes, and whether it was retried.

    The place is that of the letter, as dead-letters list tells it.
    """
    settings = _settings(context)
    found, mark = asyncio.run(_read_one(settings, place))
    fit = _judge(settings).verdict(found.letter, None, _now_ms())
    now = fit if isinstance(fit, str) else "it could be put back as it is"
    if as_json:
        print_json(_fields_of(found, mark) | {"now": now})
        return
    letter = found.letter
    cut = f", the first {len(letter.raw_base64)} are here" if letter.truncated else ""
    rows = (
        ("Place", str(found.place)),
        ("Written", _time_of(found)),
        ("Record", f"topic {letter.topic}, partition {letter.partition}, offset {letter.offset}"),
        ("Reason", f"{letter.reason.value}: {WORDS[letter.reason]}"),
        ("Now", now),
        ("Put back", _words_of(mark)),
        ("Bytes", f"{letter.raw_bytes}{cut}"),
    )
    for name, words in rows:
        click.echo(f"{name:<8} {shown(words)}")
    if letter.raw_base64:
        click.echo(f"\n{_text_of(letter.raw_base64)}\n")
        for row in _hex_rows_of(letter.raw_base64):
            click.echo(row)


async def _read_one(settings: Settings, place: LetterPlace) -> tuple[FoundLetter, RetryMark | None]:
    """A letter and its last mark, which stands behind it or behind a copy of it."""
    async with DeadLetterReader(settings) as reader:
        found = await reader.letter_at(place)
        span = (await reader.spans())[place.partition]
        key, mark = mark_key_of(found.letter), None
        async for read in reader.read(place.partition, Span(span.begin, span.end)):
            mark = read.marks.get(key, mark)
    return found, mark


def _text_of(raw: bytes) -> str:
    text = shown(raw.decode(errors="backslashreplace"))
    more = len(text) - _TEXT_CHARACTERS_MAX
    return text if more <= 0 else f"{text[:_TEXT_CHARACTERS_MAX]} … ({more} characters more)"


def _hex_rows_of(raw: bytes) -> Iterator[str]:
    """Rows as hexdump has them: place, bytes, and those that can be printed."""
    for at in range(0, min(len(raw), _HEX_BYTES_MAX), _HEX_ROW):
        row = raw[at : at + _HEX_ROW]
        text = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in row)
        yield f"{at:08x}  {row.hex(' '):<{3 * _HEX_ROW - 1}}  {text}"
    if len(raw) > _HEX_BYTES_MAX:
        yield f"… ({len(raw) - _HEX_BYTES_MAX} bytes more: --json has all in base64)"


@dead_letters.command(
    epilog="Example: surgewatch dead-letters retry --reason too_large --since 2h --dry-run"
)
@click.argument("places", type=_PLACE, nargs=-1, metavar="[PARTITION:OFFSET]…")
@_REASON
@_TOPIC
@_SINCE
@click.option(
    "--record", type=click.Path(path_type=Path), metavar="FILE",
    help="The mended record of the one PARTITION:OFFSET.",
)  # fmt: skip
@click.option(
    "--mended", type=click.Path(path_type=Path), metavar="FILE.ndjson",
    help='Mended records, one a line: {"place": "PARTITION:OFFSET", "record": {…}}.',
)  # fmt: skip
@click.option("--again", is_flag=True, help="Those too that were put back before.")
@click.option("--dry-run", is_flag=True, help="Judge them, and send nothing.")
@_JSON
@click.pass_context
def retry(context: click.Context, /, **options: Any) -> None:
    """Put records back into their topics, mended or as they were, and mark their letters.

    Each is judged first, as a worker judges it. As they were: once a setting, such as
    record_bytes_max, is mended. A record without an event_id gets one, so that it counts once
    though it be put back twice.
    """
    settings, as_json = _settings(context), options["as_json"]
    task = _task_of(context, options)

    def tell(retried: Retried) -> None:
        found, did, why = retried
        if as_json:
            print_json(
                {
                    "place": str(found.place),
                    "topic": found.letter.topic,
                    "partition": found.letter.partition,
                    "offset": found.letter.offset,
                    "did": did,
                    "why": why or None,
                }
            )
        else:
            cells = [str(found.place), did, *([why] if why else [])]
            click.echo("\t".join(map(shown, cells)))

    run = Retry(settings, _judge(settings), task, tell, _now_ms)
    try:
        asyncio.run(run.run())
    except KeyboardInterrupt as error:
        message = f"interrupted: {run.counts['put back']} records were put back and marked"
        raise Interrupted(message) from error
    _sum_up(run, task)


def _sum_up(run: Retry, task: RetryTask) -> None:
    """Say how many; DataError if one was wanted and not put back."""
    counts = run.counts
    words = ", ".join(f"{counts[did]} {did}" for did in counts)
    click.echo(f"surgewatch: {words or 'there are no such letters'}", err=True)
    left = counts["refused"] + (counts["retried before"] if task.choice.places else 0)
    if left:
        message = f"{left} of {counts.total()} were not put back"
        raise DataError(message)


def _task_of(context: click.Context, options: dict[str, Any]) -> RetryTask:
    """What is to be put back. Raises UsageError, DataError."""
    places: tuple[LetterPlace, ...] = options["places"]
    record: Path | None = options["record"]
    mended_file: Path | None = options["mended"]
    by_reason = options["reason"] is not None
    if bool(places) + by_reason + (mended_file is not None) != 1:
        message = "say which: one of PARTITION:OFFSET…, --reason, --mended"
        raise click.UsageError(message, context)
    if not by_reason and (options["topic"] is not None or options["since_ms"] is not None):
        message = "--topic and --since go with --reason"
        raise click.UsageError(message, context)
    if record is not None and len(places) != 1:
        message = "--record goes with one PARTITION:OFFSET"
        raise click.UsageError(message, context)
    mended: dict[LetterPlace, bytes] = {}
    if mended_file is not None:
        mended = read_mended(mended_file)
        if not mended:
            message = f"{mended_file} has no records"
            raise DataError(message)
    elif record is not None:
        mended = {places[0]: _record_in(record)}
    names = ("reason", "topic", "since_ms")
    choice = _choice_of({name: options[name] for name in names}, frozenset(mended or places))
    return RetryTask(
        choice=choice, mended=mended, again=options["again"], dry_run=options["dry_run"]
    )


def _record_in(path: Path) -> bytes:
    try:
        return path.read_bytes().strip()
    except OSError as error:
        message = f"cannot read {path}: {error.strerror}"
        raise DataError(message) from error


def _choice_of(options: dict[str, Any], places: frozenset[LetterPlace] = frozenset()) -> Choice:
    reason = options["reason"]
    return Choice(
        places=places,
        reason=None if reason is None else Reason(reason),
        topic=options["topic"],
        since_ms=options["since_ms"],
    )


def _judge(settings: Settings) -> Judge:
    return Judge(limits_of(settings), settings.topic_follows, settings.topic_comments)


def _words_of(mark: RetryMark | None) -> str:
    if mark is None:
        return "no"
    when = iso_of(mark.at_ms)
    return when if mark.retry == "done" else f"perhaps, {when}"


def _time_of(found: FoundLetter) -> str:
    return iso_of(found.written_ms) if found.written_ms >= 0 else "unknown"


def _settings(context: click.Context) -> Settings:
    return context.find_object(Settings) or read_settings(os.environ)
