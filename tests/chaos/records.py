"""Seeded records of both topics, some of them unusable, nearly in event-time order."""

import random
from collections import deque

import msgspec

from streams.core.events import Reason

BEGIN_MS = 1_736_899_200_000
SPAN_MS = 80_000_000
"""All lies within 24 hours, so that every rolling sum of a day is a plain sum."""
POISON_SHARE = 0.002
WITH_ID_SHARE = 0.9
REPEATED_SHARE = 0.03
_LATE_MS = 20_000
_REPEATED_WITHIN = 300
"""Records: some minutes of event time at the most, so within the ten that are remembered."""
_POISON = (
    (Reason.NOT_JSON, b"{broken %d"),
    (Reason.NOT_AN_OBJECT, b"[%d]"),
    (Reason.CREATOR_MISSING, b'{"at_ms": 1736899200000, "follower_id": "f-%d"}'),
    (Reason.AT_MS_IN_SECONDS, b'{"creator_id": "c-%d", "at_ms": 1736899200}'),
    (Reason.TOO_LARGE, b"%d" + b" " * 70_000),
)
_NEWCOMERS_EACH = 15_000
"""Records after which other newcomers are followed: every round has its openings."""


class Records:
    """Makes records; `step_ms` of event time pass from one to the next, until the span is over."""

    def __init__(self, seed: int, step_ms: float) -> None:
        self._chance = random.Random(seed)
        self._step_ms = step_ms
        self._latest: deque[tuple[str, bytes, bytes]] = deque(maxlen=_REPEATED_WITHIN)
        self.made = 0
        self._pauses = 0

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
        chance, number = self._chance, self.made
        self.made += 1
        at_ms = BEGIN_MS + min(int(number * self._step_ms), SPAN_MS) + self._pauses * 2 * _LATE_MS
        topic = "comments" if chance.random() < 0.25 else "follows"
        if chance.random() < POISON_SHARE:
            reason, text = chance.choice(_POISON)
            return topic, b"poison %s" % reason.encode(), text % number
        creator = self._creator(number)
        late_ms = chance.choice((0, 0, 0, _LATE_MS))
        if topic == "comments":
            record = {
                "comment_id": f"k-{number}",
                "post_id": f"p-{creator}-{chance.randrange(3)}",
                "creator_id": creator,
                "commenter_id": "u-1",
                "at_ms": max(at_ms - late_ms, BEGIN_MS),
                "lang": chance.choice(("en", "zh", "ko")),
            }
        else:
            record = {"creator_id": creator, "follower_id": f"f-{number}", "at_ms": at_ms}
            if chance.random() < 0.05:
                record["kind"] = "unfollow"
        if chance.random() < WITH_ID_SHARE:
            record["event_id"] = f"e-{number}"
        return topic, creator.encode(), msgspec.json.encode(record)

    def _creator(self, number: int) -> str:
        place = int(self._chance.paretovariate(0.6)) % 5000
        if self._chance.random() < 0.5:
            return f"c-{place}"
        return f"n-{number // _NEWCOMERS_EACH}-{place % 200}"
