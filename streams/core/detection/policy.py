"""What the detector believes before it has seen anything, and how rare an alarm has to be.

One frozen value that the scalar detector and the block share. "Buckets" are whatever the caller
counts in (five minutes in Surgewatch); a day is ``buckets_per_day`` of them.
"""

import math
from dataclasses import dataclass, field
from typing import Final


class PolicyError(ValueError):
    """A number of the policy is out of range: ``field``, ``value`` and what is ``allowed``."""

    def __init__(self, field: str, value: object, allowed: str) -> None:
        super().__init__(f"detector policy: {field} is {value!r}; allowed: {allowed}")
        self.field = field
        self.value = value
        self.allowed = allowed


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectorPolicy:
    """Budget, windows, memories and priors of the detector.

    The defaults suit a crowd of unlike creators: one false notice per 1,000 creator-days, tail
    prior worth 30 days. For a single watched series take `SINGLE_SERIES`.
    Raises `PolicyError` when a number is out of range.

    >>> DetectorPolicy(alarms_per_day=0)
    Traceback (most recent call last):
    streams.core.detection.policy.PolicyError: detector policy: alarms_per_day is 0; \
allowed: above 0, below 1
    """

    alarms_per_day: float = 1 / 1000
    """Budget (beta): false alarms a key and day, above 0 and below 1."""
    window_buckets: tuple[int, int, int] = (6, 18, 72)
    """Memories of the three fading windows, rising: half an hour, an hour and a half, 6 hours."""
    buckets_per_day: int = 288
    rate_memory_days: float = 14.0
    tail_memory_days: float = 30.0
    dispersion: float = 0.1
    """Floor of the squared coefficient of variation (phi): no key is taken for more regular."""
    rate_prior_count: float = 0.1
    """a0 of the Gamma prior of a key's rate; its mean is a0 / b0 events a bucket."""
    rate_prior_buckets: float = 0.1
    """b0 of that prior: how many buckets of history it is worth."""
    short_lived: bool = False
    """Keys of a crowd are new when first met, and fade within hours (posts).

    In its first minutes what such a key brought in all is its evidence.
    """
    tail_prior_days: float = 30.0
    """k: how many days of daily maxima the tail prior is worth."""
    tail_sureness: float = 3.0
    """How many days each day above the level is worth in saying how sure the mean excess is.

    More than 1 only where many keys share what they learn, which corrects it.
    """
    tail_prior_level: float = 4.0
    """m0: mean daily maximum of the evidence."""
    tail_prior_share: float = 0.4
    """q0: share (0..1) of days whose maximum lies above the mean."""
    tail_prior_excess: float = 3.0
    """e0: mean excess of those days over the mean."""
    settle_buckets: int = 0
    """So many known buckets say by their median what is usual, before anything is scored.

    Of a series alone (`SurgeDetector`); keys of a crowd are scored from their first bucket on.
    """
    learn_noise: float = 6.0
    """A bucket teaches at most the expectation plus this many standard deviations plus one."""
    learn_dispersion: float = 0.15
    """Added to ``dispersion`` in that limit, so that bursty keys can still teach."""
    learn_excess: float = 10.0
    """A day teaches the tail at most this many mean excesses over the mean."""

    window_factors: tuple[float, float, float] = field(init=False, repr=False, compare=False)
    """f_j: what a bucket's count is still worth one bucket later, in each window."""
    rate_factor: float = field(init=False, repr=False, compare=False)
    """g: the same in the rate's memory."""
    day_factor: float = field(init=False, repr=False, compare=False)
    """h: what a day's maximum is still worth one day later."""

    def __post_init__(self) -> None:
        self._check()
        short, middle, long = (math.exp(-1.0 / memory) for memory in self.window_buckets)
        memory = self.rate_memory_days * self.buckets_per_day
        # A frozen dataclass fills its derived fields this way.
        object.__setattr__(self, "window_factors", (short, middle, long))
        object.__setattr__(self, "rate_factor", math.exp(-1.0 / memory))
        object.__setattr__(self, "day_factor", math.exp(-1.0 / self.tail_memory_days))

    def _check(self) -> None:
        for name in self.__slots__:
            if name not in _OTHERS and not 0 < getattr(self, name) < math.inf:
                limits = "above 0, below 1" if name in _SHARES else "above 0, finite"
                raise PolicyError(name, getattr(self, name), limits)
        for name in _SHARES:
            if getattr(self, name) >= 1:
                raise PolicyError(name, getattr(self, name), "above 0, below 1")
        windows, name = self.window_buckets, "window_buckets"
        if len(windows) != 3 or not 1 <= windows[0] < windows[1] < windows[2] <= 100_000:
            raise PolicyError(name, windows, "three rising whole numbers, 1 to 100,000")
        settle, name = self.settle_buckets, "settle_buckets"
        if not 0 <= settle <= 100_000:
            raise PolicyError(name, settle, "0 to 100,000")
        memory, name = self.rate_memory_days * self.buckets_per_day, "rate_memory_days"
        if not 1 <= memory <= 2_000_000:
            raise PolicyError(name, self.rate_memory_days, "1 to 2,000,000 buckets")


_SHARES: Final = ("alarms_per_day", "tail_prior_share")
_OTHERS: Final = (
    *("window_buckets", "settle_buckets", "short_lived"),
    *("window_factors", "rate_factor", "day_factor"),
)

SINGLE_SERIES: Final = DetectorPolicy(
    alarms_per_day=1 / 6,
    tail_prior_days=5.0,
    tail_sureness=1.0,
    window_buckets=(12, 36, 72),
    dispersion=0.05,
    learn_dispersion=0.2,
    settle_buckets=12,
)
"""For one series that somebody watches: one false alarm in six days, a light tail prior; the first
hour says what is usual.

Windows of 1, 3 and 6 hours: what people call a surge of a series lasts hours, and a quarter of
an hour is mostly noise (docs/detection.md). It costs about 5 minutes of delay.
"""

PLAIN_EXPOSURE: Final = 1.0
"""Exposure of every bucket until rhythm and wave are known: a plain bucket."""

COUNT_MAX: Final = 1e12
"""Counts above this are taken as this, so that no sum or square can overflow."""
SCORE_LOG_MAX: Final = 600.0
"""Scores stop at e**600: far past any budget, far below where a double overflows."""
