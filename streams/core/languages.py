"""Languages of comments: what a post's are in, and what its creator's usually are."""

from collections import Counter
from collections.abc import Sequence
from typing import Final

import msgspec
import numpy as np

from streams.core.buckets import bucket_of, oldest_bucket_of
from streams.core.keys import UNMET
from streams.core.surges import LanguageShare, Surge
from streams.core.tally import Tally
from streams.core.texts import Ints, Texts, joined_texts, paired

LANGS_MAX: Final = 32
"""Languages told apart for a post or creator; what comes beyond counts as "und"."""
_SEPARATOR: Final = "\x00"  # ids hold no null characters: the codec sees to that


class LanguageTally(Tally):
    """Comments by key (a post or a creator) and language, in buckets."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._langs: dict[str, list[str]] = {}
        self._known = 0

    def pairs_of(self, keys: Texts, langs: Texts) -> Texts:
        """Keys of this tally for records of these keys and languages."""
        return paired(keys, langs, ord(_SEPARATOR))

    def slots_of(self, keys: Texts) -> Ints:
        """Slots of pairs; languages beyond a key's limit are counted as "und"."""
        slots = self.keys.find(keys)
        unmet = (slots < 0).nonzero()[0]
        if len(unmet):
            pairs = [pair if self._fits(pair) else _und(pair) for pair in keys.take(unmet)]
            slots[unmet] = super().slots_of(Texts.of(pairs))
        return slots

    def left_out(self, keys: Texts) -> list[tuple[int, bytes]]:
        """See Table. A pair beyond its key's limit is counted as another one."""
        if not len(self._directory):
            return []
        absent = keys.take(self.keys.find(keys) == UNMET)
        others = Texts.of([_und(pair) for pair in absent])
        return super().left_out(joined_texts((absent, others)))

    def keep_columns(self, slots: Ints) -> bool:
        """See Table: a key's languages are known by its pairs."""
        self._langs.clear()
        self._known = 0
        return True

    def totals_of(self, key: str, water: int) -> dict[str, int]:
        """Comments of the rolling 24 hours by language."""
        oldest = oldest_bucket_of(water)
        totals = {}
        for lang in sorted(self._langs_of(key)):
            slot = self.keys.slot_of(f"{key}{_SEPARATOR}{lang}")
            if slot is not None:
                totals[lang] = self.counts.total_since(slot, oldest)
        return totals

    def _fits(self, pair: str) -> bool:
        """Whether the new pair's key has room for one language more. Remembers it."""
        key, _, lang = pair.partition(_SEPARATOR)
        langs = self._langs_of(key)
        if lang not in langs:
            if len(langs) >= LANGS_MAX:
                lang = "und"
            if lang not in langs:
                langs.append(lang)
        return pair.endswith(f"{_SEPARATOR}{lang}")

    def _langs_of(self, key: str) -> list[str]:
        if self._known < len(self.keys):
            self._learn()
        return self._langs.setdefault(key, [])

    def _learn(self) -> None:
        """Take up keys that came by restore."""
        for pair in self.keys.names_of(np.arange(self._known, len(self.keys))):
            key, _, lang = pair.partition(_SEPARATOR)
            langs = self._langs.setdefault(key, [])
            if lang not in langs:
                langs.append(lang)
        self._known = len(self.keys)


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


def _und(pair: str) -> str:
    return f"{pair.partition(_SEPARATOR)[0]}{_SEPARATOR}und"


def _shares_of(totals: Counter[str]) -> list[LanguageShare]:
    """Shares by falling size; equal ones by name."""
    counts = {lang: count for lang, count in totals.items() if count > 0}
    total = sum(counts.values())
    ranked = sorted(counts.items(), key=lambda one: (-one[1], one[0]))
    return [LanguageShare(lang, round(count / total, 4)) for lang, count in ranked]
