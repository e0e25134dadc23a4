"""What is said, and counted, of records that Kafka deleted too early."""

from faust.types import TP

from streams.edges.logs.lines import logger_of
from streams.edges.metrics.worker import Metrics
from streams.edges.settings.list import Settings
from streams.edges.transport.contract import RecordsGone, TransportOptions

log = logger_of(__name__)


class Losses:
    """One worker's; its methods are what the transport tells."""

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self._settings = settings
        self._metrics = metrics

    @property
    def options(self) -> TransportOptions:
        """The transport's options, told here."""
        return TransportOptions(
            chunk_records_max=self._settings.chunk_records_max,
            records_gone=self.records_gone,
            ids_gone=self.ids_gone,
            counts_gone=self.counts_gone,
            commit_failed=lambda: self._metrics.add_kafka_error("commit"),
        )

    def records_gone(self, tp: TP, expected_offset: int, first_offset: int) -> None:
        """Count what was not counted; raises RecordsGone unless it is to be skipped."""
        missed = first_offset - expected_offset
        self._metrics.add_missed(tp.topic, missed)
        if self._settings.on_records_gone == "stop":
            raise RecordsGone(tp, expected_offset, first_offset)
        self._metrics.add_trouble("records_gone")
        log.warning(
            "records_gone",
            "{topic}/{partition}: {records} records were deleted by Kafka before they were "
            "counted; going on at {offset}",
            topic=tp.topic,
            partition=tp.partition,
            records=missed,
            offset=first_offset,
        )

    def ids_gone(self, tp: TP, count: int) -> None:
        """Say that repeats of some records are not known any more."""
        if not self._settings.repeats_horizon_ms:
            return
        self._metrics.add_ids_gone(tp.topic, count)
        self._metrics.add_trouble("ids_gone")
        log.warning(
            "event_ids_gone",
            "{topic}/{partition}: {records} records whose event ids were to be learnt again were "
            "deleted by Kafka's retention: a repeat of one of them counts again. Let it keep "
            "records for longer than SURGEWATCH_REPEATS_HORIZON_MS",
            topic=tp.topic,
            partition=tp.partition,
            records=count,
        )

    def counts_gone(self, tp: TP, count: int) -> None:
        """Say that what is counted anew lacks records; there is nothing to go on from instead."""
        self._metrics.add_missed(tp.topic, count)
        self._metrics.add_trouble("counts_gone")
        log.error(
            "counts_gone",
            "{topic}/{partition}: Redis holds nothing of it, though this group has counted here "
            "before, and the first {records} records were deleted by Kafka's retention since: it "
            "is counted anew without them, so counts are too low for up to 24 hours. Was Redis "
            "emptied? Let Kafka keep records for two days",
            topic=tp.topic,
            partition=tp.partition,
            records=count,
        )
