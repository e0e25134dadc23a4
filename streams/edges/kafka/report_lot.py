"""Wave reports that wait together to be sent, beside lots of surges in the outbox."""

from collections.abc import Sequence
from typing import Final, NamedTuple

from streams.core.waves.report import WaveReport
from streams.edges.codec.reports import encode_report
from streams.edges.kafka.surge_lot import SurgeLot, stored_lot_of

_HEAD: Final = b"reports"
"""What a lot of surges never begins with."""


class ReportLot(NamedTuple):
    """Reports in their order, each as JSON; stored one a line after a head."""

    lines: tuple[bytes, ...]

    @property
    def stored(self) -> bytes:
        """As it waits in the outbox."""
        return b"\n".join((_HEAD, *self.lines))


Lot = SurgeLot | ReportLot


def report_lots_of(reports: Sequence[WaveReport]) -> list[ReportLot]:
    """One lot of these reports; none: no lot."""
    return [ReportLot(tuple(map(encode_report, reports)))] if reports else []


def lot_in_outbox(stored: bytes) -> Lot:
    """A lot from the outbox. Raises ``msgspec.DecodeError`` for anything else."""
    head, *lines = stored.split(b"\n")
    return ReportLot(tuple(lines)) if head == _HEAD else stored_lot_of(stored)
