"""The surge record: what Surgewatch says to the world."""

import hashlib
from typing import Literal

import msgspec

Kind = Literal["followers", "comments"]
Trigger = Literal["rule", "model"]
State = Literal["opened", "grown", "closed"]
Severity = Literal["notice", "page"]


class LanguageShare(msgspec.Struct, frozen=True):
    """Share (0..1) of a post's comments of the last 24 hours in one language."""

    lang: str
    share: float


class Surge(msgspec.Struct, frozen=True, omit_defaults=False, kw_only=True):
    """One announcement of one surge.

    ``surge_id`` and ``revision`` name it: same input, same id, same content. Times are event
    time; ``seen_ms`` is the partition's watermark when it was told. ``observed`` and
    ``expected_own`` count the events of ``window_ms``; None is unknown.
    """

    surge_id: str
    revision: int
    kind: Kind
    trigger: Trigger
    state: State
    severity: Severity
    creator_id: str
    post_id: str | None
    opened_ms: int
    seen_ms: int
    at_ms: int
    window_ms: int
    observed: int
    threshold: int | None
    expected_own: float | None
    expected_in_wave: float | None
    ratio: float | None
    score: float | None
    detector: str
    false_alarm_rate: float | None
    prior_weight: float | None
    langs: list[LanguageShare] | None = None
    usual_lang: LanguageShare | None = None


def surge_id_of(kind: Kind, trigger: Trigger, key: str, opened_ms: int) -> str:
    """Name of a surge: 16 hexadecimal digits that depend on nothing but the input.

    >>> surge_id_of("followers", "rule", "c-1", 1736899200000)
    'edfea439a425e08e'
    """
    text = f"{kind}|{trigger}|{key}|{opened_ms}"
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


class OpenSurge(msgspec.Struct, kw_only=True):
    """What is remembered of a surge between its announcements.

    ``mark`` is the rolling total at which it is told as grown. ``closed`` and ``quiet_until``
    (bucket) keep a closed model surge until its key may alarm again.
    """

    surge_id: str
    trigger: Trigger
    key: str
    creator_id: str
    post_id: str | None
    opened_ms: int
    severity: Severity
    mark: int
    revision: int = 0
    closed: bool = False
    quiet_until: int = 0

    @property
    def name(self) -> str:
        """Key of this surge among those of its watch."""
        return f"{self.trigger}|{self.key}"
