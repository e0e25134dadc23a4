"""Waves told by accounts' age where only usual ones come: platforms of all sizes, as counts.

Young accounts follow several creators each within ten minutes, their share goes up and down by two
with the hour (each cohort's by its own) and drifts by days. No such course is in the detector.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np

from streams.core.detection.block_tables import Floats
from streams.core.records.comers import GROUPS
from streams.core.waves.nodes import Nodes
from streams.core.waves.young import Young
from tests.bench.detection.part import Part
from tests.bench.detection.shards import SEED, count_of, done
from tests.bench.detection.statistics import poisson_interval

_DAYS: Final = 30
_DAY: Final = 288
_SEEDS: Final = 4
_SHARES: Final = (0.0, 0.0002, 0.002, 0.01, 0.05)
_EACH: Final = (1.0, 3.0, 10.0, 30.0)
"""Creators that a young account follows, in the mean."""
_COMERS: Final = (300, 3_000, 30_000)
"""First comers of a bucket."""
_COHORTS: Final = {
    ("zh", "CN"): 0.50, ("zh", "TW"): 0.08, ("en", "US"): 0.08, ("en", "GB"): 0.04,
    ("ja", "JP"): 0.05, ("ko", "KR"): 0.04, ("es", "MX"): 0.03, ("fr", "FR"): 0.02,
    ("zh", "US"): 0.03, ("en", "CN"): 0.02, ("es", "US"): 0.01,
}  # fmt: skip
_AT_ONCE: Final = 0.6
"""Of an account's follows, those of its first bucket; the others come in the next."""
_SWING: Final = 2.0
_QUIET: Final = 6


class Task(NamedTuple):
    """A platform: the usual share of young comers, and how many creators each follows."""

    seed: int
    share: float
    each: float
    comers: int


def run(size: float) -> Part:
    """Live through a month of each platform."""
    tasks = [
        Task(SEED + 980 + seed, share, each, comers)
        for seed in range(count_of(_SEEDS, size))
        for share in _SHARES
        for each in (_EACH if share else _EACH[:1])
        for comers in _COMERS
    ]
    found = list(zip(tasks, done(_found, tasks), strict=True))
    rows = [_row_of(share, [one for task, one in found if task.share == share])
            for share in _SHARES]  # fmt: skip
    return Part({"young_false": round(float(np.mean([one for _, one in found])), 3)}, rows)


def _row_of(share: float, found: list[int]) -> dict[str, Any]:
    low, high = (end / len(found) for end in poisson_interval(sum(found)))
    return {
        "usual share of young accounts": f"{share:.2%}",
        "days": f"{_DAYS * len(found):,}",
        "waves told": sum(found),
        "in 30 days": f"{np.mean(found):.2f} ({low:.2f} to {high:.2f})",
    }


def _found(task: Task) -> int:
    """Waves told in a month."""
    nodes, young = Nodes(), Young.of_none()
    nodes.grow([*_COHORTS])
    counts = _counts_of(task)
    size = len(counts)
    totals = nodes.totals_of(counts.reshape(size * counts.shape[1], -1))
    told, quiet = 0, _QUIET + 1
    for bucket in totals.reshape(*counts.shape[:2], -1):
        young, seen = young.after(bucket)
        told += bool(seen.begins.any()) and quiet > _QUIET
        goes_on = seen.begins.any() or (seen.holds.any() and quiet <= _QUIET)
        quiet = 0 if goes_on else quiet + 1
    return told


def _counts_of(task: Task) -> Floats:
    """By bucket and cohort: comers, and the young ones by group."""
    rng = np.random.default_rng([task.seed, int(task.share * 1e6), int(task.each), task.comers])
    size, weights = _DAYS * _DAY, np.array([*_COHORTS.values()])
    hours = np.arange(size)[:, None] / _DAY * 2 * np.pi
    phases = rng.uniform(0, 2 * np.pi, (2, len(weights)))
    comers = rng.poisson(task.comers * weights * (1 + 0.6 * np.cos(hours + phases[0])))
    drift = np.exp(0.005 * np.cumsum(rng.normal(0.0, 1.0, (size, len(weights))), axis=0))
    share = task.share * _SWING ** np.cos(hours + phases[1]) * np.minimum(drift, 3.0)
    accounts = rng.poisson(comers * np.minimum(share, 0.5) / task.each)
    counts = np.zeros((size + 1, 1 + GROUPS, len(weights)))
    for cohort in range(len(weights)):
        buckets = np.repeat(np.arange(size), accounts[:, cohort])
        follows = rng.geometric(1 / task.each, len(buckets))
        at_once = rng.binomial(follows, _AT_ONCE)
        group = 1 + rng.integers(0, GROUPS, len(buckets))
        np.add.at(counts[:, :, cohort], (buckets, group), at_once)
        np.add.at(counts[:, :, cohort], (buckets + 1, group), follows - at_once)
    counts[:-1, 0] = comers
    counts[:, 0] = np.maximum(counts[:, 0], counts[:, 1:].sum(axis=1))
    return counts[:-1]
