"""How far a wave lifts the share of each language in all creators' comments.

Newcomers who write one language comment everywhere, and nobody's own mix has shifted. As a bucket
closes, the shares of each creator's comments in it are set against what is usual of herself. A
creator has one vote an hour, spread over her comments of it, and votes are added up by her own
language, the one that most of her comments before that hour are in. So neither one viral post nor
more comments for creators of one language make a wave, only shares that rise for many, each for
herself.

Let V creators vote, F for a language, where E was usual of them. With w of the newcomers' comments
for one usual comment a share q becomes (q + w) / (1 + w), so w = (F - E) / (V - F). Creators of one
language are drawn toward all by `_WEIGHT` votes, and all toward no wave. It lifts nobody before it
is both large and no chance: creators whose mix shifts at one time by chance are none.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import msgspec
import numpy as np

from streams.core.mixes.bucket import BucketComments
from streams.core.mixes.languages import LANGS_MAX, LanguageTally
from streams.core.mixes.shift import NO_LIFT, NO_LIFTS, RISE_MIN, WINDOWS, Lift, lifted_share
from streams.core.records.texts import Ints

_FINE: Final = 1 << 16
"""Votes are kept in whole parts of one: the order of adding leaves no trace."""
_VOTES_MIN: Final = 30.0
"""Creators of an hour from which on they are a crowd: the shift of one is no wave."""
_WEIGHT: Final = 20.0
"""Votes that a longer window, or all creators, weigh."""
_SHARE_MAX: Final = 0.999
_SIGMAS: Final = 3.0
_EXCESS_MIN: Final = 0.75 * RISE_MIN
"""A wave that lifts shares by less makes no shift of anybody's."""
_REST: Final = "und"
_EVERYBODY: Final = ""

_Votes = dict[str, dict[str, list[int]]]
"""By the creators' own language, then by language: votes for it, and those that were usual."""
_Lifts = dict[str, dict[str, tuple[Lift, ...]]]
"""By the creators' own language, then by language: one for each of `WINDOWS`."""


class _Sum(NamedTuple):
    """Creators that voted, votes for a language, and the usual ones."""

    size: float
    found: float
    usual: float

    @property
    def is_far(self) -> bool:
        """Whether so many votes are no chance."""
        if not self.size or self.found <= self.usual:
            return False
        noise: float = self.usual * (1.0 - self.usual / self.size) + 1.0
        return self.found - self.usual >= _SIGMAS * math.sqrt(noise)

    def drawn(self, toward: float) -> float:
        """Newcomers' comments for one usual comment; ``toward`` is what others say."""
        usual = self.usual / self.size if self.size else 0.0
        found = self.found + _WEIGHT * float(lifted_share(usual, toward))
        share = found / (self.size + _WEIGHT)
        return max(share - usual, 0.0) / (1.0 - min(share, _SHARE_MAX))

    def explains(self, more: float) -> bool:
        """Whether the share rises by enough with so much more."""
        usual = self.usual / self.size if self.size else 0.0
        return float(lifted_share(usual, more)) - usual >= _EXCESS_MIN


