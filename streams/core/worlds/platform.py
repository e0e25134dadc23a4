"""The simulated platform: creators, audiences, daily rhythm and the story's parts.

Rates and weights are whole numbers until the last step, and tables use ``math`` instead of
numpy's vector functions, whose last digit depends on the processor: same seed, same world.
"""

import itertools
import math
from dataclasses import dataclass, fields
from typing import Final

import numpy as np
from numpy.typing import NDArray

from streams.core.time.buckets import BUCKET_MS

HOUR_MS: Final = 3_600_000
DAY_MS: Final = 86_400_000
POSTS_EACH: Final = 10
"""Posts of each creator that draw comments; post 0 draws most."""

LANGS: Final = ("zh", "en", "ja", "ko", "es", "fr")
REGIONS: Final = ("CN", "TW", "US", "GB", "JP", "KR", "MX", "FR")
REGION_LANG: Final = (0, 0, 1, 1, 2, 3, 4, 5)
"""Index in LANGS of the language that each of REGIONS writes."""
UTC_OFFSET_HOURS: Final = (8, 8, -5, 0, 9, 9, -6, 1)
LANG_WEIGHTS: Final = (700, 120, 60, 50, 40, 30)
"""Creators per thousand who write each of LANGS."""
REGION_WEIGHTS: Final = (600, 100, 90, 40, 60, 50, 40, 20)
"""Users per thousand who live in each of REGIONS."""
WAVE_LIFTS: Final = (10, 30, 4, 4, 6, 6)
"""How much a wave's newcomers like creators of each of LANGS: the lift is uneven."""


class PolicyOutOfRange(ValueError):
    """A field of a policy is out of its range."""

    def __init__(self, name: str, value: float, allowed: str) -> None:
        self.name = name
        self.value = value
        self.allowed = allowed
        super().__init__(f"{name} is {value}: it must be {allowed}")


@dataclass(frozen=True, slots=True, kw_only=True)
class WorldPolicy:
    """What is simulated. Shares are 0..1; each story part of size 0 is left out.

    ``follows_per_day`` and ``comments_per_day`` are the platform's usual totals; a creator's
    usual follows a day have a Pareto tail of shape ``size_tail`` and end at
    ``creator_follows_per_day_max``. Records arrive up to ``jitter_ms`` after their time, in
    the order of arrival. ``bad_share`` of the records is spoilt, each in one of a few ways.
    """

    creators: int = 20_000
    hours: int = 28
    users: int = 2_000_000
    follows_per_day: int = 2_000_000
    comments_per_day: int = 400_000
    size_tail: float = 1.2
    creator_follows_per_day_max: int = 6_000
    own_language_share: float = 0.85
    unfollow_share: float = 0.04
    unfollow_delay_ms_max: int = 6 * HOUR_MS
    newcomer_follows: int = 60_000
    newcomer_start_hour: int = 4
    newcomer_hours: int = 20
    post_comments: int = 6_000
    post_start_hour: int = 5
    post_hours: int = 20
    post_foreign_share: float = 0.78
    wave_users: int = 300_000
    wave_start_hour: int = 3
    wave_hours: int = 22
    wave_follows_each: int = 5
    wave_comments_each: float = 0.3
    jitter_ms: int = 2_000
    duplicate_share: float = 0.0
    bad_share: float = 0.0

    def __post_init__(self) -> None:
        """Check the ranges; raises PolicyOutOfRange with the field's name."""
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name.endswith("_share"):
                check_range(field.name, value, 0 <= value <= 1, "between 0 and 1")
            else:
                check_range(field.name, value, value >= 0, "0 or more")
        check_range("creators", self.creators, 2 <= self.creators <= 999_999, "2 to 999999")
        check_range("hours", self.hours, 1 <= self.hours <= 720, "1 to 720")
        check_range("users", self.users, self.users >= 100_000, "100000 or more")
        check_range("size_tail", self.size_tail, self.size_tail > 0, "more than 0")
        check_range("jitter_ms", self.jitter_ms, self.jitter_ms < BUCKET_MS, "below 5 minutes")
        half = self.users // 4
        check_range("newcomer_follows", self.newcomer_follows, self.newcomer_follows <= half,
               "at most a quarter of users")  # fmt: skip
        for part in ("newcomer", "post", "wave"):
            hours = getattr(self, f"{part}_hours")
            check_range(f"{part}_hours", hours, hours >= 1, "1 or more")


def check_range(name: str, value: float, allowed: bool, words: str) -> None:
    """Raise PolicyOutOfRange unless a value is allowed; ``words`` say what is."""
    if not allowed:
        raise PolicyOutOfRange(name, value, words)


