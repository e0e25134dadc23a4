"""The surge record: what Surgewatch says to the world, and what is remembered of a surge.

There may be hundreds of thousands of both, in no circles: the garbage collector leaves them out.
"""

import hashlib
from collections.abc import Sequence
from typing import Final, Literal

import msgspec

from streams.core.time.buckets import WINDOW_BUCKETS, bucket_of

Kind = Literal["followers", "comments", "mix", "wave"]
Trigger = Literal["rule", "model"]
State = Literal["opened", "grown", "closed", "amended"]
Severity = Literal["notice", "page"]

MODEL_WINDOW_BUCKETS: Final = 12
"""A model's surge tells the observed and the expected count of the last hour."""
_ROUNDED_FROM: Final = 100


class LanguageShare(msgspec.Struct, frozen=True, gc=False):
    """Share (0..1) of a post's comments of the last 24 hours in one language."""

    lang: str
    share: float


class MixShift(msgspec.Struct, frozen=True, gc=False):
    """A language's share of ``comments`` in a window, and the share that is usual (0..1)."""

    lang: str
    share: float
    usual_share: float
    comments: int


class WavePart(msgspec.Struct, frozen=True, gc=False):
    """A language, region or cohort that a wave lifts; None: of any. Events of one bucket."""

    lang: str | None
    region: str | None
    factor: float
    observed: int
    expected: float


class WaveReceiver(msgspec.Struct, frozen=True, gc=False):
    """A creator (or post) that a wave lifts; events of one bucket."""

    key: str
    observed: int
    expected: float


class Wave(msgspec.Struct, frozen=True, gc=False):
    """What a wave is of, and whom it lifts.

    ``by_newcomers``: it is of those who came (more creators than usual get somebody of that
    language or region first), not of the creators who have such an audience. ``young`` are then
    those of them whose accounts are younger than a day, of whom ``young_usual`` are usual; None:
    the age is not told. ``partitions``: of how many partitions it counts the events.
    """

    series: str
    scope: Literal["platform", "language", "region", "cohort"]
    lang: str | None
    region: str | None
    by_newcomers: bool
    languages: list[WavePart]
    regions: list[WavePart]
    cohorts: list[WavePart]
    receivers: list[WaveReceiver]
    partitions: int = 1
    young: int | None = None
    young_usual: float | None = None


