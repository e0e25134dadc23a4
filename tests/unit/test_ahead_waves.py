"""What is foreseen of a bucket is what it comes to: else keys are run ahead into a wave."""

import numpy as np
import pytest

from streams.core.buckets import BUCKET_MS
from streams.core.events import FollowChunk
from streams.core.texts import Texts
from streams.core.wave_sums import are_equal
from streams.core.wave_watch import WaveWatch
from tests.jobs import follow_partition
from tests.wave_rows import AUDIENCES, BEGIN

BUCKETS = 40


def chunk_with_new_creators() -> FollowChunk:
    """Four hundred creators with an event each a bucket, and new ones who surge at once."""
    draw = np.random.default_rng(3)
    names, audiences, buckets = list[str](), list[int](), list[int]()
    for bucket in range(BUCKETS):
        usual = draw.integers(0, 400, 400)
        names += [f"c-{creator}" for creator in usual.tolist()]
        audiences += [creator % 3 for creator in usual.tolist()]
        if bucket % 4 == 3:
            names += [f"n-{bucket}"] * 300 + [f"n-{bucket - 4}"] * 9
            audiences += [1] * 309
        buckets += [bucket] * (len(names) - len(buckets))
    at_ms = (BEGIN + np.array(buckets)) * BUCKET_MS + draw.integers(0, BUCKET_MS, len(buckets))
    order = np.argsort(at_ms, kind="stable")
    return FollowChunk(
        Texts.of([names[row] for row in order.tolist()]),
        at_ms[order],
        np.zeros(len(names), dtype=np.bool_),
        audiences=AUDIENCES[np.array(audiences)[order]],
    )


def test_sums_foreseen_are_those_of_the_closed_bucket_though_new_keys_surge_in_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    close, foreseen = WaveWatch._close, list[bool]()

    def compared(self: WaveWatch, bucket: int, is_quiet: bool) -> None:
        before, sums = self._foreseen.get(bucket), self._sums._of.get(bucket)
        if before is not None and sums is not None:
            foreseen.append(are_equal(before[0], sums))
        close(self, bucket, is_quiet)

    monkeypatch.setattr(WaveWatch, "_close", compared)
    opened = follow_partition(250).take(chunk_with_new_creators()).surges
    assert len({surge.creator_id for surge in opened}) > 3
    assert len(foreseen) == BUCKETS - 1
    assert all(foreseen)
