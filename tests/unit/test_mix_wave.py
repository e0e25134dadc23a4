"""Shifts of languages in a wave: what all creators' comments do is no shift of anybody's."""

import asyncio
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.core.mixes.bucket import comments_in
from streams.core.mixes.languages import LANGS_MAX, LanguageTally
from streams.core.mixes.shift import NO_LIFTS, WINDOWS, lifted_share
from streams.core.mixes.wave import MixWave
from streams.core.partition import CommentPartition
from streams.core.records.runs import Stretch
from streams.core.records.texts import Texts
from streams.core.surges.surge import Surge
from streams.core.time.buckets import BUCKET_MS
from streams.edges.store import MemoryStore, Place, Write
from tests.jobs import Comment, comment_partition, comments, contents_of

BEGIN = 5_789_664
PLACE = Place("comments", 0)
CREATORS, PER_HOUR, USUAL_HOURS, WAVE_HOURS = 45, 14, 7, 3
OWN = "c-7"
"""A creator whose mix shifts by far more than the wave's."""
SHIFT_HOUR = USUAL_HOURS + 2


@cache
def records(*, late: bool = False) -> tuple[Comment, ...]:
    """Comments of 3 % English; within an hour two of five are, and of one creator's nearly all.

    A third of the creators are Japanese, and nobody new writes to them.
    """
    draw = np.random.default_rng(23)
    rows: list[tuple[int, Comment]] = []
    for creator in range(CREATORS):
        own = "ja" if creator % 3 == 2 else "zh"
        times = 6 if f"c-{creator}" == OWN else 1
        count = times * PER_HOUR * (USUAL_HOURS + WAVE_HOURS)
        hours = np.sort(draw.random(count)) * (USUAL_HOURS + WAVE_HOURS)
        for hour in hours.tolist():
            share = 0.03
            if hour >= USUAL_HOURS and own == "zh":
                share += 0.37 * min(hour - USUAL_HOURS, 1.0)
            if f"c-{creator}" == OWN and hour >= SHIFT_HOUR:
                share = 0.97
            lang = "en" if draw.random() < share else own
            back = 1.5 if late and draw.random() < 0.03 else 0.0
            at_ms = BEGIN * BUCKET_MS + int(max(hour - back, 0) * 3_600_000)
            arrives = BEGIN * BUCKET_MS + int(hour * 3_600_000)
            rows.append((arrives, (f"c-{creator}", f"p-{creator}", lang, at_ms)))
    return tuple(row for _, row in sorted(rows))


def mixes(surges: list[Surge]) -> list[Surge]:
    return [surge for surge in surges if surge.kind == "mix"]


def opened(surges: list[Surge]) -> list[Surge]:
    return [surge for surge in mixes(surges) if surge.state == "opened"]


def told(some: tuple[Comment, ...]) -> list[Surge]:
    return comment_partition(10**9).take(comments([*some])).surges


def test_who_is_lifted_by_the_wave_is_not_told_and_who_shifts_by_far_more_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = opened(told(records()))
    others = [one for one in found if one.creator_id != OWN]
    assert len(others) <= 2, "45 creators and as many posts, most of them lifted"
    own = [one for one in found if one.creator_id == OWN]
    assert {one.post_id is None for one in own} == {True, False}
    for one in own:
        hours = one.at_ms / 3_600_000 - BEGIN / 12
        assert SHIFT_HOUR < hours < SHIFT_HOUR + 1
        assert one.mix is not None
        assert one.expected_own is not None
        assert one.expected_in_wave is not None
        assert 2 * one.expected_own < one.expected_in_wave < one.observed
    monkeypatch.setattr(MixWave, "lasts", lambda *_: False)
    assert len(opened(told(records()))) > len(found) + 10, "the wave explains many"


def restarted(partition: CommentPartition, store: MemoryStore, number: int) -> CommentPartition:
    async def hand_over() -> CommentPartition:
        fence = await store.claim(PLACE, number)
        held = await store.read(PLACE)
        await store.write(PLACE, fence, Write(partition.drain(), held.next_offset, number))
        other = comment_partition(10**9)
        other.restore((await store.read(PLACE)).state)
        return other

    return asyncio.run(hand_over())


