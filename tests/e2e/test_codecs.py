"""Producers pack their batches as they like: every codec of Kafka is read."""

from collections.abc import Callable

from aiokafka.record.default_records import DefaultRecordBatch

from streams.edges.transport.fetch_batches import DECODERS
from tests.e2e.desk import FollowsDesk
from tests.e2e.told_worker import ToldWorker
from tests.workers import Site

CODECS = {
    "gzip": DefaultRecordBatch.CODEC_GZIP,
    "snappy": DefaultRecordBatch.CODEC_SNAPPY,
    "lz4": DefaultRecordBatch.CODEC_LZ4,
    "zstd": DefaultRecordBatch.CODEC_ZSTD,
}
EACH = 500


def test_batches_of_every_codec_are_counted_beside_plain_ones(
    site_of: Callable[..., Site], told: Callable[[Site, str], ToldWorker]
) -> None:
    assert set(CODECS.values()) == set(DECODERS), "a codec that no producer here sends"
    desk = FollowsDesk(site_of())
    for packed_by in (None, *CODECS, None):
        names = [f"by-{packed_by}-{number % 40}" for number in range(EACH)]
        desk.send(desk.follows(names, counted=True), packed_by)
    worker = told(desk.site, "worker")
    desk.wait_stored(worker, EACH * (len(CODECS) + 2))
    assert desk.differences() == []
    assert worker.stop() == 0
