"""The command ``surgewatch surges``: which surges were announced, of whom, and how they stand."""

import asyncio
import os
import sys
from typing import Any, Final

import click

from streams.app.commands.show import iso_of, print_table
from streams.app.commands.since import Since
from streams.app.surges.surge_list import Choice, Listed, list_surges
from streams.core.reports.stored_counts import shown
from streams.core.surges.surge import Surge, seen_words_of, young_words_of
from streams.edges.kafka.surge_topic import FoundSurge, SurgeTopicReader
from streams.edges.process.clock import wall_ms
from streams.edges.settings.reading import Settings, read_settings

_HOUR_MS: Final = 3_600_000
_SINCE_MS: Final = 24 * _HOUR_MS
_OPEN_SINCE_MS: Final = 7 * 24 * _HOUR_MS
"""Most surges are told again within a day; one that neither grows nor closes may be older."""
_ROUNDED_FROM: Final = 100
_SHARE_MIN: Final = 0.02
_PARTS_MAX: Final = 3
_TITLES: Final = (
    *("Announced", "Opened", "Severity", "Kind", "Trigger", "State", "Of"),
    *("Observed", "Expected", "Languages"),
)


@click.command(epilog="Example: surgewatch surges --open --severity page")
@click.option("--open", "open_only", is_flag=True, help="Only those that are not closed.")
@click.option("--kind", type=click.Choice(["followers", "comments", "mix", "wave"]))
@click.option("--severity", type=click.Choice(["notice", "page"]))
@click.option("--id", "surge_id", metavar="SURGE_ID", help="Only this surge.")
@click.option("--creator", "creator_id", metavar="ID", help="Only surges of this creator.")
@click.option("--post", "post_id", metavar="ID", help="Only surges of this post.")
@click.option(
    "--since", "since_ms", type=Since(wall_ms), metavar="WHEN",
    help="Announced since: 30m, 2h, 7d ago, or a time (2025-01-15T00:00:00Z). Else 24h, with "
    "--open 7d.",
)  # fmt: skip
@click.option(
    "--limit", type=click.IntRange(min=0), default=50, show_default=True, metavar="N",
    help="So many of the newest are told.",
)  # fmt: skip
@click.option("--follow", is_flag=True, help="Go on as they are announced, until interrupted.")
@click.option("--json", "as_json", is_flag=True, help="The surge records, one a line.")
@click.pass_context
def surges(context: click.Context, /, **options: Any) -> None:
    """Show which surges were announced: of whom, when, by how much, and how they stand.

    Reads the topic of surges without a group, from the first record that Kafka took since the time
    asked for, and changes nothing. Each surge is told once, by its last state, newest first; with
    --follow the newest last, and then each announcement. A surge that was announced last before
    the time is not seen, though it be open still.
    """
    settings = context.find_object(Settings) or read_settings(os.environ)
    since_ms: int | None = options["since_ms"]
    if since_ms is None:
        since_ms = wall_ms() - (_OPEN_SINCE_MS if options["open_only"] else _SINCE_MS)
    names = ("open_only", "kind", "severity", "surge_id", "creator_id", "post_id")
    choice = Choice(since_ms, **{name: options[name] for name in names})
    asyncio.run(_tell(settings, choice, options))


async def _tell(settings: Settings, choice: Choice, options: dict[str, Any]) -> None:
    as_json, follow = options["as_json"], options["follow"]
    async with SurgeTopicReader(settings) as reader:
        spans = dict(await reader.spans(choice.since_ms))
        listed = await list_surges(reader, spans, choice, options["limit"])
        if follow and not as_json:
            click.echo("\t".join(_TITLES))
        if as_json or follow:
            for found in reversed(listed.newest) if follow else listed.newest:
                _tell_one(found, as_json=as_json)
        else:
            print_table(_TITLES, [_cells_of(found) for found in listed.newest])
        _tell_rest(settings, choice, listed, reader.unknown)
        if not follow:
            return
        sys.stdout.flush()
        async for found in reader.follow(spans):
            if choice.takes(found.surge):
                _tell_one(found, as_json=as_json)
                sys.stdout.flush()


def _tell_rest(settings: Settings, choice: Choice, listed: Listed, unknown: int) -> None:
    """What the list itself does not say, on stderr."""
    topic, since = settings.topic_surges, iso_of(max(0, choice.since_ms))
    if listed.more:
        _say(f"{listed.more:,} more were announced since {since}: see --limit, --since")
    elif not listed.newest:
        chosen = choice != Choice(choice.since_ms)
        words = "no such surge was announced" if chosen else "no surge was announced"
        _say(f"{words} in topic {topic} since {since}")
    if unknown:
        _say(f"warning: {unknown:,} records of {topic} are no surges: who else writes there?")


def _say(words: str) -> None:
    click.echo(f"surgewatch: {words}", err=True)


def _tell_one(found: FoundSurge, *, as_json: bool) -> None:
    if as_json:
        click.echo(found.value.replace(b"\n", b" "))  # as Kafka has it, on one line
    else:
        click.echo("\t".join(map(shown, _cells_of(found))))


def _cells_of(found: FoundSurge) -> tuple[str, ...]:
    surge = found.surge
    return (
        iso_of(found.told_ms) if found.told_ms >= 0 else "unknown",
        iso_of(surge.opened_ms),
        surge.severity,
        surge.kind,
        surge.trigger,
        _state_of(surge),
        subject_of(surge),
        seen_words_of(surge),
        _expected_of(surge),
        languages_of(surge),
    )


def _state_of(surge: Surge) -> str:
    """The state; of an amended one also whether it is open."""
    if surge.state != "amended":
        return surge.state
    return "amended, open" if surge.closed_ms is None else "amended, closed"


def _expected_of(surge: Surge) -> str:
    """By the creator's own history; else the rule's number."""
    expected = surge.expected_own
    if expected is None:
        return "unknown" if surge.threshold is None else f"rule: {surge.threshold:,}"
    return f"{expected:.3g}" if expected < _ROUNDED_FROM else f"{expected:,.0f}"


def subject_of(surge: Surge) -> str:
    """Whose surge it is: a creator's, a creator's post's, or which part of the platform's."""
    wave = surge.wave
    if wave is not None:
        audience = " in ".join(one for one in (wave.lang, wave.region) if one is not None)
        return f"{wave.series} of {audience or 'all'}" + (", newcomers" * wave.by_newcomers)
    whose = surge.creator_id
    return whose if surge.post_id is None else f"{whose} post {surge.post_id}"


def languages_of(surge: Surge) -> str:
    """Shares of the comments' languages, what shifts, or what a wave lifts; else nothing."""
    if surge.mix is not None:
        mix = surge.mix
        return f"{mix.lang} {mix.share:.0%} (usually {mix.usual_share:.0%})"
    if surge.wave is not None:
        parts = [one for one in surge.wave.languages if one.lang is not None]
        words = [f"{one.lang} ×{one.factor:.2g}" for one in parts[:_PARTS_MAX]]
        return ", ".join(one for one in (young_words_of(surge.wave), *words) if one)
    told = [f"{one.lang} {one.share:.0%}" for one in surge.langs or () if one.share >= _SHARE_MIN]
    usual = surge.usual_lang
    return ", ".join(told) + (f" (usually {usual.lang} {usual.share:.0%})" if usual else "")
