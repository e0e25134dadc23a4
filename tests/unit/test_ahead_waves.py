"""Keys are not run ahead into a wave, foreseen or told by late records alone."""

import numpy as np
import pytest

from streams.core.records.chunk_rows import cut
from streams.core.records.chunks import FollowChunk
from streams.core.records.texts import Texts
from streams.core.time.buckets import BUCKET_MS
from streams.core.waves.sums import are_equal
from streams.core.waves.watch import WaveWatch
from tests.jobs import contents_of, follow_partition
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


def chunk_whose_late_records_make_a_wave(rushers: int, rush: int, late: int) -> FollowChunk:
    """Creators met once rush for a bucket: by late records they were large enough to count."""
    draw, usual = np.random.default_rng(0), 300
    creators, buckets = list[str](), list[int]()
    for bucket in range(60):
        creators += [f"c-{creator}" for creator in draw.integers(0, 200, usual).tolist()]
        buckets += [bucket] * usual
        events = {20: 1, 45: late, 50: rush}.get(bucket, 0)
        creators += [f"l-{creator}" for creator in range(rushers) for _ in range(events)]
        came = np.linspace(21, 44, events).astype(int) if bucket == 45 else np.full(events, bucket)
        buckets += came.tolist() * rushers
    audiences = [int(name[2:]) % 3 if name[0] == "c" else 0 for name in creators]
    return FollowChunk(
        Texts.of(creators),
        (BEGIN + np.array(buckets)) * BUCKET_MS,
        np.zeros(len(creators), dtype=np.bool_),
        audiences=AUDIENCES[audiences],
    )


@pytest.mark.parametrize(("rushers", "rush"), [(15, 10), (20, 12), (22, 12), (24, 14), (30, 10)])
@pytest.mark.parametrize("late", [20, 30, 50])
def test_a_wave_that_only_late_records_tell_of_ends_what_was_run_ahead(
    rushers: int, rush: int, late: int
) -> None:
    chunk = chunk_whose_late_records_make_a_wave(rushers, rush, late)
    whole, pieces = follow_partition(10**9), follow_partition(10**9)
    told, again = whole.take(chunk).surges, []
    for begin in range(0, len(chunk.at_ms), 700):
        again += pieces.take(cut(chunk, begin, begin + 700)).surges
    assert again == told
    first, second = whole.drain(), pieces.drain()
    assert contents_of(first) == contents_of(second)
    assert first.surges == second.surges
