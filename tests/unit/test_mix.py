"""Shifts of languages: told at the very record, seldom where there is none, and once."""

import asyncio
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.core.counting.counts import Counts
from streams.core.mixes.languages import LANGS_MAX, LanguageTally
from streams.core.mixes.shift import (
    COUNT_MIN,
    RISE_MIN,
    MixPolicy,
    Moved,
    evidence_at_most,
    usual_share,
)
from streams.core.partition import CommentPartition
from streams.core.records.texts import Texts
from streams.core.reports.surging import surging_of
from streams.core.surges.surge import MixShift, Surge
from streams.core.time.buckets import BUCKET_MS
from streams.edges.store import MemoryStore, Place, Write
from tests.jobs import Comment, comment_partition, comments, contents_of

BEGIN_MS = 1_736_899_200_000
PLACE = Place("comments", 0)
POLICY = MixPolicy(0.001)


def at(minute: float) -> int:
    return BEGIN_MS + int(minute * 60_000)


def on_post(minutes: np.ndarray, langs: list[str], post: str = "p-1") -> list[Comment]:
    return [("ann", post, lang, at(m)) for m, lang in zip(minutes.tolist(), langs, strict=True)]


def usual(hours: float = 6, per_hour: int = 60, post: str = "p-1") -> list[Comment]:
    """Comments of which every twentieth is in English, evenly over the time."""
    count = int(hours * per_hour)
    langs = ["en" if nth % 20 == 7 else "zh" for nth in range(count)]
    return on_post(np.arange(count) * 60 / per_hour, langs, post)


def shifted(hours: float = 1, per_hour: int = 60, post: str = "p-1") -> list[Comment]:
    """The hour after: every second one is."""
    count = int(hours * per_hour)
    langs = ["en" if nth % 2 else "zh" for nth in range(count)]
    return on_post(360 + np.arange(count) * 60 / per_hour, langs, post)


def mixes(surges: list[Surge]) -> list[Surge]:
    return [surge for surge in surges if surge.kind == "mix"]


def told(partition: CommentPartition, records: list[Comment]) -> list[Surge]:
    return mixes(partition.take(comments(records)).surges)


