"""Seeded records of both topics, some of them unusable, nearly in event-time order."""

import random
from collections import deque

import msgspec

from streams.core.records.chunks import Reason

BEGIN_MS = 1_736_899_200_000
DAY_MS = 86_400_000
SPAN_MS = 80_000_000
"""All lies within 24 hours, so that every rolling sum of a day is a plain sum."""
LONG_SPAN_MS = 144_000_000
"""Forty hours: buckets of the first sixteen expire, surges end, and some records are too late."""
POISON_SHARE = 0.002
WITH_ID_SHARE = 0.9
REPEATED_SHARE = 0.03
_LATE_MS = 20_000
_LATER_SHARE = 0.005
_LATER_MS = (60_000, 6 * 3_600_000)
_LATEST_MS = 30 * 3_600_000
"""One in five of those later, if the span is longer than a day: some are too late to count."""
_REPEATED_WITHIN = 300
_REPEATED_WITHIN_MS = 240_000
"""Well within the ten minutes of event time for which ids are remembered."""
_POISON = (
    (Reason.NOT_JSON, b"{broken %d"),
    (Reason.NOT_AN_OBJECT, b"[%d]"),
    (Reason.CREATOR_MISSING, b'{"at_ms": 1736899200000, "follower_id": "f-%d"}'),
    (Reason.AT_MS_IN_SECONDS, b'{"creator_id": "c-%d", "at_ms": 1736899200}'),
    (Reason.TOO_LARGE, b"%d" + b" " * 70_000),
)
_NEWCOMERS_EACH = 15_000
"""Steps after which other newcomers are followed: every round has its openings."""
_HURRY = 25
"""So many records of a burst come in one step: it is a burst in event time, too."""


class Records:
    """Makes records for `steps` of event time, with a record in each, until `span_ms` is over.

    Some are late: by 20 seconds, and with `later` some by minutes to hours as well.
    """

    def __init__(self, seed: int, span_ms: int, steps: int, *, later: bool) -> None:
        self._chance = random.Random(seed)
        self._span_ms, self._step_ms = span_ms, span_ms / steps
        self._later, self._is_long = later, span_ms > DAY_MS
        within = min(_REPEATED_WITHIN, int(_REPEATED_WITHIN_MS / self._step_ms))
        self._latest: deque[tuple[str, bytes, bytes]] = deque(maxlen=within)
        self._made = 0
        self._steps, self._stride = 0.0, 1.0
        self._pauses = 0

    def hurry(self, *, hurries: bool) -> None:
        """Begin or end a burst: records stand closer in event time."""
        self._stride = 1 / _HURRY if hurries else 1.0

    def pause(self) -> None:
        """Nothing that comes is older than what came, nor a repeat of it.

        What was held back is let go in a pause: a record from before it would be later than is
        allowed, and its order would show once the topics are read from their beginning.
        """
        self._pauses += 1
        self._latest.clear()

    def next(self) -> tuple[str, bytes, bytes]:
        """Topic (`follows` or `comments`), key and value. A poison record's key is its reason."""
        if self._latest and self._chance.random() < REPEATED_SHARE:
            return self._chance.choice(self._latest)
        made = self._make()
        if b'"event_id"' in made[2]:
            self._latest.append(made)
        return made

    def _make(self) -> tuple[str, bytes, bytes]:
        chance, number = self._chance, self._made
        self._made += 1
        self._steps += self._stride
        passed_ms = min(int(self._steps * self._step_ms), self._span_ms)
        now_ms = BEGIN_MS + passed_ms + self._pauses * 2 * _LATE_MS
        topic = "comments" if chance.random() < 0.25 else "follows"
        if chance.random() < POISON_SHARE:
            reason, text = chance.choice(_POISON)
            return topic, b"poison %s" % reason.encode(), text % number
        creator = self._creator()
        at_ms = max(now_ms - self._late_ms(topic), BEGIN_MS)
        if topic == "comments":
            record = {
                "comment_id": f"k-{number}",
                "post_id": f"p-{creator}-{chance.randrange(3)}",
                "creator_id": creator,
                "commenter_id": "u-1",
                "at_ms": at_ms,
                "lang": chance.choice(("en", "zh", "ko")),
            }
        else:
            record = {"creator_id": creator, "follower_id": f"f-{number}", "at_ms": at_ms}
            if chance.random() < 0.05:
                record["kind"] = "unfollow"
        if chance.random() < WITH_ID_SHARE:
            record["event_id"] = f"e-{number}"
        return topic, creator.encode(), msgspec.json.encode(record)

    def _late_ms(self, topic: str) -> int:
        chance = self._chance
        if self._later and chance.random() < _LATER_SHARE:
            longest = self._is_long and chance.random() < 0.2
            return chance.randint(_LATER_MS[0], _LATEST_MS if longest else _LATER_MS[1])
        return chance.choice((0, 0, 0, _LATE_MS)) if topic == "comments" else 0

    def _creator(self) -> str:
        place = int(self._chance.paretovariate(0.6)) % 5000
        if self._chance.random() < 0.5:
            return f"c-{place}"
        return f"n-{int(self._steps) // _NEWCOMERS_EACH}-{place % 200}"
