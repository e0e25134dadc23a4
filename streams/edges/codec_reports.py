"""Wave reports as they are sent from worker to worker: JSON, as ``schemas/wave_report.json``."""

import msgspec

from streams.core.events import DeadRecord, RawChunk, Reason
from streams.core.wave_report import ReportChunk, WaveReport
from streams.edges.codec import Decoded

_DECODER = msgspec.json.Decoder(WaveReport)


def encode_report(report: WaveReport) -> bytes:
    """Write a report as JSON: same report, same bytes."""
    return msgspec.json.encode(report)


def decode_reports(chunk: RawChunk, partitions: int) -> Decoded[ReportChunk]:
    """Decode reports of so many partitions; never raises for what a record holds."""
    reports, dead = list[WaveReport](), list[DeadRecord]()
    for value, offset in zip(chunk.values, chunk.offsets, strict=True):
        found = _report_in(value or b"", partitions)
        if isinstance(found, Reason):
            dead.append(DeadRecord(chunk.topic, chunk.partition, offset, value or b"", found))
        else:
            reports.append(found)
    return Decoded(ReportChunk(reports), dead)


def _report_in(value: bytes, partitions: int) -> WaveReport | Reason:
    if not value:
        return Reason.EMPTY
    try:
        report = _DECODER.decode(value)
    except (msgspec.ValidationError, UnicodeDecodeError):
        return Reason.FIELD_INVALID
    except (msgspec.DecodeError, RecursionError):
        return Reason.NOT_JSON
    return report if report.partition < partitions and report.fits else Reason.FIELD_INVALID