@settings(max_examples=8, deadline=None)
@given(
    late=st.booleans(),
    cuts=st.lists(st.integers(4_000, 6_200), max_size=8, unique=True),
    restarts=st.integers(0, 4),
)
def test_chunks_and_restarts_leave_no_trace(late: bool, cuts: list[int], restarts: int) -> None:
    some = [*records(late=late)]
    whole, parted, store = comment_partition(10**9), comment_partition(10**9), MemoryStore()
    expected = mixes(whole.take(comments(some)).surges)
    assert expected
    found = list[Surge]()
    begins = [0, *sorted(cuts)]
    for number, (begin, end) in enumerate(zip(begins, [*begins[1:], len(some)], strict=True)):
        found += mixes(parted.take(comments(some[begin:end])).surges)
        if number < restarts:
            parted = restarted(parted, store, number + 1)
    assert found == expected
    states = []
    for one in (restarted(whole, MemoryStore(), 1), restarted(parted, store, 9)):
        later = one.take(comments([("c-1", "p-1", "zh", some[-1][3] + BUCKET_MS)])).surges
        change = one.drain()
        votes = {name: raw for name, raw in change.surges.items() if name.startswith("mix.")}
        states.append((repr(mixes(later)), contents_of(change), votes))
    assert states[0] == states[1]
    assert any(name.startswith("mix.wave|") for name in states[0][2])


class Votes:
    """A tally of creators' comments, and the votes on it."""

    def __init__(self) -> None:
        self.tally = LanguageTally("creator_langs")
        self.wave = MixWave(self.tally)

    def take(self, bucket: int, rows: list[tuple[str, str]]) -> None:
        """Count comments (creator, language) of a bucket, and close it."""
        creators = Texts.of([creator for creator, _ in rows])
        slots = self.tally.slots_of(
            self.tally.pairs_of(creators, Texts.of([lang for _, lang in rows]))
        )
        size = len(rows)
        at = np.full(size, bucket)
        stretch = Stretch(
            slots, at, at * BUCKET_MS, at * BUCKET_MS, np.arange(size), creators, bucket
        )
        self.tally.count(stretch)
        self.wave.close(bucket, comments_in(self.tally, bucket))


def test_more_comments_for_creators_of_one_language_are_no_wave() -> None:
    votes = Votes()
    for bucket in range(100, 148):
        times = {"ja": 12 if bucket >= 136 else 1, "zh": 1}
        votes.take(
            bucket,
            [
                (f"c-{n}", lang)
                for n in range(60)
                for lang in ["ja" if n % 2 else "zh"]
                for _ in range(times[lang])
            ],
        )
        assert not votes.wave.lasts(bucket + 1)


def test_newcomers_lift_creators_of_one_language_and_one_creator_is_no_crowd() -> None:
    votes = Votes()
    for bucket in range(100, 148):
        rows = [(f"c-{n}", "ja" if n % 3 == 2 else "zh") for n in range(90)]
        if bucket >= 136:
            rows += [(f"c-{n}", "en") for n in range(90) if n % 3 < 2]
        votes.take(bucket, rows)
    assert votes.wave.lasts(148)
    for lift in votes.wave.lifts_of("zh", "en"):
        assert 0.35 < lifted_share(0.0, lift.more) < 0.5, "half of them, drawn toward none"
    for lift in votes.wave.lifts_of("ja", "en"):
        assert lifted_share(0.0, lift.more) < 0.3, "drawn toward all"
    assert votes.wave.lifts_of("zh", "zh") == votes.wave.lifts_of("zh", "ko") == NO_LIFTS
    assert votes.wave.lifts_of("ko", "en")[0].more > 0, "of whom nothing is known: as all"
    alone = Votes()
    for bucket in range(100, 148):
        alone.take(bucket, [("c-1", "en" if bucket >= 136 else "zh")] * 20)
        assert not alone.wave.lasts(bucket + 1)


def test_votes_are_kept_for_an_hour_and_for_so_many_languages() -> None:
    votes, held = Votes(), dict[str, bytes]()
    for bucket in range(100, 160):
        votes.take(bucket, [(f"c-{n}", f"l{n % 50}") for n in range(120)])
        for name, raw in votes.wave.drain().items():
            if raw is None:
                del held[name]
            else:
                held[name] = raw
    assert len(held) == WINDOWS[-1] - 1
    for raw in held.values():
        assert raw.count(b"[") <= (LANGS_MAX + 1) ** 2
    other = MixWave(votes.tally)
    assert other.restore(held | {"else": b""}) == {"else": b""}
    assert other.lasts(160) == votes.wave.lasts(160)
