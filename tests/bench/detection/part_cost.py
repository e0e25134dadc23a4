"""What a score and a learning step cost: one series, and a creator in a block."""

from __future__ import annotations

import numpy as np

from streams.core.detection.block import DetectorBlock
from streams.core.detection.policy import DetectorPolicy
from streams.core.detection.pool import Pool
from streams.core.detection.rhythm import Rhythm
from streams.core.detector import SurgeDetector
from tests.bench.bench_detector import best_us
from tests.bench.detection.part import Part

_KEYS = 10_000
_ROUNDS = 40


def run() -> Part:
    """CPU time of this process, best of three."""
    detector = SurgeDetector(feature="count")
    counts = [{"count": float(at * 7919 % 13)} for at in range(20_000)]

    def alone() -> None:
        for x in counts:
            detector.score_one(x)
            detector.learn_one(x)

    policy = DetectorPolicy()  # with what a partition's creators share, as a worker has it
    block, every = DetectorBlock(policy, Pool(policy), rhythm=Rhythm(policy)), np.arange(_KEYS)
    block.grow(_KEYS)
    block.begin(every, 0)
    events = np.random.default_rng(1).poisson(3.0, (_ROUNDS, _KEYS)) + 1
    opened = np.zeros(_KEYS, dtype=np.int64)

    def together() -> None:
        for row in events:
            block.score(every, row, opened=opened)
            block.advance(every, opened, row, opened + 1)
            opened[:] += 1

    reached = {
        "scalar_us": round(best_us(alone, len(counts)), 2),
        "block_us": round(best_us(together, _ROUNDS * _KEYS), 3),
        "block_bytes": block.nbytes / _KEYS,
    }
    return Part(reached, [{"cost": name, "measured": value} for name, value in reached.items()])
