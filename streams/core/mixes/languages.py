"""Languages of comments: what a post's are in, and what its creator's usually are."""

from collections import Counter
from collections.abc import Sequence
from typing import Final

import msgspec
import numpy as np

from streams.core.counting.tally import Tally
from streams.core.records.keys import UNMET, Keys
from streams.core.records.texts import Ints, Texts, joined_texts, paired
from streams.core.surges.surge import LanguageShare, Surge
from streams.core.time.buckets import bucket_of, oldest_bucket_of

LANGS_MAX: Final = 32
"""Languages told apart for a post or creator; what comes beyond counts as "und"."""
_SEPARATOR: Final = "\x00"  # ids hold no null characters: the codec sees to that


class LanguageTally(Tally):
    """Comments by key (a post or a creator) and language, in buckets.

    A key of this table is a pair: of a post or creator, its **owner**, and a language. The pairs
    of an owner are chained: its last one, then the one met before it, and so on.
    """

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._forget_owners()

    def pairs_of(self, keys: Texts, langs: Texts) -> Texts:
        """Keys of this tally for records of these keys and languages."""
        return paired(keys, langs, ord(_SEPARATOR))

    def slots_of(self, keys: Texts) -> Ints:
        """Slots of pairs; languages beyond an owner's limit are counted as "und"."""
        slots = self.keys.find(keys)
        unmet = (slots < 0).nonzero()[0]
        if len(unmet):
            slots[unmet] = super().slots_of(self._fitting(keys.take(unmet)))
        return slots

    def left_out(self, keys: Texts) -> list[tuple[int, bytes]]:
        """See Table. A pair beyond its owner's limit is counted as another one."""
        if not len(self.directory):
            return []
        absent = keys.take(self.keys.find(keys) == UNMET)
        others = Texts.of([_und(pair) for pair in absent])
        return super().left_out(joined_texts((absent, others)))

    def keep_columns(self, slots: Ints) -> bool:
        """See Table: owners are known by their pairs."""
        self._forget_owners()
        return True

    def owners_of(self, slots: Ints) -> Ints:
        """Owner of each pair; good until keys are let go."""
        self._learn()
        return self._owner[slots]

    def pair_of(self, slot: int) -> tuple[str, str]:
        """Owner's key and language of a pair."""
        key, _, lang = self.keys.name_of(slot).partition(_SEPARATOR)
        return key, lang

    def pairs_of_owner(self, owner: int) -> list[int]:
        """Slots of an owner's pairs, the last one first."""
        slots, slot = [], int(self._last[owner])
        while slot >= 0:
            slots.append(slot)
            slot = int(self._before[slot])
        return slots

    def slot_of(self, key: str, lang: str) -> int | None:
        """Slot of a pair; None: it was never met."""
        return self.keys.slot_of(f"{key}{_SEPARATOR}{lang}")

    def recent_of_owners(self, owners: Ints, water: int, windows: Sequence[int]) -> Ints:
        """Comments in all languages of each owner, as `Counts.recent` gives those of one."""
        rows, pairs = self.chained(owners)
        begins = np.searchsorted(rows, np.arange(len(owners)))
        sums = self.counts.recent(pairs, water, windows)
        totals: Ints = np.add.reduceat(sums, begins, axis=1) if len(owners) else sums
        return totals

    def chained(self, owners: Ints) -> tuple[Ints, Ints]:
        """All pairs of these owners, one owner's after the other's, and the row of each one's."""
        self._learn()
        rows, pairs = np.arange(len(owners)), self._last[owners]
        chained = [(rows, pairs)]
        while len(rows):
            pairs = self._before[pairs]
            left = pairs >= 0
            rows, pairs = rows[left], pairs[left]
            chained.append((rows, pairs))
        every, slots = (np.concatenate(column) for column in zip(*chained, strict=True))
        order = np.argsort(every, kind="stable")
        return every[order], slots[order]

    def langs_of(self, slots: Ints) -> Ints:
        """Number of each pair's language, see `lang_of`; good until keys are let go."""
        self._learn()
        return self._lang[slots]

    def lang_of(self, number: int) -> str:
        """Language of a number."""
        return self._langs.name_of(number)

    def most_of(self, rows: Ints, langs: Ints, counts: Ints) -> tuple[Ints, Ints]:
        """Each row once, rising, and its language of most counts; of equal ones the first by name.

        ``rows``, ``langs`` and ``counts`` are of pairs.
        """
        every, places = np.unique(langs, return_inverse=True)
        names = [self.lang_of(lang) for lang in every.tolist()]
        rank = np.argsort(np.argsort(np.array(names)))[places]
        order = np.lexsort((rank, -counts, rows))
        owners, first = np.unique(rows[order], return_index=True)
        return owners, langs[order][first]

    def totals_of(self, key: str, water: int) -> dict[str, int]:
        """Comments of the rolling 24 hours by language."""
        self._learn()
        oldest, totals = oldest_bucket_of(water), {}
        owner = self._owners.slot_of(key)
        for slot in [] if owner is None else self.pairs_of_owner(owner):
            totals[self.pair_of(slot)[1]] = self.counts.total_since(slot, oldest)
        return dict(sorted(totals.items()))

    def _fitting(self, pairs: Texts) -> Texts:
        """Pairs that are new here, those beyond their owner's limit as its "und"."""
        self._learn()
        owners = self._owners.slots_of(_owners_in(pairs))
        self._grow_owners()
        if (self._sizes[owners] + np.bincount(owners)[owners] <= LANGS_MAX).all():
            return pairs
        met: dict[int, set[str]] = {}
        names = []
        for pair, owner in zip(pairs, owners.tolist(), strict=True):
            mine = met.setdefault(owner, set())
            if pair not in mine and self._sizes[owner] + len(mine) >= LANGS_MAX:
                names.append(_und(pair))
            else:
                mine.add(pair)
                names.append(pair)
        return Texts.of(names)

    def _forget_owners(self) -> None:
        """All is learnt anew from the pairs."""
        self._owners, self._langs = Keys(), Keys()
        self._lang = np.zeros(0, dtype=np.int64)
        self._sizes = np.zeros(0, dtype=np.int64)  # pairs of each owner
        self._last = np.zeros(0, dtype=np.int64)
        self._owner = np.zeros(0, dtype=np.int64)
        self._before = np.zeros(0, dtype=np.int64)
        self._known = 0

    def _learn(self) -> None:
        """Chain the pairs that came since the last call."""
        known, count = self._known, len(self.keys)
        if known == count:
            return
        slots = np.arange(known, count)
        pairs = self.keys.names_of(slots)
        keys = _owners_in(pairs)
        owners = self._owners.slots_of(keys)
        self._grow_owners()
        self._lang = _grown(self._lang, count, -1)
        self._lang[slots] = self._langs.slots_of(_langs_in(pairs, keys))
        self._owner, self._before = _grown(self._owner, count, -1), _grown(self._before, count, -1)
        self._owner[slots] = owners
        order = np.argsort(owners, kind="stable")
        slots, owners = slots[order], owners[order]
        is_first = np.diff(owners, prepend=-1) != 0
        before = np.concatenate((slots[:1], slots[:-1]))
        self._before[slots] = np.where(is_first, self._last[owners], before)
        self._last[owners] = slots  # of several for one owner the last one stays
        self._sizes += np.bincount(owners, minlength=len(self._sizes))
        self._known = count

    def _grow_owners(self) -> None:
        self._sizes = _grown(self._sizes, len(self._owners), 0)
        self._last = _grown(self._last, len(self._owners), -1)


