"""Simulated events as the JSON records of the topics, and each record's Kafka key."""

import itertools
from collections.abc import Callable, Iterable
from typing import Final

from streams.core.records.chunks import Reason
from streams.core.worlds.events import EventWorld
from streams.core.worlds.platform import LANGS, REGION_LANG, REGIONS, World, creator_id_of
from streams.core.worlds.simulated_rows import FAULTS, EventRows

_FOLLOW: Final = (
    '{"event_id":"f-%d-%d","kind":"%s","creator_id":"%s","follower_id":"u-%08d","at_ms":%d,'
    '%s,"account_created_ms":%d%s}'
)
_COMMENT: Final = (
    '{"event_id":"k-%d-%d","comment_id":"m-%d","post_id":"p-%s-%d","creator_id":"%s",'
    '"commenter_id":"u-%08d","at_ms":%d,%s}'
)
_PLACE: Final = tuple(
    f'"lang":"{LANGS[lang]}","region":"{region}"'
    for lang, region in zip(REGION_LANG, REGIONS, strict=True)
)
_KINDS: Final = ("follow", "unfollow")


class SimulatedJson:
    """Encodes the rows of one world. A follow is some 200 bytes of JSON, a comment 170."""

    def __init__(self, world: World | EventWorld) -> None:
        self._seed = world.seed
        self._ids = [creator_id_of(creator) for creator in range(world.policy.creators)]
        self._keys = [creator_id.encode() for creator_id in self._ids]

    def keys(self, rows: EventRows) -> list[bytes]:
        """Creator of each record, as Kafka's key; told for spoilt records too."""
        keys = self._keys
        return [keys[creator] for creator in rows.creator.tolist()]

    def encode_follows(self, rows: EventRows) -> list[bytes]:
        """One JSON record for each follow or unfollow."""
        creators = rows.creator.tolist()
        columns = zip(
            itertools.repeat(self._seed),
            rows.event_no.tolist(),
            [_KINDS[unfollow] for unfollow in rows.unfollow.tolist()],
            [self._ids[creator] for creator in creators],
            rows.user.tolist(),
            rows.at_ms.tolist(),
            [_PLACE[region] for region in rows.region.tolist()],
            rows.account_created_ms.tolist(),
            [
                f',"post_id":"p-{creator:06d}-{post}"' if post >= 0 else ""
                for creator, post in zip(creators, rows.post.tolist(), strict=True)
            ],
            strict=False,  # the seed repeats without end
        )
        return self._lines(rows, map(_FOLLOW.__mod__, columns))

    def encode_comments(self, rows: EventRows) -> list[bytes]:
        """One JSON record for each comment."""
        ids = [self._ids[creator] for creator in rows.creator.tolist()]
        numbers = rows.event_no.tolist()
        columns = zip(
            itertools.repeat(self._seed),
            numbers,
            numbers,
            [creator_id[2:] for creator_id in ids],
            rows.post.tolist(),
            ids,
            rows.user.tolist(),
            rows.at_ms.tolist(),
            [_PLACE[region] for region in rows.region.tolist()],
            strict=False,  # the seed repeats without end
        )
        return self._lines(rows, map(_COMMENT.__mod__, columns))

    def _lines(self, rows: EventRows, texts: Iterable[str]) -> list[bytes]:
        """Cut one encoded text: one encoding for all of them costs a third of one each."""
        lines = "\n".join(texts).encode("ascii").split(b"\n") if len(rows) else []
        for place in rows.fault.nonzero()[0].tolist():
            lines[place] = _SPOIL[FAULTS[int(rows.fault[place]) - 1]](lines[place])
        return lines


def _without_creator(line: bytes) -> bytes:
    return line.replace(b'"creator_id"', b'"creator"')


def _in_seconds(line: bytes) -> bytes:
    head, tail = line.split(b'"at_ms":', 1)
    digits, rest = tail.split(b",", 1)
    return head + b'"at_ms":' + digits[:-3] + b"," + rest


_SPOIL: Final[dict[Reason, Callable[[bytes], bytes]]] = {
    Reason.EMPTY: lambda line: b"",
    Reason.NOT_JSON: lambda line: line[: len(line) // 2],
    Reason.NOT_AN_OBJECT: lambda line: b"[" + line + b"]",
    Reason.CREATOR_MISSING: _without_creator,
    Reason.AT_MS_NEGATIVE: lambda line: line.replace(b'"at_ms":', b'"at_ms":-'),
    Reason.AT_MS_IN_SECONDS: _in_seconds,
}
