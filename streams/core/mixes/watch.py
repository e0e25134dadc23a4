"""Watches the languages of posts or creators, and lives through the shifts it tells.

A shift is told at the very record that makes it one, whatever the chunks: what may be one is found
in blocks by an upper bound, then its records are gone through one by one.
"""

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

import msgspec
import numpy as np

from streams.core.detection.rounding import rounded
from streams.core.mixes.languages import LanguageTally
from streams.core.mixes.scatter import MixScatter
from streams.core.mixes.shift import (
    COUNT_MIN,
    NO_LIFTS,
    NOTHING,
    USUAL_BUCKETS_MIN,
    USUAL_MIN,
    WINDOWS,
    Floats,
    Lift,
    MixPolicy,
    Moved,
    dispersion_of,
    evidence_at_most,
    has_grown,
    known_of,
    lifted_share,
    post_share,
    usual_share,
)
from streams.core.mixes.wave import MixWave, own_lang_of
from streams.core.records.runs import Stretch, distinct
from streams.core.records.texts import Ints
from streams.core.surges.record import Moment
from streams.core.surges.surge import Happening, MixShift, State, Surge, surge_id_of
from streams.core.time.buckets import (
    BUCKET_MS,
    WINDOW_BUCKETS,
    bucket_of,
    oldest_bucket_of,
    start_ms_of,
)

_HOUR: Final = WINDOWS[-1]
_NEAR: Final = 1 - 1e-9
_NONE: Final = np.array(NO_LIFTS)
_OVER: Final = 0.5
"""A shift is over when its evidence is below this part of what it takes to be told."""


class MixSurge(msgspec.Struct, omit_defaults=True, gc=False):
    """What is remembered of a shift: while it lasts, and for a day after it opened.

    Until then the same one is not told again. Stored as JSON.
    """

    surge_id: str
    key: str
    lang: str
    creator_id: str
    post_id: str | None
    opened_ms: int
    closed_ms: int | None = None

    @property
    def pair(self) -> tuple[str, str]:
        """What it is a shift of."""
        return self.key, self.lang


class _Sums(NamedTuple):
    """Comments in one language and in all: in the windows, and in each bucket before the hour."""

    windows: list[list[int]]
    before: dict[int, list[int]]

    def take(self, bucket: int, water: int, count: int, *, is_lang: bool) -> None:
        """Count comments of a bucket when the watermark stands in ``water``."""
        for window, counted in zip(WINDOWS, self.windows, strict=True):
            if bucket > water - window:
                counted[0] += count * is_lang
                counted[1] += count
        if bucket <= water - _HOUR:
            counted = self.before.setdefault(bucket, [0, 0])
            counted[0] += count * is_lang
            counted[1] += count

    def all_before(self) -> tuple[int, int]:
        """Comments in the language and in all before the hour."""
        return sum(n for n, _ in self.before.values()), sum(n for _, n in self.before.values())


class Crowd(NamedTuple):
    """What all creators say: their comments, their wave, and how their languages scatter."""

    creators: LanguageTally
    wave: MixWave
    scatter: MixScatter


