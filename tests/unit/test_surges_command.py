"""The command surges as it is typed, and which surges of the topic it lists."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any, NamedTuple

import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from streams.app.cli import main
from streams.app.surges.command import _cells_of, languages_of, subject_of
from streams.app.surges.surge_list import Choice, Listed, list_surges
from streams.core.surges.surge import (
    LanguageShare,
    MixShift,
    Severity,
    State,
    Surge,
    Wave,
    WavePart,
)
from streams.edges.codec.out import encode_surge
from streams.edges.kafka.surge_topic import FoundSurge, SurgeTopicReader
from streams.edges.kafka.topic_reader import Span
from streams.edges.settings.reading import read_settings

AT_MS = 1_736_899_200_000


def surge(number: int, state: State = "opened", severity: Severity = "notice") -> Surge:
    return Surge(
        surge_id=f"{number:016x}", revision=0, kind="followers", trigger="model", state=state,
        severity=severity, creator_id=f"c-{number}", post_id=None, opened_ms=AT_MS, seen_ms=AT_MS,
        at_ms=AT_MS, window_ms=3_600_000, observed=1_234, threshold=None, expected_own=7.125,
        expected_in_wave=None, ratio=2.0, score=1.0, detector="ours", false_alarm_rate=0.1,
        prior_weight=0.0, closed_ms=AT_MS if state == "closed" else None,
    )  # fmt: skip


class Written(NamedTuple):
    """A record of the topic as Kafka's client gives it."""

    offset: int
    timestamp: int
    value: bytes | None


class WrittenTopic(SurgeTopicReader):
    """The reader on partitions that are lists: which stretches are read is its own."""

    def __init__(self, *partitions: list[Written]) -> None:
        super().__init__(read_settings({}))
        self._written = partitions

    async def records(self, partition: int, span: Span) -> AsyncIterator[Sequence[Any]]:
        some = [one for one in self._written[partition] if span.begin <= one.offset < span.end]
        yield some[: len(some) // 2]
        yield some[len(some) // 2 :]

    def all_spans(self) -> dict[int, Span]:
        return {
            number: Span(records[0].offset, records[-1].offset + 1) if records else Span(0, 0)
            for number, records in enumerate(self._written)
        }


def written(surges: Sequence[Surge], begin: int = 0) -> list[Written]:
    return [
        Written(begin + place, begin + place, encode_surge(one)) for place, one in enumerate(surges)
    ]


def listed(topic: WrittenTopic, choice: Choice, limit: int = 50) -> Listed:
    return asyncio.run(list_surges(topic, topic.all_spans(), choice, limit))


def numbers_of(found: Listed) -> list[int]:
    return [int(one.surge.surge_id, 16) for one in found.newest]


@given(
    st.lists(st.tuples(st.integers(0, 5), st.sampled_from(["opened", "grown", "closed"]))),
    st.integers(1, 7),
)
def test_each_surge_is_told_once_by_its_last_state_whatever_the_blocks(
    announced: list[tuple[int, State]], block_records: int
) -> None:
    topic = WrittenTopic(written([surge(number, state) for number, state in announced], 3))
    (span,) = topic.all_spans().values()

    async def states() -> list[tuple[int, str]]:
        read = topic.last_states(0, span, block_records)
        return [(int(one.surge.surge_id, 16), one.surge.state) async for one in read]

    found = asyncio.run(states())
    assert dict(found) == dict(announced)
    assert len(found) == len(dict(announced))


def test_the_newest_of_all_partitions_are_told_and_how_many_more_there_are() -> None:
    first = written([surge(1), surge(2), surge(1, "grown")], 10)
    topic = WrittenTopic(first, written([surge(3), surge(4)], 11), [])
    found = listed(topic, Choice(0), 2)
    assert (sorted(numbers_of(found)), found.more) == ([1, 4], 2)
    assert found.newest[0].told_ms == 12
    assert [one.surge.state for one in found.newest if one.surge.surge_id[-1] == "1"] == ["grown"]
    assert listed(topic, Choice(0), 0) == Listed([], 4)


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        (Choice(0), [4, 3, 2, 1]),
        (Choice(0, open_only=True), [4, 3, 1]),
        (Choice(0, severity="page"), [3]),
        (Choice(0, severity="notice"), [4, 2, 1]),
        (Choice(0, kind="comments"), [4]),
        (Choice(0, surge_id=f"{2:016x}"), [2]),
        (Choice(0, creator_id="c-1"), [1]),
        (Choice(0, post_id="p-4"), [4]),
        (Choice(4), [4, 3]),
        (Choice(9), []),
    ],
)
def test_surges_are_chosen_by_their_last_state(choice: Choice, expected: list[int]) -> None:
    comments = replace(surge(4), kind="comments", post_id="p-4")
    announced = [surge(1), surge(2), surge(3), surge(2, "closed"), surge(3, "grown", "page")]
    topic = WrittenTopic(written([*announced, comments]))
    assert numbers_of(listed(topic, choice)) == expected


