"""Keys that are let go, whose state then expires in the store, and that may come again.

What the store holds no more is forgotten at last, and that changes nothing but memory.
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streams.core.counting.packing import unpack
from streams.core.partition_state import StateChange
from streams.core.records import keys
from streams.core.surges.surge import Surge
from streams.core.surges.watch_state import WATCH_STATE_DTYPE
from streams.core.time.buckets import BUCKET_MS, WINDOW_BUCKETS, oldest_bucket_of
from tests.jobs import comment_partition, comments, follow_partition, follows, rule_surges
from tests.unit.test_let_go import PLACE, Forgetful, contents, edges_of
from tests.unit.test_partition import BEGIN_MS, DAY_MS, cuts

GROUP_KEYS = 2
LIFE_BUCKETS = WINDOW_BUCKETS + 1
"""A group lives so long after its last write: then nothing in it counts any more."""


@pytest.fixture(autouse=True, scope="module")
def _small_groups() -> Iterator[None]:
    """So that some groups live on where others are gone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(keys, "GROUP_KEYS", GROUP_KEYS)
        yield


class Expiring(Forgetful):
    """Its store's groups expire; ``forgets``: what is gone there is forgotten here."""

    def __init__(self, build: Any, *, forgets: bool) -> None:
        super().__init__(build)
        self._forgets = forgets
        self._written: dict[tuple[str, int], int] = {}
        self._groups: dict[tuple[str, bytes], int] = {}
        self.forgotten = 0

    def wrote(self, change: StateChange) -> None:
        """Have groups expire, and forget what is held in them."""
        now = change.watermark_ms // BUCKET_MS
        tables = {table.name for table in self.job.tables}
        for packed in (packed for packed in change.series if packed.name in tables):
            for name, group in zip(packed.names.encoded(), packed.groups.tolist(), strict=True):
                self._written[packed.name, group] = now
                place = self._groups.setdefault((packed.name, name), group)
                assert place == group, "a key that is held stays where it is"
        gone = {at for at, written in self._written.items() if now - written >= LIFE_BUCKETS}
        self._expire(gone)
        if self._forgets:
            self._forget()

    def _expire(self, gone: set[tuple[str, int]]) -> None:
        series = self.store._drawers[PLACE].series
        for name, group in gone:
            del self._written[name, group]
            held = series[name]
            series[name] = {key: row for key, row in held.items() if row[0] != group}
        self._groups = {k: group for k, group in self._groups.items() if (k[0], group) not in gone}

    def _forget(self) -> None:
        tables = self.job.tables
        held = {table.name: table.directory.groups() for table in tables}
        gone = asyncio.run(self.store.read_gone(PLACE, held))
        for table in tables:
            self.forgotten += table.directory.forget(gone[table.name])
            alive = {group for name, group in self._written if name == table.name}
            assert {*table.directory.groups().tolist()} <= alive
            assert len(table.directory) <= GROUP_KEYS * len(alive)


def counts_of(series: Mapping[str, Mapping[str, bytes]], now: int) -> dict[tuple[str, str], Any]:
    """Counts of the 24 hours up to bucket ``now``, of each series and key that has any."""
    counts: dict[tuple[str, str], Any] = {}
    for name, held in series.items():
        if name.endswith(".shared"):
            continue
        dtype = WATCH_STATE_DTYPE if name in ("follows", "comments", "posts") else None
        for key, value in held.items():
            entries = unpack([value], dtype).entries.tolist()
            if recent := [entry for entry in entries if entry >> 32 >= oldest_bucket_of(now)]:
                counts[name, key] = recent
    return counts


def told_by_rule(surges: list[Surge]) -> list[tuple[str, str, int, int]]:
    return [(one.surge_id, one.state, one.seen_ms, one.observed) for one in rule_surges(surges)]


def check(build: Callable[[], Any], chunks: list[Any], anew: set[int]) -> Expiring:
    """One that forgets, one that only lets go, and one that does neither count the same."""
    whole, keeps, forgets = build(), Expiring(build, forgets=False), Expiring(build, forgets=True)
    for number, chunk in enumerate(chunks):
        if number in anew:
            keeps.start_anew()
            forgets.start_anew()
        surges = forgets.take(chunk)
        assert surges == keeps.take(chunk)
        assert told_by_rule(surges) == told_by_rule(whole.take(chunk).surges)
    assert forgets.stored() == keeps.stored()
    now = whole.watermark_ms // BUCKET_MS
    assert counts_of(forgets.stored(), now) == counts_of(contents(whole), now)
    return forgets


steps = st.sampled_from([0, 0, 0, 1000, BUCKET_MS, 100 * BUCKET_MS, LIFE_BUCKETS * BUCKET_MS])
followed = st.lists(st.tuples(st.integers(0, 7), steps, st.integers(0, 9)), max_size=60)


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(followed, cuts, st.sets(st.integers(0, 5)))
def test_followers_whose_state_expires_count_the_same_wherever_they_are_forgotten(
    drawn: list[tuple[int, int, int]], bounds: list[int], anew: set[int]
) -> None:
    clock, records = BEGIN_MS, []
    for creator, step, kind in drawn:
        clock += step
        records.append((f"c-{creator}", clock, kind == 9))
    edges = edges_of(bounds, len(records))
    chunks = [follows(records[begin:end]) for begin, end in pairwise(edges)]
    check(lambda: follow_partition(3), chunks, anew)


commented = st.lists(
    st.tuples(
        st.tuples(st.integers(0, 2), st.integers(0, 2)), st.sampled_from(["zh", "en"]), steps
    ),
    max_size=40,
)


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(commented, cuts, st.sets(st.integers(0, 5)))
def test_posts_and_languages_whose_state_expires_count_the_same(
    drawn: list[tuple[tuple[int, int], str, int]], bounds: list[int], anew: set[int]
) -> None:
    clock, records = BEGIN_MS, []
    for (creator, post), lang, step in drawn:
        clock += step
        records.append((f"c-{creator}", f"p-{creator}-{post}", lang, clock))
    edges = edges_of(bounds, len(records))
    chunks = [comments(records[begin:end]) for begin, end in pairwise(edges)]
    check(lambda: comment_partition(3), chunks, anew)


def test_of_creators_who_come_once_only_the_living_are_known() -> None:
    days = range(30)
    chunks = [
        follows(
            [
                (f"c-{day}-{number}", BEGIN_MS + day * DAY_MS + number, False)
                for number in range(100)
            ]
        )
        for day in days
    ]
    job = Expiring(lambda: follow_partition(10), forgets=True)
    sizes = []
    for chunk in chunks:
        job.take(chunk)
        sizes.append(len(job.job.tables[0].directory))
    assert max(sizes) <= 200
    assert job.forgotten == 100 * len(days) - sizes[-1]
    assert job.gone == 100 * len(days)
