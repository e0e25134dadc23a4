"""The shifts of languages that a partition watches for: of posts, of creators, and their wave."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import msgspec

from streams.core.mixes.bucket import comments_in
from streams.core.mixes.languages import Languages
from streams.core.mixes.scatter import MixScatter
from streams.core.mixes.shift import MixPolicy
from streams.core.mixes.watch import Crowd, MixSurge, MixWatch
from streams.core.mixes.wave import MixWave
from streams.core.records.runs import Stretch
from streams.core.surges.surge import Happening

_ENCODER: Final = msgspec.json.Encoder()


class Mixes:
    """Watches of posts' and creators' languages, which share what is known of a wave."""

    def __init__(self, policy: MixPolicy, languages: Languages) -> None:
        self.policy = policy
        creators = languages.creators
        self._creators = creators
        self._wave, self._scatter = MixWave(creators), MixScatter()
        crowd = Crowd(creators, self._wave, self._scatter)
        self._watches = [MixWatch(policy, tally, crowd) for tally in (languages.posts, creators)]

    @property
    def open_langs(self) -> list[str]:
        """Languages of the shifts that last, once for each."""
        return [lang for watch in self._watches for lang in watch.open_langs]

    def look(self, stretches: Sequence[Stretch]) -> Iterator[Happening]:
        """Tell the shifts that a stretch opens, before it is counted: posts', then creators'."""
        for watch, stretch in zip(self._watches, stretches, strict=True):
            yield from watch.look(stretch, stretches[-1])

    def advance(self, closed: int, water: int, row: int) -> Iterator[Happening]:
        """Tell the shifts that are over as record ``row`` moves the watermark into ``water``.

        ``closed`` is the bucket that it leaves; -1: no record has come before.
        """
        if closed >= 0:
            comments = comments_in(self._creators, closed)
            self._wave.close(closed, comments)
            self._scatter.close(closed, comments, in_wave=self._wave.lasts(closed + 1))
        for watch in self._watches:
            yield from watch.advance(water, row)

    def drain(self) -> dict[str, bytes | None]:
        """What changed since the last call, by name; None: forgotten."""
        changed = self._wave.drain() | self._scatter.drain()
        for watch in self._watches:
            for key, shift in watch.drain().items():
                changed[f"{watch.name}|{key}"] = None if shift is None else _ENCODER.encode(shift)
        return changed

    def restore(self, stored: Mapping[str, bytes]) -> dict[str, bytes]:
        """Take up what is ours of what was stored; the rest."""
        rest = self._scatter.restore(self._wave.restore(stored))
        for watch in self._watches:
            begin = f"{watch.name}|"
            mine = sorted(name for name in rest if name.startswith(begin))
            watch.restore([msgspec.json.decode(rest.pop(one), type=MixSurge) for one in mine])
        return rest