class Surge(msgspec.Struct, frozen=True, omit_defaults=False, gc=False):
    """One announcement of one surge.

    ``surge_id`` and ``revision`` name it: same input, same id, same content. Times are event
    time; ``seen_ms`` is the partition's watermark when it was told. ``observed`` and
    ``expected_own`` count the events of ``window_ms``; None is unknown. A closed surge's window
    ends with ``closed_ms``, also when it is amended; None: it is open. ``late_records`` came
    after the surge opened, in a bucket before the watermark's, and belong to its time.
    ``seen_over_asked``: alarms of this series in its partition over those that
    ``false_alarm_rate`` allows, of some weeks up to the last midnight; None: too few were asked
    for. ``mix`` is there for that kind alone; ``observed`` are then the comments in its language.
    So is ``wave``, which is of no creator: ``creator_id`` is then empty.
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
    seen_over_asked: float | None = None
    langs: list[LanguageShare] | None = None
    usual_lang: LanguageShare | None = None
    late_records: int = 0
    closed_ms: int | None = None
    mix: MixShift | None = None
    wave: Wave | None = None


Happening = tuple[int, Surge]
"""A surge told because of a record of a chunk: its row, and the surge."""


def seen_words_of(surge: Surge) -> str:
    """What was counted, in how long: ``50,000 in 24 h``, ``7 in 20 min``."""
    minutes = surge.window_ms / 60_000
    window = f"{minutes:g} min" if minutes < 60 else f"{minutes / 60:g} h"
    return f"{surge.observed:,} in {window}"


def young_words_of(wave: Wave) -> str:
    """How new who came is: ``17 by new accounts (usually 0.3)``; nothing where it is not told."""
    if wave.young is None:
        return ""
    expected = wave.young_usual or 0.0
    usually = f"{expected:.2g}" if expected < _ROUNDED_FROM else f"{expected:,.0f}"
    return f"{wave.young:,} by new accounts (usually {usually})"


def surge_id_of(subject: str, trigger: Trigger, key: str, opened_ms: int, again: int = 0) -> str:
    """Name of a surge: 16 hexadecimal digits that depend on nothing but the input.

    ``subject``: followers, comments (of a creator), posts, mix. ``again``: how many surges of this
    key opened at a record of the same millisecond before; a late record may open one after the
    first has closed.

    >>> surge_id_of("followers", "rule", "c-1", 1736899200000)
    'edfea439a425e08e'
    """
    text = f"{subject}|{trigger}|{key}|{opened_ms}" + (f"|{again}" if again else "")
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def severity_of(trigger: Trigger) -> Severity:
    """How much a surge by this trigger matters as it opens; one by the model may become a page."""
    return "page" if trigger == "rule" else "notice"


def new_surge_id(
    subject: str, trigger: Trigger, key: str, opened_ms: int, known: "Sequence[OpenSurge]"
) -> str:
    """Name of a surge that opens now, while these of its key are remembered.

    As long as a record of the same millisecond can be counted, the first surge is among them.
    """
    made, again = surge_id_of(subject, trigger, key, opened_ms), 0
    while known and made in [one.surge_id for one in known]:
        again += 1
        made = surge_id_of(subject, trigger, key, opened_ms, again)
    return made


def new_surge_ids(
    subject: str,
    trigger: Trigger,
    keys: Sequence[str],
    opened_ms: Sequence[int],
    known: "Sequence[Sequence[OpenSurge]]",
) -> list[str]:
    """`new_surge_id` of many keys; ``known`` has what is remembered of each."""
    begin, blake2b = f"{subject}|{trigger}|", hashlib.blake2b
    made = [
        blake2b(f"{begin}{key}|{at}".encode(), digest_size=8).hexdigest()
        for key, at in zip(keys, opened_ms, strict=True)
    ]
    if any(known):
        for row, mine in enumerate(known):
            if mine and made[row] in [one.surge_id for one in mine]:
                made[row] = new_surge_id(subject, trigger, keys[row], opened_ms[row], mine)
    return made


class Measured(msgspec.Struct, gc=False):
    """What counts and detector say of a surge's window; None is unknown."""

    observed: int
    expected_own: float | None
    score: float
    prior_weight: float
    expected_in_wave: float | None = None


class Closing(msgspec.Struct, kw_only=True, gc=False):
    """What was told of a surge as it closed, when the watermark entered ``bucket``.

    The window ends with the start of that bucket. Late records are added to what was observed;
    the counts cannot be asked again, they hold no more than the key's newest 24 hours.
    """

    bucket: int
    measured: Measured
    langs: list[LanguageShare] | None = None
    usual_lang: LanguageShare | None = None


class OpenSurge(msgspec.Struct, array_like=True, gc=False):
    """What is remembered of a surge between its announcements; stored as a JSON array.

    ``mark`` is the rolling total at which it is told as grown, ``again`` how often it may be told
    so after that. ``paged_ms``: when it became a page (event time); 0: never, or not known.
    ``quiet_until``: the bucket from which on the model may alarm again for the key.
    A closed surge (``closing``) is remembered as long as a record that belongs to its time can
    still be counted: 24 hours.
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
    quiet_until: int = 0
    late_records: int = 0
    late_told: int = 0
    closing: Closing | None = None
    again: int = 1
    paged_ms: int = 0

    @property
    def name(self) -> str:
        """Key of this surge among those of its watch.

        A key has one open surge of a trigger; closed ones may be remembered beside it.
        """
        return f"{self.trigger}|{self.key}" if self.closing is None else f"closed|{self.surge_id}"

    @property
    def window_buckets(self) -> int:
        """Length of the window that its records tell of."""
        return WINDOW_BUCKETS if self.trigger == "rule" else MODEL_WINDOW_BUCKETS

    @property
    def is_unsaid(self) -> bool:
        """Whether it has late records that no announcement has told."""
        return self.late_records > self.late_told

    def speaks_of(self, bucket: int) -> bool:
        """Whether a bucket is of its time: from one window before its opening to its close."""
        began = bucket > bucket_of(self.opened_ms) - self.window_buckets
        return began and (self.closing is None or bucket < self.closing.bucket)

    def take_late(self, bucket: int, count: int) -> None:
        """Take late records of a bucket that it speaks of."""
        self.late_records += count
        if self.closing is not None and bucket > self.closing.bucket - self.window_buckets:
            self.closing.measured.observed += count