def test_a_shift_is_told_of_post_and_creator_at_the_record_that_makes_it_one() -> None:
    partition = comment_partition(10_000)
    assert told(partition, usual()) == []
    records = shifted()
    of_post, of_creator = sorted(told(partition, records), key=lambda one: one.post_id is None)
    assert (of_post.post_id, of_creator.post_id) == ("p-1", None)
    for surge in (of_post, of_creator):
        assert (surge.creator_id, surge.state, surge.trigger) == ("ann", "opened", "model")
        assert surge.opened_ms == surge.at_ms == surge.seen_ms
        assert at(360 + 10) <= surge.opened_ms <= at(360 + 20)
    mix = of_creator.mix
    assert mix is not None
    begin_ms = (of_creator.at_ms // BUCKET_MS + 1) * BUCKET_MS - of_creator.window_ms
    assert (mix.lang, mix.comments) == ("en", (of_creator.at_ms - begin_ms) // 60_000 + 1)
    assert of_creator.observed == round(mix.share * mix.comments)
    assert (mix.share, of_creator.score) >= (0.5, 1)
    assert mix.usual_share == pytest.approx(usual_share(15, 299), abs=0.01)
    assert of_creator.expected_own == pytest.approx(mix.usual_share * mix.comments, rel=1e-3)


def test_one_record_earlier_it_is_not_told() -> None:
    records = usual() + shifted()
    (first, second) = told(comment_partition(10_000), records)
    for count, surge in enumerate((first, second)):
        place = next(n for n, record in enumerate(records) if record[3] == surge.at_ms)
        assert len(told(comment_partition(10_000), records[:place])) <= count
        assert len(told(comment_partition(10_000), records[: place + 1])) > count


def test_it_closes_when_the_languages_are_as_usual_again_and_is_not_opened_for_its_tail() -> None:
    partition = comment_partition(10_000)
    back = [("ann", post, lang, ms + 8 * 3_600_000) for _, post, lang, ms in usual(4)]
    surges = told(partition, usual() + shifted(2) + back)
    assert [surge.state for surge in surges] == ["opened"] * 2 + ["closed"] * 2
    opened = comment_partition(10_000)
    told(opened, usual() + shifted(2))
    assert [surging_of([one]).open["mix", "notice"] for one in (opened, partition)] == [2, 0]
    for closed in surges[2:]:
        assert closed.revision == 1
        assert closed.closed_ms == closed.at_ms == closed.seen_ms > at(8 * 60)
        assert closed.mix is not None
    again = [("ann", post, lang, ms + 6 * 3_600_000) for _, post, lang, ms in shifted()]
    assert told(partition, again) == []


def test_more_of_the_same_mixture_is_no_shift_and_neither_is_silence_of_the_others() -> None:
    partition = comment_partition(10_000)
    many = [("ann", "p-1", "en" if n % 20 == 7 else "zh", at(360 + n / 60)) for n in range(3_600)]
    assert told(partition, usual() + many) == []
    partition = comment_partition(10_000)
    half = [("ann", "p-1", ("en", "zh")[n % 2], at(n)) for n in range(1_380)]
    alone = [("ann", "p-1", "en", at(1_380 + 2 * n)) for n in range(120)]
    assert told(partition, half + alone) == []


def test_of_a_creator_without_history_nothing_is_usual() -> None:
    assert told(comment_partition(10_000), shifted()) == []


def test_a_new_post_is_held_against_the_languages_of_its_creators_other_posts() -> None:
    partition = comment_partition(10_000)
    of_post = [s for s in told(partition, usual() + shifted(1, 60, "p-2")) if s.post_id]
    assert [surge.post_id for surge in of_post] == ["p-2"]
    assert isinstance(of_post[0].mix, MixShift)


def restarted(partition: CommentPartition, store: MemoryStore, number: int) -> CommentPartition:
    """What a new owner makes of the state that the store was given."""

    async def hand_over() -> CommentPartition:
        fence = await store.claim(PLACE, number)
        held = await store.read(PLACE)
        await store.write(PLACE, fence, Write(partition.drain(), held.next_offset, number))
        other = comment_partition(10_000)
        other.restore((await store.read(PLACE)).state)
        return other

    return asyncio.run(hand_over())


def state_of(partition: CommentPartition) -> tuple[dict[str, dict[str, bytes]], dict[str, bytes]]:
    """All counts and surges of a partition that was just restored."""
    later = told(partition, [("bob", "p-9", "zh", at(900 * 0.8))])
    change = partition.drain()
    surges = {name: content for name, content in change.surges.items() if content}
    return contents_of(change), surges | {"later": repr(later).encode()}


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    cuts=st.lists(st.integers(1, 899), max_size=8, unique=True),
    restarts=st.integers(0, 3),
)
def test_chunks_and_restarts_change_neither_what_is_told_nor_the_state(
    seed: int, cuts: list[int], restarts: int
) -> None:
    chance = np.random.default_rng(seed)
    records = [
        (
            chance.choice(["ann", "bob"]),
            f"p-{chance.integers(2)}",
            "en" if chance.random() < (0.5 if nth > 600 else 0.04) else "zh",
            at(nth * 0.8 - (chance.random() < 0.1) * chance.integers(1, 150)),
        )
        for nth in range(900)
    ]
    records = [(str(c), f"{c}-{post}", lang, max(ms, BEGIN_MS)) for c, post, lang, ms in records]
    whole, store = comment_partition(10_000), MemoryStore()
    expected = told(whole, records)
    parted, found = comment_partition(10_000), list[Surge]()
    begins = [0, *sorted(cuts)]
    for number, (begin, end) in enumerate(zip(begins, [*begins[1:], 900], strict=True)):
        found += told(parted, records[begin:end])
        if number < restarts:
            parted = restarted(parted, store, number + 1)
    assert found == expected
    assert state_of(restarted(parted, store, 99)) == state_of(restarted(whole, MemoryStore(), 99))


@pytest.mark.parametrize(("together", "most"), [(1, 2), (5, 3)])
def test_seldom_is_a_shift_told_where_there_is_none(together: int, most: int) -> None:
    """500 days of creators, of which 0.5 may be told: also where always five come alike."""
    chance = np.random.default_rng(5)
    false = 0
    for _ in range(10):
        langs = chance.choice(["en", "zh"], 4_000, p=[0.1, 0.9]).tolist()
        creators = chance.integers(50, size=4_000).tolist()
        records = [
            (f"c-{creator}", f"p-{creator}", lang, at(nth * 0.36))
            for nth, (creator, lang) in enumerate(zip(creators, langs, strict=True))
            for _ in range(together)
        ]
        opened = [s for s in told(comment_partition(10**9), records) if s.state == "opened"]
        false += sum(surge.post_id is None for surge in opened)
    assert false <= most


@given(
    found=st.integers(0, 300), others=st.integers(0, 300), usual=st.floats(0.001, 0.99),
    known=st.integers(30, 5_000), less=st.integers(0, 300),
)  # fmt: skip
def test_the_bound_in_blocks_is_never_below_the_evidence_of_a_record_on_the_way(
    found: int, others: int, usual: float, known: int, less: int
) -> None:
    most = evidence_at_most(
        np.array([found]), np.array([found + others]), np.array([usual]), np.array([float(known)])
    )
    on_the_way = Moved(3, max(found - less, 0), max(found - less, 0) + others, usual, known)
    assert math.isfinite(on_the_way.evidence)
    assert on_the_way.evidence <= most[0] + 1e-9


def test_too_few_and_too_small_a_rise_are_no_evidence() -> None:
    assert Moved(3, COUNT_MIN - 1, COUNT_MIN - 1, 0.01, 1000).evidence == 0
    assert Moved(12, 5_000, 10_000, 0.5 - RISE_MIN + 0.01, 1e6).evidence == 0
    assert POLICY.score(0.0) < 1 <= POLICY.score(POLICY.bar)
    assert math.isfinite(POLICY.score(1e9))


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 400), st.integers(1, 9)), max_size=80))
def test_recent_sums_are_those_of_the_entries(rows: list[tuple[int, int, int]]) -> None:
    counts = Counts()
    counts.grow(5)
    for slot, bucket, count in sorted(rows, key=lambda row: row[1]):
        one, added = np.array([slot]), np.array([count])
        if counts.newest[slot] == bucket:
            counts.add_to_newest(one, added)
        else:
            counts.begin_bucket(one, np.array([bucket]), added)
    slots = np.array([4, 0, 2, 2])
    sums = counts.recent(slots, 400, (3, 12))
    for column, slot in enumerate(slots.tolist()):
        expected = [counts.total_since(slot, since) for since in (398, 389, 113)]
        assert sums[:, column].tolist() == expected


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 40)), min_size=1, max_size=150))
def test_an_owner_has_so_many_languages_and_those_beyond_count_as_und(
    rows: list[tuple[int, int]],
) -> None:
    tally, known = LanguageTally("post_langs"), dict[str, list[str]]()
    for begin in range(0, len(rows), 7):
        some = rows[begin : begin + 7]
        keys, langs = [f"p-{key}" for key, _ in some], [f"l{lang}" for _, lang in some]
        slots = tally.slots_of(tally.pairs_of(Texts.of(keys), Texts.of(langs)))
        for slot, key, lang in zip(slots.tolist(), keys, langs, strict=True):
            mine = known.setdefault(key, [])
            counted = lang if lang in mine or len(mine) < LANGS_MAX else "und"
            if counted not in mine:
                mine.append(counted)
            assert tally.pair_of(slot) == (key, counted)
    for key, langs in known.items():
        assert sorted(tally.totals_of(key, 400)) == sorted(langs)