class Languages:
    """Comments by language of posts and of creators."""

    def __init__(self) -> None:
        self.posts = LanguageTally("post_langs")
        self.creators = LanguageTally("creator_langs")

    def describe(
        self, surge: Surge, on_post: Sequence[str] = (), on_others: Sequence[str] = ()
    ) -> Surge:
        """Add the post's shares and its creator's usual language to a post's surge.

        ``on_post`` and ``on_others`` are the languages of records that led to the surge and are
        not in the tallies yet: on this post, and on the creator's other posts. The usual language
        is that of most comments on the creator's other posts in the same 24 hours; None if there
        are none.
        """
        assert surge.post_id is not None, "only posts' surges have languages"
        water = bucket_of(surge.seen_ms)
        here = Counter(self.posts.totals_of(surge.post_id, water))
        others = Counter(self.creators.totals_of(surge.creator_id, water))
        others.subtract(here)
        here.update(on_post)
        others.update(on_others)
        usual = _shares_of(others)
        return msgspec.structs.replace(
            surge, langs=_shares_of(here), usual_lang=usual[0] if usual else None
        )


def _owners_in(pairs: Texts) -> Texts:
    """The part of each pair before its one null character."""
    lengths, rows = pairs.lengths.copy(), np.arange(len(pairs))
    while len(rows):
        lengths[rows] -= 1
        rows = rows[pairs.data[pairs.starts[rows] + lengths[rows]] != 0]
    return Texts(pairs.data, pairs.starts, lengths)


def _langs_in(pairs: Texts, owners: Texts) -> Texts:
    """The part of each pair after its owner."""
    return Texts(pairs.data, pairs.starts + owners.lengths + 1, pairs.lengths - owners.lengths - 1)


def _grown(column: Ints, size: int, empty: int) -> Ints:
    """The column, with ``empty`` in more rows if it has fewer than ``size``."""
    if size <= len(column):
        return column
    more = np.full(max(size, 2 * len(column)) - len(column), empty, dtype=np.int64)
    return np.concatenate((column, more))


def _und(pair: str) -> str:
    return f"{pair.partition(_SEPARATOR)[0]}{_SEPARATOR}und"


def _shares_of(totals: Counter[str]) -> list[LanguageShare]:
    """Shares by falling size; equal ones by name."""
    counts = {lang: count for lang, count in totals.items() if count > 0}
    total = sum(counts.values())
    ranked = sorted(counts.items(), key=lambda one: (-one[1], one[0]))
    return [LanguageShare(lang, round(count / total, 4)) for lang, count in ranked]
