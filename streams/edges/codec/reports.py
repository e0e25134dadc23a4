"""Wave reports as they are sent from worker to worker: JSON, as ``schemas/wave_report.json``.

Each says of which fleet it is, by the prefix of its keys in Redis: what is counted anew under
another prefix, or by other workers, must not be taken for a repeat.
"""

import msgspec

from streams.core.records.chunks import DeadRecord, RawChunk, Reason
from streams.core.waves.report import ReportChunk, WaveReport
from streams.edges.codec.events import Decoded


class _Sent(msgspec.Struct, frozen=True):
    fleet: str
    report: WaveReport


_DECODER = msgspec.json.Decoder(_Sent)


def encode_report(report: WaveReport) -> bytes:
    """Write a report as JSON: same report, same bytes."""
    return msgspec.json.encode(report)


def sent_report_of(fleet: str, report: bytes) -> bytes:
    """A report as it is sent, of one that `encode_report` wrote."""
    return msgspec.json.encode({"fleet": fleet, "report": msgspec.Raw(report)})


def decode_reports(chunk: RawChunk, fleet: str, partitions: int) -> Decoded[ReportChunk]:
    """Decode reports of a fleet of so many partitions; those of other fleets are left out.

    Never raises for what a record holds.
    """
    reports, dead = list[WaveReport](), list[DeadRecord]()
    for value, offset in zip(chunk.values, chunk.offsets, strict=True):
        found = _report_in(value or b"", fleet, partitions)
        if isinstance(found, Reason):
            dead.append(DeadRecord(chunk.topic, chunk.partition, offset, value or b"", found))
        elif found is not None:
            reports.append(found)
    return Decoded(ReportChunk(reports), dead)


def _report_in(value: bytes, fleet: str, partitions: int) -> WaveReport | Reason | None:
    if not value:
        return Reason.EMPTY
    try:
        sent = _DECODER.decode(value)
    except (msgspec.ValidationError, UnicodeDecodeError):
        return Reason.FIELD_INVALID
    except (msgspec.DecodeError, RecursionError):
        return Reason.NOT_JSON
    if sent.fleet != fleet:
        return None
    report = sent.report
    return report if report.partition < partitions and report.fits else Reason.FIELD_INVALID