@dataclass(frozen=True, slots=True)
class World:
    """A platform drawn from a seed. Creators are indexes 0..creators-1 of the columns.

    ``size`` is usual follows a day in thousandths; ``size_to[lang]`` cumulates it over the
    creators, 0 for those of other languages, ``wave_to`` does so times the wave's lift.
    """

    policy: WorldPolicy
    seed: int
    start_ms: int
    lang: NDArray[np.int8]
    size: NDArray[np.int64]
    size_to: NDArray[np.int64]
    wave_to: NDArray[np.int64]
    newcomer: int
    post_creator: int

    @property
    def end_ms(self) -> int:
        """First millisecond after the last event."""
        return self.start_ms + self.policy.hours * HOUR_MS

    @property
    def newcomer_start_ms(self) -> int:
        """When the newcomer's video begins to draw followers."""
        return self.start_ms + self.policy.newcomer_start_hour * HOUR_MS

    @property
    def post_start_ms(self) -> int:
        """When the other creator's post begins to draw comments."""
        return self.start_ms + self.policy.post_start_hour * HOUR_MS

    @property
    def wave_start_ms(self) -> int:
        """When the wave's first users arrive."""
        return self.start_ms + self.policy.wave_start_hour * HOUR_MS


def creator_id_of(creator: int) -> str:
    """Id of a creator.

    >>> creator_id_of(123)
    'c-000123'
    """
    return f"c-{creator:06d}"


def post_id_of(creator: int, post: int) -> str:
    """Id of a creator's post.

    >>> post_id_of(123, 4)
    'p-000123-4'
    """
    return f"p-{creator:06d}-{post}"


def world_of(policy: WorldPolicy, seed: int, start_ms: int) -> World:
    """Draw a world; ``start_ms`` is moved back to the start of its bucket."""
    rng = np.random.default_rng([seed, 0])
    lang = _index_drawn(rng, LANG_WEIGHTS, policy.creators)
    newcomer, post_creator = (int(n) for n in rng.choice(policy.creators, 2, replace=False))
    lang[newcomer], lang[post_creator] = LANGS.index("en"), LANGS.index("zh")
    tail = (rng.pareto(policy.size_tail, policy.creators) * 1000).astype(np.int64) + 50
    # Python's numbers: the product has more than 63 bits on large platforms
    scaled = tail.astype(object) * (policy.follows_per_day * 1000) // int(tail.sum())
    size = np.minimum(scaled, policy.creator_follows_per_day_max * 1000).astype(np.int64)
    size[newcomer], size[post_creator] = 0, min(400_000, policy.follows_per_day * 10)
    lifts = np.array(WAVE_LIFTS, dtype=np.int64)
    return World(
        policy=policy,
        seed=seed,
        start_ms=start_ms - start_ms % BUCKET_MS,
        lang=lang,
        size=size,
        size_to=np.stack([np.cumsum(np.where(lang == n, size, 0)) for n in range(len(LANGS))]),
        wave_to=np.cumsum(size * lifts[lang]),
        newcomer=newcomer,
        post_creator=post_creator,
    )


def _index_drawn(
    rng: np.random.Generator, weights: tuple[int, ...], count: int
) -> NDArray[np.int8]:
    to = np.array(list(itertools.accumulate(weights)))
    return np.searchsorted(to, rng.integers(0, to[-1], count), side="right").astype(np.int8)


def audience_of(policy: WorldPolicy) -> NDArray[np.int64]:
    """Share, in millionths, of each language's audience (row) that lives in each region."""
    table = np.zeros((len(LANGS), len(REGIONS)), dtype=np.int64)
    own = round(policy.own_language_share * 1_000_000)
    everybody = sum(REGION_WEIGHTS)
    for lang, region in itertools.product(range(len(LANGS)), range(len(REGIONS))):
        weight = REGION_WEIGHTS[region]
        table[lang, region] = (1_000_000 - own) * weight // everybody
        if REGION_LANG[region] == lang:
            speakers = sum(w for w, n in zip(REGION_WEIGHTS, REGION_LANG, strict=True) if n == lang)
            table[lang, region] += own * weight // speakers
    return table


def rhythm_of(at_ms: int) -> list[int]:
    """How active each region is at a time, in thousandths of its daily mean.

    Lowest near 4 and highest near 20 o'clock local time: a day wave and a half-day wave.

    >>> rhythm_of(12 * HOUR_MS)[0] > 2 * rhythm_of(20 * HOUR_MS)[0]
    True
    """
    utc_hour = at_ms % DAY_MS / HOUR_MS
    return [_activity_of(utc_hour + offset) for offset in UTC_OFFSET_HOURS]


def _activity_of(local_hour: float) -> int:
    day = math.cos((local_hour - 18.5) * math.pi / 12)
    half_day = math.cos((local_hour - 21.0) * math.pi / 6)
    return round(1000 * (1 + 0.62 * day + 0.22 * half_day))