class MixWatch:
    """The shifts of one table's posts or creators; what is usual is the creators'."""

    def __init__(self, policy: MixPolicy, tally: LanguageTally, crowd: Crowd) -> None:
        self._policy, self._tally = policy, tally
        self._creators, self._wave, self._scatter = crowd
        self._surges: dict[tuple[str, str], MixSurge] = {}
        self._touched: dict[tuple[str, str], MixSurge | None] = {}

    @property
    def name(self) -> str:
        """Of the shifts among a partition's surges."""
        return f"mix.{self._tally.name}"

    @property
    def open_langs(self) -> list[str]:
        """Languages of the shifts that last, once for each."""
        return [surge.lang for surge in self._surges.values() if surge.closed_ms is None]

    def drain(self) -> dict[str, MixSurge | None]:
        """Shifts changed since the last call, by name; None: forgotten."""
        touched, self._touched = self._touched, {}
        return {f"{key}\0{lang}": surge for (key, lang), surge in touched.items()}

    def restore(self, surges: Sequence[MixSurge]) -> None:
        """Take up stored shifts."""
        self._surges = {surge.pair: surge for surge in surges}

    def look(self, mine: Stretch, theirs: Stretch) -> Iterator[Happening]:
        """Tell the shifts that a stretch of comments opens, before it is counted.

        ``mine`` are its rows in this table, ``theirs`` the same rows among the creators.
        """
        for pair in self._candidates(mine, theirs):
            if self._tally.pair_of(pair) in self._surges:
                continue
            found = self._walk(pair, mine, theirs)
            if found is not None:
                row, moved = found
                yield int(mine.indexes[row]), self._open(pair, mine, row, moved)

    def advance(self, water: int, row: int) -> Iterator[Happening]:
        """Tell the shifts that are over as record ``row`` moves the watermark into ``water``."""
        for surge in list(self._surges.values()):
            if surge.closed_ms is None:
                moved = self._now(surge, water)
                if moved.evidence < _OVER * self._policy.bar:
                    surge.closed_ms = start_ms_of(water)
                    self._touched[surge.pair] = surge
                    moment = Moment(start_ms_of(water), start_ms_of(water))
                    yield row, self._record(surge, "closed", moment, moved)
            elif water - bucket_of(surge.opened_ms) >= WINDOW_BUCKETS:
                del self._surges[surge.pair]
                self._touched[surge.pair] = None

    def _candidates(self, mine: Stretch, theirs: Stretch) -> list[int]:
        """Pairs that may shift in this stretch: none that does is missing."""
        if not len(mine.slots):
            return []
        tally, water = self._tally, mine.water
        pairs, added = distinct(mine.slots)
        enough = tally.counts.total[pairs] + added >= COUNT_MIN
        pairs, added = pairs[enough], added[enough]
        found = tally.counts.recent(pairs, water, WINDOWS)
        found[:-1] += added
        found[-1] -= found[-2] - added  # of the day: before the last hour
        enough = (found[-2] >= COUNT_MIN) & has_grown(found[-2], found[-1])
        pairs, added, found = pairs[enough], added[enough], found[:, enough]
        if not len(pairs):
            return []
        order = np.argsort(mine.slots, kind="stable")
        first = order[np.searchsorted(mine.slots[order], pairs)]
        late = int(np.count_nonzero(mine.buckets <= water - _HOUR))
        totals = tally.recent_of_owners(tally.owners_of(pairs), water, WINDOWS)
        totals[:-1] += added
        totals[-1] += late - (totals[-2] - added)
        usual, known, slots = found[-1], totals[-1], pairs
        if tally is self._creators:
            usual = usual_share(usual, known)
        else:
            slots = theirs.slots[first]
            creators = self._creators
            owned = creators.recent_of_owners(creators.owners_of(slots), water, WINDOWS)
            counted = creators.counts.recent(slots, water, WINDOWS)
            here, known = counted[-1] - counted[-2], owned[-1] - owned[-2] + late
            usual = post_share(usual, totals[-1], (here, known))
        may = self._at_most(found, totals, usual, known) >= _NEAR * self._policy.bar
        may &= known >= USUAL_MIN
        rows = np.flatnonzero(may)
        if len(rows) and self._wave.lasts(water):
            lifts = np.array(self._lifts_at_least(slots[rows], theirs)).transpose(1, 2, 0)
            some = found[:, rows], totals[:, rows], usual[rows], known[rows]
            rows = rows[self._at_most(*some, lifts) >= _NEAR * self._policy.bar]
        return [*pairs[rows].tolist()]

    def _at_most(
        self, found: Ints, totals: Ints, usual: Floats, known: Ints, lifts: Floats = _NONE
    ) -> Floats:
        """No less than the evidence of each pair's windows; ``lifts`` by window, then of each."""
        at_most = np.zeros(len(usual))
        for counts, every, (more, votes) in zip(found[:-1], totals[:-1], lifts, strict=True):
            share = lifted_share(usual, more)
            some = evidence_at_most(counts, every, share, known_of(known, votes))
            np.maximum(at_most, some, out=at_most)
        return at_most

    def _lifts_at_least(self, their_pairs: Ints, theirs: Stretch) -> list[tuple[Lift, ...]]:
        """What a wave adds to these pairs of creators, whatever record of the stretch it is.

        Nothing where records that are an hour late may change what a creator's own language is.
        """
        creators, water = self._creators, theirs.water
        owners, places = np.unique(creators.owners_of(their_pairs), return_inverse=True)
        late = creators.owners_of(theirs.slots[theirs.buckets <= water - _HOUR])
        langs = self._wave.own_langs(owners, water)
        unsure = np.isin(owners, late)
        return [
            NO_LIFTS if unsure[place] else self._wave.lifts_of(langs[place], self._lang_of(pair))
            for place, pair in zip(places.tolist(), their_pairs.tolist(), strict=True)
        ]

    def _walk(self, pair: int, mine: Stretch, theirs: Stretch) -> tuple[int, Moved] | None:
        """The first row at which the pair's share has shifted, and how; None: it does not."""
        water = mine.water
        their_pair = int(theirs.slots[int((mine.slots == pair).argmax())])
        ours = self._sums(self._tally, pair, water)
        of_creators = self._tally is self._creators
        usual = ours if of_creators else self._sums(self._creators, their_pair, water)
        owner = int(self._tally.owners_of(np.array([pair]))[0])
        creator = int(self._creators.owners_of(np.array([their_pair]))[0])
        lang, lifts = self._lang_of(their_pair), NO_LIFTS
        before = self._wave.before_of(creator, water) if self._wave.lasts(water) else None
        by_creator = self._creators.owners_of(theirs.slots) == creator
        is_ours = self._tally.owners_of(mine.slots) == owner
        for row in np.flatnonzero(by_creator).tolist():
            bucket, here = int(mine.buckets[row]), bool(is_ours[row])
            is_pair = int(mine.slots[row]) == pair
            usual.take(bucket, water, 1, is_lang=int(theirs.slots[row]) == their_pair)
            if before is not None and bucket <= water - _HOUR:
                before[self._lang_of(int(theirs.slots[row]))] += 1
            if here and not of_creators:
                ours.take(bucket, water, 1, is_lang=is_pair)
            if is_pair:
                if before is not None:
                    lifts = self._wave.lifts_of(own_lang_of(before), lang)
                moved = self._moved(ours, usual, lifts)
                if moved.evidence >= self._policy.bar:
                    return row, moved
        return None

    def _lang_of(self, their_pair: int) -> str:
        """Language of a creator's pair."""
        (lang,) = self._creators.langs_of(np.array([their_pair])).tolist()
        return self._creators.lang_of(lang)

    def _moved(self, ours: _Sums, usual: _Sums, lifts: tuple[Lift, ...]) -> Moved:
        """The window that says most."""
        found, known = usual.all_before()
        mine, every_of_mine = (found, known) if ours is usual else ours.all_before()
        is_known = known >= USUAL_MIN and len(usual.before) >= USUAL_BUCKETS_MIN
        if not is_known or not has_grown(ours.windows[-1][0], mine):
            return NOTHING
        share = usual_share(found, known)
        calm = Moved(0, 0, 0, share, known)
        if ours is not usual:
            of_post = float(post_share(mine, every_of_mine, (found, known)))
            calm = calm._replace(usual=of_post)
        moved = self._most(ours, calm, lifts)
        if moved.evidence < self._policy.bar:  # dispersion takes from it only
            return moved
        buckets = [(here, every) for _, (here, every) in sorted(usual.before.items())]
        dispersion = dispersion_of(buckets, share, self._scatter.mean_of)
        calm = calm._replace(dispersion=dispersion, known=known / dispersion)
        return self._most(ours, calm, lifts)

    def _most(self, ours: _Sums, usual: Moved, lifts: tuple[Lift, ...]) -> Moved:
        every = [
            usual._replace(buckets=window, found=found, total=total, lift=lift)
            for window, (found, total), lift in zip(WINDOWS, ours.windows, lifts, strict=True)
        ]
        return max(every, key=lambda one: one.evidence)

    def _now(self, surge: MixSurge, water: int) -> Moved:
        """How far a shift has got when the watermark enters ``water``."""
        mine = self._tally.slot_of(surge.key, surge.lang)
        theirs = self._creators.slot_of(surge.creator_id, surge.lang)
        if mine is None or theirs is None:
            return NOTHING
        usual = self._sums(self._creators, theirs, water - 1)
        ours = usual
        if self._tally is not self._creators:
            ours = self._sums(self._tally, mine, water - 1)
        lifts = NO_LIFTS
        if self._wave.lasts(water):
            owner = int(self._creators.owners_of(np.array([theirs]))[0])
            before = self._wave.before_of(owner, water - 1)
            lifts = self._wave.lifts_of(own_lang_of(before), self._lang_of(theirs))
        return self._moved(ours, usual, lifts)

    def _sums(self, tally: LanguageTally, pair: int, water: int) -> _Sums:
        """What is counted of a pair when the watermark stands in ``water``."""
        owned = tally.pairs_of_owner(int(tally.owners_of(np.array([pair]))[0]))
        sums, oldest = _Sums([[0, 0] for _ in WINDOWS], {}), oldest_bucket_of(water)
        for slot in owned:
            buckets, counts = tally.counts.row_of(slot)
            for bucket, count in zip(buckets.tolist(), counts.tolist(), strict=True):
                if bucket >= oldest:
                    sums.take(bucket, water, count, is_lang=slot == pair)
        return sums

    def _open(self, pair: int, mine: Stretch, row: int, moved: Moved) -> Surge:
        key, lang = self._tally.pair_of(pair)
        creator_id = mine.creator_ids[int(mine.indexes[row])]
        at_ms = int(mine.at_ms[row])
        name = f"{self._tally.name}|{key}\0{lang}"
        surge = MixSurge(
            surge_id=surge_id_of("mix", "model", name, at_ms),
            key=key,
            lang=lang,
            creator_id=creator_id,
            post_id=None if self._tally is self._creators else key,
            opened_ms=at_ms,
        )
        self._surges[surge.pair] = self._touched[surge.pair] = surge
        return self._record(surge, "opened", Moment(at_ms, int(mine.seen_ms[row])), moved)

    def _record(self, surge: MixSurge, state: State, moment: Moment, moved: Moved) -> Surge:
        expected = rounded(moved.usual * moved.total)
        in_wave = rounded(moved.in_wave * moved.total) if moved.lift.more else None
        return Surge(
            surge_id=surge.surge_id,
            revision=0 if state == "opened" else 1,
            kind="mix",
            trigger="model",
            state=state,
            severity="notice",
            creator_id=surge.creator_id,
            post_id=surge.post_id,
            opened_ms=surge.opened_ms,
            seen_ms=moment.seen_ms,
            at_ms=moment.at_ms,
            window_ms=moved.buckets * BUCKET_MS,
            observed=moved.found,
            threshold=None,
            expected_own=expected,
            expected_in_wave=in_wave,
            ratio=rounded(moved.found / expected) if expected else None,
            score=rounded(self._policy.score(moved.evidence)),
            detector="surgewatch",
            false_alarm_rate=self._policy.alarms_per_day,
            prior_weight=None,
            closed_ms=surge.closed_ms,
            mix=MixShift(surge.lang, rounded(moved.share), rounded(moved.usual), moved.total),
        )