class MixWave:
    """Votes of the closed buckets of the last hour, and the lifts that follow from them."""

    name: Final = "mix.wave"
    """Of the votes among a partition's surges."""

    def __init__(self, creators: LanguageTally) -> None:
        self._creators = creators
        self._rows: dict[int, _Votes] = {}
        self._touched: dict[int, _Votes | None] = {}
        self._water = -1
        self._lifts: _Lifts = {}
        self._met: set[str] = set()

    def close(self, bucket: int, comments: BucketComments | None) -> None:
        """Have the creators vote who got ``comments`` in a bucket, the newest, which is over."""
        for old in [one for one in self._rows if one <= bucket + 1 - WINDOWS[-1]]:
            del self._rows[old]
            self._touched[old] = None
        votes = {} if comments is None else self._votes(comments)
        if votes:
            self._rows[bucket] = self._touched[bucket] = votes
        self._water = -1

    def lasts(self, water: int) -> bool:
        """Whether any language is lifted while the watermark stands in bucket ``water``."""
        if self._water != water:
            self._water, self._lifts = water, self._lifts_in(water)
        return bool(self._lifts)

    def lifts_of(self, own: str, lang: str) -> tuple[Lift, ...]:
        """What a wave adds to a language's comments of creators of one, for each of `WINDOWS`.

        Of the bucket that `lasts` was asked of.
        """
        known = self._lifts.get(own if own in self._met else _EVERYBODY, {})
        return known.get(lang, NO_LIFTS)

    # The store's side.

    def drain(self) -> dict[str, bytes | None]:
        """Votes changed since the last call, by name; None: forgotten."""
        touched, self._touched = self._touched, {}
        return {
            f"{self.name}|{bucket}": None if votes is None else msgspec.json.encode(votes)
            for bucket, votes in touched.items()
        }

    def restore(self, stored: Mapping[str, bytes]) -> dict[str, bytes]:
        """Take up what is ours of what was stored; the rest."""
        begin = f"{self.name}|"
        for name, content in stored.items():
            if name.startswith(begin):
                votes = msgspec.json.decode(content, type=_Votes)
                self._rows[int(name[len(begin) :])] = votes
        return {name: raw for name, raw in stored.items() if not name.startswith(begin)}

    def own_langs(self, owners: Ints, water: int) -> list[str]:
        """Own language of each of these distinct creators of the tally: before the last hour."""
        tally = self._creators
        rows, pairs = tally.chained(owners)
        hour, day = tally.counts.recent(pairs, water, WINDOWS[-1:])
        _, most = tally.most_of(rows, tally.langs_of(pairs), day - hour)
        return [tally.lang_of(lang) for lang in most.tolist()]

    def before_of(self, owner: int, water: int) -> Counter[str]:
        """A creator's comments before the last hour, by language."""
        tally, pairs = self._creators, np.array(self._creators.pairs_of_owner(owner))
        hour, day = tally.counts.recent(pairs, water, WINDOWS[-1:])
        langs = [tally.lang_of(lang) for lang in tally.langs_of(pairs).tolist()]
        return Counter(dict(zip(langs, (day - hour).tolist(), strict=True)))

    def _votes(self, comments: BucketComments) -> _Votes:
        """Votes of the creators with comments in a bucket."""
        now, _, before, came, in_hour, known, langs, own = comments
        found = now * _FINE // in_hour
        usual = came * _FINE // in_hour * before // known
        return self._by_name(own, langs, found, usual)

    def _by_name(self, own: Ints, langs: Ints, found: Ints, usual: Ints) -> _Votes:
        """Votes added up by the names of languages: those of the many, the others as one."""
        pairs, places = np.unique(np.stack((own, langs)), axis=1, return_inverse=True)
        sums = np.zeros((2, pairs.shape[1]), dtype=np.int64)
        np.add.at(sums[0], places.ravel(), found)
        np.add.at(sums[1], places.ravel(), usual)
        votes: _Votes = {}
        every = {lang: self._creators.lang_of(lang) for lang in np.unique(pairs).tolist()}
        kept = [self._kept(numbers, sums[0], every) for numbers in pairs]
        for (mine, lang), (here, before) in zip(pairs.T.tolist(), sums.T.tolist(), strict=True):
            group = every[mine] if mine in kept[0] else _REST
            name = every[lang] if lang in kept[1] else _REST
            counted = votes.setdefault(group, {}).setdefault(name, [0, 0])
            counted[0] += here
            counted[1] += before
        return {group: dict(sorted(of.items())) for group, of in sorted(votes.items())}

    @staticmethod
    def _kept(numbers: Ints, found: Ints, names: Mapping[int, str]) -> set[int]:
        """Languages with most votes."""
        sums: dict[int, int] = {}
        for number, votes in zip(numbers.tolist(), found.tolist(), strict=True):
            sums[number] = sums.get(number, 0) + votes
        ranked = sorted(sums, key=lambda one: (-sums[one], names[one]))
        return set(ranked[:LANGS_MAX])

    def _lifts_in(self, water: int) -> _Lifts:
        """By own language: of all creators, and of those of one, drawn toward all."""
        sums = [_added_up(self._rows, water, window) for window in WINDOWS]
        self._met = set(sums[-1])
        lifts: _Lifts = {}
        for lang in sums[-1].get(_EVERYBODY, {}):
            every = [_sum_of(one, _EVERYBODY, lang) for one in sums]
            if every[-1].size < _VOTES_MIN:
                return {}
            of_all = _of_all(every)
            is_far = any(one.is_far for one in every)
            for own in sums[-1]:
                mine, more = every, of_all
                if own != _EVERYBODY:
                    mine = [_sum_of(one, own, lang) for one in sums]
                    more = [*map(_Sum.drawn, mine, of_all)]
                far = is_far or any(one.is_far for one in mine)
                if far and any(map(_Sum.explains, mine, more)):
                    votes = (one.size + _WEIGHT for one in mine)
                    lifts.setdefault(own, {})[lang] = tuple(map(_lift_of, more, votes))
        return lifts


def _of_all(every: Sequence[_Sum]) -> list[float]:
    """What a wave adds in each window, drawn toward the next longer one, and that toward none."""
    more, found = 0.0, list[float]()
    for one in reversed(every):
        more = one.drawn(more)
        found.append(more)
    return found[::-1]


def _lift_of(more: float, votes: float) -> Lift:
    return Lift(more, votes) if more else NO_LIFT


def own_lang_of(before: Mapping[str, int]) -> str:
    """The language that most comments are in; of equal ones the first by name."""
    return min(before, key=lambda lang: (-before[lang], lang))


def _added_up(rows: Mapping[int, _Votes], water: int, window: int) -> _Votes:
    """Votes of the closed buckets of a window that ends with ``water``, and those of all."""
    sums: _Votes = {}
    for bucket, votes in rows.items():
        if water - window < bucket < water:
            for own, of_own in votes.items():
                for lang, counted in of_own.items():
                    for group in (own, _EVERYBODY):
                        both = sums.setdefault(group, {}).setdefault(lang, [0, 0])
                        both[0] += counted[0]
                        both[1] += counted[1]
    return sums


def _sum_of(sums: _Votes, own: str, lang: str) -> _Sum:
    of_own = sums.get(own, {})
    found, usual = of_own.get(lang, (0, 0))
    size = sum(votes for votes, _ in of_own.values())
    return _Sum(size / _FINE, found / _FINE, usual / _FINE)
