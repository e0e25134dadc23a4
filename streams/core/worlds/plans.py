"""What each named world is: one description that both of its faces are drawn from.

The counts (``counts.py``) are for statistics over millions of creator-days, the records
(``events.py``) for back-tests and end-to-end tests. Hours are relative to ``happens``, which
is ``tail_hours`` before the end of the run: a shorter run cuts the history, not what happens.
"""

from dataclasses import dataclass, replace
from typing import Final, Literal

What = Literal["wave", "newcomers", "outage", "rush", "clock", "bought", "put_back", "burst"]
"""What a part is: the first two are waves, the others are no surges of anybody (artefacts)."""
SeriesOf = Literal["creator", "platform"]


@dataclass(frozen=True, slots=True, kw_only=True)
class NoisePlan:
    """How much burstier than chance the counts are; all zeros: Poisson.

    A creator's rate is multiplied by a Gamma value of mean 1 whose squared coefficient of
    variation is her own, uniform between the two numbers. It is drawn anew with chance
    1 / ``persistence_buckets`` a bucket, and then moves the log rate by a step of the drift
    too (standard deviation ``drift_a_day`` a day). ``bursts_a_day`` a creator are multiplied
    by ``burst_base`` plus an exponential value of mean ``burst_mean``, at most ``burst_max``,
    for one to six buckets: no surge, and heavier than the detector believes.
    """

    cv2_min: float = 0.0
    cv2_max: float = 0.0
    persistence_buckets: int = 12
    drift_a_day: float = 0.0
    bursts_a_day: float = 0.0
    burst_base: float = 2.0
    burst_mean: float = 1.5
    burst_max: float = 12.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SurgePlan:
    """Own surges in a share of the creators whose usual rate lies in [rate_min, rate_max).

    ``multiple`` times the usual rate, or ``extra`` events a bucket on top of it, reached by a
    linear ramp of ``ramp_buckets`` and kept until ``hours`` after the begin. Each begins
    ``after_hours`` after what happens, plus up to ``spread_hours``. ``newborn``: the creator
    comes to life with it.
    """

    share: float
    rate_min: float
    rate_max: float
    multiple: float = 1.0
    extra: float = 0.0
    ramp_buckets: int = 6
    hours: int = 24
    after_hours: float = 0.0
    spread_hours: float = 0.0
    newborn: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class LiftPlan:
    """A factor on the rates of everybody of a language, from ``after_buckets`` on.

    ``lifts`` is a factor for each of LANGS, reached by a linear ramp, held, and then faded
    back to 1 by the factor 1/e in ``fade_buckets``. ``newcomers``: what is more than usual
    comes from new users of one region.
    """

    what: What
    lifts: tuple[float, float, float, float, float, float]
    after_buckets: int = 0
    ramp_buckets: int = 0
    hold_buckets: int = 0
    fade_buckets: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class JumpPlan:
    """Exact amounts added to a bucket of creators in a band of rates, one after the other."""

    what: What
    share: float
    rate_min: float
    rate_max: float
    amounts: tuple[int, ...]
    hours_between: float


@dataclass(frozen=True, slots=True, kw_only=True)
class MixPlan:
    """A share of the creators has a post with ``comments_per_hour`` whose languages shift."""

    share: float
    comments_per_hour: int = 100
    foreign_before: float = 0.03
    foreign_after: float = 0.40


@dataclass(frozen=True, slots=True, kw_only=True)
class WorldPlan:
    """A world by name. Usual rates, in events a bucket, are lognormal, cut to rate_min..max."""

    name: str
    about: str
    creators: int = 20_000
    history_hours: int = 25 * 24
    tail_hours: int = 24
    rate_median: float = 0.05
    rate_sigma: float = 2.2
    rate_min: float = 0.001
    rate_max: float = 100.0
    noise: NoisePlan = NoisePlan()
    surges: tuple[SurgePlan, ...] = ()
    lifts: tuple[LiftPlan, ...] = ()
    jumps: tuple[JumpPlan, ...] = ()
    mix: MixPlan | None = None
    clock_region: str | None = None
    newborn_share: float = 0.0
    series: SeriesOf = "platform"


STORY: Final = "story"
BURSTY_NOISE: Final = NoisePlan(cv2_min=0.2, cv2_max=0.5, drift_a_day=0.04, bursts_a_day=1 / 30)
STEADY_NOISE: Final = NoisePlan(cv2_min=0.02, cv2_max=0.2, drift_a_day=0.04)
_CALM_NOISE: Final = replace(BURSTY_NOISE, bursts_a_day=0.0)
_EVERYBODY: Final = (3.0,) * 6
_CELLS: Final = (
    *((0.001, 0.01, multiple) for multiple in (30.0, 300.0)),
    *((0.01, 0.1, multiple) for multiple in (10.0, 30.0, 300.0)),
    *((0.1, 1.0, multiple) for multiple in (3.0, 10.0, 30.0, 300.0)),
    *((1.0, 20.0, multiple) for multiple in (3.0, 10.0, 30.0)),
    *((20.0, 100.0, multiple) for multiple in (3.0, 300.0)),
)
"""Band of usual rates and multiple: the cells for which power and delay are told."""