def test_an_amended_surge_is_open_until_it_has_closed() -> None:
    still = replace(surge(1), state="amended")
    closed = replace(surge(2, "closed"), state="amended")
    topic = WrittenTopic(written([still, closed]))
    assert numbers_of(listed(topic, Choice(0, open_only=True))) == [1]


def test_records_that_are_no_surges_are_counted_and_left_out() -> None:
    others = [Written(2, 2, b"something else"), Written(3, 3, b"\xff"), Written(4, 4, None)]
    topic = WrittenTopic([*written([surge(1), surge(2)]), *others])
    assert numbers_of(listed(topic, Choice(0))) == [2, 1]
    assert topic.unknown == 2


def test_a_surge_is_a_row_that_says_whose_and_how_much() -> None:
    post = replace(
        surge(7, severity="page"), kind="comments", post_id="p-1",
        langs=[LanguageShare("en", 0.78), LanguageShare("zh", 0.215), LanguageShare("fr", 0.005)],
        usual_lang=LanguageShare("zh", 0.64),
    )  # fmt: skip
    assert _cells_of(FoundSurge(AT_MS + 60_000, post, b"")) == (
        *("2025-01-15T00:01:00Z", "2025-01-15T00:00:00Z", "page", "comments", "model", "opened"),
        *("c-7 post p-1", "1,234 in 1 h", "7.12", "en 78%, zh 22% (usually zh 64%)"),
    )
    rule = replace(surge(1), trigger="rule", threshold=50_000, expected_own=None)
    assert _cells_of(FoundSurge(-1, rule, b""))[-3:] == ("1,234 in 1 h", "rule: 50,000", "")
    unknown = replace(surge(1, "closed"), expected_own=None, state="amended", window_ms=300_000)
    cells = _cells_of(FoundSurge(-1, unknown, b""))
    assert (cells[0], cells[5]) == ("unknown", "amended, closed")
    assert cells[-3:] == ("1,234 in 5 min", "unknown", "")
    assert _cells_of(FoundSurge(0, replace(surge(1), expected_own=12_345.6), b""))[-2] == "12,346"


def test_a_wave_is_of_a_part_of_the_platform_and_a_mix_of_a_language() -> None:
    part = WavePart("zh", None, 12.3, 900, 73.2)
    wave = Wave("follows", "cohort", "zh", "tw", True, [part], [], [], [])
    one = replace(surge(1), kind="wave", creator_id="", wave=wave)
    assert (subject_of(one), languages_of(one)) == ("follows of zh in tw, newcomers", "zh ×12")
    every = replace(wave, lang=None, region=None, by_newcomers=False, languages=[])
    assert subject_of(replace(one, wave=every)) == "follows of all"
    young = replace(wave, young=1_700, young_usual=0.31)
    told = languages_of(replace(one, wave=young))
    assert told == "1,700 by new accounts (usually 0.31), zh ×12"
    mix = replace(surge(1), kind="mix", mix=MixShift("en", 0.4, 0.03, 100))
    assert (subject_of(mix), languages_of(mix)) == ("c-1", "en 40% (usually 3%)")


def run(*arguments: str) -> Result:
    env = {"SURGEWATCH_KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1"}
    return CliRunner(env=env).invoke(main, ["surges", *arguments])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--kind", "posts"), "'posts' is not one of 'followers', 'comments', 'mix', 'wave'"),
        (("--severity", "high"), "'high' is not one of 'notice', 'page'"),
        (("--since", "yesterday"), "'yesterday' is none of 30m, 2h, 7d"),
        (("--limit", "-1"), "-1 is not in the range x>=0"),
    ],
)
def test_wrong_usage_is_one_line(arguments: tuple[str, ...], words: str) -> None:
    result = run(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert words in result.stderr
    assert result.stderr.count("\n") == 1
