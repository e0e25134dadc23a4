"""What the detector costs: prints a table, writes JSON with ``--json FILE``. Not a test.

Run: ``python -m tests.bench.bench_detector``. CPU time of this process, best of three.
"""

import argparse
import json
import math
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from streams.core.detection.block import DetectorBlock
from streams.core.detection.policy import DetectorPolicy
from streams.core.detection.river_models import RiverRecipe
from streams.core.detector import SurgeDetector

_KEYS = 1_000_000
_ROUNDS = 60
_PEERS = ("GaussianScorer", "StandardAbsoluteDeviation", "HalfSpaceTrees")
_SIZES = (1, 500, 2_000, 3_500, 10_000)


def best_us(run: Callable[[], None], calls: int) -> float:
    """Microseconds of CPU a call: the best of three runs of ``calls`` calls."""
    best = math.inf
    for _ in range(3):
        start = time.process_time()
        run()
        best = min(best, time.process_time() - start)
    return best / calls * 1e6


def _block_rows(block: DetectorBlock, keys: int) -> list[tuple[str, float]]:
    draw = np.random.default_rng(1)
    batches = [draw.choice(_KEYS, keys, replace=False) for _ in range(_ROUNDS)]
    counts = draw.poisson(2.0, keys) + 1

    def advance() -> None:
        block.begin(np.arange(_KEYS), 1_000)
        for slots in batches:
            block.advance(slots, np.full(keys, 1_000), counts, 1_030)

    def begin() -> None:
        block.begin(np.arange(_KEYS), 1_000)

    def score() -> None:
        for slots in batches:
            block.score(slots, counts, opened=1_030)

    began = best_us(begin, 1)
    advanced = (best_us(advance, 1) - began) / (_ROUNDS * keys)
    scored = best_us(score, _ROUNDS * keys)
    return [(f"block advance, {keys:,} keys", advanced), (f"block score, {keys:,} keys", scored)]


def _scalar_rows() -> list[tuple[str, float]]:
    detector = SurgeDetector(feature="count")
    counts = [{"count": float(at * 7919 % 13)} for at in range(20_000)]

    def learn() -> None:
        for x in counts:
            detector.learn_one(x)

    def score() -> None:
        for x in counts:
            detector.score_one(x)

    return [
        ("scalar learn_one", best_us(learn, len(counts))),
        ("scalar score_one", best_us(score, len(counts))),
        ("scalar alarm_count", best_us(lambda: _ask(detector), 500)),
    ]


def _ask(detector: SurgeDetector) -> None:
    for _ in range(500):
        detector.alarm_count(100_000)


def _late_row(block: DetectorBlock) -> tuple[str, float]:
    slots = np.random.default_rng(2).integers(0, 2_000, 5_000)
    ones = np.ones(5_000, np.int64)

    def amend() -> None:
        block.amend(slots, 1_028 * ones, 1_030 * ones, ones)

    return ("block amend, 5,000 late records of 2,000 keys", best_us(amend, 5_000))


def _river_row(name: str) -> tuple[str, float]:
    model = RiverRecipe(f"river.anomaly.{name}").model()
    counts = [float(at % 13) for at in range(300)]

    def visit() -> None:
        for count in counts:
            model.score(count)
            model.learn(count)

    return (f"River {name}, score and learn", best_us(visit, len(counts)))


def main() -> None:
    """Measure, print, and write JSON when asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    told = parser.parse_args()
    block = DetectorBlock(DetectorPolicy())
    block.grow(_KEYS)
    rows = [row for keys in _SIZES for row in _block_rows(block, keys)]
    rows += [_late_row(block), *_scalar_rows(), *map(_river_row, _PEERS)]
    for name, cost_us in rows:
        sys.stdout.write(f"{name:<48}{cost_us:>10.3f} us\n")
    sys.stdout.write(f"{'block state of a key':<48}{block.nbytes / _KEYS:>10.1f} bytes\n")
    if told.json:
        told.json.write_text(json.dumps(dict(rows), indent=2))


if __name__ == "__main__":
    main()