_PLANS: Final = (
    WorldPlan(
        name=STORY,
        about="a newcomer's 50,000 followers in a day, a post, and a wave of newcomers",
        surges=(
            SurgePlan(share=0.01, rate_min=0.02, rate_max=0.99, extra=50_000 / 288),
            SurgePlan(
                share=0.01, rate_min=0.02, rate_max=0.99, extra=50_000 / 288, newborn=True
            ),
        ),
        series="creator",
    ),
    WorldPlan(name="quiet", about="chance alone: Poisson counts with a rhythm"),
    WorldPlan(
        name="bursty",
        about="gamma noise for an hour or so, slow drift, rare bursts heavier than believed",
        noise=BURSTY_NOISE,
    ),
    WorldPlan(
        name="steady",
        about="as bursty, with a third of its noise and no bursts",
        noise=STEADY_NOISE,
    ),
    WorldPlan(
        name="surges",
        about="bursty, with own surges of x3 to x300 in creators of each size",
        creators=100_000,
        noise=BURSTY_NOISE,
        surges=tuple(
            SurgePlan(share=0.0015, rate_min=low, rate_max=high, multiple=m, spread_hours=6)
            for low, high, m in _CELLS
        ),
        tail_hours=30,
        series="creator",
    ),
    WorldPlan(
        name="even-wave",
        about="everybody x3 for six hours, after a ramp of half an hour",
        noise=_CALM_NOISE,
        lifts=(
            LiftPlan(
                what="wave", lifts=(3.0,) * 6, ramp_buckets=6, hold_buckets=72, fade_buckets=12
            ),
        ),
    ),
    WorldPlan(
        name="uneven-wave",
        about="one in ten, by language, x12 and the rest x1.2, with own surges of x20 inside",
        creators=60_000,
        noise=_CALM_NOISE,
        lifts=(
            LiftPlan(
                what="wave",
                lifts=(1.2, 1.2, 12.0, 1.2, 12.0, 1.2),
                ramp_buckets=6,
                hold_buckets=72,
                fade_buckets=12,
            ),
        ),
        surges=(
            SurgePlan(
                share=0.005, rate_min=1, rate_max=20, multiple=20, ramp_buckets=1,
                hours=5, after_hours=0.5, spread_hours=2,
            ),
        ),
    ),
    WorldPlan(
        name="newcomers",
        about="new users of one region follow everybody they like, unevenly by language",
        noise=_CALM_NOISE,
        lifts=(
            LiftPlan(
                what="newcomers",
                lifts=(3.0, 9.0, 1.5, 1.5, 2.0, 2.0),
                ramp_buckets=36,
                hold_buckets=144,
                fade_buckets=36,
            ),
        ),
    ),
    WorldPlan(
        name="newborns",
        about="bursty, and nine in ten creators are brand-new: first days, nothing special",
        noise=BURSTY_NOISE,
        newborn_share=0.9,
    ),
    WorldPlan(
        name="outage",
        about="nothing for two hours, then a rush of x3 that fades over an hour",
        noise=_CALM_NOISE,
        lifts=(
            LiftPlan(what="outage", lifts=(0.0,) * 6, hold_buckets=24),
            LiftPlan(what="rush", lifts=_EVERYBODY, after_buckets=24, fade_buckets=12),
        ),
    ),
    WorldPlan(
        name="daylight-saving",
        about="the clocks of one region go forward: its rhythm comes an hour earlier",
        noise=_CALM_NOISE,
        clock_region="US",
        tail_hours=7 * 24,
    ),
    WorldPlan(
        name="bought",
        about="small creators get exactly 500, then 1,000 followers, each in five minutes",
        noise=_CALM_NOISE,
        jumps=(
            JumpPlan(
                what="bought", share=0.002, rate_min=0.01, rate_max=0.5,
                amounts=(500, 1000), hours_between=5,
            ),
        ),
        series="creator",
    ),
    WorldPlan(
        name="put-back",
        about="a counter falls, and is put back by hundreds of thousands in one bucket",
        creators=2_000,
        noise=_CALM_NOISE,
        jumps=(
            JumpPlan(
                what="put_back", share=0.0015, rate_min=1, rate_max=30,
                amounts=(-20_000, 300_000), hours_between=8,
            ),
        ),
        series="creator",
    ),
    WorldPlan(
        name="mix",
        about="posts at 100 comments an hour go from 3 % to 40 % in another language",
        creators=2_000,
        noise=_CALM_NOISE,
        mix=MixPlan(share=0.01),
    ),
)  # fmt: skip

WORLDS: Final = {plan.name: plan for plan in _PLANS}
"""The worlds by name, in the order in which the command lists them."""
